//! Reading the journal: the segments there are, whether they join, and the frames in them.
//!
//! A segment ends where the next one's header says; the last one ends at its last whole frame.
//! What follows is a clean end (zeros), a torn tail (a frame that was being written when the
//! machine stopped; never acknowledged), or damage: a later frame header is a witness that the
//! bytes before it were once durable. Nothing here writes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use pierhead_storage_format::journal::{
    FRAME_CHECK, FRAME_HEADER, FRAME_MAGIC, FrameHeader, MAX_BODY, Position, SEGMENT_HEADER, SegmentHeader,
    SegmentKey,
};
use pierhead_storage_format::paths;

use super::error::TruthError;
use crate::stores::disk::Disk;

const CHUNK: usize = 1 << 20;

/// The first sequence number of every segment there is, ascending.
pub(super) fn names(disk: &dyn Disk) -> Result<Vec<u64>, TruthError> {
    let folder = PathBuf::from(paths::JOURNAL);
    let entries = disk.list(&folder).map_err(TruthError::io("listing", &folder))?;
    Ok(entries.iter().filter_map(|e| paths::parse_numbered(&e.name, ".log")).collect())
}

/// A segment, open for reading: it stays readable though a snapshot removes it.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: SegmentHeader,
    pub(super) len: u64,
    key: SegmentKey,
    file: File,
}

impl Segment {
    pub(super) fn open(disk: &dyn Disk, first: u64) -> Result<Self, TruthError> {
        let path = paths::journal_segment(first);
        let file = disk.open_read(&path).map_err(TruthError::io("opening", &path))?;
        let len = file.metadata().map_err(TruthError::io("measuring", &path))?.len();
        let mut bytes = [0; SEGMENT_HEADER];
        let read = read_at(&file, &mut bytes, 0).map_err(TruthError::io("reading", &path))?;
        let header = SegmentHeader::decode(&bytes[..read])
            .map_err(|e| TruthError::damaged(&path, 0, e.to_string()))?;
        if header.first() != first {
            return Err(TruthError::damaged(&path, 0, "the segment is another one's, by its header"));
        }
        Ok(Self { path, key: header.key(), header, len, file })
    }

    fn io(&self) -> impl FnOnce(io::Error) -> TruthError {
        TruthError::io("reading", &self.path)
    }

    fn damaged(&self, offset: u64, what: impl Into<String>) -> TruthError {
        TruthError::damaged(&self.path, offset, what)
    }

    /// The frame at `offset` before `end`, its body in `body`; what is wrong with it otherwise.
    pub(super) fn frame(
        &self,
        offset: u64,
        end: u64,
        body: &mut Vec<u8>,
    ) -> Result<Result<FrameHeader, String>, TruthError> {
        let mut head = [0; FRAME_HEADER];
        let read = read_at(&self.file, &mut head, offset).map_err(self.io())?;
        let header = match FrameHeader::decode(&self.key, offset, &head[..read]) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if offset.saturating_add(header.frame_len()) > end {
            return Ok(Err("the frame reaches beyond the end".into()));
        }
        body.resize(header.body_len as usize + FRAME_CHECK, 0);
        let read = read_at(&self.file, body, offset + FRAME_HEADER as u64).map_err(self.io())?;
        if let Err(error) = header.check(&self.key, offset, &body[..read]) {
            return Ok(Err(error.to_string()));
        }
        body.truncate(header.body_len as usize);
        Ok(Ok(header))
    }

    /// What the bytes from `offset`, where no whole frame is, say about it.
    fn rest(&self, offset: u64) -> Result<Rest, TruthError> {
        let mut rest = Rest::Zeros;
        let mut buffer = vec![0; CHUNK + FRAME_HEADER];
        let mut at = offset;
        while at < self.len {
            // Not beyond the length at opening: a running server may be adding frames there.
            let wanted = usize::try_from(self.len - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = read_at(&self.file, &mut buffer[..wanted], at).map_err(self.io())?;
            if buffer[..read].iter().any(|b| *b != 0) {
                rest = Rest::Torn;
            }
            if self.has_witness(&buffer[..read], at, offset) {
                return Ok(Rest::Damaged);
            }
            at += CHUNK as u64;
        }
        Ok(rest)
    }

    fn has_witness(&self, bytes: &[u8], at: u64, offset: u64) -> bool {
        let starts = bytes.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, w)| *w == FRAME_MAGIC);
        starts.map(|(i, _)| (i, at + i as u64)).any(|(i, place)| {
            place > offset
                && FrameHeader::decode(&self.key, place, &bytes[i..])
                    .is_ok_and(|header| header.durable > offset)
        })
    }
}

enum Rest {
    Zeros,
    Torn,
    Damaged,
}

fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// A frame met by [`Chain::walk`].
pub(super) struct Frame<'a> {
    pub(super) before: Position,
    pub(super) after: Position,
    pub(super) count: u32,
    pub(super) body: &'a [u8],
}

