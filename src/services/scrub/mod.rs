//! The scrub: every blob is read again and again, at a bounded rate, so that damage is found while the image can
//! still be had elsewhere.
//!
//! Words: a *cycle* goes over all blobs once, in the order of digests; a *finding* is a blob that is missing or
//! damaged, kept until it is well again or gone.
//!
//! - S1: nothing is called damaged before its bytes were hashed by its own digest; then its file goes to
//!   quarantine, HEAD answers 404, and the next push heals it. Only then is the finding recorded. What cannot
//!   be read stays where it is: it is tried again, and when that does not help it is a finding if the disk is to blame, and left
//!   out this time if not. Where much in a row cannot be read, the scrub rests a minute each time; where something is
//!   lacking that all need, such as descriptors, it waits for that.
//! - S2: reads go past the page cache, a slice at a time, and rest: at its rate, and at least as long as they took.
//!   A cycle that an administrator asked for at full rate does not rest. The same holds where findings are looked at again.
//! - S3: how far a cycle is, is written down every half minute, and when something is found: a restart goes on from there, and never after a blob
//!   that something is still to be done about. After a stop out of order the blobs of the last ten minutes before it
//!   are read first, the newest of them if they are very many; not where no cycle begins by itself.
//! - S4: a pause lasts over restarts, and holds up all of it, until an administrator has it go on or begins a cycle.
//!
//! `cycle` is a run of the job, `timing` when one is, `work` what a thread reads, `recent` what is read first, `findings`
//! what is found and whom it concerns, `again` whether it is well again. Must not change what images are. Who reads a
//! blob: `stores/blobs/look`.

mod again;
mod cycle;
mod findings;
mod recent;
#[cfg(test)]
mod tests;
mod timing;
mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pierhead_storage_format::scrub::{ScrubStateKey, ScrubStateRecord};
use tokio::sync::Notify;

use super::access::{Access, Action, Actor, Permit, Resource};
use super::error::Error;
use crate::seams::Clock;
use crate::stores::blobs::Blobs;
use crate::stores::meta::{Meta, Tx};

pub use findings::Finding;

/// How often it is looked whether a cycle is due, and findings are well again.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether cycles begin by themselves.
    pub on: bool,
    /// Bytes a second.
    pub rate: u64,
    /// From the begin of a cycle to that of the next, milliseconds.
    pub every_ms: u64,
}

/// What it works on.
pub struct Parts {
    /// Rows.
    pub meta: Meta,
    /// Bytes.
    pub blobs: Blobs,
    /// Who may.
    pub access: Access,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// How.
    pub rules: Rules,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Scrub(Arc<Inner>);

struct Inner {
    parts: Parts,
    known: Mutex<Known>,
    /// Held by the run under way, and by who looks at findings in between.
    turn: tokio::sync::Mutex<()>,
    /// Something was asked for.
    wake: Notify,
}

#[derive(Default)]
struct Known {
    state: ScrubStateRecord,
    /// Blobs that are damaged or missing.
    findings: u64,
    /// Counts what was asked for, so that work under way notices.
    asked: u64,
    /// What came last before a stop out of order is still to be read.
    unclean: bool,
}

impl Known {
    /// Has a cycle begin at the first blob.
    fn begin(&mut self, now: u64, full: bool) {
        // A whole cycle comes to what came last as well.
        self.unclean = false;
        let (ended_at, served) = (self.state.ended_at, true);
        self.state =
            ScrubStateRecord { running: true, full, began_at: now, ended_at, served, ..Default::default() };
    }
}

/// How far it is. Times are UTC milliseconds since 1970, 0 for never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether cycles begin by themselves.
    pub on: bool,
    /// Bytes a second.
    pub rate: u64,
    /// What was written down last, or is about to be.
    pub state: ScrubStateRecord,
    /// When the next cycle begins by itself.
    pub next_at: Option<u64>,
    /// Blobs that are missing or damaged now.
    pub findings: u64,
}

impl Scrub {
    /// As an earlier run left it. Blocks.
    pub fn open(parts: Parts) -> Result<Self, Error> {
        let state = parts.meta.get(&ScrubStateKey {})?.unwrap_or_default();
        let known = Mutex::new(Known { state, ..Known::default() });
        Ok(Self(Arc::new(Inner { parts, known, turn: Default::default(), wake: Notify::new() })))
    }

    /// How far it is.
    pub fn facts(&self) -> Facts {
        let Rules { on, rate, every_ms } = self.0.parts.rules;
        let known = self.known();
        let next = known.state.began_at.saturating_add(every_ms);
        let next_at = (on && !known.state.running).then_some(next);
        Facts { on, rate, state: known.state.clone(), next_at, findings: known.findings }
    }

    /// How far it is, for an administrator.
    pub fn status(&self, permit: &Permit) -> Result<Facts, Error> {
        permitted(permit, Action::ReadStatus)?;
        Ok(self.facts())
    }

    /// Begins a cycle now, from the first blob on, also where one is under way or the scrub was paused; at full rate if asked.
    pub async fn begin(&self, permit: &Permit, full: bool) -> Result<Facts, Error> {
        let now = self.0.parts.clock.now_ms();
        self.ask(permit, move |known| known.begin(now, full)).await
    }

    /// Begins one for the system, unless an administrator paused the scrub, or began one, since the system looked: the
    /// number of it.
    async fn begin_by_itself(&self) -> Result<Option<u64>, Error> {
        let permit = self.system()?;
        let asked = {
            let mut known = self.known();
            if known.state.paused || known.state.running {
                return Ok(None);
            }
            known.begin(self.0.parts.clock.now_ms(), false);
            known.asked += 1;
            known.asked
        };
        self.keep(&permit).await?;
        Ok(Some(asked))
    }

    /// Stops reading until it is told to go on, over restarts too.
    pub async fn pause(&self, permit: &Permit) -> Result<Facts, Error> {
        self.ask(permit, |known| known.state.paused = true).await
    }

    /// Goes on.
    pub async fn resume(&self, permit: &Permit) -> Result<Facts, Error> {
        self.ask(permit, |known| known.state.paused = false).await
    }

    async fn ask(&self, permit: &Permit, change: impl FnOnce(&mut Known)) -> Result<Facts, Error> {
        permitted(permit, Action::MaintainStore)?;
        {
            let mut known = self.known();
            known.asked += 1;
            change(&mut known);
        }
        self.keep(permit).await?;
        self.0.wake.notify_one();
        Ok(self.facts())
    }

    /// Writes down how far it is when its turn to be written has come: what another writes after it is no older.
    async fn keep(&self, permit: &Permit) -> Result<(), Error> {
        let (parts, scrub) = (&self.0.parts, self.clone());
        let work = move |tx: &mut Tx<'_>| {
            let state = scrub.known().state.clone();
            Ok(tx.put(&ScrubStateKey {}, &state)?)
        };
        parts.access.commit(&parts.meta, permit, work).await
    }

    fn system(&self) -> Result<Permit, Error> {
        Ok(self.0.parts.access.authorise(
            &Actor::System("scrub"),
            Action::MaintainStore,
            Resource::Registry,
        )?)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn permitted(permit: &Permit, action: Action) -> Result<(), Error> {
    if permit.covers_registry(action) { Ok(()) } else { Err(Error::Bug("a permit for something else")) }
}
