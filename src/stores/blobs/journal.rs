//! Checkpoints of one upload: what lets it go on after a crash. A checkpoint says that the bytes up to
//! its offset are durable, with the running digest there and the BLAKE3 of every chunk since the one
//! before; `recovery` proves it against the file. Steps, and what a stop after each leaves:
//! `FORMAT.md`, "A checkpoint of an upload".
//!
//! J1: the bytes are synced before the checkpoint is written, through a descriptor of its own, so that
//!     writing goes on meanwhile.
//! J2: after a sync of the bytes that failed the upload is given up; after any failure of the journal
//!     itself nothing more is written to it, and the upload goes on without.

use std::io;
use std::path::Path;
use std::sync::Arc;

use pierhead_storage_format::upload::{CHUNK, Checkpoint, Header, Key};
use pierhead_storage_format::{Algorithm, FormatError, paths};

use super::Store;
use super::hash::Hasher;
use crate::stores::disk::DiskFile;

/// Who an upload belongs to, for whoever takes it up after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Where its blob goes, at most 255 bytes.
    pub repository: String,
    /// Who began it; at most 4096 bytes, which mean nothing here.
    pub actor: Vec<u8>,
    /// UTC milliseconds.
    pub created_at: u64,
}

/// What failed.
pub(super) enum Failure {
    /// The upload's bytes may be lost.
    Data(io::Error),
    /// Only the journal.
    Journal(io::Error),
}

/// The journal of one upload.
pub(super) struct Journal {
    store: Arc<Store>,
    id: String,
    header: Header,
    data: Option<Box<dyn DiskFile>>,
    file: Option<Box<dyn DiskFile>>,
    len: u64,
}

impl Journal {
    /// One that is made with its first checkpoint; `None` for an owner that does not fit.
    pub(super) fn new(store: &Arc<Store>, id: &str, algorithm: Algorithm, owner: Owner) -> Option<Self> {
        let number = u128::from_str_radix(id, 16).ok()?;
        let Owner { repository, actor, created_at } = owner;
        let header = Header { id: number, algorithm, created_at, repository, actor };
        header.encode().ok()?;
        Some(Self { store: Arc::clone(store), id: id.to_owned(), header, data: None, file: None, len: 0 })
    }

    /// One that is there and goes on after `len` bytes.
    pub(super) fn open(
        store: &Arc<Store>,
        id: &str,
        header: Header,
        file: Box<dyn DiskFile>,
        len: u64,
    ) -> Self {
        Self { store: Arc::clone(store), id: id.to_owned(), header, data: None, file: Some(file), len }
    }

    /// Makes the bytes and then the checkpoint durable. Blocks.
    pub(super) fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        self.sync_data()?;
        self.append(checkpoint).map_err(Failure::Journal)
    }

    fn sync_data(&mut self) -> Result<(), Failure> {
        let mut data = match self.data.take() {
            Some(data) => data,
            None => self.store.disk.open(&paths::upload_data(&self.id)).map_err(Failure::Journal)?,
        };
        data.sync_data().map_err(Failure::Data)?;
        self.data = Some(data);
        Ok(())
    }

    fn append(&mut self, checkpoint: &Checkpoint) -> io::Result<()> {
        let key = self.header.key().map_err(unfit)?;
        if let Some(file) = self.file.as_mut() {
            let record = checkpoint.encode(&key, self.len).map_err(unfit)?;
            file.write_at(&record, self.len)?;
            file.sync_data()?;
            self.len += record.len() as u64;
            return Ok(());
        }
        self.make(&key, checkpoint)
    }

    fn make(&mut self, key: &Key, checkpoint: &Checkpoint) -> io::Result<()> {
        let mut bytes = self.header.encode().map_err(unfit)?;
        bytes.extend(checkpoint.encode(key, bytes.len() as u64).map_err(unfit)?);
        let mut file = self.store.disk.create(&paths::upload_journal(&self.id))?;
        file.write_at(&bytes, 0)?;
        file.sync_data()?;
        self.store.disk.sync_dir(&paths::upload_dir(&self.id))?;
        self.store.disk.sync_dir(Path::new(paths::UPLOADS))?;
        self.file = Some(file);
        self.len = bytes.len() as u64;
        Ok(())
    }

    /// Removes the folder of an upload that is given up.
    pub(super) fn drop_upload(&self) {
        self.store.drop_upload(&self.id);
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

fn unfit(error: FormatError) -> io::Error {
    io::Error::other(error)
}

/// Bytes hashed twice in a row.
const SLICE: usize = 64 << 10;

/// The running digest of an upload and the hashes of its chunks.
pub(super) struct Hashing {
    pub(super) digest: Hasher,
    running: blake3::Hasher,
    filled: u64,
    done: Vec<[u8; 32]>,
    /// How many of them are in checkpoints.
    claimed: usize,
}

impl Hashing {
    /// Begins with `digest`, which has taken nothing yet.
    pub(super) fn new(digest: Hasher) -> Self {
        Self::after(digest, Vec::new(), &[])
    }

    /// Goes on with `digest`, which took the chunks of these hashes, all of them in checkpoints, and then
    /// `start` of the next one.
    pub(super) fn after(digest: Hasher, chunks: Vec<[u8; 32]>, start: &[u8]) -> Self {
        let (mut running, claimed) = (blake3::Hasher::new(), chunks.len());
        running.update(start);
        Self { digest, running, filled: start.len() as u64, done: chunks, claimed }
    }

    /// In slices that stay in a core's cache: BLAKE3 reads many places at once and so waits little for
    /// memory; the digest, which waits for every line, then finds the slice at hand.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for slice in bytes.chunks(SLICE) {
            self.update_chunks(slice);
            self.digest.update(slice);
        }
    }

    fn update_chunks(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(CHUNK - self.filled).unwrap_or(bytes.len());
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.running.update(now);
            self.filled += now.len() as u64;
            if self.filled == CHUNK {
                self.done.push(*self.running.finalize().as_bytes());
                self.running.reset();
                self.filled = 0;
            }
            bytes = rest;
        }
    }

    /// The claim for `offset`, where this stands: a multiple of a chunk. It is made once.
    pub(super) fn checkpoint(&mut self, offset: u64) -> Option<Checkpoint> {
        if self.filled > 0 {
            return None;
        }
        Some(self.claim(offset, None))
    }

    /// The claim for `offset`, where this stands, wherever that is. It is made once.
    pub(super) fn last_checkpoint(&mut self, offset: u64) -> Checkpoint {
        let tail = (self.filled > 0).then(|| *self.running.finalize().as_bytes());
        self.claim(offset, tail)
    }

    fn claim(&mut self, offset: u64, tail: Option<[u8; 32]>) -> Checkpoint {
        let chunks = self.done[self.claimed..].to_vec();
        self.claimed = self.done.len();
        Checkpoint { offset, state: self.digest.save(), chunks, tail }
    }

    /// The hashes of all chunks so far, the last one perhaps of less.
    pub(super) fn chunks(&self) -> Vec<[u8; 32]> {
        let last = (self.filled > 0).then(|| *self.running.finalize().as_bytes());
        self.done.iter().copied().chain(last).collect()
    }
}
