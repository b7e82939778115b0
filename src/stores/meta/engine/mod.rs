//! What the index needs of an ordered key-value engine, and the engines there are. Keys are table
//! number and key in the table; an engine knows nothing of either. Only `sled.rs` names sled.
//!
//! E1: `apply` is atomic: after a crash all of a batch is there or none, and with a batch all
//! earlier ones. What was applied may be lost; it may never be mixed.
//! E2: an engine that fails, lies or panics is set aside and rebuilt by `index`: errors need only
//! say whether the disk is full.

mod memory;
mod quiet;
mod sled;

use std::path::Path;
use std::sync::Arc;

pub(super) use memory::MemoryEngine;
pub(super) use quiet::{guarded, guarded_job};
pub(super) use sled::SledEngine;

pub(super) use super::error::EngineError;

/// A row as the engine sees it.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// A change as the engine sees it; `None` removes.
pub(super) type Write = (Vec<u8>, Option<Vec<u8>>);

/// An ordered key-value engine.
pub(super) trait Engine: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;
    /// Up to `limit` rows that start with `prefix` and come at or after `from` (after it, if
    /// `exclusive`), in order.
    fn page(
        &self,
        prefix: &[u8],
        from: &[u8],
        exclusive: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError>;
    /// Makes all changes or none (E1).
    fn apply(&self, writes: &[Write]) -> Result<(), EngineError>;
    /// Writes what is buffered, so that a later opening has less to replay.
    fn flush(&self) -> Result<(), EngineError>;
    /// Lets go of files and locks, once calls under way have returned; calls after it fail.
    fn close(&self);
}

/// Opens an engine at a folder with so many bytes of cache.
pub(super) type Factory = Arc<dyn Fn(&Path, u64) -> Result<Arc<dyn Engine>, EngineError> + Send + Sync>;

/// The product's engine.
pub(super) fn sled_factory() -> Factory {
    Arc::new(|folder, cache_bytes| Ok(Arc::new(SledEngine::open(folder, cache_bytes)?)))
}
