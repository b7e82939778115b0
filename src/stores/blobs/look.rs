//! Whether a blob's file is what its name says, looked at a slice at a time, past the page cache, so that
//! what is hot stays there: by the hashes of its outboard where it has one that holds, chunk by chunk on
//! several threads; by its digest else. Changes nothing; an outboard's word alone condemns no blob.

use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pierhead_storage_format::outboard::{CHUNK, Outboard, encoded_len};
use pierhead_storage_format::{Digest, paths};

use super::error::{BlobError, io};
use super::hash::Hasher;
use super::pool::BLOCK;
use super::readers::together;
use super::{Blobs, Store, lock, read};
use crate::stores::disk::DiskReader;

/// Damaged parts that are named.
const PARTS: usize = 8;

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// The bytes are right.
    Sound,
    /// There is no file.
    Missing,
    /// They are not, as far as can be told; the parts that differ, if that is known.
    Suspect(Vec<Range<u64>>),
}

/// A blob that is being looked at.
pub struct Look {
    store: Arc<Store>,
    digest: Digest,
    size: u64,
    file: Box<dyn DiskReader>,
    how: How,
    at: u64,
}

enum How {
    Chunks(Outboard, Mutex<Vec<Range<u64>>>),
    Whole(Box<Hasher>),
}

impl Blobs {
    /// Begins to look at a blob of `size` bytes; what can be told at once is told. Blocks.
    pub fn look_at(&self, digest: &Digest, size: u64) -> Result<Result<Look, Looked>, BlobError> {
        let file = match read::open_file(&self.0, digest) {
            Ok(file) => file,
            Err(BlobError::NotFound) => return Ok(Err(Looked::Missing)),
            Err(error) => return Err(error),
        };
        if file.len().map_err(io("looking at a blob"))? != size {
            return Ok(Err(Looked::Suspect(Vec::new())));
        }
        file.past_cache();
        let how = match outboard(&self.0, digest, size) {
            Some(outboard) => How::Chunks(outboard, Mutex::default()),
            None => How::Whole(Box::new(Hasher::new(digest.algorithm()))),
        };
        let store = Arc::clone(&self.0);
        Ok(Ok(Look { store, digest: *digest, size, file, how, at: 0 }))
    }
}

/// The outboard of a blob, if it has one that holds.
fn outboard(store: &Store, digest: &Digest, size: u64) -> Option<Outboard> {
    use std::io::Read;
    if size <= CHUNK {
        return None;
    }
    let mut bytes = Vec::new();
    let file = store.disk.open_read(&paths::outboard(digest)).ok()?;
    file.take(encoded_len(digest, size).saturating_add(1)).read_to_end(&mut bytes).ok()?;
    Outboard::decode(&bytes).ok().filter(|outboard| outboard.digest == *digest && outboard.len == size)
}

impl Look {
    /// Reads up to `most` bytes on, a multiple of 1 MiB, by up to `threads`. `None` while there is more. Blocks.
    pub fn go_on(&mut self, most: u64, threads: usize) -> Result<Option<Looked>, BlobError> {
        let end = self.at.saturating_add(most.max(CHUNK)).min(self.size);
        match &mut self.how {
            How::Chunks(outboard, bad) => {
                let chunks = (self.at / CHUNK) as usize..end.div_ceil(CHUNK) as usize;
                compare(&self.store, self.file.as_ref(), outboard, (chunks, threads), bad)?;
            }
            How::Whole(hasher) => {
                let mut block = self.store.pool.block();
                let mut at = self.at;
                while at < end {
                    let Some(bytes) = chunk(self.file.as_ref(), &mut block, at, self.size)? else {
                        return Ok(Some(Looked::Suspect(Vec::new())));
                    };
                    hasher.update(bytes);
                    at += bytes.len() as u64;
                }
            }
        }
        self.at = end;
        Ok((end == self.size).then(|| self.verdict()))
    }

    /// Which blob it is.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes read so far.
    pub const fn read(&self) -> u64 {
        self.at
    }

    fn verdict(&self) -> Looked {
        match &self.how {
            How::Whole(hasher) if hasher.digest() == self.digest => Looked::Sound,
            How::Whole(_) => Looked::Suspect(Vec::new()),
            How::Chunks(_, bad) => {
                let mut bad = lock(bad).clone();
                bad.sort_by_key(|part| part.start);
                if bad.is_empty() { Looked::Sound } else { Looked::Suspect(bad) }
            }
        }
    }
}

/// Compares chunks with what the outboard says; those that differ, or cannot be read, go to `bad`.
fn compare(
    store: &Store,
    file: &dyn DiskReader,
    outboard: &Outboard,
    (chunks, threads): (Range<usize>, usize),
    bad: &Mutex<Vec<Range<u64>>>,
) -> Result<(), BlobError> {
    let next = AtomicUsize::new(chunks.start);
    let work = || -> Result<(), BlobError> {
        let mut block = store.pool.block();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(hash) = outboard.chunks.get(number).filter(|_| number < chunks.end) else {
                return Ok(());
            };
            let place = outboard.place(number);
            let bytes = chunk(file, &mut block, place.start, place.end)?;
            if bytes.is_none_or(|bytes| blake3::hash(bytes).as_bytes() != hash) && lock(bad).len() < PARTS {
                lock(bad).push(place);
            }
        }
    };
    together(threads.min(chunks.len()), work, io("reading a blob"))
}

/// The bytes from `at`, 1 MiB or what is left up to `end`; `None` if they cannot be read.
fn chunk<'b>(
    file: &dyn DiskReader,
    block: &'b mut super::pool::Block,
    at: u64,
    end: u64,
) -> Result<Option<&'b [u8]>, BlobError> {
    let wanted = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
    match read::fill(file, block.space(BLOCK), at, wanted) {
        Ok(read) if read >= wanted => Ok(AsRef::<[u8]>::as_ref(&*block).get(..wanted)),
        Ok(_) => Ok(None),
        Err(BlobError::Io { source, .. }) if source.kind() != ErrorKind::OutOfMemory => Ok(None),
        Err(error) => Err(error),
    }
}
