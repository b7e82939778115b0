//! sled as the index engine; the only file that names it. What it does on a full disk, after a
//! crash and when damaged decides this file's shape: every call is guarded against panics, nothing
//! flushes by itself (`flush_async` deadlocks), lengths are never asked for (a full scan), and
//! nothing it holds is the only copy.

use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{Engine, EngineError, Pair, Write, guarded};
use crate::stores::disk::is_full;

const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A sled database, one tree.
pub(crate) struct SledEngine {
    db: RwLock<Option<sled::Db>>,
}

fn error(error: sled::Error) -> EngineError {
    match error {
        sled::Error::Io(io) if is_full(&io) => EngineError::Full(io.to_string()),
        other => EngineError::Broken(other.to_string()),
    }
}

fn is_lock_error(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().starts_with("could not acquire lock"))
}

/// Opens; waits for the lock of a predecessor in this process, whose last threads may still end.
fn open(folder: &Path, cache_bytes: u64) -> Result<sled::Db, EngineError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        let config = sled::Config::new().path(folder).cache_capacity(cache_bytes).flush_every_ms(None);
        match config.open() {
            Err(locked) if is_lock_error(&locked) && Instant::now() < deadline => {
                std::thread::park_timeout(LOCK_PAUSE);
            }
            result => return result.map_err(error),
        }
    }
}

impl SledEngine {
    /// Opens or makes the database at `folder`.
    pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, EngineError> {
        let db = guarded(|| open(folder, cache_bytes))?;
        Ok(Self { db: RwLock::new(Some(db)) })
    }

    fn with<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, EngineError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or(EngineError::Closed)?;
        guarded(|| work(db).map_err(error))
    }
}

impl Engine for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.with(|db| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    fn page(
        &self,
        prefix: &[u8],
        from: &[u8],
        exclusive: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        self.with(|db| {
            let mut rows = Vec::new();
            let mut range = db.range(from..);
            while rows.len() < limit
                && let Some(row) = range.next()
            {
                let (key, value) = row?;
                if !key.starts_with(prefix) {
                    break;
                }
                if !(exclusive && key == from) {
                    rows.push((key.to_vec(), value.to_vec()));
                }
            }
            Ok(rows)
        })
    }

    fn apply(&self, writes: &[Write]) -> Result<(), EngineError> {
        self.with(|db| {
            let mut batch = sled::Batch::default();
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                    None => batch.remove(key.as_slice()),
                }
            }
            db.apply_batch(batch)
        })
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.with(|db| db.flush().map(drop))
    }

    fn close(&self) {
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        let dropped = guarded(|| {
            drop(db);
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::debug!(%error, "closing the index");
        }
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        self.close();
    }
}
