//! How the writer mends what broke: a new segment after a failed write, the index brought up again after
//! a failed read or apply, which nobody is to notice if it comes up soon.
//!
//! - R1: a transaction under whose read the index breaks goes on with the one that comes up instead: it
//!   stands where the broken one stood, at the journal's end, and the group's changes are not in either.
//!   It fails if none comes up. If what came up is in memory, its group is refused, unless it only read.
//! - R2: readers wait for the new index for a moment (`shared`).
//! - R3: followers are told between transactions, not within one, which may have locks of theirs.
//! - R4: attempts are paced: one that failed, or took long, is not soon followed by another. Those at the
//!   index do not wait for those at the journal.
//!
//! Writes what `recovery` writes.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::engine::{Engine, Pair};
use super::error::{EngineError, MetaError, OpenError};
use super::proving::Proving;
use super::recovery::IndexOutcome;
use super::shared::{PATIENCE, View};
use super::snapshots;
use super::truth::Truth;
use super::tx::Source;
use super::writer::{Writer, refusal};
use crate::stores::disk::is_full;

/// The longest rest between two looks at what is broken.
const TICK: Duration = Duration::from_secs(1);
/// Between two attempts, at least, but for early ones.
const RETRY_MS: u64 = 1000;
/// An index that broke again though it had just come up: so many attempts are not put off, for a disk
/// that fills has it break a few times in a row.
const EARLY: u32 = 3;
/// One read is asked of so many indexes at most.
const ASKED: u32 = EARLY + 2;
/// After an attempt that took longer none is early.
const QUICK_MS: u64 = 500;

/// When the next attempt to mend a thing may be made; a clock set back does not put it off.
#[derive(Default)]
pub(super) struct Attempts {
    since: u64,
    until: u64,
    early: u32,
}

impl Attempts {
    /// After an attempt, from `began` until `now`. Those that take long are made seldom.
    pub(super) fn tried(&mut self, mended: bool, began: u64, now: u64) {
        let took = now.saturating_sub(began);
        self.early = match mended && took <= QUICK_MS {
            true if self.is_put_off(began) => self.early.saturating_sub(1),
            true => EARLY,
            false => 0,
        };
        (self.since, self.until) = (now, now.saturating_add(RETRY_MS.max(took.saturating_mul(10))));
    }

    const fn is_put_off(&self, now: u64) -> bool {
        self.since <= now && now < self.until
    }

    /// How long until an attempt may be made.
    const fn rest(&self, now: u64) -> Duration {
        if self.early == 0 && self.is_put_off(now) {
            Duration::from_millis(self.until - now)
        } else {
            Duration::ZERO
        }
    }
}

impl Source for Writer {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        self.ask(|engine| engine.get(key))
    }

    fn page(
        &mut self,
        prefix: &[u8],
        from: &[u8],
        exclusive: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, MetaError> {
        self.ask(|engine| engine.page(prefix, from, exclusive, limit))
    }
}

impl Writer {
    /// Asks the index, or whatever comes up in its place (R1).
    fn ask<T>(&mut self, ask: impl Fn(&dyn Engine) -> Result<T, EngineError>) -> Result<T, MetaError> {
        for _ in 0..ASKED {
            let Some(index) = &self.index else { return Err(self.refused()) };
            match ask(index.engine.as_ref()) {
                Ok(found) => return Ok(found),
                Err(error) => self.take_down(&format!("a read in a transaction failed: {error}")),
            }
            self.mend_untold();
        }
        if self.index.is_some() {
            self.take_down("every index that came up failed at once");
            self.report(None);
            self.show_none_comes();
        }
        Err(self.refused())
    }

    /// Mends what is broken, if it is time to.
    pub(super) fn mend(&mut self) {
        if self.shared.view.load().is_broken() && self.index.is_some() {
            self.take_down("a read failed");
        }
        self.mend_untold();
        self.tell_rebuilt();
    }

    pub(super) fn index_broke(&mut self, why: &str) {
        self.take_down(why);
        self.mend();
    }

    /// Tells who follows if the index is another one than before (R3). While there is none they go on with
    /// what they know: they would read nothing, and take it for what there is.
    pub(super) fn tell_rebuilt(&mut self) {
        if self.index.is_some() && std::mem::take(&mut self.untold) {
            self.shared.follower.rebuilt();
        }
    }

