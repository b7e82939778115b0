//! Which content somebody counts on now, so that the collector leaves it: in memory, and empty after a start, when
//! the collector waits as long as a lease lasts.
//!
//! Words: content is *seen* when a client was told, or relies on, that it is there (a HEAD, a mount, an upload, a
//! manifest that names it); it is *held* while it is published and not recorded yet; it is *going* while the collector
//! takes its rows away and its file.
//!
//! S1: what was seen stays for a grace period at least, two at most.
//! S2: what is held or was seen is never marked as going, and whoever sees what is going waits until it has gone: so
//!     nobody is told that something is there that is about to go, and a push that comes meanwhile brings it anew.
//! S3: memory is bounded: a shard that has [`SHARD`] of a generation counts as having seen everything until that
//!     generation ends. Then less is collected, never too much.
//!
//! Costs a short lock of one shard of [`SHARDS`]. Knows neither rows nor files. Look next at `collector`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pierhead_storage_format::Digest;
use tokio::sync::Notify;

/// Locks that all digests share.
const SHARDS: usize = 128;
/// Digests that a shard remembers of one generation: half a million in all, about 10 MiB.
const SHARD: usize = 4096;

/// What somebody counts on.
pub struct Leases {
    shards: Vec<Shard>,
}

#[derive(Default)]
struct Shard {
    known: Mutex<Known>,
    /// Told when something has gone.
    gone: Notify,
}

#[derive(Default)]
struct Known {
    young: Generation,
    old: Generation,
    held: HashMap<Digest, usize>,
    going: HashSet<Digest>,
}

/// Digests by a part of their hash: two that share it are both kept.
#[derive(Default)]
struct Generation(HashSet<u64>);

impl Generation {
    fn add(&mut self, digest: &Digest) {
        if self.0.len() < SHARD {
            self.0.insert(short(digest));
        }
    }

    fn has(&self, digest: &Digest) -> bool {
        self.0.len() >= SHARD || self.0.contains(&short(digest))
    }
}

fn short(digest: &Digest) -> u64 {
    digest.raw().get(8..16).and_then(|part| part.try_into().ok()).map_or(0, u64::from_be_bytes)
}

impl Default for Leases {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leases {
    fn shard(&self, digest: &Digest) -> &Shard {
        let number = usize::from(digest.raw().first().copied().unwrap_or_default()) % SHARDS;
        &self.shards[number]
    }

    /// Notes that somebody counts on `digest` from now on; waits first if it is going. What a row says of it is
    /// to be asked after this, not before.
    pub async fn see(&self, digest: &Digest) {
        self.note(digest, |_| {}).await;
    }

    /// The same, while the content is being published: until the hold is dropped.
    pub async fn hold(self: &Arc<Self>, digest: &Digest) -> Hold {
        self.note(digest, |known| *known.held.entry(*digest).or_default() += 1).await;
        Hold { leases: Arc::clone(self), digest: *digest }
    }

    async fn note(&self, digest: &Digest, also: impl FnOnce(&mut Known)) {
        let shard = self.shard(digest);
        loop {
            let gone = shard.gone.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            {
                let mut known = shard.lock();
                if !known.going.contains(digest) {
                    known.young.add(digest);
                    also(&mut known);
                    return;
                }
            }
            gone.await;
        }
    }

    /// Marks as going what of `digests` nobody counts on. A digest that comes twice is marked once.
    pub fn take(self: &Arc<Self>, digests: impl IntoIterator<Item = Digest>) -> Going {
        let mut taken = HashSet::new();
        for digest in digests {
            let mut known = self.shard(&digest).lock();
            let wanted =
                known.young.has(&digest) || known.old.has(&digest) || known.held.contains_key(&digest);
            if !wanted && known.going.insert(digest) {
                taken.insert(digest);
            }
        }
        Going { leases: Arc::clone(self), digests: taken }
    }

    /// Whether somebody counts on it; for looking only.
    pub fn is_seen(&self, digest: &Digest) -> bool {
        let known = self.shard(digest).lock();
        known.young.has(digest) || known.old.has(digest) || known.held.contains_key(digest)
    }

