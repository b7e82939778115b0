//! Reading blobs. Small ranges are one read; larger ones come in pieces of a few MiB at most, each made
//! ready on a blocking thread while the one before is sent, so that neither a slow disk nor a bad
//! page is met on an async thread. Where the bytes come from is in `source`.
//!
//! R1: a reader holds at most [`AHEAD`] buffers of 1 MiB that nobody has taken, and while buffers are
//!     scarce one of 128 KiB; or one map.
//! R2: after an error there is no further piece.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pierhead_storage_format::{Digest, paths};
use tokio::task::{JoinHandle, spawn_blocking};

use super::error::{BlobError, io, worker_died};
use super::pool::BLOCK;
use super::source::{SMALL, Source};
use super::{Store, hash};
use crate::stores::disk::DiskReader;

/// Pieces that are read while one is sent, at most: two keep a disk busy.
const AHEAD: usize = 2;

/// How the bytes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As maps where they are cached, without copying: for a plain socket, whose writes fail where a
    /// touch would signal. Not for bytes this process looks at.
    Mapped,
    /// Read into buffers: for TLS, and for anything that looks at the bytes.
    Buffered,
}

/// A range of a blob, piece by piece.
pub struct BlobReader {
    pub(super) source: Arc<Source>,
    ready: Option<Bytes>,
    ahead: VecDeque<JoinHandle<Result<Bytes, BlobError>>>,
    /// What is not asked for yet.
    rest: Range<u64>,
}

impl BlobReader {
    /// The next piece; `None` after the last one and after an error. May be dropped while waiting.
    pub async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
        self.read_ahead();
        let piece = match self.ready.take() {
            Some(piece) => return Some(Ok(piece)),
            None => self.ahead.front_mut()?.await.unwrap_or_else(|error| Err(worker_died(error))),
        };
        self.ahead.pop_front();
        if piece.is_ok() {
            self.read_ahead();
        } else {
            self.ahead.clear();
            self.rest = 0..0;
        }
        Some(piece)
    }

    fn read_ahead(&mut self) {
        while !self.rest.is_empty() && self.ahead.len() < self.source.ahead(AHEAD) {
            let piece = self.source.next_piece(&mut self.rest);
            let source = Arc::clone(&self.source);
            self.ahead.push_back(spawn_blocking(move || source.piece(piece)));
        }
    }
}

/// Opens a range and makes its first piece ready. Blocks.
pub(super) fn open(
    store: &Store,
    digest: &Digest,
    size: u64,
    range: Range<u64>,
    how: Reading,
) -> Result<BlobReader, BlobError> {
    if range.start > range.end || range.end > size {
        return Err(io("reading outside a blob")(ErrorKind::InvalidInput.into()));
    }
    let file = open_whole(store, digest, size)?;
    let source = Source::new(store, file, *digest, size, &range, how);
    let mut rest = range;
    let ready = if rest.is_empty() { None } else { Some(source.piece(source.next_piece(&mut rest))?) };
    Ok(BlobReader { source: Arc::new(source), ready, ahead: VecDeque::new(), rest })
}

/// The whole blob, verified. Blocks.
pub(super) fn whole(store: &Store, digest: &Digest, size: u64) -> Result<Bytes, BlobError> {
    let file = open_whole(store, digest, size)?;
    let len = usize::try_from(size).map_err(|_| io("reading a blob")(ErrorKind::OutOfMemory.into()))?;
    let mut bytes = vec![0; len];
    if fill(file.as_ref(), &mut bytes, 0, len)? < len {
        return Err(BlobError::Damaged { digest: *digest });
    }
    if hash::of(digest.algorithm(), &bytes) != *digest {
        return Err(BlobError::Damaged { digest: *digest });
    }
    Ok(bytes.into())
}

/// Whether `file` is what this name says; an error if it cannot be read to its end. Reads all of it, past the
/// cache: it may be large, and is looked at once. An error of `before_each` block ends it. Blocks.
pub(super) fn is_sound(
    store: &Store,
    digest: &Digest,
    file: &dyn DiskReader,
    before_each: &mut dyn FnMut() -> Result<(), BlobError>,
) -> Result<bool, BlobError> {
    let len = file.len().map_err(io("looking at a blob"))?;
    if len > SMALL {
        file.past_cache();
    }
    let mut hasher = hash::Hasher::new(digest.algorithm());
    let mut block = store.pool.block();
    let mut at = 0;
    while at < len {
        before_each()?;
        let read = match fill(file, block.space(BLOCK), at, BLOCK) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => return Err(error),
        };
        hasher.update(&block.as_ref()[..read]);
        at += read as u64;
    }
    Ok(hasher.digest() == *digest)
}

fn open_whole(store: &Store, digest: &Digest, size: u64) -> Result<Box<dyn DiskReader>, BlobError> {
    let file = open_file(store, digest)?;
    let len = file.len().map_err(io("looking at a blob"))?;
    if len == size { Ok(file) } else { Err(BlobError::Damaged { digest: *digest }) }
}

pub(super) fn open_file(store: &Store, digest: &Digest) -> Result<Box<dyn DiskReader>, BlobError> {
    store.disk.open_reader(&paths::blob(digest)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => BlobError::NotFound,
        _ => io("opening a blob")(error),
    })
}

/// Reads at `at` until `wanted` of `bytes` are there or the file ends; says how many are. Past the
/// cache a read that is cut off in the middle of a page has met the end.
pub(super) fn fill(
    file: &dyn DiskReader,
    bytes: &mut [u8],
    at: u64,
    wanted: usize,
) -> Result<usize, BlobError> {
    let mut filled = 0;
    while filled < wanted {
        match file.read_at(&mut bytes[filled..], at + filled as u64).map_err(io("reading a blob"))? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
