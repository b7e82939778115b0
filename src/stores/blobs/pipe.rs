//! How an upload's bytes get to the disk while more are received: the caller copies frames into a
//! block, a writer writes blocks, a hasher hashes what was written. Each of the two is a job on a
//! blocking thread that runs until it finds nothing to do, so an upload at rest pins no thread.
//!
//! Blocks end at multiples of 2 MiB of the file. A whole one is written past the page cache (the
//! cache would cost as much CPU as hashing), any other through it: the end of a request's bytes, and
//! what follows up to the next multiple. So an upload below 2 MiB is one buffered write, and one that
//! goes on at an odd offset needs nothing read again. A block that is not full is written when the
//! request ends, finished or dropped ([`Pipe::flush`]): no byte stays in memory after that.
//!
//! Written before hashed: when a write fails, the hash stands at the last byte known written, and the
//! upload goes on from there. Whoever takes the file out of its slot ends the upload and owns its
//! folder. Locks in the order file or hash, then state; none is held across an await.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use bytes::Bytes;
use pierhead_storage_format::upload::{CHUNK, Checkpoint};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::error::{BlobError, io};
use super::hash::Hasher;
use super::journal::{Failure, Hashing, Journal};
use super::pool::{Block, LARGE, Pool};
use super::{Store, lock};
use crate::stores::disk::DiskFile;

/// Blocks an upload may hold at once.
pub(super) const BLOCKS: usize = 7;
/// Blocks an upload may hold whatever the others do: one is filled while one is written and hashed.
const OWN_BLOCKS: usize = 2;
/// Up to this length a block is hashed by the writer: waking another thread costs as much.
const HASHED_IN_PLACE: usize = 64 << 10;

/// The file's slot; empty once the upload has ended.
pub(super) type Slot = Option<Box<dyn DiskFile>>;

/// The way from the caller to the disk.
pub(super) struct Pipe {
    file: Mutex<Slot>,
    hash: Mutex<Hashing>,
    /// Held while a checkpoint is written.
    journal: Mutex<Option<Journal>>,
    checkpoint_every: u64,
    state: Mutex<State>,
    moved: Notify,
    pool: Arc<Pool>,
}

/// An upload all of whose bytes are written and hashed.
pub(super) struct Settled {
    /// Its bytes.
    pub(super) size: u64,
    /// Their digest, which may go on.
    pub(super) hasher: Hasher,
    /// BLAKE3 of each chunk of them that was hashed in this run.
    pub(super) chunks: Vec<[u8; 32]>,
    /// Whether space was allocated ahead.
    pub(super) allocated: bool,
}

#[derive(Default)]
struct State {
    /// Bytes taken from the caller; goes back when a write fails.
    accepted: u64,
    /// Bytes written.
    written: u64,
    /// Bytes written and hashed.
    kept: u64,
    filling: Option<Block>,
    to_write: VecDeque<Block>,
    to_hash: VecDeque<Block>,
    /// Blocks held, those in the workers' hands too.
    blocks: usize,
    writing: bool,
    hashing: bool,
    /// The block being filled is to be written too.
    flushing: bool,
    /// There is a journal and it works.
    journaling: bool,
    /// A checkpoint is being written.
    checkpointing: bool,
    /// The offset of the last checkpoint begun, and of the last one that is durable.
    marked: u64,
    durable: u64,
    /// Disk space was asked for ahead of the bytes.
    allocated: bool,
    /// A failed write nobody has been told of.
    failed: Option<BlobError>,
    ended: bool,
}

impl Pipe {
    /// Goes on at `offset`, which is the length of `file` and where `hashing` stands.
    pub(super) fn new(
        store: &Store,
        file: Box<dyn DiskFile>,
        offset: u64,
        hashing: Hashing,
        journal: Option<Journal>,
    ) -> Arc<Self> {
        let at = State { accepted: offset, written: offset, kept: offset, ..State::default() };
        let state = State { marked: offset, durable: offset, journaling: journal.is_some(), ..at };
        Arc::new(Self {
            file: Mutex::new(Some(file)),
            hash: Mutex::new(hashing),
            journal: Mutex::new(journal),
            checkpoint_every: store.checkpoint_every,
            state: Mutex::new(state),
            moved: Notify::new(),
            pool: Arc::clone(&store.pool),
        })
    }

