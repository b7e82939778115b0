//! By which time ages are told. A wall clock may be wrong, and what is removed by age is gone: so the highest time that
//! was believed is kept in the store, and while the clock is in *doubt* (it jumped, at a start it is far above that time
//! or below it) an age has passed only when it passed by the clock that never jumps. Doubt outlives a stop; it ends
//! when the longest age has passed so, or an operator accepts the time. Meanwhile no higher time is kept.

use pierhead_storage_format::keys::CounterKey;
use pierhead_storage_format::records::CounterRecord;

use crate::seams::Clock;
use crate::services::access::Permit;
use crate::services::error::Error;
use crate::services::images::Shelves;

/// A jump of the clock, milliseconds, that is more than being set right.
const JUMP: u64 = 10 * 60_000;
/// How far above the time kept a start may be: longer than most are switched off.
const AHEAD: u64 = 86_400_000;
/// How often the time is kept.
const KEEP_EVERY: u64 = 10 * 60_000;

const TIME: &str = "time";
const DOUBT: &str = "time in doubt";

/// What the clocks said last.
pub struct Watch {
    wall: u64,
    monotonic: u64,
    /// The highest time believed, as it is kept.
    mark: u64,
    /// Since when it is in doubt, by the clock that does not jump.
    doubt: Option<u64>,
    /// Whether the store says so.
    kept_doubt: bool,
}

fn key(name: &str) -> CounterKey {
    CounterKey { name: name.to_owned() }
}

impl Watch {
    /// At a start, with what the store says.
    pub fn load(shelves: &Shelves) -> Result<Self, Error> {
        let mark = shelves.meta.get(&key(TIME))?.map(|record| record.next);
        let doubt = shelves.meta.get(&key(DOUBT))?.is_some();
        Ok(Self::new(shelves.clock.as_ref(), mark, doubt))
    }

    fn new(clock: &dyn Clock, mark: Option<u64>, kept_doubt: bool) -> Self {
        let (wall, monotonic) = (clock.now_ms(), clock.monotonic_ms());
        let is_far =
            mark.is_some_and(|mark| wall > mark.saturating_add(AHEAD) || wall.saturating_add(JUMP) < mark);
        let doubt = (is_far || kept_doubt).then_some(monotonic);
        Self { wall, monotonic, mark: mark.unwrap_or(0), doubt, kept_doubt }
    }

    /// Looks at the clocks, and keeps what has to be kept.
    pub async fn tick(
        &mut self,
        shelves: &Shelves,
        permit: &Permit,
        longest: u64,
        accepts: bool,
    ) -> Result<(), Error> {
        self.look(shelves.clock.now_ms(), shelves.clock.monotonic_ms(), longest, accepts);
        let doubt = self.doubt.is_some();
        let mark =
            (!doubt && (self.wall >= self.mark.saturating_add(KEEP_EVERY) || accepts)).then_some(self.wall);
        if mark.is_none() && doubt == self.kept_doubt {
            return Ok(());
        }
        let keep = shelves.access.commit(&shelves.meta, permit, move |tx| {
            if let Some(next) = mark {
                tx.put(&key(TIME), &CounterRecord { next })?;
            }
            if doubt {
                Ok(tx.put(&key(DOUBT), &CounterRecord { next: 1 })?)
            } else {
                Ok(tx.delete(&key(DOUBT))?)
            }
        });
        keep.await?;
        self.mark = mark.unwrap_or(self.mark);
        self.kept_doubt = doubt;
        Ok(())
    }

    fn look(&mut self, wall: u64, monotonic: u64, longest: u64, accepts: bool) {
        let expected = self.wall.saturating_add(monotonic.saturating_sub(self.monotonic));
        if expected.abs_diff(wall) > JUMP {
            tracing::warn!("the clock jumped: what is removed by age waits as long as its age");
            self.doubt = Some(monotonic);
        }
        (self.wall, self.monotonic) = (wall, monotonic);
        if accepts || self.doubt.is_some_and(|since| monotonic.saturating_sub(since) >= longest) {
            self.doubt = None;
        }
    }

    /// What is from this time or before has this `age`; none while that cannot be told.
    pub fn before(&self, age: u64) -> Option<u64> {
        let told = self.doubt.is_none_or(|since| self.monotonic.saturating_sub(since) >= age);
        told.then(|| self.wall.saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::TestClock;

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_000 * HOUR;

    fn watch(mark: Option<u64>, kept_doubt: bool) -> Watch {
        let clock = TestClock::default();
        clock.set(NOW);
        Watch::new(&clock, mark, kept_doubt)
    }

    #[test]
    fn a_start_far_from_the_time_kept_is_in_doubt() {
        let cases = [
            ("the first start", None, false, true),
            ("a restart", Some(NOW - HOUR), false, true),
            ("after some hours", Some(NOW - 20 * HOUR), false, true),
            ("after a week, or with a clock ahead", Some(NOW - 170 * HOUR), false, false),
            ("with a clock behind", Some(NOW + HOUR), false, false),
            ("in doubt already", Some(NOW), true, false),
        ];
        for (name, mark, doubt, told) in cases {
            assert_eq!(watch(mark, doubt).before(HOUR).is_some(), told, "{name}");
        }
    }

    #[test]
    fn after_a_jump_an_age_is_told_when_it_has_passed_by_the_other_clock() {
        let mut watch = watch(Some(NOW), false);
        watch.look(NOW + HOUR, NOW + HOUR, 24 * HOUR, false);
        assert_eq!(watch.before(HOUR), Some(NOW));
        let ahead = NOW + 9_000 * HOUR;
        watch.look(ahead, NOW + HOUR + 1, 24 * HOUR, false);
        assert_eq!(watch.before(HOUR), None);
        watch.look(ahead + HOUR, NOW + 2 * HOUR + 1, 24 * HOUR, false);
        assert_eq!(watch.before(HOUR), Some(ahead), "an hour has passed since");
        assert_eq!(watch.before(24 * HOUR), None, "a day has not");
        watch.look(ahead + 24 * HOUR, NOW + 25 * HOUR + 1, 24 * HOUR, false);
        assert!(watch.doubt.is_none(), "the longest age has passed");
        watch.look(NOW, NOW + 26 * HOUR, 24 * HOUR, false);
        assert_eq!(watch.before(1), None, "it jumped back");
        watch.look(NOW, NOW + 26 * HOUR, 24 * HOUR, true);
        assert_eq!(watch.before(1), Some(NOW - 1), "an operator accepts it");
    }
}
