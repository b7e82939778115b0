//! Writing the journal. One file is appended to; a group is durable when [`Journal::append`]
//! returns.
//!
//! - A segment appears under its name whole: header (and, at start-up, the last frame of the one
//!   before, of which nobody knows whether it is on stable storage) are written and synced under a
//!   temporary name, renamed, the folder synced; only then are frames added.
//! - A write or sync that failed ends its segment: never tried again on that file. The next
//!   segment's header says where the truth before it ends. If the failed one holds no frame, the
//!   next has the same name and replaces it.
//! - Space is zeroed ahead in steps, so that the sync of an append changes no file size; *lean*, not
//!   ahead, from when a step did not fit until the next segment that has grown. Bytes beyond the end of a finished segment are cut once the next one's header is durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::journal::{Position, SEGMENT_HEADER, SegmentHeader, SegmentKey, encode_frame};
use pierhead_storage_format::paths;

use super::chain::{Chain, Tail};
use super::error::TruthError;
use super::snapshots::TEMPORARY;
use crate::stores::disk::{Disk, DiskFile, is_full};

const STEP: u64 = 1 << 20;

/// A frame to be written again in a new segment.
struct Carried {
    count: u32,
    body: Vec<u8>,
}

/// What the next segment starts with.
struct Next {
    header: SegmentHeader,
    carried: Option<Carried>,
}

struct Current {
    file: Box<dyn DiskFile>,
    header: SegmentHeader,
    key: SegmentKey,
    end: u64,
    zeroed: u64,
}

impl Current {
    /// The header of the segment that goes on after this one, at `position`.
    fn next(&self, position: Position) -> SegmentHeader {
        if self.end == SEGMENT_HEADER as u64 {
            return self.header;
        }
        SegmentHeader { start: position, previous: self.header.first(), previous_end: self.end }
    }
}

/// A segment that got its successor: what snapshots are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    /// Where it ends.
    pub(super) position: Position,
    /// Its length.
    pub(super) bytes: u64,
}

/// The writing end of the journal.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    position: Position,
    next: Next,
    current: Option<Current>,
    lean: bool,
    rooted: bool,
    sealed: Vec<Sealed>,
}