    /// As after a start.
    #[cfg(test)]
    pub fn forget(&self) {
        self.turn();
        self.turn();
    }

    /// Begins a generation, and forgets the one before the last. To be called when a grace period has passed since
    /// the last time, or later.
    pub fn turn(&self) {
        for shard in &self.shards {
            let mut known = shard.lock();
            known.old = std::mem::take(&mut known.young);
        }
    }
}

/// Content that is being published.
pub struct Hold {
    leases: Arc<Leases>,
    digest: Digest,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut known = self.leases.shard(&self.digest).lock();
        if let Some(count) = known.held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                known.held.remove(&self.digest);
            }
        }
    }
}

/// Content that goes; whoever wants it waits until this is dropped.
pub struct Going {
    leases: Arc<Leases>,
    digests: HashSet<Digest>,
}

impl Going {
    /// Whether it was marked.
    pub fn has(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }

    /// How many were.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.digests.len()
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        for digest in &self.digests {
            let shard = self.leases.shard(digest);
            shard.lock().going.remove(digest);
            shard.gone.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pierhead_storage_format::Algorithm;
    use tokio::task::JoinSet;

    use super::*;

    fn digest(number: u64) -> Digest {
        crate::stores::blobs::digest_of(Algorithm::Sha256, &number.to_le_bytes())
    }

    #[tokio::test]
    async fn what_was_seen_is_not_taken_for_one_generation_at_least_and_two_at_most() {
        let leases = Arc::new(Leases::default());
        leases.see(&digest(1)).await;
        assert_eq!(leases.take([digest(1), digest(2)]).len(), 1, "the other one");
        leases.turn();
        assert!(leases.is_seen(&digest(1)));
        assert_eq!(leases.take([digest(1)]).len(), 0);
        leases.turn();
        assert!(!leases.is_seen(&digest(1)));
        assert!(leases.take([digest(1)]).has(&digest(1)));
    }

    #[tokio::test]
    async fn what_is_held_is_not_taken_however_long_it_is() {
        let leases = Arc::new(Leases::default());
        let (hold, again) = (leases.hold(&digest(1)).await, leases.hold(&digest(1)).await);
        leases.turn();
        leases.turn();
        drop(hold);
        assert_eq!(leases.take([digest(1)]).len(), 0);
        drop(again);
        assert_eq!(leases.take([digest(1)]).len(), 1);
    }

    #[tokio::test]
    async fn whoever_sees_what_is_going_waits_until_it_has_gone() {
        let leases = Arc::new(Leases::default());
        let going = leases.take([digest(1)]);
        assert_eq!(leases.take([digest(1)]).len(), 0, "it is taken once");
        let (other, asked) = (Arc::clone(&leases), Duration::from_millis(20));
        assert!(tokio::time::timeout(asked, other.see(&digest(1))).await.is_err(), "it waits");
        other.see(&digest(2)).await;
        let mut waiting = JoinSet::new();
        waiting.spawn(async move { other.hold(&digest(1)).await });
        tokio::task::yield_now().await;
        drop(going);
        let held = tokio::time::timeout(Duration::from_secs(60), waiting.join_next()).await;
        let hold = held.expect("told").expect("it runs").expect("held");
        assert_eq!(leases.take([digest(1)]).len(), 0);
        drop(hold);
    }

    #[tokio::test]
    async fn a_full_shard_has_seen_everything_until_its_generation_ends() {
        let leases = Arc::new(Leases::default());
        let first = |n: u64| digest(n).raw()[0];
        let shard = usize::from(first(0)) % SHARDS;
        let same = (0..).filter(|n| usize::from(first(*n)) % SHARDS == shard);
        let numbers: Vec<u64> = same.take(SHARD + 2).collect();
        for number in &numbers[..=SHARD] {
            leases.see(&digest(*number)).await;
        }
        let stranger = digest(numbers[SHARD + 1]);
        assert!(leases.is_seen(&stranger), "it cannot be told any more");
        assert_eq!(leases.shards[shard].lock().young.0.len(), SHARD);
        leases.turn();
        leases.turn();
        assert_eq!(leases.take([stranger]).len(), 1);
    }
}