    /// Bytes taken from the caller and not known to have failed.
    pub(super) fn accepted(&self) -> u64 {
        lock(&self.state).accepted
    }

    /// Takes all of `bytes`, waiting for room. Dropped half-way, it has taken a prefix of them.
    pub(super) async fn accept(self: &Arc<Self>, mut bytes: Bytes) -> Result<(), BlobError> {
        loop {
            let moved = self.moved.notified();
            self.take_some(&mut bytes)?;
            if bytes.is_empty() {
                return Ok(());
            }
            moved.await;
        }
    }

    fn take_some(self: &Arc<Self>, bytes: &mut Bytes) -> Result<(), BlobError> {
        let mut state = lock(&self.state);
        state.check()?;
        while !bytes.is_empty() {
            let mut block = match state.filling.take() {
                Some(block) => block,
                // So that a crash never costs more than two checkpoints' bytes.
                None if state.lag() > self.checkpoint_every / 2 * 3 => break,
                None if state.blocks < OWN_BLOCKS || (state.blocks < BLOCKS && self.pool.is_plenty()) => {
                    state.blocks += 1;
                    self.pool.large_of(LARGE - beyond_block(state.accepted))
                }
                None => break,
            };
            state.accepted += block.take_from(bytes) as u64;
            if block.is_full() {
                state.to_write.push_back(block);
            } else {
                state.filling = Some(block);
            }
        }
        self.start_writer(&mut state);
        Ok(())
    }

    fn start_writer(self: &Arc<Self>, state: &mut State) {
        if !state.writing && (!state.to_write.is_empty() || (state.flushing && state.filling.is_some())) {
            state.writing = true;
            let pipe = Arc::clone(self);
            spawn_blocking(move || pipe.write_blocks());
        }
    }

    /// Has all that was accepted written, without waiting for it.
    pub(super) fn flush(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.flushing = state.filling.is_some();
        self.start_writer(&mut state);
    }

    /// Waits until everything accepted is written and hashed, or has failed.
    pub(super) async fn settle(self: &Arc<Self>) -> Result<u64, BlobError> {
        self.flush();
        loop {
            let moved = self.moved.notified();
            {
                let mut state = lock(&self.state);
                if state.kept == state.accepted || state.ended {
                    state.check()?;
                    return Ok(state.kept);
                }
            }
            moved.await;
        }
    }

    /// Takes out all of the upload's bytes, if they are at most `most` and none has left memory. The
    /// block they were gathered in is free at once: there are fewer of them than small uploads.
    pub(super) fn lift(self: &Arc<Self>, most: usize) -> Option<Lifted> {
        let mut state = lock(&self.state);
        let still = !state.writing && !state.ended && state.failed.is_none();
        let bytes = state.filling.as_ref().map_or(&[][..], Block::as_ref);
        if !still || state.accepted != bytes.len() as u64 || bytes.len() > most {
            return None;
        }
        let bytes = Bytes::copy_from_slice(bytes);
        let block = state.filling.take();
        (state.accepted, state.flushing) = (0, false);
        state.blocks -= usize::from(block.is_some());
        drop(state);
        Some(Lifted { pipe: Arc::clone(self), bytes })
    }

    fn write_blocks(self: Arc<Self>) {
        let _unwinding = EndOnPanic(&self);
        let mut slot = lock(&self.file);
        let Some(file) = slot.as_mut() else { return self.end() };
        while let Some((block, at)) = self.next_to_write() {
            let written = if block.as_ref().len() == LARGE && beyond_block(at) == 0 {
                file.write_direct(block.as_ref(), at)
            } else {
                file.write_at(block.as_ref(), at)
            };
            match written {
                Ok(()) => self.pass_to_hasher(block),
                Err(error) => {
                    // Best effort: publishing and the next write cut or cover what is left over.
                    let _ = file.set_len(at);
                    drop(block);
                    return self.go_back(at, io("writing an upload")(error));
                }
            }
        }
    }

