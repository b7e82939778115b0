//! A segment: its index in memory, its filters when they were asked for, its frames on the disk.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::audit::{
    Entry, Index, SEGMENT_HEADER, TRAILER, Trailer, decode_segment_header, items,
};
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::{FormatError, paths};

use super::TrailError;
use crate::stores::disk::{Disk, DiskReader};

/// Bytes of a frame uncompressed at most: 1,024 records of the longest.
const MAX_FRAME: usize = 1024 * (4096 + 18);
/// Bytes of an index, or of filters, at most: more than any segment of ours has.
const MAX_INDEX: u64 = 16 << 20;

/// A sealed segment.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) day: String,
    pub(super) bytes: u64,
    pub(super) index: Index,
    trailer: Trailer,
    /// Where the filters of each frame begin among them.
    filters: Vec<usize>,
}

impl Segment {
    /// Reads the index of a file, and makes sure that it is the segment its name says.
    pub(super) fn open(disk: &dyn Disk, day: &str, number: u64) -> Result<Self, TrailError> {
        let path = paths::audit_segment(day, number);
        let file = disk.open_reader(&path).map_err(TrailError::io("opening", &path))?;
        let bytes = file.len().map_err(TrailError::io("reading", &path))?;
        let damaged = |source| TrailError::Damaged { path: path.clone(), source };
        let read = |at: u64, len: usize| read(file.as_ref(), &path, at, len);
        let short = FormatError::Damaged("the segment is cut short");
        let trailer_at = bytes.checked_sub(TRAILER as u64).filter(|at| *at >= SEGMENT_HEADER as u64);
        let trailer_at = trailer_at.ok_or_else(|| damaged(short))?;
        let trailer = Trailer::decode(&read(trailer_at, TRAILER)?, bytes).map_err(damaged)?;
        if trailer_at - trailer.filters_at > MAX_INDEX {
            return Err(damaged(FormatError::TooLarge));
        }
        let own = decode_segment_header(&read(0, SEGMENT_HEADER)?).map_err(damaged)?;
        if own != number || trailer.number != number {
            return Err(damaged(FormatError::Damaged("the segment is another one than its name says")));
        }
        let index =
            Index::decode(&trailer, &read(trailer.index_at, trailer.index_len())?).map_err(damaged)?;
        Ok(Self::new(day.to_owned(), bytes, trailer, index))
    }

    fn new(day: String, bytes: u64, trailer: Trailer, index: Index) -> Self {
        let filters = index.entries.iter().scan(0, |at, entry| {
            let begins = *at;
            *at += entry.filter as usize;
            Some(begins)
        });
        Self { number: trailer.number, day, bytes, filters: filters.collect(), index, trailer }
    }

    pub(super) fn path(&self) -> PathBuf {
        paths::audit_segment(&self.day, self.number)
    }

    pub(super) fn from(&self) -> u64 {
        self.index.entries.iter().map(|entry| entry.from).min().unwrap_or(0)
    }

    pub(super) fn to(&self) -> u64 {
        self.index.entries.iter().map(|entry| entry.to).max().unwrap_or(0)
    }

    pub(super) fn last(&self) -> Option<Id> {
        self.index.entries.last().map(|entry| entry.last)
    }

    /// The filter of a frame among all of the segment's.
    pub(super) fn filter<'a>(&self, filters: &'a [u8], frame: usize) -> &'a [u8] {
        let begins = self.filters.get(frame).copied().unwrap_or(0);
        let len = self.index.entries.get(frame).map_or(0, |entry| entry.filter as usize);
        filters.get(begins..begins + len).unwrap_or_default()
    }

    fn read_filters(&self, disk: &dyn Disk) -> Result<Vec<u8>, TrailError> {
        let path = self.path();
        let file = disk.open_reader(&path).map_err(TrailError::io("opening", &path))?;
        let len = usize::try_from(self.trailer.filters_len()).unwrap_or(usize::MAX);
        let bytes = read(file.as_ref(), &path, self.trailer.filters_at, len)?;
        if self.trailer.holds_filters(&bytes) {
            return Ok(bytes);
        }
        Err(TrailError::Damaged { path, source: FormatError::Damaged("the segment's filters do not hold") })
    }

    /// The events of a frame, as `items` reads them.
    pub(super) fn frame(&self, disk: &dyn Disk, entry: &Entry) -> Result<Vec<u8>, TrailError> {
        let path = self.path();
        let file = disk.open_reader(&path).map_err(TrailError::io("opening", &path))?;
        let packed = read(file.as_ref(), &path, entry.offset, entry.len as usize)?;
        let damaged = |source| TrailError::Damaged { path: path.clone(), source };
        if !entry.holds(&packed) || entry.raw as usize > MAX_FRAME {
            return Err(damaged(FormatError::Damaged("a frame's checksum does not hold")));
        }
        let raw = zstd::bulk::decompress(&packed, entry.raw as usize);
        let raw = raw.ok().filter(|raw| raw.len() == entry.raw as usize);
        raw.ok_or_else(|| damaged(FormatError::Damaged("a frame cannot be unpacked")))
    }

    /// Reads everything, and holds the index against it.
    pub(super) fn check(&self, disk: &dyn Disk) -> Result<(), TrailError> {
        let damaged = |what| TrailError::Damaged { path: self.path(), source: FormatError::Damaged(what) };
        let filters = self.read_filters(disk)?;
        for (number, entry) in self.index.entries.iter().enumerate() {
            let raw = self.frame(disk, entry)?;
            let filter = self.filter(&filters, number);
            if !super::search::fits_its_entry(items(&raw), entry, filter) {
                return Err(damaged("a frame is not what the index says"));
            }
        }
        Ok(())
    }
}

fn read(file: &dyn DiskReader, path: &Path, at: u64, len: usize) -> Result<Vec<u8>, TrailError> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => {
                let ended = io::Error::from(ErrorKind::UnexpectedEof);
                return Err(TrailError::io("reading", path)(ended));
            }
            Ok(read) => filled += read,
            Err(error) => return Err(TrailError::io("reading", path)(error)),
        }
    }
    Ok(bytes)
}

/// Filters that were asked for lately, up to so many bytes.
#[derive(Default)]
pub(super) struct Filters {
    by_number: HashMap<u64, Arc<[u8]>>,
    /// In the order they came.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Filters {
    pub(super) fn known(&self, number: u64) -> Option<Arc<[u8]>> {
        self.by_number.get(&number).cloned()
    }

    fn keep(&mut self, number: u64, filters: &Arc<[u8]>) {
        if self.by_number.insert(number, Arc::clone(filters)).is_none() {
            self.order.push_back(number);
            self.bytes += filters.len();
        }
        while self.bytes > super::CACHE {
            let Some(oldest) = self.order.front().copied() else { return };
            self.forget(oldest);
        }
    }

    pub(super) fn forget(&mut self, number: u64) {
        if let Some(gone) = self.by_number.remove(&number) {
            self.bytes -= gone.len();
            self.order.retain(|known| *known != number);
        }
    }
}

impl super::Inner {
    /// The filters of a segment.
    pub(super) fn filters_of(&self, segment: &Segment) -> Result<Arc<[u8]>, TrailError> {
        if let Some(known) = super::lock(&self.filters).known(segment.number) {
            return Ok(known);
        }
        let read: Arc<[u8]> = segment.read_filters(self.disk.as_ref())?.into();
        super::lock(&self.filters).keep(segment.number, &read);
        Ok(read)
    }
}
