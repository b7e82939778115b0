//! The appliance as a whole: how it is, which an administrator asks first, and reading again what can
//! be read again while it runs.

use std::sync::Arc;

use super::access::{Action, Permit};
use super::error::Error;
use super::guard::slots::{self, Holder};
use super::images::Shelves;
use super::quota::Overview;
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
    /// The disk.
    pub space: SpaceFacts,
    /// Sessions open.
    pub uploads_open: usize,
    /// Of these, with a request writing.
    pub uploads_receiving: usize,
    /// Sessions there may be.
    pub uploads_limit: usize,
    /// Stale ones that were ended since the start, space being low, and their bytes.
    pub uploads_reclaimed: (u64, u64),
    /// Upload slots.
    pub slots: slots::Facts,
    /// Who has most of them.
    pub slots_busiest: Vec<Busy>,
    /// What organisations hold and may hold.
    pub quotas: Overview,
}

/// How full the disk is.
#[derive(Clone, Debug)]
pub struct SpaceFacts {
    /// Free where the data is; unknown if the disk does not say.
    pub free: Option<u64>,
    /// The whole of it, as of the last look.
    pub total: u64,
    /// What uploads under way have yet to bring.
    pub promised: u64,
    /// Who was promised most of it, and how much.
    pub most: Option<(String, u64)>,
    /// Below this stale uploads are removed.
    pub soft: u64,
    /// Below this uploads are refused.
    pub hard: u64,
    /// Whether stale uploads are removed now.
    pub low: bool,
    /// Whether uploads are refused now.
    pub full: bool,
}

/// Who has upload slots.
#[derive(Clone, Debug)]
pub struct Busy {
    /// The account by name, or the address.
    pub who: String,
    /// Slots he has.
    pub held: usize,
    /// His requests that wait for one.
    pub waiting: usize,
}

/// As many are told.
const BUSIEST: usize = 5;

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
        let reclaimed = self.uploads.reclaimed();
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
            space: self.space(),
            uploads_open: open,
            uploads_receiving: receiving,
            uploads_limit: limit,
            uploads_reclaimed: (reclaimed.sessions, reclaimed.bytes),
            slots: self.uploads.slots().facts(),
            slots_busiest: self.busiest(),
            // The status of a store that cannot be read is asked for, too.
            quotas: self.shelves.quotas.overview().unwrap_or_default(),
        }
    }

    fn space(&self) -> SpaceFacts {
        let reserve = &self.shelves.reserve;
        let standing = reserve.standing();
        SpaceFacts {
            free: reserve.free().ok(),
            total: standing.total,
            promised: standing.promised,
            most: standing.most.map(|(holder, bytes)| (self.named(holder), bytes)),
            soft: standing.soft,
            hard: standing.hard,
            low: standing.is_low(),
            full: standing.is_full(),
        }
    }

    fn busiest(&self) -> Vec<Busy> {
        let uses = self.uploads.slots().busiest(BUSIEST);
        let busy =
            |one: slots::Use| Busy { who: self.named(one.holder), held: one.held, waiting: one.waiting };
        uses.into_iter().map(busy).collect()
    }

    /// The account by name, or the address.
    fn named(&self, holder: Holder) -> String {
        let directory = self.shelves.access.directory();
        let account = match holder {
            Holder::Account(id) => directory.account(id),
            _ => None,
        };
        account.map_or_else(|| holder.to_string(), |account| format!("account {}", account.name))
    }
}