    fn next_to_write(&self) -> Option<(Block, u64)> {
        let mut state = lock(&self.state);
        let mut next = state.to_write.pop_front();
        if next.is_none() && std::mem::take(&mut state.flushing) {
            next = state.filling.take();
        }
        state.writing = next.is_some();
        next.map(|block| (block, state.written))
    }

    fn pass_to_hasher(self: &Arc<Self>, block: Block) {
        let mut state = lock(&self.state);
        let len = block.as_ref().len();
        state.written += len as u64;
        state.to_hash.push_back(block);
        if state.hashing {
            return;
        }
        state.hashing = true;
        drop(state);
        let pipe = Arc::clone(self);
        if len <= HASHED_IN_PLACE {
            pipe.hash_blocks();
        } else {
            spawn_blocking(move || pipe.hash_blocks());
        }
    }

    fn hash_blocks(self: Arc<Self>) {
        let _unwinding = EndOnPanic(&self);
        let mut hash = lock(&self.hash);
        while let Some(block) = self.next_to_hash() {
            hash.update(block.as_ref());
            let len = block.as_ref().len() as u64;
            drop(block);
            let mut state = lock(&self.state);
            state.kept += len;
            state.blocks -= 1;
            let due = state.is_checkpoint_due(self.checkpoint_every);
            let checkpoint = if due { hash.checkpoint(state.kept) } else { None };
            if let Some(checkpoint) = checkpoint {
                state.checkpointing = true;
                state.marked = state.kept;
                let pipe = Arc::clone(&self);
                spawn_blocking(move || pipe.write_checkpoint(&checkpoint));
            }
            drop(state);
            self.moved.notify_waiters();
        }
    }

    /// All bytes up to the checkpoint are written: only written blocks are hashed.
    fn write_checkpoint(&self, checkpoint: &Checkpoint) {
        let _unwinding = EndOnPanic(self);
        let mut journal = lock(&self.journal);
        let written = match journal.as_mut().filter(|_| !self.ended()) {
            Some(journal) => journal.write(checkpoint),
            None => Ok(()),
        };
        match written {
            Ok(()) => lock(&self.state).durable = checkpoint.offset,
            Err(Failure::Journal(error)) => {
                if let Some(journal) = journal.take() {
                    tracing::warn!(upload = journal.id(), %error, "an upload goes on without checkpoints");
                }
                lock(&self.state).journaling = false;
            }
            Err(Failure::Data(error)) => self.give_up(journal.take(), io("syncing an upload")(error)),
        }
        drop(journal);
        lock(&self.state).checkpointing = false;
        self.moved.notify_waiters();
    }

    /// Makes all that was kept durable, with a checkpoint, so that nothing of it is lost if the process
    /// ends now. For a settled upload. Blocks.
    pub(super) fn park(&self) {
        let checkpoint = {
            let mut hash = lock(&self.hash);
            let mut state = lock(&self.state);
            let due = state.kept > state.marked && state.journaling && !state.checkpointing && !state.ended;
            let checkpoint = due.then(|| hash.last_checkpoint(state.kept));
            if checkpoint.is_some() {
                state.checkpointing = true;
                state.marked = state.kept;
            }
            checkpoint
        };
        if let Some(checkpoint) = checkpoint {
            self.write_checkpoint(&checkpoint);
        }
    }

    /// What was written may be lost: the upload ends, and its next caller is told why.
    fn give_up(&self, journal: Option<Journal>, error: BlobError) {
        lock(&self.state).failed = Some(error);
        self.end();
        if let (Some(_), Some(journal)) = (self.slot().take(), journal) {
            journal.drop_upload();
        }
    }

    /// Waits for the checkpoint that is being written, if one is. Nothing begins one while nothing
    /// is appended.
    pub(super) async fn checkpointed(&self) {
        loop {
            let moved = self.moved.notified();
            {
                let state = lock(&self.state);
                if !state.checkpointing || state.ended {
                    return;
                }
            }
            moved.await;
        }
    }

    /// Waits for the checkpoint that is being written; none follows in an upload that has ended. Blocks.
    pub(super) fn stop_journal(&self) {
        drop(lock(&self.journal).take());
    }