/// Bytes at the end of the journal that never became durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment, relative to the data directory.
    pub segment: String,
    /// Where the truth ends in it.
    pub offset: u64,
    /// How many bytes follow.
    pub bytes: u64,
}

/// The last frame of the last segment: whether it is on stable storage is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastFrame {
    pub(super) offset: u64,
    pub(super) before: Position,
    pub(super) count: u32,
}

/// Where the journal ends.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) position: Position,
    pub(super) end: u64,
    pub(super) last: Option<LastFrame>,
    pub(super) torn: Option<TornTail>,
}

/// Segments that join, from the one that holds the change set after some position.
pub(super) struct Chain {
    pub(super) segments: Vec<Segment>,
}

impl Chain {
    /// Opens the segments needed after change set `base`; none if there are none at all.
    pub(super) fn open(disk: &dyn Disk, base: u64) -> Result<Self, TruthError> {
        let names = names(disk)?;
        let needed = names.iter().rposition(|first| *first <= base.saturating_add(1));
        let Some(from) = needed else {
            return match names.first() {
                None => Ok(Self { segments: Vec::new() }),
                Some(first) => {
                    let what = format!("the journal before it is missing: change set {} is needed", base + 1);
                    Err(TruthError::damaged(&paths::journal_segment(*first), 0, what))
                }
            };
        };
        let segments: Result<Vec<_>, _> =
            names[from..].iter().map(|first| Segment::open(disk, *first)).collect();
        let chain = Self { segments: segments? };
        chain.joins()?;
        Ok(chain)
    }

    fn joins(&self) -> Result<(), TruthError> {
        for (one, next) in self.segments.iter().zip(self.segments.iter().skip(1)) {
            if next.header.previous != one.header.first() {
                let missing = paths::journal_segment(next.header.previous);
                return Err(next.damaged(0, format!("it continues {}, which is missing", missing.display())));
            }
        }
        Ok(())
    }

    /// Where a segment ends: where the next one says, or unknown for the last.
    fn end_of(&self, index: usize) -> Option<&SegmentHeader> {
        self.segments.get(index + 1).map(|next| &next.header)
    }

    /// Gives every frame to `each`, in order, every check made; `None` if there is no segment.
    pub(super) fn walk(
        &self,
        each: &mut dyn FnMut(&Segment, u64, &Frame<'_>) -> Result<(), TruthError>,
    ) -> Result<Option<Tail>, TruthError> {
        let mut tail = None;
        for (index, segment) in self.segments.iter().enumerate() {
            let found = walk_segment(segment, self.end_of(index), each)?;
            if let Some(next) = self.end_of(index)
                && next.start != found.position
            {
                return Err(
                    segment.damaged(found.end, "the next segment does not continue where this one ends")
                );
            }
            tail = Some(found);
        }
        Ok(tail)
    }
}

pub(super) fn walk_segment(
    segment: &Segment,
    next: Option<&SegmentHeader>,
    each: &mut dyn FnMut(&Segment, u64, &Frame<'_>) -> Result<(), TruthError>,
) -> Result<Tail, TruthError> {
    let end = next.map_or(segment.len, |next| next.previous_end);
    let mut tail =
        Tail { position: segment.header.start, end: SEGMENT_HEADER as u64, last: None, torn: None };
    let mut body = Vec::new();
    while tail.end < end {
        let offset = tail.end;
        let header = match segment.frame(offset, end, &mut body)? {
            Ok(header) => header,
            Err(what) if next.is_some() => return Err(segment.damaged(offset, what)),
            Err(what) => match torn(segment, offset, &what) {
                Ok(torn) => {
                    tail.torn = torn;
                    break;
                }
                // A running server may have finished this frame and begun the next since it was read.
                Err(damage) => segment.frame(offset, end, &mut body)?.map_err(|_| damage)?,
            },
        };
        let after =
            tail.position.after(header.count, &body).filter(|_| header.first == tail.position.sequence + 1);
        let after =
            after.ok_or_else(|| segment.damaged(offset, "its change sets do not follow the ones before"))?;
        each(segment, offset, &Frame { before: tail.position, after, count: header.count, body: &body })?;
        tail.last = Some(LastFrame { offset, before: tail.position, count: header.count });
        (tail.position, tail.end) = (after, offset + header.frame_len());
        body.shrink_to(MAX_BODY / 16);
    }
    if next.is_some() && tail.end != end {
        return Err(segment.damaged(tail.end, "it ends before the next segment says it does"));
    }
    Ok(tail)
}

fn torn(segment: &Segment, offset: u64, what: &str) -> Result<Option<TornTail>, TruthError> {
    match segment.rest(offset)? {
        Rest::Zeros => Ok(None),
        Rest::Damaged => {
            Err(segment.damaged(offset, format!("{what}, and later frames say that it was durable")))
        }
        Rest::Torn => {
            let segment_name = segment.path.display().to_string();
            Ok(Some(TornTail { segment: segment_name, offset, bytes: segment.len - offset }))
        }
    }
}
