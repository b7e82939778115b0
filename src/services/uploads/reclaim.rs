//! Room on the disk for uploads: before one is refused for want of it, the sessions nobody goes on with are
//! ended, the one that was idle for longest first, until there is enough. One at a time looks for them; whoever needs
//! room meanwhile waits for that, [`PATIENCE`] at most, and asks again. What a look could not give is not looked for
//! again at once: a refusal is cheap to ask for.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Uploads;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::guard::slots::Holder;
use crate::stores::space::{Full, Promise};

/// Milliseconds for which a look that did not find enough stands.
const LOOK_EVERY: u64 = 1000;
/// How long a request waits for others' looks.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a request makes room that others take.
const TRIES: usize = 8;

/// What is remembered of making room.
#[derive(Debug, Default)]
pub struct Room {
    /// Held while somebody looks.
    last: Mutex<Option<Look>>,
    sessions: AtomicU64,
    bytes: AtomicU64,
}

/// A look that did not find enough.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// Monotonic milliseconds.
    at: u64,
    /// Bytes of stale sessions there were in the end.
    left: u64,
}

/// What was ended to make room, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Sessions.
    pub sessions: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Uploads {
    /// What was ended to make room, since the start.
    pub fn reclaimed(&self) -> Reclaimed {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Reclaimed { sessions: load(&self.room.sessions), bytes: load(&self.room.bytes) }
    }

    /// Ends stale sessions while less is free than the soft mark; what that gave. The permit is the
    /// appliance's own, to maintain the store.
    pub async fn reclaim(&self, permit: &Permit) -> Result<Reclaimed, Error> {
        if !permit.covers_registry(Action::MaintainStore) {
            return Err(Error::Bug("a permit for something else"));
        }
        let _alone = self.room.last.lock().await;
        let standing = self.shelves.reserve.standing();
        // What is merely promised is no reason to end anything before it comes.
        Ok(self.end_stale(standing.soft.saturating_sub(standing.free), 0).await.0)
    }

    /// Whether `bytes` more may be written now.
    pub(super) async fn room_for(&self, bytes: u64) -> Result<(), Error> {
        let reserve = &self.shelves.reserve;
        self.with_room(bytes, || reserve.admits(bytes)).await
    }

    /// Lets a request of `holder` in that will bring `bytes`, with the promise of room if it is within his share.
    pub(super) async fn promised(&self, holder: Holder, bytes: u64) -> Result<Promise, Error> {
        let (reserve, largest) = (&self.shelves.reserve, self.limits.layer);
        self.with_room(bytes, || reserve.promise(holder, bytes, largest)).await
    }

    /// What `ask` gives; where it has no room for `bytes`, when stale sessions are gone that make it.
    pub(super) async fn with_room<T>(
        &self,
        bytes: u64,
        mut ask: impl FnMut() -> Result<T, Full> + Send,
    ) -> Result<T, Error> {
        if let Ok(given) = ask() {
            return Ok(given);
        }
        if let Ok(mut last) = timeout(PATIENCE, self.room.last.lock()).await {
            // Whoever looked before may have made room enough; who came just now may have taken what was made.
            for _ in 0..TRIES {
                match ask() {
                    Err(full) if self.make_room(&mut last, full, bytes).await => {}
                    asked => return Ok(asked?),
                }
            }
        }
        Ok(ask()?)
    }

    /// Where `bytes` do not fit: ends stale sessions until they do, unless it was just seen that it does not help. Whether
    /// that was enough.
    async fn make_room(&self, last: &mut Option<Look>, full: Full, bytes: u64) -> bool {
        let now = self.shelves.clock.monotonic_ms();
        let wanted = full.floor.saturating_add(bytes).saturating_sub(full.free);
        let stands = |look: &Look| now.saturating_sub(look.at) < LOOK_EVERY && look.left < wanted;
        if last.as_ref().is_some_and(stands) {
            return false;
        }
        let (ended, left) = self.end_stale(wanted, wanted).await;
        *last = (ended.bytes < wanted).then_some(Look { at: now, left });
        last.is_none()
    }

    /// Ends the sessions idle for longest, until `wanted` bytes came free or no stale one is left; none if all of them
    /// do not have `least` bytes: that would help nobody. What that gave, and the bytes that are left for others.
    async fn end_stale(&self, wanted: u64, least: u64) -> (Reclaimed, u64) {
        let mut ended = Reclaimed::default();
        if wanted == 0 {
            return (ended, 0);
        }
        let (now, stale) = (self.shelves.clock.monotonic_ms(), self.limits.stale_ms);
        let mut sessions = self.sessions.stale(now, stale);
        let all = sessions.iter().fold(0u64, |all, (_, session)| all.saturating_add(session.offset()));
        if all < least {
            return (ended, all);
        }
        sessions.sort_by_key(|(_, session)| Reverse(session.idle(now)));
        for (id, session) in sessions {
            if ended.bytes >= wanted {
                break;
            }
            let bytes = session.offset();
            // One that a request has begun to write, or used, meanwhile stays.
            if let Ok(mut writing) = session.write()
                && session.unused(now) >= stale
            {
                self.end(&id, writing.take()).await;
                ended.sessions += 1;
                ended.bytes = ended.bytes.saturating_add(bytes);
                let repository = session.repository().as_str();
                tracing::warn!(upload = id, repository, bytes, "a stale upload was removed: space is low");
            }
        }
        self.room.sessions.fetch_add(ended.sessions, Ordering::Relaxed);
        self.room.bytes.fetch_add(ended.bytes, Ordering::Relaxed);
        if ended.sessions > 0 {
            self.shelves.reserve.look_again();
        }
        // Where it was not enough, the others are in use.
        let left = if ended.bytes < wanted { 0 } else { all.saturating_sub(ended.bytes) };
        (ended, left)
    }
}
