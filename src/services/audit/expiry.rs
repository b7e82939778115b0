//! When old events go. Ages are told by the wall clock, which may be wrong: after it jumped, or at a start
//! whose time is far from the trail's newest event, nothing is removed for a day.

use super::{Audit, lock};
use crate::seams::{Clock, tasks};
use crate::services::error::Error;

/// A jump of the clock, milliseconds, that is more than being set right.
const JUMP: u64 = 10 * 60_000;
/// How far the newest event may be from the time of a start.
const GAP: u64 = 86_400_000;
/// How long nothing is removed then.
const PAUSE: u64 = 86_400_000;

/// What the clocks said last.
pub struct Watch {
    wall: u64,
    monotonic: u64,
    /// By the clock that does not jump.
    paused_until: u64,
    /// When the trail was last synced, alike.
    pub synced: u64,
}

impl Watch {
    /// At a start; `newest` is the newest event.
    pub fn new(clock: &dyn Clock, newest: Option<u64>) -> Self {
        let (wall, monotonic) = (clock.now_ms(), clock.monotonic_ms());
        let is_far = newest.is_some_and(|newest| newest.abs_diff(wall) > GAP);
        let paused_until = if is_far { monotonic.saturating_add(PAUSE) } else { 0 };
        Self { wall, monotonic, paused_until, synced: monotonic }
    }

    /// The time, if ages can be told by it.
    fn time(&mut self, wall: u64, monotonic: u64) -> Option<u64> {
        let expected = self.wall.saturating_add(monotonic.saturating_sub(self.monotonic));
        if expected.abs_diff(wall) > JUMP {
            tracing::warn!("the clock jumped: no event of the audit trail is removed for a day");
            self.paused_until = monotonic.saturating_add(PAUSE);
        }
        (self.wall, self.monotonic) = (wall, monotonic);
        (monotonic >= self.paused_until).then_some(wall)
    }
}

impl Audit {
    /// Removes what is older than events are kept; how many files.
    pub async fn expire(&self) -> Result<usize, Error> {
        let parts = &self.0.parts;
        let (wall, monotonic) = (parts.clock.now_ms(), parts.clock.monotonic_ms());
        let Some(now) = lock(&self.0.watch).time(wall, monotonic) else { return Ok(0) };
        let (trail, keep) = (parts.trail.clone(), parts.options.keep_ms);
        let removed = tasks::blocking(move || trail.expire(now, keep)).await?;
        removed.map_err(|error| {
            tracing::warn!(%error, "old events of the audit trail could not be removed");
            Error::Bug("the audit trail failed")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::TestClock;

    const DAY: u64 = 86_400_000;

    #[test]
    fn ages_are_told_only_by_a_clock_that_goes_on_as_it_did() {
        let clock = TestClock::default();
        clock.set(100 * DAY);
        let mut watch = Watch::new(&clock, Some(100 * DAY - 5));
        let (wall, mono) = (100 * DAY, 100 * DAY);
        assert_eq!(watch.time(wall + 60_000, mono + 60_000), Some(wall + 60_000));
        assert_eq!(watch.time(wall + 500 * DAY, mono + 120_000), None, "ahead");
        assert_eq!(watch.time(wall + 500 * DAY + 1, mono + 120_001), None, "still");
        assert_eq!(watch.time(wall + 180_000, mono + 180_000), None, "and back");
        let day = wall + DAY + 180_000;
        assert_eq!(watch.time(day, mono + DAY + 180_000), Some(day), "a day later");
    }

    #[test]
    fn a_start_far_from_the_newest_event_removes_nothing_for_a_day() {
        let clock = TestClock::default();
        clock.set(100 * DAY);
        let mono = clock.monotonic_ms();
        for newest in [90 * DAY, 200 * DAY] {
            let mut watch = Watch::new(&clock, Some(newest));
            assert_eq!(watch.time(100 * DAY + 1, mono + 1), None);
            assert_eq!(watch.time(101 * DAY, mono + DAY), Some(101 * DAY));
        }
        assert_eq!(Watch::new(&clock, None).time(100 * DAY, mono), Some(100 * DAY));
    }
}