impl Journal {
    /// Goes on after `chain`, whose end is `tail`, or starts a journal at `base` if there is none.
    /// Writes nothing yet.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        base: Position,
        chain: &Chain,
        tail: Option<&Tail>,
    ) -> Result<Self, TruthError> {
        let (position, next) = match (chain.segments.last(), tail) {
            (Some(_), Some(tail)) => (tail.position, after(chain, tail)?),
            _ => (
                base,
                Next { header: SegmentHeader { start: base, previous: 0, previous_end: 0 }, carried: None },
            ),
        };
        let (current, lean, rooted, sealed) = (None, false, false, Vec::new());
        Ok(Self { disk, segment_bytes, position, next, current, lean, rooted, sealed })
    }

    /// The end of what was read or appended; durable up to there if [`Self::is_durable`].
    pub(super) const fn position(&self) -> Position {
        self.position
    }

    /// Whether all of it is on stable storage for certain. Not before the first segment is open, if
    /// the last frame found is to be carried over.
    pub(super) const fn is_durable(&self) -> bool {
        self.next.carried.is_none()
    }

    /// Whether a segment is open for appending.
    pub(super) const fn is_ready(&self) -> bool {
        self.current.is_some()
    }

    /// Segments sealed since the last call.
    pub(super) fn take_sealed(&mut self) -> Vec<Sealed> {
        std::mem::take(&mut self.sealed)
    }

    /// Opens the next segment if none is open. What a crash leaves of it: nothing, a temporary file
    /// (removed at start), or the whole segment.
    pub(super) fn ready(&mut self) -> io::Result<()> {
        if self.current.is_some() {
            return Ok(());
        }
        if !self.rooted {
            // The folders' own entries: in a new store they are not durable yet.
            ["meta", "."].iter().try_for_each(|folder| self.disk.sync_dir(Path::new(folder)))?;
            self.rooted = true;
        }
        let (file, end) = self.make_segment()?;
        let header = self.next.header;
        self.current = Some(Current { file, header, key: header.key(), end, zeroed: end });
        self.next.carried = None;
        self.cut_previous(&header);
        Ok(())
    }

    fn make_segment(&self) -> io::Result<(Box<dyn DiskFile>, u64)> {
        let Next { header, carried } = &self.next;
        let path = paths::journal_segment(header.first());
        let temporary = path.with_extension(format!("log{TEMPORARY}"));
        self.disk.remove_file(&temporary)?;
        let mut file = self.disk.create(&temporary)?;
        let mut bytes = header.encode().to_vec();
        if let Some(Carried { count, body }) = carried {
            let offset = SEGMENT_HEADER as u64;
            let frame = encode_frame(&header.key(), offset, offset, header.first(), *count, body);
            bytes.extend_from_slice(&frame.map_err(io::Error::other)?);
        }
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
        self.disk.rename(&temporary, &path)?;
        self.disk.sync_dir(Path::new(paths::JOURNAL))?;
        Ok((file, bytes.len() as u64))
    }

    /// Best effort: the header just made durable says where the truth ends in any case.
    fn cut_previous(&mut self, header: &SegmentHeader) {
        let path: PathBuf = paths::journal_segment(header.previous);
        if header.previous == 0 {
            return;
        }
        self.sealed.push(Sealed { position: header.start, bytes: header.previous_end });
        let cut = || -> io::Result<()> {
            if self.disk.file_len(&path)?.is_some_and(|len| len > header.previous_end) {
                self.disk.open(&path)?.set_len(header.previous_end)?;
            }
            Ok(())
        };
        if let Err(error) = cut() {
            tracing::debug!(segment = %path.display(), %error, "bytes beyond the segment's end stay");
        }
    }

    /// Appends a group of `count` change sets, opening segments as needed; it is durable on `Ok`.
    /// On an error nothing of it is part of the journal.
    pub(super) fn append(&mut self, count: u32, body: &[u8]) -> io::Result<Position> {
        if self.current.as_ref().is_some_and(|current| current.end >= self.segment_bytes) {
            self.end_segment();
            self.lean = false;
        }
        match self.append_once(count, body) {
            // The step ahead may be what does not fit; the new segment's header excludes what is
            // there of the frame.
            Err(error) if is_full(&error) && !self.lean => {
                self.lean = true;
                self.append_once(count, body)
            }
            result => result,
        }
    }

    fn append_once(&mut self, count: u32, body: &[u8]) -> io::Result<Position> {
        self.ready()?;
        let after =
            self.position.after(count, body).ok_or_else(|| io::Error::other("sequence numbers ran out"))?;
        if let Err(error) = self.write(count, body) {
            self.end_segment();
            return Err(error);
        }
        self.position = after;
        Ok(after)
    }

    fn end_segment(&mut self) {
        if let Some(current) = self.current.take() {
            self.next = Next { header: current.next(self.position), carried: None };
        }
    }

    fn write(&mut self, count: u32, body: &[u8]) -> io::Result<()> {
        let first = self.position.sequence + 1;
        let Some(current) = &mut self.current else { return Err(io::Error::other("no segment is open")) };
        let mut frame = encode_frame(&current.key, current.end, current.end, first, count, body)
            .map_err(io::Error::other)?;
        let end = current.end + frame.len() as u64;
        if end > current.zeroed {
            let mut step = if self.lean { 0 } else { STEP.min(self.segment_bytes / 4) };
            match current.file.allocate(end + step) {
                // Nothing is written yet: the frame alone may fit this very file.
                Err(error) if is_full(&error) && step > 0 => {
                    (self.lean, step) = (true, 0);
                    current.file.allocate(end)?;
                }
                result => result?,
            }
            frame.resize(frame.len() + usize::try_from(step).unwrap_or(0), 0);
            current.zeroed = end + step;
        }
        current.file.write_at(&frame, current.end)?;
        current.file.sync_data()?;
        current.end = end;
        Ok(())
    }
}

/// What follows the end of a journal that was read: a segment that ends the last one before its
/// last frame, and starts with that frame.
fn after(chain: &Chain, tail: &Tail) -> Result<Next, TruthError> {
    let Some(segment) = chain.segments.last() else {
        return Ok(Next {
            header: SegmentHeader { start: tail.position, previous: 0, previous_end: 0 },
            carried: None,
        });
    };
    let Some(last) = tail.last else { return Ok(Next { header: segment.header, carried: None }) };
    let mut body = Vec::new();
    segment
        .frame(last.offset, tail.end, &mut body)?
        .map_err(|what| TruthError::damaged(&segment.path, last.offset, what))?;
    let carried = Some(Carried { count: last.count, body });
    if last.offset == SEGMENT_HEADER as u64 {
        return Ok(Next { header: segment.header, carried });
    }
    let previous = segment.header.first();
    Ok(Next { header: SegmentHeader { start: last.before, previous, previous_end: last.offset }, carried })
}
