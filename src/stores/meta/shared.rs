//! What readers, the writer and the background threads share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use super::engine::{Engine, EngineError};
use super::error::MetaError;
use super::follow::Follower;
use super::status::Status;
use super::writer::Message;

/// What readers read from, swapped when the index is rebuilt.
pub(super) struct View {
    engine: Result<Arc<dyn Engine>, MetaError>,
    broken: AtomicBool,
}

impl View {
    /// Reads are answered from `engine`.
    pub(super) fn up(engine: Arc<dyn Engine>) -> Self {
        Self { engine: Ok(engine), broken: AtomicBool::new(false) }
    }

    /// Reads are answered with `error`.
    pub(super) fn down(error: MetaError) -> Self {
        Self { engine: Err(error), broken: AtomicBool::new(false) }
    }

    /// Whether a reader met an error.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }
}

pub(super) struct Shared {
    pub(super) view: ArcSwap<View>,
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
    /// Reads from the index; an error of it wakes the writer, which rebuilds it.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&dyn Engine) -> Result<T, EngineError>,
    ) -> Result<T, MetaError> {
        let view = self.view.load();
        let engine = view.engine.as_ref().map_err(Clone::clone)?;
        read(engine.as_ref()).map_err(|error| {
            if matches!(error, EngineError::Closed) {
                // Closed between the load and the read: the index is being swapped, or the store closed.
                return match &self.view.load().engine {
                    Err(why) => why.clone(),
                    Ok(_) => MetaError::Unavailable { why: "the metadata index was just rebuilt".into() },
                };
            }
            tracing::error!(%error, "reading the metadata index");
            view.broken.store(true, Ordering::SeqCst);
            let _ = self.messages.send(Message::Wake); // without a writer the store is closing
            MetaError::from(&error)
        })
    }
}