    fn next_to_hash(&self) -> Option<Block> {
        let mut state = lock(&self.state);
        let next = state.to_hash.pop_front();
        state.hashing = next.is_some();
        next
    }

    /// A write at `at` failed: what was accepted after it is dropped.
    fn go_back(&self, at: u64, error: BlobError) {
        let mut state = lock(&self.state);
        let dropped = 1 + state.to_write.len() + usize::from(state.filling.is_some());
        state.to_write.clear();
        state.filling = None;
        state.flushing = false;
        state.blocks -= dropped;
        state.accepted = at;
        state.writing = false;
        state.failed = Some(error);
        drop(state);
        self.moved.notify_waiters();
    }

    #[cfg(test)]
    /// Takes disk space for the first `len` bytes of the file. Blocks.
    pub(super) fn allocate(&self, len: u64) -> Result<(), BlobError> {
        let mut slot = lock(&self.file);
        let file = slot.as_mut().ok_or(BlobError::Lost)?;
        let written = {
            let mut state = lock(&self.state);
            state.allocated = true;
            state.written
        };
        file.allocate(len).map_err(|error| {
            let _ = file.set_len(written); // gives back what a full disk did grant
            io("allocating space for an upload")(error)
        })
    }

    /// The file's slot; while it is held, nothing is written. Blocks while a writer runs.
    pub(super) fn slot(&self) -> MutexGuard<'_, Slot> {
        lock(&self.file)
    }

    /// As [`slot`](Self::slot), but `None` while a writer runs.
    pub(super) fn free_slot(&self) -> Option<MutexGuard<'_, Slot>> {
        match self.file.try_lock() {
            Ok(slot) => Some(slot),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What the settled upload is; to be asked with the slot held.
    pub(super) fn settled(&self) -> Result<Settled, BlobError> {
        let hash = lock(&self.hash);
        let mut state = lock(&self.state);
        state.check()?;
        if state.kept != state.accepted {
            let source = std::io::Error::from(std::io::ErrorKind::ResourceBusy);
            return Err(BlobError::Io { what: "publishing an upload that is still written to", source });
        }
        let (hasher, chunks) = (hash.digest.clone(), hash.chunks());
        Ok(Settled { size: state.kept, hasher, chunks, allocated: state.allocated })
    }

    /// Nothing more is accepted.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        let blocks = std::mem::take(&mut state.to_write);
        let filling = state.filling.take();
        state.ended = true;
        state.accepted = state.kept;
        drop(state);
        drop((blocks, filling));
        self.moved.notify_waiters();
    }

    pub(super) fn ended(&self) -> bool {
        lock(&self.state).ended
    }
}

/// Bytes from the last multiple of a block up to `offset`.
#[expect(clippy::cast_possible_truncation, reason = "less than a block")]
fn beyond_block(offset: u64) -> usize {
    (offset % LARGE as u64) as usize
}

impl State {
    /// Tells of a failure, once.
    fn check(&mut self) -> Result<(), BlobError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.ended { Err(BlobError::Lost) } else { Ok(()) }
    }

    /// Bytes accepted beyond the last durable checkpoint, while one is being written.
    fn lag(&self) -> u64 {
        if self.checkpointing { self.accepted.saturating_sub(self.durable) } else { 0 }
    }

    fn is_checkpoint_due(&self, every: u64) -> bool {
        let far = self.kept.saturating_sub(self.marked) >= every;
        far && self.journaling && !self.checkpointing && !self.ended && self.kept.is_multiple_of(CHUNK)
    }
}

/// The bytes of a small upload; dropped, they are put back, unless the upload has ended.
pub(super) struct Lifted {
    pipe: Arc<Pipe>,
    pub(super) bytes: Bytes,
}

impl Drop for Lifted {
    fn drop(&mut self) {
        // There is room: nothing else holds a block of this upload.
        let _ = self.pipe.take_some(&mut self.bytes);
    }
}

/// A worker that panicked would leave callers waiting for ever.
struct EndOnPanic<'a>(&'a Pipe);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}
