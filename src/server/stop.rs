//! The way to the end, seen by everything that must take part in it.

use std::sync::Arc;

use tokio::sync::watch;

/// How far the stop has come; it only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; requests under way finish.
    Finishing,
    /// What is left is cut.
    Cut,
}

/// Handle to the stop; clones are the same one.
#[derive(Clone)]
pub struct Stop {
    phase: Arc<watch::Sender<Phase>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Running)) }
    }
}

impl Stop {
    /// Begins the stop.
    pub fn begin(&self) {
        self.advance(Phase::Finishing);
    }

    /// Ends it at once.
    pub fn cut(&self) {
        self.advance(Phase::Cut);
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let forward = *phase < to;
            *phase = to.max(*phase);
            forward
        });
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until `phase` is reached.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_only_goes_forward() {
        let stop = Stop::default();
        assert_eq!(stop.phase(), Phase::Running);
        stop.cut();
        stop.begin();
        assert_eq!(stop.phase(), Phase::Cut);
        stop.reached(Phase::Finishing).await;
    }
}
