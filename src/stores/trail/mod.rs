//! The audit trail on the disk: events in the order of their trace ids, in a folder a day. New ones are
//! appended to a *log*, which is sealed as a *segment* when it has grown or the day is over; both are
//! searched without reading more than may fit. Layout and steps: `FORMAT.md`, "The audit trail".
//!
//! L1: what [`Trail::append`] answered with `Durable::Yes` survives a power cut, what it answered at all
//!     survives the end of the process.
//! L2: a segment is sealed from memory, never from what a failed log gives back; a log whose write or sync
//!     failed takes nothing more.
//! L3: only [`Trail::expire`] removes events, and only by age.
//! L4: memory is bounded: the open log's events, about 100 bytes for each 1,024 events that are sealed, and
//!     [`CACHE`] of filters.
//!
//! Must not know what an event means beyond the fields it is searched by. All calls block. `writing` appends
//! and seals, `opening` reads what an earlier run left, `sealed` is a segment, `search` finds.

mod opening;
mod sealed;
mod search;
mod writing;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pierhead_storage_format::FormatError;
use pierhead_storage_format::audit::{DAY_MS, parse_day};
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::paths;

pub use opening::{Bad, Leftovers, check};
#[cfg(test)]
use search::Event;
pub use search::{Filter, Order, Page};

use crate::seams::Random;
use crate::stores::disk::{Disk, is_full};
use sealed::Segment;
use writing::Log;

/// A log with so many events is sealed.
pub const LOG_EVENTS: usize = 32_768;
/// A log with so many bytes is sealed.
pub const LOG_BYTES: u64 = 8 << 20;
/// Bytes of filters kept in memory.
const CACHE: usize = 32 << 20;

/// Why the trail did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The disk failed.
    #[error("{what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// Below the data directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file is not what was written to it.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Below the data directory.
        path: PathBuf,
        /// How.
        #[source]
        source: FormatError,
    },
    /// An event that is no record; a fault of ours.
    #[error("an event cannot be written")]
    Format(#[from] FormatError),
}

impl TrailError {
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| if is_full(&source) { Self::Full } else { Self::Io { what, path, source } }
    }
}

/// How sure an append is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// On stable storage.
    Yes,
    /// In the kernel's hands.
    Soon,
}

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of all files.
    pub bytes: u64,
    /// Events.
    pub events: u64,
    /// The earliest event, UTC milliseconds.
    pub from: Option<u64>,
    /// The latest one.
    pub to: Option<u64>,
    /// The highest trace id.
    pub last: Option<Id>,
    /// Files that do not hold.
    pub damaged: usize,
}

/// The trail. Clones are the same one.
#[derive(Clone)]
pub struct Trail(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    random: Arc<dyn Random>,
    /// Held while something is written.
    writing: Mutex<Log>,
    view: Mutex<View>,
    filters: Mutex<sealed::Filters>,
}

/// What a search looks at; cloned, so that it keeps nobody waiting.
#[derive(Clone, Default)]
struct View {
    /// By number.
    segments: BTreeMap<u64, Arc<Segment>>,
    /// Batches of the open log.
    batches: Vec<Arc<Batch>>,
    /// Bytes of the open log's file.
    log_bytes: u64,
    damaged: Vec<Bad>,
}

/// Events of the open log, in order.
struct Batch {
    /// Trace id and record.
    events: Vec<(Id, Box<[u8]>)>,
    bytes: u64,
    from: u64,
    to: u64,
}

impl Batch {
    fn first(&self) -> Option<Id> {
        self.events.first().map(|event| event.0)
    }

    fn last(&self) -> Option<Id> {
        self.events.last().map(|event| event.0)
    }
}

impl Trail {
    /// How it is.
    pub fn facts(&self) -> Facts {
        let view = lock(&self.0.view);
        let mut facts = Facts { bytes: view.log_bytes, damaged: view.damaged.len(), ..Facts::default() };
        let mut add = |events: usize, from: u64, to: u64, last: Option<Id>| {
            facts.events += events as u64;
            if events > 0 {
                facts.from = Some(facts.from.map_or(from, |known| known.min(from)));
                facts.to = Some(facts.to.map_or(to, |known| known.max(to)));
                facts.last = facts.last.max(last);
            }
        };
        for segment in view.segments.values() {
            let events = segment.index.entries.iter().map(|entry| entry.count as usize).sum();
            add(events, segment.from(), segment.to(), segment.last());
        }
        for batch in &view.batches {
            add(batch.events.len(), batch.from, batch.to, batch.last());
        }
        facts.bytes += view.segments.values().map(|segment| segment.bytes).sum::<u64>();
        facts.bytes += view.damaged.iter().map(|bad| bad.bytes).sum::<u64>();
        facts
    }

    /// Removes the segments all of whose events are older than `keep` milliseconds `now`, UTC milliseconds;
    /// how many. One with an event from the future is as old as what was written after it (the clock had
    /// jumped ahead); one from a clock that was behind says nothing of others.
    pub fn expire(&self, now: u64, keep: u64) -> Result<usize, TrailError> {
        let _writing = lock(&self.0.writing);
        let before = now.saturating_sub(keep);
        let mut later = lock(&self.0.view).batches.iter().map(|batch| batch.to).max().unwrap_or(u64::MAX);
        let segments: Vec<_> = lock(&self.0.view).segments.values().rev().cloned().collect();
        let mut old = Vec::new();
        for segment in segments {
            later = if segment.to() > now { later } else { segment.to() };
            if later < before {
                old.push(segment);
            }
        }
        let mut removed = 0;
        for segment in old.iter().rev() {
            let path = segment.path();
            self.0.disk.remove_file(&path).map_err(TrailError::io("removing", &path))?;
            lock(&self.0.view).segments.remove(&segment.number);
            lock(&self.0.filters).forget(segment.number);
            removed += 1;
        }
        removed += self.expire_damaged(before)?;
        self.remove_empty_days(before)?;
        Ok(removed)
    }

    /// What cannot be read is as old as the end of its day.
    fn expire_damaged(&self, before: u64) -> Result<usize, TrailError> {
        let damaged = lock(&self.0.view).damaged.clone();
        let (old, kept): (Vec<Bad>, Vec<Bad>) =
            damaged.into_iter().partition(|bad| bad.day_begins.saturating_add(DAY_MS) < before);
        for bad in &old {
            self.0.disk.remove_file(&bad.path).map_err(TrailError::io("removing", &bad.path))?;
        }
        lock(&self.0.view).damaged = kept;
        Ok(old.len())
    }

    fn remove_empty_days(&self, before: u64) -> Result<(), TrailError> {
        let listing = || TrailError::io("listing", paths::AUDIT);
        for day in self.0.disk.list(paths::AUDIT.as_ref()).map_err(listing())? {
            let folder = paths::audit_day(&day.name);
            let is_old = parse_day(&day.name).is_some_and(|begins| begins.saturating_add(DAY_MS) < before);
            if day.is_dir && is_old && self.0.disk.list(&folder).map_err(listing())?.is_empty() {
                self.0.disk.remove_dir(&folder).map_err(TrailError::io("removing", &folder))?;
            }
        }
        Ok(())
    }
}

/// Whoever panicked left what these guard as it was before or after.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
