//! The one writer. Takes what waits, runs each closure, appends what they changed as one frame,
//! applies it, answers. Also mends what broke: opens a new segment after a failed write, brings the
//! index up again after a failed read or apply.
//!
//! - W1: an answer of success comes after the frame's sync and its apply.
//! - W2: a closure that fails or panics stages nothing; a group that fails takes every closure
//!   with it, those that only read included: they may have read what was not committed.
//! - W3: what is durable is acknowledged as such, also if the index breaks on it: the rebuilt one
//!   has it.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::engine::{Engine, guarded_job};
use super::error::{EngineError, MetaError, OpenError};
use super::index::Index;
use super::journal::{Journal, Sealed};
use super::proving::Proving;
use super::recovery::{IndexOutcome, Recovery};
use super::shared::{Shared, View};
use super::truth::{Overlay, Truth};
use super::tx::{Tx, encode};
use crate::stores::disk::is_full;

/// The most closures in a group.
const GROUP_JOBS: usize = 256;
/// A group with this many bytes takes no more closures.
const GROUP_BYTES: usize = 1 << 20;
const TICK: Duration = Duration::from_secs(1);
/// Between two attempts to mend, at least.
const RETRY_MS: u64 = 1000;

/// What the writer is told.
pub(super) enum Message {
    /// Run this.
    Commit(Box<dyn Job>, OwnedSemaphorePermit),
    /// A reader found the index broken.
    Wake,
    /// Check the rest of the index's rows before anything else, then say so.
    Check(oneshot::Sender<()>),
    /// Finish what came before, then end.
    Close,
}

/// A closure and whom to answer.
pub(super) trait Job: Send {
    /// Runs the closure; keeps its answer.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Answers: with what the closure said, or with the error.
    fn finish(self: Box<Self>, outcome: Result<(), MetaError>);
}

/// A [`Job`] with its types.
pub(super) struct Work<F, T, E> {
    pub(super) closure: Option<F>,
    pub(super) answer: Option<Result<T, E>>,
    pub(super) reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Work<F, T, E>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<MetaError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(closure) = self.closure.take() else { return false };
        let answer = guarded_job(|| closure(tx)).unwrap_or_else(|panic| {
            tracing::error!(%panic, "a metadata transaction panicked");
            Err(E::from(MetaError::Panicked))
        });
        let stages = answer.is_ok();
        self.answer = Some(answer);
        stages
    }

    fn finish(self: Box<Self>, outcome: Result<(), MetaError>) {
        let answer = match (outcome, self.answer) {
            (Ok(()), Some(answer)) => answer,
            (Err(error), _) => Err(E::from(error)),
            (Ok(()), None) => Err(E::from(MetaError::Closed)),
        };
        let _ = self.reply.send(answer); // the client may have gone; the change stays
    }
}

/// A closure that ran: the closure, its place in the queue, and what became of its changes.
type Ran = (Box<dyn Job>, OwnedSemaphorePermit, Result<(), MetaError>);

#[derive(Default)]
struct Group {
    jobs: Vec<Ran>,
    overlay: Overlay,
    body: Vec<u8>,
    count: u32,
}

/// The writer's own state.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) messages: Receiver<Message>,
    pub(super) journal: Journal,
    pub(super) index: Option<Index>,
    pub(super) in_memory: bool,
    pub(super) recovery: Recovery,
    pub(super) keeper: Sender<Sealed>,
    /// Why the journal, or the index, is not there.
    pub(super) trouble: Option<MetaError>,
    pub(super) next_try: Option<(u64, u64)>,
    pub(super) proving: Proving,
}

