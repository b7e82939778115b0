//! Questions about the trail. Whoever asks sees all that was answered before: what waits is moved first.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pierhead_storage_format::identity::Id;

use super::{Audit, lock};
use crate::seams::tasks;
use crate::services::access::{Action, Permit, Resource};
use crate::services::error::Error;
use crate::stores::trail::{Filter, Order, Page};

/// How long a question waits for events that are not in the trail yet.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which events are wanted, in which order, and how many.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What they must fit; its account is the permit's where that is for one.
    pub filter: Filter,
    /// Newest or oldest first.
    pub order: Order,
    /// The last one of the page before.
    pub after: Option<Id>,
    /// At most so many.
    pub limit: usize,
}

/// A page of events.
pub type Listed = Page;

/// How the trail is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Events there are.
    pub events: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes from which on only changes are recorded.
    pub limit: u64,
    /// How long events are kept, milliseconds.
    pub keep_ms: u64,
    /// The earliest event, UTC milliseconds.
    pub from: Option<u64>,
    /// The latest one.
    pub to: Option<u64>,
    /// Events that wait to be written: reads and refusals, changes.
    pub waiting: (u64, u64),
    /// Since the start: recorded.
    pub recorded: u64,
    /// Since the start: reads and refusals that were not recorded.
    pub dropped: u64,
    /// Since the start: changes that were not.
    pub lost: u64,
    /// Since the start: changes that were recorded after they were made, not with them.
    pub late: u64,
    /// Files that do not hold.
    pub damaged: usize,
    /// Why not everything is recorded now.
    pub trouble: Option<String>,
}

impl Audit {
    /// A page of the events that a permit lets one see: of an account, or all.
    pub async fn list(&self, permit: &Permit, wanted: Wanted) -> Result<Listed, Error> {
        let Wanted { mut filter, order, after, limit } = wanted;
        match (permit.resource(Action::ListEvents), permit.resource(Action::ListAccountEvents)) {
            (Some(Resource::Registry), _) => {}
            (_, Some(Resource::Account(id))) => filter.account = Some(*id),
            _ => return Err(Error::Bug("a permit for something else")),
        }
        match tokio::time::timeout(PATIENCE, self.keep()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the newest events are not in the audit trail yet"),
            Err(_) => tracing::warn!("the newest events are not in the audit trail yet"),
        }
        let trail = self.0.parts.trail.clone();
        let page = tasks::blocking(move || trail.page(&filter, order, after, limit)).await?;
        page.map_err(|error| {
            tracing::error!(%error, "the audit trail cannot be read");
            Error::Bug("the audit trail cannot be read")
        })
    }

    /// How it is.
    pub fn facts(&self) -> Facts {
        let (parts, counts) = (&self.0.parts, &self.0.counts);
        let trail = parts.trail.facts();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Facts {
            events: trail.events,
            bytes: trail.bytes,
            limit: parts.options.max_bytes,
            keep_ms: parts.options.keep_ms,
            from: trail.from,
            to: trail.to,
            waiting: (lock(&self.0.queue).events.len() as u64, count(&counts.outbox)),
            recorded: count(&counts.recorded),
            dropped: count(&counts.overflowed) + count(&counts.refused) + count(&counts.capped),
            lost: count(&counts.lost),
            late: count(&counts.late),
            damaged: trail.damaged,
            trouble: lock(&self.0.trouble).clone(),
        }
    }
}
