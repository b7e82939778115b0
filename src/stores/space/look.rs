//! What is known of the free space: the last look at the disk, and what was let in since.

use std::time::{Duration, Instant};

use super::shares::Promised;
use crate::stores::disk::Disk;

/// How long a look at the free space is believed.
pub(super) const FRESH: Duration = Duration::from_millis(100);
/// How many bytes are admitted on one look.
pub(super) const GRANTED: u64 = 64 << 20;
/// How long, at least, what was admitted and is not seen written is waited for; at most twice that.
pub(super) const PENDING: Duration = Duration::from_secs(1);

/// The disk, when it was last looked at, and what was let in since.
#[derive(Default)]
pub(super) struct Look {
    pub(super) free: u64,
    pub(super) total: u64,
    pub(super) at: Option<Instant>,
    /// Bytes admitted since.
    pub(super) granted: u64,
    pub(super) pending: Pending,
    /// What uploads under way were promised and have not brought.
    pub(super) promised: Promised,
}

impl Look {
    /// Looks at the disk if the last look is too old, or too much was let in since.
    pub(super) fn renew(&mut self, disk: &dyn Disk, bytes: u64, now: Instant) {
        let stale = self.at.is_none_or(|at| now.saturating_duration_since(at) >= FRESH);
        if stale || self.granted.saturating_add(bytes) > GRANTED {
            // If the disk will not say, the last answer less what was admitted since stands.
            if let Ok(space) = disk.space() {
                self.pending.written(self.free.saturating_sub(space.free));
                (self.free, self.total, self.at, self.granted) = (space.free, space.total, Some(now), 0);
            }
        }
        self.pending.forget(now);
    }

    /// Bytes are on their way to the disk.
    pub(super) fn grant(&mut self, bytes: u64) {
        self.granted = self.granted.saturating_add(bytes);
        self.pending.now = self.pending.now.saturating_add(bytes);
    }

    /// Bytes free, less those on their way.
    pub(super) fn unwritten(&self) -> u64 {
        self.free.saturating_sub(self.pending.total())
    }

    /// Bytes free, less those on their way and those firmly promised: who brings his bytes may have them.
    pub(super) fn open(&self) -> u64 {
        self.unwritten().saturating_sub(self.promised.firm())
    }

    /// Bytes free, less those on their way and those promised.
    pub(super) fn usable(&self) -> u64 {
        self.unwritten().saturating_sub(self.promised.all())
    }
}

/// Bytes admitted and not seen written, in this turn of [`PENDING`] and the one before.
#[derive(Default)]
pub(super) struct Pending {
    before: u64,
    pub(super) now: u64,
    since: Option<Instant>,
}

impl Pending {
    pub(super) fn total(&self) -> u64 {
        self.before.saturating_add(self.now)
    }

    pub(super) fn forget(&mut self, now: Instant) {
        let since = self.since.unwrap_or(now);
        let age = now.saturating_duration_since(since);
        if age >= 2 * PENDING {
            *self = Self { since: Some(now), ..Self::default() };
        } else if age >= PENDING {
            *self = Self { before: self.now, now: 0, since: Some(since + PENDING) };
        } else {
            self.since = Some(since);
        }
    }

    /// The oldest first.
    pub(super) fn written(&mut self, bytes: u64) {
        let rest = bytes.saturating_sub(self.before);
        self.before = self.before.saturating_sub(bytes);
        self.now = self.now.saturating_sub(rest);
    }
}