    /// How long to wait for messages before looking after what is broken.
    pub(super) fn until_next_try(&self) -> Duration {
        let segment = (!self.journal.is_ready()).then(|| self.segments.rest(self.now()));
        let index = self.lacks_index().then(|| self.indexes.rest(self.now()));
        segment.into_iter().chain(index).fold(TICK, Duration::min)
    }

    fn take_down(&mut self, why: &str) {
        tracing::error!(why, "the metadata index broke; it is brought up again");
        let trouble = MetaError::Unavailable { why: "the metadata index is being rebuilt".into() };
        let broken = self.shared.view.load_full();
        self.shared.show(View::between(&broken, trouble.clone()));
        self.index_trouble = Some(trouble);
        if let Some(index) = self.index.take() {
            index.engine.close();
        }
        self.in_memory = false;
        self.proving = Proving::default(); // what comes instead is checked, or made anew
        // That nothing is written is said only if no index comes up soon.
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).readable = false;
    }

    fn mend_untold(&mut self) {
        let opens = !self.journal.is_ready() && self.segments.rest(self.now()).is_zero();
        if opens {
            self.try_segment();
        }
        let brings = self.lacks_index() && self.indexes.rest(self.now()).is_zero();
        if brings {
            self.try_index();
        }
        if opens || brings || self.index.is_none() {
            self.report(None);
        }
        self.show_none_comes();
    }

    fn now(&self) -> u64 {
        self.recovery.clock.now_ms()
    }

    /// Whether an index is to be brought up. One on the disk may not get what may not be durable.
    fn lacks_index(&self) -> bool {
        self.index.is_none() || (self.in_memory && self.journal.is_durable())
    }

    fn try_segment(&mut self) {
        let began = self.now();
        let opened = self.open_segment();
        self.segments.tried(opened.is_ok(), began, self.now());
        if let Err(error) = opened {
            self.segment_trouble = Some(refusal(&error));
        }
    }

    fn try_index(&mut self) {
        let began = self.now();
        self.bring_up();
        self.indexes.tried(self.index.is_some() && !self.in_memory, began, self.now());
    }

    /// Nobody waits for an index that is brought up only later.
    fn show_none_comes(&self) {
        if self.index.is_none() && self.indexes.rest(self.now()) > PATIENCE {
            self.shared.show(View::down(self.refused()));
        }
    }

    fn open_segment(&mut self) -> io::Result<()> {
        match self.journal.ready() {
            Err(error) if is_full(&error) && (self.recovery.on_full)() => self.journal.ready(),
            result => result,
        }
    }

    fn bring_up(&mut self) {
        let truth = Truth::open(self.recovery.disk.as_ref(), &snapshots::until(&self.recovery.stop));
        let memory = !self.in_memory;
        let (end, durable) = (self.journal.position(), self.journal.is_durable());
        let result = truth
            .map_err(OpenError::from)
            .and_then(|mut truth| self.recovery.bring_up(&mut truth, end, memory, &mut |_| Ok(durable)));
        match result {
            Ok((index, outcome)) => {
                self.in_memory = matches!(outcome, IndexOutcome::InMemory { .. });
                if self.in_memory && durable {
                    self.index_trouble = Some(MetaError::NoSpace);
                }
                self.shared.show(View::up(Arc::clone(&index.engine)));
                self.index = Some(index);
                self.untold = true;
                let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
                status.rebuilds += u64::from(matches!(outcome, IndexOutcome::Rebuilt { .. }));
            }
            Err(error) => self.stays_down(&error),
        }
    }

    fn stays_down(&mut self, error: &OpenError) {
        let full = matches!(error, OpenError::Index(EngineError::Full(_)));
        let why = format!("the metadata index could not be brought up: {error}");
        let trouble = if full { MetaError::NoSpace } else { MetaError::Unavailable { why } };
        if self.in_memory {
            tracing::debug!(%error, "the index still does not open");
        } else {
            tracing::error!(%error, "the metadata index could not be brought up");
            self.shared.show(View::down(trouble.clone()));
        }
        self.index_trouble = Some(trouble);
    }
}
