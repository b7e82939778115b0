//! The buckets of a limiter: a fixed number of them, however many keys ask.
//!
//! A full bucket tells nothing, so it is dropped when room is needed. Where none is full, newcomers share one bucket of
//! their shard until one is: during a flood from very many keys those who were there before go on as before.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;

use super::nanos;
use crate::seams::Clock;

/// Few enough that a shard's buckets are gone through in microseconds, enough that threads rarely meet.
const SHARDS: usize = 64;
/// How long it is not looked for full buckets again after none was found, nanoseconds.
const PAUSE: u64 = 100_000_000;

/// When the next of a key is due, for each key: governor's state.
pub struct Buckets<K> {
    shards: Box<[Mutex<Shard<K>>]>,
    hasher: RandomState,
    /// Keys of a shard at most.
    most: usize,
    clock: Arc<dyn Clock>,
}

struct Shard<K> {
    due: HashMap<K, Nanos>,
    /// Of newcomers there is no room for.
    shared: Option<Nanos>,
    /// Not to be swept before.
    sweep_at: u64,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let shard = |_| Mutex::new(Shard { due: HashMap::new(), shared: None, sweep_at: 0 });
        let shards = (0..SHARDS).map(shard).collect();
        Self { shards, hasher: RandomState::new(), most: capacity.div_ceil(SHARDS), clock }
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).due.len()).sum()
    }

    /// Makes whatever is due later due then. A shard at a time.
    pub fn due_by(&self, latest: u64) {
        let latest = Nanos::new(latest);
        for shard in &self.shards {
            let mut shard = locked(shard);
            let Shard { due, shared, .. } = &mut *shard;
            due.values_mut().chain(shared).for_each(|due| *due = (*due).min(latest));
        }
    }

    fn shard(&self, key: &K) -> &Mutex<Shard<K>> {
        // The number of shards is fixed and more than nothing.
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

impl<K: Hash + Eq> Shard<K> {
    /// Whether there is room for one more, once full buckets are gone.
    fn has_room(&mut self, most: usize, clock: &dyn Clock) -> bool {
        if self.due.len() < most {
            return true;
        }
        let now = nanos(clock);
        if now < self.sweep_at {
            return false;
        }
        self.due.retain(|_, due| due.as_u64() > now);
        let is_room = self.due.len() < most;
        self.sweep_at = if is_room { now } else { now.saturating_add(PAUSE) };
        is_room
    }
}

/// Buckets that are taken from.
pub struct Take<K>(pub Arc<Buckets<K>>);

impl<K: Hash + Eq + Clone> StateStore for Take<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = locked(self.0.shard(key));
        if let Some(due) = shard.due.get_mut(key) {
            let (outcome, next) = decide(Some(*due))?;
            *due = next;
            return Ok(outcome);
        }
        let has_room = shard.has_room(self.0.most, self.0.clock.as_ref());
        let (outcome, next) = decide(if has_room { None } else { shard.shared })?;
        if has_room {
            shard.due.insert(key.clone(), next);
        } else {
            shard.shared = Some(next);
        }
        Ok(outcome)
    }
}

/// The same buckets, only looked at.
pub struct Peek<K>(pub Arc<Buckets<K>>);

impl<K: Hash + Eq + Clone> StateStore for Peek<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let shard = locked(self.0.shard(key));
        let is_full = shard.due.len() >= self.0.most;
        let due = shard.due.get(key).copied().or(if is_full { shard.shared } else { None });
        decide(due).map(|(outcome, _)| outcome)
    }
}

/// Whoever panicked left whole values behind.
fn locked<K>(shard: &Mutex<Shard<K>>) -> std::sync::MutexGuard<'_, Shard<K>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
