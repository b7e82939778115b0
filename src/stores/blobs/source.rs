//! Where a pull's bytes come from. New pages of the page cache are dear (their allocation can cost
//! five times what sending their bytes does), and most blobs are pulled once, or not for a long
//! time. So:
//!
//! - A range is read past the cache, into pooled buffers, unless most of it is cached already, which
//!   a sample of its pages tells when it is opened (whatever is cached before a pull, a restart or
//!   someone else has seen to it).
//! - A blob that is pulled again while it is remembered (`recent`) goes through the cache, so that
//!   from then on it comes from memory: of many machines that want an image, the first reads the
//!   disk past the cache, the second fills it, and the others share what is there.
//! - What is cached goes as a map to a plain socket, and is copied into a pooled buffer for TLS.
//! - Small ranges, and all where the filesystem has no way past its cache, go through the cache.
//!
//! A range keeps its way to its end. Whatever a map cannot do, an ordinary read does, or says why
//! not. Must not be asked on an async thread.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pierhead_storage_format::Digest;

use super::error::BlobError;
use super::pool::{ALIGN, BLOCK, Pool, SCANT};
use super::read::{Reading, fill};
use super::{Store, map};
use crate::stores::disk::DiskReader;

/// Up to this many bytes are one read through the cache.
pub(super) const SMALL: u64 = 64 << 10;
/// Bytes of a piece; pieces end at multiples of it.
const PIECE: u64 = BLOCK as u64;
/// Bytes mapped at a time. Maps of 1 MiB cost a third more CPU to make and to undo; a pull has up to
/// three mapped, which count as its memory though they are the cache's.
const MAPPED_PIECE: u64 = 4 << 20;
/// A piece while buffers are scarce.
const SCANT_PIECE: u64 = SCANT as u64;

/// An open blob, of which a range is read.
pub(super) struct Source {
    pub(super) file: Box<dyn DiskReader>,
    pub(super) digest: Digest,
    pub(super) way: Way,
    /// Where the range ends.
    pub(super) end: u64,
    pub(super) pool: Arc<Pool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// One read through the cache.
    Small,
    /// Maps of cached pages; those that are not cached are read in.
    Mapped,
    /// Copies of cached pages; those that are not cached are read in.
    Buffered,
    /// Past the cache.
    Direct,
}

impl Source {
    /// Decides where `range` of the blob, which has `size` bytes, comes from.
    pub(super) fn new(
        store: &Store,
        file: Box<dyn DiskReader>,
        digest: Digest,
        size: u64,
        range: &Range<u64>,
        how: Reading,
    ) -> Self {
        let cached = |range| file.to_map().and_then(|file| map::is_cached(file, range)).unwrap_or(false);
        let way = if range.end - range.start <= SMALL {
            Way::Small
        } else if !store.recent.is_again(&digest, size, range) && !cached(range.clone()) && file.past_cache()
        {
            Way::Direct
        } else {
            match how {
                Reading::Mapped => Way::Mapped,
                Reading::Buffered => Way::Buffered,
            }
        };
        Self { file, digest, way, end: range.end, pool: Arc::clone(&store.pool) }
    }

    /// How many pieces may be read while one is sent, out of `most`.
    pub(super) fn ahead(&self, most: usize) -> usize {
        match self.way {
            Way::Direct if self.pool.is_plenty() => most,
            _ => 1,
        }
    }

    /// Takes the next piece from `rest`, which is not empty.
    pub(super) fn next_piece(&self, rest: &mut Range<u64>) -> Range<u64> {
        let unit = match self.way {
            Way::Small => u64::MAX,
            Way::Mapped => MAPPED_PIECE,
            Way::Buffered | Way::Direct if self.pool.is_plenty() => PIECE,
            Way::Buffered | Way::Direct => SCANT_PIECE,
        };
        let end = rest.start.saturating_add(unit - rest.start % unit).min(rest.end);
        // The last piece is not mapped (see `piece`), and has to fit into a block.
        let is_last = end == rest.end && self.way == Way::Mapped && end - rest.start > PIECE;
        let end = if is_last { (end - 1) / PIECE * PIECE } else { end };
        let piece = rest.start..end;
        rest.start = end;
        piece
    }

    /// Makes a piece ready. Blocks.
    pub(super) fn piece(&self, piece: Range<u64>) -> Result<Bytes, BlobError> {
        match self.way {
            Way::Small => self.owned(piece),
            // The last piece is always read: of a file cut in the middle of a mapped page, the rest of
            // that page is zeros, which no error tells. What is read after it fails.
            Way::Mapped if piece.end < self.end => self.mapped(piece),
            Way::Mapped | Way::Buffered | Way::Direct => self.buffered(piece),
        }
    }

    fn mapped(&self, piece: Range<u64>) -> Result<Bytes, BlobError> {
        match self.file.to_map().and_then(|file| map::populated(file, piece.clone())) {
            Ok(bytes) => Ok(bytes),
            Err(_) => self.owned(piece),
        }
    }

    /// Reads into memory of its own, through the cache.
    fn owned(&self, piece: Range<u64>) -> Result<Bytes, BlobError> {
        let len = length(&piece);
        let mut bytes = vec![0; len];
        let filled = fill(self.file.as_ref(), &mut bytes, piece.start, len)?;
        self.whole(filled, len)?;
        Ok(bytes.into())
    }

    /// Reads the pages that hold the piece: past the cache there is no less.
    fn buffered(&self, piece: Range<u64>) -> Result<Bytes, BlobError> {
        let page = ALIGN as u64;
        let from = if self.way == Way::Direct { piece.start - piece.start % page } else { piece.start };
        let (skipped, wanted) = (length(&(from..piece.start)), length(&(from..piece.end)));
        let room = if self.way == Way::Direct { wanted.next_multiple_of(ALIGN) } else { wanted };
        let mut block = self.pool.block_of(room);
        let filled = fill(self.file.as_ref(), block.space(room), from, wanted)?;
        self.whole(filled, wanted)?;
        Ok(Bytes::from_owner(block).slice(skipped..wanted))
    }

    /// A file that has become shorter than it was when opened is damaged.
    fn whole(&self, filled: usize, wanted: usize) -> Result<(), BlobError> {
        if filled < wanted { Err(BlobError::Damaged { digest: self.digest }) } else { Ok(()) }
    }
}

/// Bytes of a piece.
fn length(piece: &Range<u64>) -> usize {
    usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX)
}
