//! The audit trail: who did what, when, from where, with what result.
//!
//! Words: an *operation* is a row of a surface's table as the trail names it; a *trace* is one request under
//! way, and becomes an *event* or none; the *outbox* is the table in which a change and its event are one change
//! set.
//!
//! - U1: a change that was answered has its event: [`Meta::commit_with`] puts the trace's event where the change
//!   is, so that neither is there without the other.
//! - U2: nobody waits for the trail. Reads and refusals go to a bounded queue; what does not fit, and what the
//!   disk or the trail's own size has no room for, is dropped and counted.
//! - U3: no secret is recorded: a surface names the parameters it records, and bodies are never copied.
//! - U4: events go by age alone, and none while it is in doubt what time it is.
//! - U5: of the refusals of one address only so many a minute are recorded; the rest is counted.
//! - U6: a request that met a bug of ours has its event, too.
//!
//! `operation` has the names, `trace` is the seam for surfaces, `event` makes an event of a trace, `ids` numbers
//! them, `keeping` moves events to the trail, `expiry` removes old ones, `reading` answers questions.

mod event;
mod expiry;
mod ids;
mod keeping;
mod operation;
mod reading;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pierhead_storage_format::identity::Id;

pub use crate::stores::trail::{Filter as Search, Order};
pub use operation::{Operation, When};
pub use reading::{Facts, Wanted};
pub use trace::{Source, Trace};

use super::access::Access;
use super::network;
use super::rates::{Limiter, Rate};
use crate::seams::{Clock, Random};
use crate::stores::meta::Meta;
use crate::stores::trail::Trail;
use ids::Ids;

/// Events that wait to be written at most, and their bytes.
const QUEUE_EVENTS: usize = 65_536;
const QUEUE_BYTES: usize = 32 << 20;
/// Rows of the outbox at most: about 40 MB of metadata.
const OUTBOX: u64 = 100_000;
/// Addresses whose refusals are counted apart.
const ADDRESSES: usize = 16_384;

/// What the settings decide.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether reads are recorded.
    pub reads: bool,
    /// Whether pulls are.
    pub pulls: bool,
    /// How long events are kept, milliseconds.
    pub keep_ms: u64,
    /// Bytes of the trail from which on only changes are recorded.
    pub max_bytes: u64,
    /// Refusals of one address that are recorded.
    pub refusals: Option<Rate>,
}

/// What the service works with.
pub struct Parts {
    /// Where events are kept.
    pub trail: Trail,
    /// Where those of changes are first.
    pub meta: Meta,
    /// Who there is.
    pub access: Access,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Makes trace ids.
    pub random: Arc<dyn Random>,
    /// Whether the disk has room for so many bytes that nobody needs.
    pub room: Arc<dyn Fn(u64) -> bool + Send + Sync>,
    /// What the settings decide.
    pub options: Options,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    parts: Parts,
    ids: Arc<Ids>,
    queue: Mutex<Queue>,
    /// Refusals of each address.
    refusals: Limiter<Ipv6Addr>,
    counts: Counts,
    /// Held while events are moved: one at a time.
    moving: tokio::sync::Mutex<keeping::Mover>,
    watch: Mutex<expiry::Watch>,
    /// Why nothing is recorded now, in words for an operator.
    trouble: Mutex<Option<String>>,
}

/// Events that wait, encoded.
#[derive(Default)]
struct Queue {
    events: Vec<(Id, Vec<u8>)>,
    bytes: usize,
}

/// What became of events since the start.
#[derive(Default)]
struct Counts {
    recorded: AtomicU64,
    /// The queue was full.
    overflowed: AtomicU64,
    /// Refusals of an address that had enough of them recorded.
    capped: AtomicU64,
    /// The trail was full, or the disk, or it failed.
    refused: AtomicU64,
    /// Changes whose events were given up because the outbox was full.
    lost: AtomicU64,
    /// Changes whose event was not in their change set, but came after.
    late: AtomicU64,
    /// Rows of the outbox, as far as is known.
    outbox: AtomicU64,
}

impl Audit {
    /// On these parts. Reads the trace ids of the outbox; blocks.
    pub fn open(parts: Parts) -> Result<Self, crate::stores::meta::MetaError> {
        let facts = parts.trail.facts();
        let ids = Ids::new(Arc::clone(&parts.random));
        if let Some(last) = facts.last {
            ids.raise(last);
        }
        let waiting = keeping::raise_over_outbox(&parts.meta, &ids)?;
        let watch = expiry::Watch::new(parts.clock.as_ref(), facts.to);
        let refusals = Limiter::new(ADDRESSES, Arc::clone(&parts.clock));
        refusals.set(parts.options.refusals);
        let counts = Counts { outbox: waiting.into(), ..Counts::default() };
        Ok(Self(Arc::new(Inner {
            ids: Arc::new(ids),
            queue: Mutex::default(),
            refusals,
            counts,
            moving: tokio::sync::Mutex::new(keeping::Mover {
                undeleted: HashSet::new(),
                doubtful: facts.last,
            }),
            watch: Mutex::new(watch),
            trouble: Mutex::default(),
            parts,
        })))
    }

    /// Begins to follow a request; none if nothing of it can be recorded.
    pub fn begin(&self, operation: &'static Operation, source: Source, request_id: &str) -> Option<Trace> {
        let options = &self.0.parts.options;
        let is_off = match operation.when {
            When::Never => true,
            When::Read => !options.reads && !operation.is_recorded_when_refused(),
            When::Change | When::Refused | When::Pull => false,
        };
        (!is_off).then(|| Trace::new(self.clone(), operation, source, request_id))
    }

    /// Whether one more refusal from there is recorded (U5).
    fn admits_refusal(&self, source: &Source) -> bool {
        let Source::Address(address) = source else { return true };
        let is_taken = self.0.refusals.take(&network::of(*address)).is_ok();
        if !is_taken {
            self.0.counts.capped.fetch_add(1, Ordering::Relaxed);
        }
        is_taken
    }

    /// Puts an event into the queue; never waits.
    fn enqueue(&self, id: Id, record: Vec<u8>) {
        let mut queue = lock(&self.0.queue);
        if queue.events.len() >= QUEUE_EVENTS || queue.bytes + record.len() > QUEUE_BYTES {
            drop(queue);
            self.0.counts.overflowed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += record.len();
        queue.events.push((id, record));
    }
}

/// Whoever panicked left what these guard as it was before or after.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
