//! Ending a request that writes a session, from outside: its body seems to break off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::Source;
use super::session::Session;
use crate::services::error::{Error, SourceError};

/// Whether a session is to end, seen by the one request that may be writing it.
#[derive(Default)]
pub struct Abort {
    asked: AtomicBool,
    told: Notify,
}

impl Abort {
    /// From now on the session is over for everybody.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        // Kept until somebody waits: a session has one writer at a time.
        self.told.notify_one();
    }

    /// Whether it is.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// What a request is told that was writing.
    pub fn refused(&self) -> Result<(), Error> {
        if self.is_asked() { Err(Error::UploadUnknown) } else { Ok(()) }
    }
}

/// A body that breaks off when its session is aborted, and counts what it brings.
pub struct Watched<S> {
    body: S,
    session: Arc<Session>,
}

impl Session {
    /// `body`, for as long as the session is not aborted.
    pub fn watch<S: Source>(self: &Arc<Self>, body: S) -> Watched<S> {
        Watched { body, session: Arc::clone(self) }
    }
}

impl<S: Source> Source for Watched<S> {
    async fn next(&mut self) -> Option<Result<bytes::Bytes, SourceError>> {
        let abort = self.session.abort();
        if abort.is_asked() {
            return Some(Err(SourceError::Disconnected));
        }
        let next = tokio::select! {
            biased;
            next = self.body.next() => next,
            () = abort.told.notified() => return Some(Err(SourceError::Disconnected)),
        };
        if let Some(Ok(bytes)) = &next {
            self.session.arrived(bytes.len() as u64);
        }
        next
    }
}
