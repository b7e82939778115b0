//! The one writer. Takes what waits, runs each closure, appends what they changed as one frame,
//! applies it, answers. What broke is mended on the way (`mending`).
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

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::engine::guarded_job;
use super::error::MetaError;
use super::index::Index;
use super::journal::{Journal, Sealed};
use super::mending::Attempts;
use super::proving::Proving;
use super::recovery::Recovery;
use super::shared::{Shared, View};
use super::truth::Overlay;
use super::tx::{Tx, encode};
use crate::stores::disk::is_full;

/// The most closures in a group.
const GROUP_JOBS: usize = 256;
/// A group with this many bytes takes no more closures.
const GROUP_BYTES: usize = 1 << 20;

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
    /// Why the journal is not ready, or was not last.
    pub(super) segment_trouble: Option<MetaError>,
    /// Why the index is not on the disk, or was not last.
    pub(super) index_trouble: Option<MetaError>,
    pub(super) segments: Attempts,
    pub(super) indexes: Attempts,
    /// Who follows does not know yet that the index is another one.
    pub(super) untold: bool,
    pub(super) proving: Proving,
}

impl Writer {
    /// Serves until told to close.
    pub(super) fn run(mut self) {
        let _ = self.shared.writer.set(std::thread::current().id()); // nobody else sets it
        let mut pending = None;
        loop {
            if self.proving.comes_first() {
                self.prove_all();
            }
            self.prove_when_due();
            let message = match pending.take() {
                Some(message) => Ok(message),
                None if self.degraded() => self.messages.recv_timeout(self.until_next_try()),
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
        self.shared.show(View::down(MetaError::Closed));
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
        if let Err(error) = self.writable() {
            job.finish(Err(error));
            return None;
        }
        let mut group = Group::default();
        let mut next = Some((job, slot));
        let mut pending = None;
        while let Some((job, slot)) = next.take() {
            self.run_job(job, slot, &mut group);
            if self.index.is_none() || group.jobs.len() >= GROUP_JOBS || group.body.len() >= GROUP_BYTES {
                break;
            }
            match self.messages.try_recv() {
                Ok(Message::Commit(job, slot)) => next = Some((job, slot)),
                Ok(other) => pending = Some(other),
                Err(_) => {}
            }
        }
        self.tell_rebuilt();
        let outcome = self.make_durable(&mut group);
        for (job, slot, own) in group.jobs {
            job.finish(outcome.clone().and(own));
            drop(slot);
        }
        pending
    }

    /// Runs a closure and adds its changes to the group. There is no index afterwards if it broke under the
    /// closure and could not be brought up.
    fn run_job(&mut self, mut job: Box<dyn Job>, slot: OwnedSemaphorePermit, group: &mut Group) {
        let mut tx = Tx::new(self, &group.overlay);
        let stages = job.run(&mut tx);
        let staged = match tx.finish() {
            Ok(changes) if stages && !changes.is_empty() => {
                encode(&changes, &mut group.body).map(|()| Some(changes))
            }
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        };
        let own = match staged {
            Ok(changes) => {
                group.count += u32::from(changes.is_some());
                group.overlay.extend(changes.into_iter().flatten());
                Ok(())
            }
            Err(error) if stages || self.index.is_none() => Err(error),
            Err(_) => Ok(()), // the closure says why itself
        };
        group.jobs.push((job, slot, own));
    }

    fn make_durable(&mut self, group: &mut Group) -> Result<(), MetaError> {
        if group.count == 0 {
            return Ok(());
        }
        if self.degraded() {
            return Err(self.refused()); // the index broke under the group, and what came up takes no changes
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
            let now = self.recovery.clock.now_ms();
            self.segments.tried(false, now, now);
        }
        self.segment_trouble = Some(refusal(&error));
        self.report(None);
        Err(refusal(&error))
    }

    /// Whether closures can be run, after mending what can be mended.
    fn writable(&mut self) -> Result<(), MetaError> {
        self.mend();
        match self.degraded() {
            true => Err(self.refused()),
            false if self.proving.comes_first() => Err(MetaError::Closed), // only at the end
            false => Ok(()),
        }
    }

    /// Why nothing is committed: what is wrong with the journal, as long as it is, then with the index.
    pub(super) fn refused(&self) -> MetaError {
        let (first, then) = match self.journal.is_ready() {
            true => (&self.index_trouble, &self.segment_trouble),
            false => (&self.segment_trouble, &self.index_trouble),
        };
        first.as_ref().or(then.as_ref()).cloned().unwrap_or(MetaError::Closed)
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
        let refused = self.degraded().then(|| self.refused());
        status.no_space = matches!(refused, Some(MetaError::NoSpace));
        status.read_only = refused.map(|refused| refused.to_string());
    }
}

/// What clients are told about an error of the journal.
pub(super) fn refusal(error: &io::Error) -> MetaError {
    if is_full(error) {
        MetaError::NoSpace
    } else {
        MetaError::Unavailable { why: format!("the metadata journal cannot be written: {error}") }
    }
}
