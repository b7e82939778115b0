//! How often something may happen, for each of many keys, in bounded memory.
//!
//! Words: a *rate* is so many at once and so many again each period; a *bucket* is how much of it a key has left; a
//! *limiter* has a rate and the buckets of its keys.
//!
//! - L1: in any time t no key is let through more often than its rate says: `count + count * t / period`.
//! - L2: however many keys come, a limiter holds no more buckets than it was made for (`buckets`).
//! - L3: another rate applies from the next question on, and nobody's bucket is filled by the change; but nobody waits
//!   longer than the new rate has anybody wait who used all of it up just now.
//!
//! governor decides (GCRA). What it keeps for a key is one moment, its theoretical arrival time; ours is counted from the
//! clock's zero rather than from when a limiter was made, so that the limiter of a new rate goes on with the moments of
//! the old one. Knows neither addresses nor users: `guard` and `audit` do.

mod buckets;

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use governor::clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use self::buckets::{Buckets, Peek, Take};
use crate::seams::Clock;

/// So many at once, and as many again each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; more than nothing.
    pub count: u32,
    /// Milliseconds; more than nothing.
    pub period_ms: u64,
}

impl Rate {
    /// So many times this rate over a window of so many milliseconds, or over its own period if that is longer; all of
    /// it at once if need be.
    pub fn times(self, factor: u32, window_ms: u64) -> Self {
        let window_ms = window_ms.max(self.period_ms);
        let count = u128::from(self.count) * u128::from(factor) * u128::from(window_ms);
        let count = count / u128::from(self.period_ms.max(1));
        Self { count: u32::try_from(count).unwrap_or(u32::MAX).max(1), period_ms: window_ms }
    }

    fn quota(self) -> Option<Quota> {
        let burst = NonZeroU32::new(self.count)?;
        let each = Duration::from_millis(self.period_ms).checked_div(self.count)?;
        Some(Quota::with_period(each.max(Duration::from_nanos(1)))?.allow_burst(burst))
    }
}

/// No: not before so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub u64);

/// governor's view of our clock: time since the clock's zero, but for the first question, which a limiter asks
/// when it is made, to count from there (L3).
struct SinceZero {
    clock: Arc<dyn Clock>,
    is_made: AtomicBool,
}

impl SinceZero {
    fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), is_made: AtomicBool::new(false) }
    }
}

impl clock::Clock for SinceZero {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        if !self.is_made.load(Ordering::Relaxed) {
            self.is_made.store(true, Ordering::Relaxed);
            return Nanos::new(0);
        }
        Nanos::new(nanos(self.clock.as_ref()))
    }
}

/// Since the clock's zero.
fn nanos(clock: &dyn Clock) -> u64 {
    clock.monotonic_ms().saturating_mul(1_000_000)
}

type Governor<K, S> = RateLimiter<K, S, SinceZero, NoOpMiddleware<Nanos>>;

/// A rate and its limiters: one that takes, one that only looks.
struct Now<K: Hash + Eq + Clone> {
    takes: Governor<K, Take<K>>,
    looks: Governor<K, Peek<K>>,
}

/// A rate for each of many keys.
pub struct Limiter<K: Hash + Eq + Clone> {
    clock: Arc<dyn Clock>,
    buckets: Arc<Buckets<K>>,
    now: ArcSwapOption<Now<K>>,
}

impl<K: Hash + Eq + Clone> fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("keys", &self.keys()).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// Lets everything through until a rate is set; holds about `capacity` buckets at most.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let buckets = Arc::new(Buckets::new(capacity, Arc::clone(&clock)));
        Self { clock, buckets, now: ArcSwapOption::empty() }
    }

    /// Another rate from now on; `None` lets everything through. Buckets stay as empty as they are, and none is emptier
    /// than empty (L3). Goes through all of them.
    pub fn set(&self, rate: Option<Rate>) {
        let quota = rate.and_then(Rate::quota);
        let refill = quota.map(|quota| quota.burst_size_replenished_in());
        self.now.store(quota.map(|quota| {
            let takes = Governor::new(quota, Take(Arc::clone(&self.buckets)), SinceZero::new(&self.clock));
            let looks = Governor::new(quota, Peek(Arc::clone(&self.buckets)), SinceZero::new(&self.clock));
            Arc::new(Now { takes, looks })
        }));
        if let Some(refill) = refill {
            let refill = u64::try_from(refill.as_nanos()).unwrap_or(u64::MAX);
            self.buckets.due_by(nanos(self.clock.as_ref()).saturating_add(refill));
        }
    }

    /// Takes one from the bucket of `key`, if there is one.
    pub fn take(&self, key: &K) -> Result<(), Wait> {
        self.now.load().as_ref().map_or(Ok(()), |now| self.ask(&now.takes, key))
    }

    /// Whether one could be taken.
    pub fn look(&self, key: &K) -> Result<(), Wait> {
        self.now.load().as_ref().map_or(Ok(()), |now| self.ask(&now.looks, key))
    }

    fn ask<S: StateStore<Key = K>>(&self, limiter: &Governor<K, S>, key: &K) -> Result<(), Wait> {
        limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(Nanos::new(nanos(self.clock.as_ref())));
            Wait(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1))
        })
    }

    /// Buckets held now.
    pub fn keys(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests;
