//! Whether ages can be told. The wall clock may be wrong: after it jumped, or at a start whose time is far from the one
//! last seen, nothing goes until it has gone on for a day, restarts included.
//!
//! What is written: two counters, `time of retention` (the time last seen) and `retention waits until`, in one change
//! set, when the first is half an hour old or the second changes, and only once there is a policy.

use pierhead_storage_format::keys::CounterKey;
use pierhead_storage_format::records::CounterRecord;
use pierhead_storage_format::retention::RetentionKey;

use super::Retention;
use crate::services::access::{Action, Actor, Permit, Resource};
use crate::services::error::Error;
use crate::stores::meta::{Meta, MetaError, Tx};

/// A jump of the clock, milliseconds, that is more than being set right.
const JUMP: u64 = 10 * 60_000;
/// How far ahead of the time last seen a start may be.
const GAP: u64 = 86_400_000;
/// How long nothing goes then.
const PAUSE: u64 = 86_400_000;
/// How old the time on record may be.
const STALE: u64 = 30 * 60_000;

const SEEN: &str = "time of retention";
const UNTIL: &str = "retention waits until";

/// What the clocks said last.
#[derive(Debug)]
pub struct Watch {
    /// Wall clock and the one that does not jump, of this process.
    last: Option<(u64, u64)>,
    /// On record; 0 for never.
    seen: u64,
    /// Nothing goes before this.
    until: u64,
}

/// What a look at the clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The time, if ages can be told by it; else when they can.
    pub time: Result<u64, u64>,
    /// What is to be put on record.
    pub record: Option<(u64, u64)>,
}

impl Watch {
    /// As an earlier process left it.
    pub fn open(meta: &Meta) -> Result<Self, MetaError> {
        let of = |name: &str| {
            let record = meta.get(&CounterKey { name: name.to_owned() })?;
            Ok::<_, MetaError>(record.map_or(0, |record| record.next))
        };
        Ok(Self { last: None, seen: of(SEEN)?, until: of(UNTIL)? })
    }

    /// Looks at the clocks.
    fn look(&mut self, wall: u64, monotonic: u64) -> Told {
        let jumped = match self.last {
            Some((then, at)) => then.saturating_add(monotonic.saturating_sub(at)).abs_diff(wall) > JUMP,
            None => self.seen > 0 && (wall + JUMP < self.seen || wall > self.seen.saturating_add(GAP)),
        };
        let before = (self.seen, self.until);
        if jumped {
            self.until = wall.saturating_add(PAUSE);
        }
        self.last = Some((wall, monotonic));
        let is_stale = jumped || self.seen.abs_diff(wall) > STALE;
        if is_stale {
            self.seen = wall;
        }
        let record = ((self.seen, self.until) != before).then_some((self.seen, self.until));
        Told { time: if wall >= self.until { Ok(wall) } else { Err(self.until) }, record }
    }
}

impl Retention {
    /// The time, if ages can be told by it; else when they can.
    pub async fn time(&self) -> Result<Result<u64, u64>, Error> {
        let clock = &self.0.parts.clock;
        let (wall, monotonic) = (clock.now_ms(), clock.monotonic_ms());
        let told = lock(&self.0.watch).look(wall, monotonic);
        if let Some((seen, until)) = told.record
            && self.has_policies()?
        {
            let permit = self.permit()?;
            self.commit(&permit, move |tx| record(tx, seen, until)).await?;
        }
        if let Err(until) = told.time {
            tracing::warn!(
                until,
                "the clock jumped: retention removes nothing until it has gone on for a day"
            );
        }
        Ok(told.time)
    }

    /// An administrator says that the clock is right.
    pub async fn trust_the_clock(&self, permit: &Permit) -> Result<(), Error> {
        let clock = &self.0.parts.clock;
        let seen = clock.now_ms();
        {
            let mut watch = lock(&self.0.watch);
            (watch.last, watch.seen, watch.until) = (Some((seen, clock.monotonic_ms())), seen, 0);
        }
        self.commit(permit, move |tx| record(tx, seen, 0)).await
    }

    pub(super) fn permit(&self) -> Result<Permit, Error> {
        let actor = Actor::System("retention");
        Ok(self.0.parts.access.authorise(&actor, Action::MaintainStore, Resource::Registry)?)
    }

    fn has_policies(&self) -> Result<bool, Error> {
        Ok(!self.0.parts.meta.page::<RetentionKey>(&[], None, 1)?.is_empty())
    }
}

fn record(tx: &mut Tx<'_>, seen: u64, until: u64) -> Result<(), Error> {
    tx.put(&CounterKey { name: SEEN.to_owned() }, &CounterRecord { next: seen })?;
    Ok(tx.put(&CounterKey { name: UNTIL.to_owned() }, &CounterRecord { next: until })?)
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const T: u64 = 20_000 * DAY;

    fn watch(seen: u64, until: u64) -> Watch {
        Watch { last: None, seen, until }
    }

    #[test]
    fn a_start_tells_the_time_unless_it_is_far_from_the_one_last_seen() {
        let cases = [
            ("the first start ever", 0, 0, Ok(T)),
            ("an hour later", T - HOUR, 0, Ok(T)),
            ("a little earlier", T + 60_000, 0, Ok(T)),
            ("days later", T - 3 * DAY, 0, Err(T + DAY)),
            ("before the time last seen", T + HOUR, 0, Err(T + DAY)),
            ("while an earlier process waited", T - HOUR, T + HOUR, Err(T + HOUR)),
            ("after it waited", T - HOUR, T, Ok(T)),
            ("set right after it was years ahead", T + 900 * DAY, T + 901 * DAY, Err(T + DAY)),
        ];
        for (name, seen, until, expected) in cases {
            assert_eq!(watch(seen, until).look(T, 5).time, expected, "{name}");
        }
    }

    #[test]
    fn a_jump_while_it_runs_is_waited_out_and_a_restart_does_not_cut_that_short() {
        let mut first = watch(T - HOUR, 0);
        assert_eq!(first.look(T, 0).time, Ok(T));
        assert_eq!(first.look(T + HOUR + 60_000, HOUR).time, Ok(T + HOUR + 60_000), "set right by a minute");
        let ahead = T + 2000 * DAY;
        let told = first.look(ahead, 2 * HOUR);
        assert_eq!((told.time, told.record), (Err(ahead + DAY), Some((ahead, ahead + DAY))));
        let mut second = watch(ahead, ahead + DAY);
        assert_eq!(second.look(ahead + HOUR, 0).time, Err(ahead + DAY));
        assert_eq!(second.look(ahead + DAY, 23 * HOUR).time, Ok(ahead + DAY), "it went on for a day");
    }

    #[test]
    fn the_time_is_put_on_record_now_and_then() {
        let mut watch = watch(0, 0);
        assert_eq!(watch.look(T, 0).record, Some((T, 0)));
        assert_eq!(watch.look(T + 1000, 1000).record, None);
        assert_eq!(watch.look(T + HOUR, HOUR).record, Some((T + HOUR, 0)));
    }
}
