//! The promise of room to an upload whose length is known (S1 to S3 of the head).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shares::{Holder, room_of_share, share};
use super::{Full, Look, Reserve, lock};

/// How long the pace of an upload is looked at.
const WINDOW: Duration = Duration::from_secs(60);
/// What an upload brings in so long, at its pace, is held for it.
const AHEAD: Duration = Duration::from_secs(60 * 60);

/// Why nothing is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPromise {
    /// There is no room for it.
    #[error(transparent)]
    Full(#[from] Full),
    /// What the holder was promised before leaves no room for it: it is a matter of waiting for his own.
    #[error("the holder was promised as much as he may have")]
    Share,
}

/// Room for what an upload has yet to bring; given back when it is dropped.
pub struct Promise {
    reserve: Arc<Reserve>,
    holder: Holder,
    /// The largest body there is, bytes.
    largest: u64,
    /// What it announced and has not brought.
    rest: u64,
    /// Of this, what room is held for.
    held: u64,
    since: Instant,
    brought: u64,
}

impl Reserve {
    /// Room for `bytes`, for an upload of `holder` that brings them from now on, and that could be of `largest` bytes.
    pub fn promise(self: &Arc<Self>, holder: Holder, bytes: u64, largest: u64) -> Result<Promise, NoPromise> {
        self.promise_at((holder, largest), bytes, Instant::now())
    }

    pub(super) fn promise_at(
        self: &Arc<Self>,
        (holder, largest): (Holder, u64),
        bytes: u64,
        now: Instant,
    ) -> Result<Promise, NoPromise> {
        let mut look = self.looked(bytes, now);
        let lacking = self.lacking(&look, (holder, largest), bytes)?;
        if lacking > 0 {
            let (wanted, floor) = (self.floor.saturating_add(bytes), self.floor);
            return Err(Full { free: wanted.saturating_sub(lacking), floor }.into());
        }
        look.promised.add(holder, bytes);
        drop(look);
        let reserve = Arc::clone(self);
        Ok(Promise { reserve, holder, largest, rest: bytes, held: bytes, since: now, brought: 0 })
    }

    /// What would have to come free for a holder to be promised so much, of the room and of his share.
    fn lacking(&self, look: &Look, of: (Holder, u64), bytes: u64) -> Result<u64, NoPromise> {
        let room = self.floor.saturating_add(bytes).saturating_sub(look.usable());
        if bytes <= self.left_to(look, of) {
            return Ok(room);
        }
        if look.promised.of(of.0) > 0 {
            // Nothing but his own would help, where there is room.
            return if room > 0 { Ok(room) } else { Err(NoPromise::Share) };
        }
        Ok(room.max(room_of_share(bytes, self.share, of.1).saturating_sub(self.room_of(look, of.0))))
    }

    /// What a holder may be promised more.
    fn left_to(&self, look: &Look, (holder, largest): (Holder, u64)) -> u64 {
        share(self.room_of(look, holder), self.share, largest).saturating_sub(look.promised.of(holder))
    }

    /// The room that others were not promised.
    fn room_of(&self, look: &Look, holder: Holder) -> u64 {
        let others = look.promised.all().saturating_sub(look.promised.of(holder));
        look.unwritten().saturating_sub(others).saturating_sub(self.floor)
    }
}

impl Promise {
    /// `bytes` of it come now. Refused where there is no room for them after all: others, whom nobody asks,
    /// have filled the disk into the reserve; or the upload was slow, and its room is others' now.
    pub fn written(&mut self, bytes: u64) -> Result<(), Full> {
        self.written_at(bytes, Instant::now())
    }

    pub(super) fn written_at(&mut self, bytes: u64, now: Instant) -> Result<(), Full> {
        self.look_at_pace(bytes, now);
        let covered = bytes.min(self.held);
        let beyond = bytes - covered;
        let mut look = self.reserve.looked(bytes, now);
        if beyond > 0 {
            self.reserve.fits(&look, beyond)?;
        } else {
            let (free, floor) = (look.unwritten(), self.reserve.floor / 2);
            if free < floor.saturating_add(bytes) {
                return Err(Full { free, floor });
            }
        }
        look.promised.take(self.holder, covered);
        look.grant(bytes);
        self.held -= covered;
        self.rest = self.rest.saturating_sub(bytes);
        Ok(())
    }

    /// From time to time: holds as much as comes within [`AHEAD`] at the pace of the last [`WINDOW`].
    fn look_at_pace(&mut self, bytes: u64, now: Instant) {
        self.brought = self.brought.saturating_add(bytes);
        let took = now.saturating_duration_since(self.since);
        if took < WINDOW {
            return;
        }
        let ahead = u128::from(self.brought) * AHEAD.as_millis() / took.as_millis();
        let aim = self.rest.min(u64::try_from(ahead).unwrap_or(u64::MAX));
        (self.since, self.brought) = (now, 0);
        if aim < self.held {
            self.give_back(self.held - aim);
        } else {
            self.hold(aim - self.held, now);
        }
    }

    /// Holds room for so many more, if there is.
    fn hold(&mut self, bytes: u64, now: Instant) {
        let mut look = self.reserve.looked(bytes, now);
        let left = self.reserve.left_to(&look, (self.holder, self.largest));
        if bytes <= left && self.reserve.fits(&look, bytes).is_ok() {
            look.promised.add(self.holder, bytes);
            self.held += bytes;
        }
    }

    fn give_back(&mut self, bytes: u64) {
        lock(&self.reserve.look).promised.take(self.holder, bytes);
        self.held -= bytes;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.give_back(self.held);
    }
}
