//! Metadata: rows in tables, changed by transactions. The truth is the journal (every change set,
//! durable before it is answered) and snapshots of it; the index is only what reads are answered
//! from, and is rebuilt when in doubt.
//!
//! Words: a *change set* is what one transaction changed; a *group* is change sets made durable by
//! one flush, a *frame* of the journal; a *segment* is a file of frames; a *position* is a sequence
//! number and the hash of the history up to it.
//!
//! - T1: a commit that was answered with success survives `kill -9` and power cut; any other is
//!   there whole or not at all.
//! - T2: transactions are serial. Readers never wait for the writer, but when the index broke and is
//!   being brought up: then half a second at most (`shared`). Who commits sees nothing of that, unless
//!   it does not come up (`mending`).
//! - T3: damage is reported, never guessed over and never cut; only bytes that were never
//!   acknowledged are.
//! - T4: snapshots are made of snapshots and journal, never of the index.
//!
//! Must not know who the caller is or what a row means. Only `engine/sled.rs` names sled. Reading
//! order: `writer`, `mending`, `journal`, `chain`, `truth`, `recovery`. Layout: `storage-format/FORMAT.md`.

mod attach;
mod background;
mod chain;
mod check;
mod engine;
mod error;
mod follow;
mod import;
mod index;
mod journal;
mod mark;
mod mending;
mod open;
mod proving;
mod recovery;
mod shared;
mod snapshots;
mod status;
mod truth;
mod tx;
mod writer;

#[cfg(test)]
mod for_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use pierhead_storage_format::keys::TableKey;
use pierhead_storage_format::paths;
use tokio::sync::{Semaphore, oneshot};

pub use attach::{Attach, Attached};
pub use chain::TornTail;
pub use check::{CheckOptions, check, check_while};
pub use error::{MetaError, OpenError, TruthError};
pub use follow::{ChangedRow, Follow};
pub use import::{ImportRow, write_store};
pub use recovery::IndexOutcome;
pub use status::{Opened, Status};
pub use truth::{Moment, read_truth};
pub use tx::Tx;

use crate::seams::Clock;
use crate::stores::disk::Disk;
use shared::Shared;
use writer::{Message, Work};

/// What the store needs.
#[derive(Clone)]
pub struct Options {
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// `meta/index` in the data directory, absolute: the engine opens files by itself.
    pub index_dir: PathBuf,
    /// Names set-aside indexes, paces retries.
    pub clock: Arc<dyn Clock>,
    /// What the index may keep in memory, in bytes; the engine takes it as a hint.
    pub cache_bytes: u64,
    /// Journal bytes between two snapshots.
    pub snapshot_after: u64,
    /// Names the time since the machine was started, if it can be told; no two starts have one name.
    pub boot: Option<String>,
    /// An index with up to so many rows is checked before the store is open, whatever is known of it.
    pub check_at_once: u64,
    /// Frees space kept back for a full disk; true if it freed any.
    pub on_full: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The metadata store. Clones are the same store; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Meta {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    threads: Mutex<Threads>,
}

struct Threads {
    handles: Vec<JoinHandle<()>>,
    flusher: Option<Sender<()>>,
    stop: Arc<AtomicBool>,
}

/// Whether there is no metadata: no journal segment and no snapshot. (An index alone is none: it
/// is rebuilt from them.) A data directory that has blobs nevertheless has lost its metadata; ask
/// before the store is opened, which makes it.
pub fn is_absent(disk: &dyn Disk) -> io::Result<bool> {
    for (folder, suffix) in [(paths::JOURNAL, ".log"), (paths::SNAPSHOT, ".zst")] {
        let entries = disk.list(Path::new(folder))?;
        if entries.iter().any(|entry| paths::parse_numbered(&entry.name, suffix).is_some()) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Meta {
    /// Opens or makes the store; blocks while the journal is read and the index checked, and
    /// longer if that has to be rebuilt. The caller holds the data directory's lock.
    pub fn open(options: Options) -> Result<(Self, Opened), OpenError> {
        open::open(options, engine::sled_factory())
    }

    /// The record of a key. Never waits for commits.
    pub fn get<K: TableKey>(&self, key: &K) -> Result<Option<K::Record>, MetaError> {
        let row = truth::row_key(K::TABLE, &key.encode());
        let value = self.inner.shared.read(|engine| engine.get(&row))?;
        value.map(|value| tx::decode_record::<K>(&value)).transpose()
    }

    /// Up to `limit` rows whose encoded key starts with `prefix` and comes after the encoded key
    /// `after`, in order. Costs what it returns. Never waits for commits.
    pub fn page<K: TableKey>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(K, K::Record)>, MetaError> {
        let rows = self.inner.shared.read(|engine| {
            let read =
                |prefix: &[u8], from: &[u8], exclusive, limit| engine.page(prefix, from, exclusive, limit);
            tx::page_rows::<K, _>(read, &[], prefix, after, limit)
        })?;
        rows.iter().map(tx::decode_row::<K>).collect()
    }

    /// Runs `closure` on the writer thread, and makes what it changed durable before `Ok` is
    /// returned. An `Err` of the closure, or a panic, changes nothing. Once the writer was asked,
    /// it runs to its end though this future is dropped. Transactions are serial; the closure
    /// must not block, nor wait for another commit.
    pub async fn commit<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<MetaError> + Send + 'static,
    {
        let closed = || E::from(MetaError::Closed);
        let slot = Arc::clone(&self.inner.slots).acquire_owned().await.map_err(|_| closed())?;
        if self.inner.shared.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        let (reply, answer) = oneshot::channel();
        let work = Work { closure: Some(closure), answer: None, reply };
        self.inner.shared.messages.send(Message::Commit(Box::new(work), slot)).map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Waits until every row of the index was checked since the start: for decisions that destroy what
    /// only a row that might be missing would keep. Blocks; not to be called on an async thread.
    pub fn wait_until_checked(&self) -> Result<(), MetaError> {
        let (reply, answer) = oneshot::channel();
        let asked = self.inner.shared.messages.send(Message::Check(reply));
        asked.ok().and_then(|()| answer.blocking_recv().ok()).ok_or(MetaError::Closed)
    }

    /// What the store says about itself.
    pub fn status(&self) -> Status {
        self.inner.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether commits are taken, as the last one or the last look found it; else what they are refused with.
    pub fn writable(&self) -> Result<(), MetaError> {
        let status = self.inner.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        match &status.read_only {
            None => Ok(()),
            Some(_) if status.no_space => Err(MetaError::NoSpace),
            Some(why) => Err(MetaError::Unavailable { why: why.clone() }),
        }
    }

    /// Finishes the commits that were asked for, flushes, ends the threads. Blocks. Later calls
    /// on any clone say [`MetaError::Closed`]. May be called again.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.slots.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.stop.store(true, Ordering::SeqCst);
        drop(threads.flusher.take());
        let _ = self.shared.messages.send(Message::Close); // the writer may have ended already
        // The last handle may be dropped by a transaction: the writer cannot wait for itself, nor
        // for threads that wait for it.
        let own = std::thread::current().id();
        let waits = !threads.handles.iter().any(|handle| handle.thread().id() == own);
        for handle in threads.handles.drain(..) {
            if waits && handle.join().is_err() {
                tracing::error!("a metadata thread ended in a panic");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
