//! The appliance as a whole: how it is, which an administrator asks first, and reading again what can
//! be read again while it runs.

use std::sync::Arc;

use super::access::{Action, Permit};
use super::error::Error;
use super::images::Shelves;
use super::uploads::Uploads;
use crate::seams::tasks;

/// Reads again what can be read again; given in by whoever holds it. May block.
pub type Reload = Arc<dyn Fn() -> Reloaded + Send + Sync>;

/// How that went, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Done.
    Done(String),
    /// Nothing was changed, for this reason.
    Kept(String),
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Appliance {
    shelves: Arc<Shelves>,
    uploads: Uploads,
    reload: Reload,
    started_at: u64,
    started: u64,
}

/// What it says, at one moment. Sizes are bytes, times milliseconds.
#[derive(Clone, Debug)]
pub struct Facts {
    /// UTC since 1970.
    pub started_at: u64,
    /// Since then, by a clock that does not jump.
    pub uptime_ms: u64,
    /// The rows.
    pub metadata: MetadataFacts,
    /// Free where the data is; unknown if the disk does not say.
    pub free: Option<u64>,
    /// Whether uploads are refused for want of space.
    pub uploads_refused: bool,
    /// Sessions open.
    pub uploads_open: usize,
    /// Of these, with a request writing.
    pub uploads_receiving: usize,
    /// Sessions there may be.
    pub uploads_limit: usize,
}

/// How the metadata is.
#[derive(Clone, Debug)]
pub struct MetadataFacts {
    /// The last durable change set.
    pub sequence: u64,
    /// Rows in all tables.
    pub rows: u64,
    /// Whether reads are answered.
    pub readable: bool,
    /// Whether they are answered from memory, the index being unusable.
    pub in_memory: bool,
    /// Why nothing can be written for now.
    pub read_only: Option<String>,
    /// Times the index was rebuilt since the start.
    pub index_rebuilds: u64,
}

impl Appliance {
    /// Of these stores and uploads, started now.
    pub fn new(shelves: Arc<Shelves>, uploads: Uploads, reload: Reload) -> Self {
        let (started_at, started) = (shelves.clock.now_ms(), shelves.clock.monotonic_ms());
        Self { shelves, uploads, reload, started_at, started }
    }

    /// How it is now.
    pub async fn status(&self, permit: &Permit) -> Result<Facts, Error> {
        if !permit.covers_registry(Action::ReadStatus) {
            return Err(Error::Bug("a permit for something else"));
        }
        let service = self.clone();
        Ok(tasks::blocking(move || service.look()).await?)
    }

    /// Reads again what can be read again.
    pub async fn reload(&self, permit: &Permit) -> Result<Reloaded, Error> {
        if !permit.covers_registry(Action::Reload) {
            return Err(Error::Bug("a permit for something else"));
        }
        let reload = Arc::clone(&self.reload);
        Ok(tasks::blocking(move || reload()).await?)
    }

    fn look(&self) -> Facts {
        let (open, receiving, limit) = self.uploads.counts();
        let status = self.shelves.meta.status();
        Facts {
            started_at: self.started_at,
            uptime_ms: self.shelves.clock.monotonic_ms().saturating_sub(self.started),
            metadata: MetadataFacts {
                sequence: status.sequence,
                rows: status.rows,
                readable: status.readable,
                in_memory: status.in_memory,
                read_only: status.read_only,
                index_rebuilds: status.rebuilds,
            },
            free: self.shelves.reserve.free().ok(),
            uploads_refused: self.shelves.reserve.admits(0).is_err(),
            uploads_open: open,
            uploads_receiving: receiving,
            uploads_limit: limit,
        }
    }
}
