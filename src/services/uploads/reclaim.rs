//! Room on the disk for uploads: before one is refused for want of it, the sessions nobody goes on with are
//! ended, the one that was idle for longest first, until there is enough.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Uploads;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::stores::space::{Full, Promise};

/// Milliseconds between two looks for stale sessions by requests: a refusal is cheap to ask for.
const LOOK_EVERY: u64 = 1000;

/// What is remembered of making room.
#[derive(Debug, Default)]
pub struct Room {
    /// When a request last looked, monotonic milliseconds.
    looked: AtomicU64,
    sessions: AtomicU64,
    bytes: AtomicU64,
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
        let standing = self.shelves.reserve.standing();
        // What is merely promised is no reason to end anything before it comes.
        Ok(self.end_stale(standing.soft.saturating_sub(standing.free), 0).await)
    }

    /// Whether `bytes` more may be written now.
    pub(super) async fn room_for(&self, bytes: u64) -> Result<(), Error> {
        let Err(full) = self.shelves.reserve.admits(bytes) else { return Ok(()) };
        self.make_room(full, bytes).await;
        self.shelves.reserve.admits(bytes).map_err(|_| Error::NoSpace)
    }

    /// The promise of room for a request that will bring `bytes`.
    pub(super) async fn promised(&self, bytes: u64) -> Result<Promise, Error> {
        match self.shelves.reserve.promise(bytes) {
            Ok(promise) => return Ok(promise),
            Err(full) => self.make_room(full, bytes).await,
        }
        self.shelves.reserve.promise(bytes).map_err(|_| Error::NoSpace)
    }

    /// Where `bytes` do not fit: ends stale sessions until they do, if somebody has not just tried.
    async fn make_room(&self, full: Full, bytes: u64) {
        let now = self.shelves.clock.monotonic_ms();
        let looked = self.room.looked.load(Ordering::Relaxed);
        let is_due = looked == 0 || now.saturating_sub(looked) >= LOOK_EVERY;
        let ours = |now| self.room.looked.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed);
        if is_due && ours(now.max(1)).is_ok() {
            let wanted = full.floor.saturating_add(bytes).saturating_sub(full.free);
            self.end_stale(wanted, wanted).await;
        }
    }

    /// Ends the sessions idle for longest, until `wanted` bytes came free or no stale one is left; none if all of them
    /// do not have `least` bytes: that would help nobody.
    async fn end_stale(&self, wanted: u64, least: u64) -> Reclaimed {
        let mut ended = Reclaimed::default();
        if wanted == 0 {
            return ended;
        }
        let (now, stale) = (self.shelves.clock.monotonic_ms(), self.limits.stale_ms);
        let mut sessions = self.sessions.stale(now, stale);
        let all = sessions.iter().fold(0u64, |all, (_, session)| all.saturating_add(session.offset()));
        if all < least {
            return ended;
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
        ended
    }
}
