//! When the scrub has something to do: what an unclean stop left, a cycle under way, or one that is due.

use std::pin::Pin;
use std::time::Duration;

use super::{LOOK_EVERY, Scrub};
use crate::jobs::Timing;

impl Timing for Scrub {
    fn due(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                let told = self.0.wake.notified();
                tokio::pin!(told);
                told.as_mut().enable();
                let Some(wait) = self.wait() else { return };
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = told => {}
                }
            }
        })
    }

    fn next_at(&self) -> Option<u64> {
        self.facts().next_at
    }

    fn is_paused(&self) -> bool {
        self.known().state.paused
    }
}

impl Scrub {
    /// How long to wait before it is looked again whether there is work; none if there is.
    pub(super) fn wait(&self) -> Option<Duration> {
        let (paused, at_once) = {
            let known = self.known();
            (known.state.paused, known.state.running || known.unclean)
        };
        if paused {
            return Some(LOOK_EVERY);
        }
        if at_once {
            return None;
        }
        let Some(next_at) = self.facts().next_at else { return Some(LOOK_EVERY) };
        let left = next_at.saturating_sub(self.0.parts.clock.now_ms());
        // A clock that is set right is noticed.
        (left > 0).then(|| Duration::from_millis(left).min(LOOK_EVERY))
    }
}
