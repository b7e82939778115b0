//! One upload: bytes appended in order, then published under their digest, or discarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use pierhead_storage_format::Digest;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::error::{BlobError, blocking};
use super::pipe::Pipe;
use super::publish::{self, Published};
use super::small::SMALL;
use super::{Store, hash};
use crate::seams::tasks;

/// An upload under way. Every future here may be dropped: what was accepted is still written, and
/// what began to be published is published. Dropping the upload itself discards it, unless it was told
/// to [`outlive`](Self::outlive).
pub struct Upload {
    store: Arc<Store>,
    id: String,
    pipe: Arc<Pipe>,
    /// Whether there may be something of it on the disk.
    made: Arc<AtomicBool>,
    outlives: bool,
}

impl Upload {
    pub(super) fn new(store: Arc<Store>, id: String, pipe: Arc<Pipe>) -> Self {
        Self { store, id, pipe, made: Arc::new(AtomicBool::new(true)), outlives: false }
    }

    /// One of which nothing is on the disk, until `made` says otherwise.
    pub(super) fn unmade(store: Arc<Store>, id: String, pipe: Arc<Pipe>, made: Arc<AtomicBool>) -> Self {
        Self { store, id, pipe, made, outlives: false }
    }

    /// From now on dropping it leaves its folder to the next start, which goes on with it if it can:
    /// for uploads that somebody may come back to.
    pub fn outlive(&mut self) {
        self.outlives = true;
    }

    /// 32 hex digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Bytes accepted so far, which is where the next append goes. It goes back only when a write
    /// fails, and then the next append or settle fails too, so nothing is ever put in a wrong place.
    /// After [`settle`](Self::settle) or [`resume`](Self::resume) all of them are written.
    pub fn offset(&self) -> u64 {
        self.pipe.accepted()
    }

    /// Whether the upload was published or given up: nothing can be done with it any more.
    pub fn is_over(&self) -> bool {
        self.pipe.ended()
    }

    #[cfg(test)]
    /// Takes disk space for an upload that will be `len` bytes in all, so that a full disk shows
    /// before the transfer. A hint: less or more may come.
    pub async fn allocate(&mut self, len: u64) -> Result<(), BlobError> {
        let pipe = Arc::clone(&self.pipe);
        blocking(move || pipe.allocate(len)).await
    }

    /// Adds `bytes`: returns when they are accepted, waiting while a few MiB are on their way to the disk.
    /// An error is of an earlier write: none of `bytes` was taken after it, and the upload goes on at
    /// [`offset`](Self::offset) when the cause is gone.
    pub async fn append(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.pipe.accept(bytes).await
    }

    /// Begins to write what is still gathered in memory, without waiting: what a request that ends
    /// early leaves with.
    pub fn rest(&self) {
        self.pipe.flush();
    }

    /// Waits until all that was appended is hashed and written (not yet durable); returns the offset.
    pub async fn settle(&mut self) -> Result<u64, BlobError> {
        self.pipe.settle().await
    }

    /// What a request that goes on with the upload calls first: settles what an earlier one, perhaps
    /// dropped, had appended, forgets a write error nobody waited for, and returns the offset.
    pub async fn resume(&mut self) -> Result<u64, BlobError> {
        match self.pipe.settle().await {
            Err(BlobError::NoSpace | BlobError::Io { .. }) => self.pipe.settle().await,
            settled => settled,
        }
    }

    /// Makes the upload the blob `digest`, durably; the steps are in `publish`. Bytes that were appended
    /// need not be settled: a small blob that is still in memory goes by the log. The upload is over
    /// after success and after a failed sync ([`is_over`](Self::is_over)); after any other error
    /// (digest mismatch, full disk) it is as it was.
    pub async fn publish(&mut self, digest: &Digest) -> Result<Published, BlobError> {
        if let Some(published) = self.publish_small(digest).await? {
            return Ok(published);
        }
        self.pipe.settle().await?;
        self.pipe.checkpointed().await;
        let (store, pipe, id, digest) =
            (Arc::clone(&self.store), Arc::clone(&self.pipe), self.id.clone(), *digest);
        blocking(move || publish::upload(&store, &id, &pipe, &digest)).await
    }

    /// Does nothing, and gives nothing, unless the log takes the whole of it.
    async fn publish_small(&mut self, digest: &Digest) -> Result<Option<Published>, BlobError> {
        let Some(lifted) = self.pipe.lift(SMALL) else { return Ok(None) };
        if hash::of(digest.algorithm(), &lifted.bytes) != *digest {
            return Ok(None);
        }
        let published = publish::small(&self.store, digest, lifted.bytes.clone()).await?;
        if published.is_some() && !self.forget() {
            let (store, pipe, id) = (Arc::clone(&self.store), Arc::clone(&self.pipe), self.id.clone());
            // A panic in there has been logged; the next start clears the folder.
            let _ = tasks::blocking(move || discard(&store, &id, &pipe)).await;
        }
        Ok(published)
    }

    /// Ends an upload of which nothing is on the disk; false if there may be something, and it has to be
    /// discarded.
    fn forget(&self) -> bool {
        if self.made.load(Ordering::SeqCst) {
            return false;
        }
        self.pipe.end();
        match self.pipe.free_slot() {
            Some(mut slot) if !self.made.load(Ordering::SeqCst) => {
                *slot = None;
                true
            }
            _ => false,
        }
    }

    /// Makes all that was accepted durable, so that the upload goes on at [`offset`](Self::offset) in
    /// another process. What cannot be made so is lost with this one; the log says why.
    pub async fn park(&mut self) {
        if self.pipe.settle().await.is_err() {
            return; // the next process goes on from the last checkpoint
        }
        self.pipe.checkpointed().await;
        let pipe = Arc::clone(&self.pipe);
        // A panic in there has been logged.
        let _ = tasks::blocking(move || pipe.park()).await;
    }

    /// Waits for a checkpoint under way.
    #[cfg(test)]
    pub(super) async fn checkpointed(&self) {
        self.pipe.checkpointed().await;
    }

    /// Ends the upload and removes its bytes.
    pub async fn discard(self) {
        if self.forget() {
            return;
        }
        let (store, pipe, id) = (Arc::clone(&self.store), Arc::clone(&self.pipe), self.id.clone());
        // A panic in there has been logged; the next start clears the folder.
        let _ = tasks::blocking(move || discard(&store, &id, &pipe)).await;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.outlives || self.pipe.ended() || Handle::try_current().is_err() || self.forget() {
            return; // nothing to remove, or the process is stopping and the next start will
        }
        let (store, pipe, id) =
            (Arc::clone(&self.store), Arc::clone(&self.pipe), std::mem::take(&mut self.id));
        spawn_blocking(move || discard(&store, &id, &pipe));
    }
}

/// Removes the upload unless a publish got hold of its file first: that one then sees to the folder.
fn discard(store: &Store, id: &str, pipe: &Pipe) {
    pipe.end();
    pipe.stop_journal();
    if pipe.slot().take().is_some() {
        store.drop_upload(id);
    }
}