impl Writer {
    /// Serves until told to close.
    pub(super) fn run(mut self) {
        let mut pending = None;
        loop {
            if self.proving.comes_first() {
                self.prove_all();
            }
            self.prove_when_due();
            let message = match pending.take() {
                Some(message) => Ok(message),
                None if self.degraded() => self.messages.recv_timeout(TICK),
                None => match self.rest() {
                    Some(rest) => self.messages.recv_timeout(rest),
                    None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                },
            };
            match message {
                Ok(Message::Commit(job, slot)) => pending = self.group(job, slot),
                Ok(Message::Wake) => self.mend(),
                Ok(Message::Check(reply)) => {
                    self.prove_all();
                    if self.is_proved() {
                        let _ = reply.send(()); // who asked may have gone
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.mend(),
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.end();
    }

    fn end(mut self) {
        self.shared.view.store(Arc::new(View::down(MetaError::Closed)));
        let degraded = self.degraded();
        let Some(index) = self.index.take() else { return };
        let flushed = index.engine.flush();
        index.engine.close();
        match flushed {
            Ok(()) if !degraded && !self.proving.comes_first() => self.recovery.marks.closed(),
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "flushing the metadata index at the end"),
        }
    }

    pub(super) fn degraded(&self) -> bool {
        !self.journal.is_ready() || self.index.is_none() || self.in_memory
    }

    /// Runs one group; returns a message met on the way that is no commit.
    fn group(&mut self, job: Box<dyn Job>, slot: OwnedSemaphorePermit) -> Option<Message> {
        let engine = match self.writable() {
            Ok(engine) => engine,
            Err(error) => {
                job.finish(Err(error));
                return None;
            }
        };
        let mut group = Group::default();
        let mut next = Some((job, slot));
        let mut pending = None;
        let mut broken = false;
        while let Some((job, slot)) = next.take() {
            broken = run_job(engine.as_ref(), job, slot, &mut group);
            if broken || group.jobs.len() >= GROUP_JOBS || group.body.len() >= GROUP_BYTES {
                break;
            }
            match self.messages.try_recv() {
                Ok(Message::Commit(job, slot)) => next = Some((job, slot)),
                Ok(other) => pending = Some(other),
                Err(_) => {}
            }
        }
        let outcome = if broken {
            self.index_broke("a read in a transaction failed");
            Err(MetaError::Unavailable { why: "the index failed and is being rebuilt".into() })
        } else {
            self.make_durable(&mut group)
        };
        for (job, slot, own) in group.jobs {
            job.finish(outcome.clone().and(own));
            drop(slot);
        }
        pending
    }

    fn make_durable(&mut self, group: &mut Group) -> Result<(), MetaError> {
        if group.count == 0 {
            return Ok(());
        }
        self.append(group)?;
        let position = self.journal.position();
        for sealed in self.journal.take_sealed() {
            let _ = self.keeper.send(sealed); // it ends before the writer only at close
        }
        let overlay = std::mem::take(&mut group.overlay);
        self.shared.follower.tell(&overlay);
        if let Some(index) = &mut self.index
            && let Err(error) = index.apply(position, overlay)
        {
            self.index_broke(&error.to_string());
        }
        self.shared.dirty.store(true, Ordering::Relaxed);
        self.report(Some(group.count));
        Ok(())
    }

    fn append(&mut self, group: &Group) -> Result<(), MetaError> {
        let Err(mut error) = self.journal.append(group.count, &group.body) else { return Ok(()) };
        tracing::error!(%error, "a group of metadata changes could not be written");
        // Another attempt is in a new segment, whose header excludes what the failed one left.
        if is_full(&error) && (self.recovery.on_full)() {
            match self.journal.append(group.count, &group.body) {
                Ok(_) => return Ok(()),
                Err(again) => error = again,
            }
        }
        if self.journal.ready().is_err() {
            self.defer(0);
        }
        self.trouble = Some(refusal(&error));
        self.report(None);
        Err(refusal(&error))
    }

    /// The engine to run closures on, after mending what can be mended.
    fn writable(&mut self) -> Result<Arc<dyn Engine>, MetaError> {
        self.mend();
        match &self.index {
            Some(_) if self.proving.comes_first() => Err(MetaError::Closed), // only at the end
            Some(index) if !self.degraded() => Ok(Arc::clone(&index.engine)),
            _ => Err(self.trouble.clone().unwrap_or(MetaError::Closed)),
        }
    }

    /// Mends what is broken, not more often than [`RETRY_MS`].
    fn mend(&mut self) {
        if self.shared.view.load().is_broken() {
            self.index_broke("a read failed");
        }
        if !self.degraded() || !self.may_try() {
            return;
        }
        let started = self.recovery.clock.now_ms();
        if let Err(error) = self.open_segment() {
            self.trouble = Some(refusal(&error));
        }
        // An index on the disk may not get what may not be durable.
        if self.index.is_none() || (self.in_memory && self.journal.is_durable()) {
            self.bring_up();
        }
        self.defer(self.recovery.clock.now_ms().saturating_sub(started));
        self.report(None);
    }

    fn open_segment(&mut self) -> io::Result<()> {
        match self.journal.ready() {
            Err(error) if is_full(&error) && (self.recovery.on_full)() => self.journal.ready(),
            result => result,
        }
    }

    /// Attempts that take long are made seldom; a clock set back does not put them off.
    fn defer(&mut self, took_ms: u64) {
        let now = self.recovery.clock.now_ms();
        self.next_try = Some((now, now.saturating_add(RETRY_MS.max(took_ms.saturating_mul(10)))));
    }

    fn may_try(&self) -> bool {
        let now = self.recovery.clock.now_ms();
        self.next_try.is_none_or(|(since, until)| now < since || now >= until)
    }

    pub(super) fn index_broke(&mut self, why: &str) {
        tracing::error!(why, "the metadata index broke; it is brought up again");
        let trouble = MetaError::Unavailable { why: "the metadata index is being rebuilt".into() };
        self.shared.view.store(Arc::new(View::down(trouble.clone())));
        self.trouble = Some(trouble);
        if let Some(index) = self.index.take() {
            index.engine.close();
        }
        self.in_memory = false;
        self.proving = Proving::default(); // what comes instead is checked, or made anew
        self.mend();
    }

    fn bring_up(&mut self) {
        let truth = Truth::open(self.recovery.disk.as_ref(), &super::snapshots::until(&self.recovery.stop));
        let memory = !self.in_memory;
        let (end, durable) = (self.journal.position(), self.journal.is_durable());
        let result = truth
            .map_err(OpenError::from)
            .and_then(|mut truth| self.recovery.bring_up(&mut truth, end, memory, &mut |_| Ok(durable)));
        match result {
            Ok((index, outcome)) => {
                self.in_memory = matches!(outcome, IndexOutcome::InMemory { .. });
                if self.in_memory && durable {
                    self.trouble = Some(MetaError::NoSpace);
                }
                self.shared.view.store(Arc::new(View::up(Arc::clone(&index.engine))));
                self.index = Some(index);
                self.shared.follower.rebuilt();
                let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
                status.rebuilds += u64::from(matches!(outcome, IndexOutcome::Rebuilt { .. }));
            }
            Err(error) => {
                let full = matches!(error, OpenError::Index(EngineError::Full(_)));
                let why = format!("the metadata index could not be brought up: {error}");
                let trouble = if full { MetaError::NoSpace } else { MetaError::Unavailable { why } };
                if self.in_memory {
                    tracing::debug!(%error, "the index still does not open");
                } else {
                    tracing::error!(%error, "the metadata index could not be brought up");
                    self.shared.view.store(Arc::new(View::down(trouble.clone())));
                }
                self.trouble = Some(trouble);
            }
        }
    }

    /// Brings the status up to date, after a group of `count` change sets if any.
    pub(super) fn report(&self, count: Option<u32>) {
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.sequence = self.journal.position().sequence;
        status.groups += u64::from(count.is_some());
        status.change_sets += u64::from(count.unwrap_or(0));
        status.readable = self.index.is_some();
        status.in_memory = self.in_memory;
        if let Some(index) = &self.index {
            status.rows = index.state.sums.total();
            status.checking = index.proof.is_some();
        }
        status.read_only = match &self.trouble {
            _ if !self.degraded() => None,
            trouble => Some(trouble.as_ref().map_or_else(|| "not ready".into(), ToString::to_string)),
        };
    }
}

/// Runs a closure and adds its changes to the group; true if the engine failed under it.
fn run_job(
    engine: &dyn Engine,
    mut job: Box<dyn Job>,
    slot: OwnedSemaphorePermit,
    group: &mut Group,
) -> bool {
    let mut tx = Tx::new(engine, &group.overlay);
    let stages = job.run(&mut tx);
    let staged = match tx.finish() {
        Ok(changes) if stages && !changes.is_empty() => {
            encode(&changes, &mut group.body).map(|()| Some(changes))
        }
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    };
    let (own, broken) = match staged {
        Ok(changes) => {
            group.count += u32::from(changes.is_some());
            group.overlay.extend(changes.into_iter().flatten());
            (Ok(()), false)
        }
        Err(error) => {
            let broken = matches!(error, MetaError::Unavailable { .. } | MetaError::Closed);
            (if stages || broken { Err(error) } else { Ok(()) }, broken)
        }
    };
    group.jobs.push((job, slot, own));
    broken
}

/// What clients are told about an error of the journal.
pub(super) fn refusal(error: &io::Error) -> MetaError {
    if is_full(error) {
        MetaError::NoSpace
    } else {
        MetaError::Unavailable { why: format!("the metadata journal cannot be written: {error}") }
    }
}
