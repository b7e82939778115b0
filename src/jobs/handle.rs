//! What work reports with, and learns by that it should stop.

use std::sync::Arc;

use tokio::sync::watch;

use super::entry::Entry;
use super::view::Progress;

/// A run's handle. Clones are of the same run.
#[derive(Clone)]
pub struct Handle {
    entry: Arc<Entry>,
    stop: watch::Receiver<bool>,
    is_asked: bool,
}

impl Handle {
    pub(super) const fn new(entry: Arc<Entry>, stop: watch::Receiver<bool>, is_asked: bool) -> Self {
        Self { entry, stop, is_asked }
    }

    /// Whether somebody asked for this run: it is for all there is, not only for what is due.
    pub const fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// So many things are done, of so many if that is known.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: &'static str) {
        self.entry.progress(Progress { done, total, unit });
    }

    /// Whether the job is paused: work that others wait for lets them have their turn then, and waits by
    /// [`goes_on`](Self::goes_on) afterwards.
    pub fn is_paused(&self) -> bool {
        self.entry.is_paused()
    }

    /// Whether the appliance stops: the work is to end as soon as what it leaves is whole.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the appliance stops.
    pub async fn stopped(&self) {
        // An error means that the jobs are gone, which have stopped then.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// To be asked between batches: waits while the job is paused; false once the appliance stops, and the work is to
    /// end as soon as what it leaves is whole.
    pub async fn goes_on(&self) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => false,
            () = self.entry.unpaused() => true,
        }
    }
}
