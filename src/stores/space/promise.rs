//! The promise of room to an upload whose length is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Full, Reserve, lock};

/// An upload that brings less than [`LEAST`] bytes in this time loses its promise, so that nobody keeps a
/// disk to himself by announcing much and sending little.
const WINDOW: Duration = Duration::from_secs(60);
/// Bytes; the rest of a promise may be less.
const LEAST: u64 = 60 << 10;

/// Room for what an upload has yet to bring; given back when it is dropped.
pub struct Promise {
    reserve: Arc<Reserve>,
    left: u64,
    since: Instant,
    brought: u64,
    lapsed: bool,
}

impl Reserve {
    /// Room for `bytes`, for an upload that brings them from now on.
    pub fn promise(self: &Arc<Self>, bytes: u64) -> Result<Promise, Full> {
        self.promise_at(bytes, Instant::now())
    }

    pub(super) fn promise_at(self: &Arc<Self>, bytes: u64, now: Instant) -> Result<Promise, Full> {
        let mut look = self.looked(bytes, now);
        self.fits(&look, bytes)?;
        look.promised = look.promised.saturating_add(bytes);
        drop(look);
        let reserve = Arc::clone(self);
        Ok(Promise { reserve, left: bytes, since: now, brought: 0, lapsed: false })
    }
}

impl Promise {
    /// `bytes` of it come now. Refused where there is no room for them after all: others, whom nobody asks,
    /// have filled the disk into the reserve.
    pub fn written(&mut self, bytes: u64) -> Result<(), Full> {
        self.written_at(bytes, Instant::now())
    }

    pub(super) fn written_at(&mut self, bytes: u64, now: Instant) -> Result<(), Full> {
        self.look_at_pace(bytes, now);
        if self.lapsed {
            return self.reserve.admits_at(bytes, now);
        }
        let mut look = self.reserve.looked(bytes, now);
        let (free, floor) = (look.unwritten(), self.reserve.floor / 2);
        if free < floor.saturating_add(bytes) {
            return Err(Full { free, floor });
        }
        let promised = bytes.min(self.left);
        self.left -= promised;
        look.promised = look.promised.saturating_sub(promised);
        look.grant(bytes);
        Ok(())
    }

    fn look_at_pace(&mut self, bytes: u64, now: Instant) {
        self.brought = self.brought.saturating_add(bytes);
        if now.saturating_duration_since(self.since) < WINDOW {
            return;
        }
        if self.brought < LEAST {
            self.give_back();
            self.lapsed = true;
        }
        (self.since, self.brought) = (now, 0);
    }

    fn give_back(&mut self) {
        let mut look = lock(&self.reserve.look);
        look.promised = look.promised.saturating_sub(std::mem::take(&mut self.left));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.give_back();
    }
}
