//! What readers, the writer and the background threads share; above all the *view*: the index as
//! readers see it, or why there is none.
//!
//! A reader that meets an index that broke, or one that is just being brought up, waits for the view
//! that comes instead and asks that one, once. V1: nobody waits longer than [`PATIENCE`] from the moment
//! the index was found broken, so that a long rebuild holds up the threads that read once, not at each
//! read. V2: nobody waits for a view that is not about to come (closed, no space, the bringing up
//! failed), and the writer, who makes it, never. V3: a read that goes well costs one load of the view.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::engine::{Engine, EngineError};
use super::error::MetaError;
use super::follow::Follower;
use super::status::Status;
use super::writer::Message;

/// How long readers wait for an index that broke: longer than a small one takes to be brought up.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// What readers read from, swapped when the index is brought up again.
pub(super) struct View {
    engine: Result<Arc<dyn Engine>, MetaError>,
    /// When the index was found broken, if another view is to come.
    broken: OnceLock<Instant>,
}

impl View {
    /// Reads are answered from `engine`.
    pub(super) fn up(engine: Arc<dyn Engine>) -> Self {
        Self { engine: Ok(engine), broken: OnceLock::new() }
    }

    /// Reads are answered with `error`.
    pub(super) fn down(error: MetaError) -> Self {
        Self { engine: Err(error), broken: OnceLock::new() }
    }

    /// Reads wait for the view that is about to follow this one, which comes after `broken`; then they
    /// are answered with `error`.
    pub(super) fn between(broken: &Self, error: MetaError) -> Self {
        let since = broken.broken.get().copied().unwrap_or_else(Instant::now);
        Self { engine: Err(error), broken: OnceLock::from(since) }
    }

    /// Whether the index was found broken.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get().is_some()
    }

    /// How long another view is waited for.
    fn patience(&self) -> Option<Duration> {
        let left = PATIENCE.checked_sub(self.broken.get()?.elapsed())?;
        Some(left).filter(|left| !left.is_zero())
    }
}

pub(super) struct Shared {
    pub(super) view: ArcSwap<View>,
    /// Held while the view is swapped.
    pub(super) swapping: Mutex<()>,
    pub(super) swapped: Condvar,
    /// The thread that swaps views.
    pub(super) writer: OnceLock<ThreadId>,
    pub(super) messages: Sender<Message>,
    pub(super) status: Mutex<Status>,
    /// No commit is taken any more.
    pub(super) closed: AtomicBool,
    /// The index has something to flush.
    pub(super) dirty: AtomicBool,
    /// Who is told of changes.
    pub(super) follower: Follower,
}

impl Shared {
    /// Readers see `view` from now on; those who wait look at it.
    pub(super) fn show(&self, view: View) {
        let swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        self.view.store(Arc::new(view));
        drop(swapping);
        self.swapped.notify_all();
    }

    /// Reads from the index; an error of it wakes the writer, which brings it up again, and the one that
    /// comes instead is asked.
    pub(super) fn read<T>(
        &self,
        read: impl Fn(&dyn Engine) -> Result<T, EngineError>,
    ) -> Result<T, MetaError> {
        let view = self.view.load();
        if let Ok(engine) = &view.engine {
            match read(engine.as_ref()) {
                Ok(found) => return Ok(found),
                Err(error) => self.met(&view, &error),
            }
        }
        let next = self.next_after(&view)?;
        let engine = next.engine.as_ref().map_err(Clone::clone)?;
        read(engine.as_ref()).map_err(|error| {
            self.met(&next, &error);
            failed(&error)
        })
    }

    /// Flushes the index, if there is one; waits for none. An error wakes the writer.
    pub(super) fn flush(&self) {
        let view = self.view.load();
        if let Ok(engine) = &view.engine
            && let Err(error) = engine.flush()
        {
            self.met(&view, &error);
        }
    }

    /// Has the writer look after an index that failed. (One that was closed is being looked after.)
    fn met(&self, view: &View, error: &EngineError) {
        if !matches!(error, EngineError::Closed) {
            if view.broken.set(Instant::now()).is_ok() {
                tracing::error!(%error, "the metadata index failed");
            }
            let _ = self.messages.send(Message::Wake); // without a writer the store is closing
        }
    }

    /// The view that came instead of `seen`, which did not answer; or why there is none.
    fn next_after(&self, seen: &View) -> Result<Arc<View>, MetaError> {
        let waits = self.writer.get() != Some(&std::thread::current().id());
        let mut swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let view = self.view.load_full();
            if view.engine.is_ok() && !std::ptr::eq(view.as_ref(), seen) {
                return Ok(view);
            }
            let Some(left) = view.patience().filter(|_| waits) else {
                let failed = || MetaError::Unavailable { why: "the metadata index failed".into() };
                return Err(view.engine.as_ref().err().cloned().unwrap_or_else(failed));
            };
            let waited = self.swapped.wait_timeout(swapping, left);
            swapping = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What is answered if the index that came instead fails as well.
fn failed(error: &EngineError) -> MetaError {
    MetaError::Unavailable { why: format!("the metadata index failed again ({error})") }
}
