//! The promise of room to an upload whose length is known (S1 to S4 of the head).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shares::{Holder, share};
use super::{Full, Look, Reserve, lock};

/// How long the pace of an upload is looked at.
const WINDOW: Duration = Duration::from_secs(60);
/// What an upload brings in so long, at its pace, is held for it.
const AHEAD: Duration = Duration::from_secs(60 * 60);
/// For each byte that came so many more are held against others' bytes: what comes ahead at that pace, were the upload a
/// window old.
const PROVEN: u64 = AHEAD.as_secs() / WINDOW.as_secs();

/// An upload whose length is known, and the room that is held for what it has yet to bring, if any; given back when it
/// is dropped.
pub struct Promise {
    reserve: Arc<Reserve>,
    holder: Holder,
    /// The largest body there is, bytes.
    largest: u64,
    /// What it announced and has not brought.
    rest: u64,
    /// Of this, what room is held for.
    pub(super) held: u64,
    /// Of this, what is kept from others though they bring their bytes.
    firm: u64,
    /// What it brought.
    came: u64,
    since: Instant,
    /// What it brought since then.
    brought: u64,
}

impl Reserve {
    /// Lets an upload of `holder` in that brings `bytes` from now on, and that could be of `largest` bytes, with the promise
    /// of room if that is within his share. Refused where so much could not be written now.
    pub fn promise(self: &Arc<Self>, holder: Holder, bytes: u64, largest: u64) -> Result<Promise, Full> {
        self.promise_at((holder, largest), bytes, Instant::now())
    }

    pub(super) fn promise_at(
        self: &Arc<Self>,
        (holder, largest): (Holder, u64),
        bytes: u64,
        now: Instant,
    ) -> Result<Promise, Full> {
        let mut look = self.looked(bytes, now);
        self.fits(&look, bytes)?;
        let held = if bytes <= self.left_to(&look, (holder, largest)) { bytes } else { 0 };
        look.promised.add(holder, held);
        drop(look);
        let reserve = Arc::clone(self);
        Ok(Promise { reserve, holder, largest, rest: bytes, held, firm: 0, came: 0, since: now, brought: 0 })
    }

    /// What a holder may be promised more: of what nobody was promised, of his share, and of the one that he has with
    /// others of whom nothing is known.
    fn left_to(&self, look: &Look, (holder, largest): (Holder, u64)) -> u64 {
        let of = |his: u64| {
            let others = look.promised.all().saturating_sub(his);
            let room = look.unwritten().saturating_sub(others).saturating_sub(self.floor);
            share(room, self.share, largest).saturating_sub(his)
        };
        let left = of(look.promised.of(holder)).min(look.usable().saturating_sub(self.floor));
        if holder.is_anybody() { left.min(of(look.promised.of_anybody())) } else { left }
    }
}

impl Promise {
    /// `bytes` of it come now. Refused where there is no room for them after all: it was promised none; or it was slow, or
    /// brought nothing yet, and others' bytes have taken the room; or others, whom nobody asks, have filled the disk into
    /// the reserve.
    pub fn written(&mut self, bytes: u64) -> Result<(), Full> {
        self.written_at(bytes, Instant::now())
    }

    pub(super) fn written_at(&mut self, bytes: u64, now: Instant) -> Result<(), Full> {
        let (covered, firm) = (bytes.min(self.held), bytes.min(self.firm));
        let mut look = self.reserve.looked(bytes, now);
        if firm < bytes {
            self.reserve.fits(&look, bytes - firm)?;
        } else {
            let (free, floor) = (look.unwritten(), self.reserve.floor / 2);
            if free < floor.saturating_add(bytes) {
                return Err(Full { free, floor });
            }
        }
        look.promised.take(self.holder, covered);
        look.promised.loosen(firm);
        look.grant(bytes);
        self.held -= covered;
        self.firm -= firm;
        self.rest = self.rest.saturating_sub(bytes);
        self.came = self.came.saturating_add(bytes);
        self.brought = self.brought.saturating_add(bytes);
        let more = self.not_firm(&look);
        look.promised.make_firm(more);
        self.firm += more;
        drop(look);
        self.look_at_pace(now);
        Ok(())
    }

    /// What is to be kept from others, as it has shown to bring it soon, of what is held for it and still there.
    fn not_firm(&self, look: &Look) -> u64 {
        let aim = self.held.min(self.came.saturating_mul(PROVEN));
        aim.saturating_sub(self.firm).min(look.open().saturating_sub(self.reserve.floor))
    }

    /// From time to time: holds as much as comes within [`AHEAD`] at the pace of the last [`WINDOW`].
    fn look_at_pace(&mut self, now: Instant) {
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

    /// Holds room for so many more, or as many of them as there is room for.
    fn hold(&mut self, bytes: u64, now: Instant) {
        let mut look = self.reserve.looked(0, now);
        let more = bytes.min(self.reserve.left_to(&look, (self.holder, self.largest)));
        look.promised.add(self.holder, more);
        self.held += more;
        let more = self.not_firm(&look);
        look.promised.make_firm(more);
        self.firm += more;
    }

    fn give_back(&mut self, bytes: u64) {
        let mut look = lock(&self.reserve.look);
        look.promised.take(self.holder, bytes);
        self.held -= bytes;
        let loose = self.firm.saturating_sub(self.held);
        look.promised.loosen(loose);
        self.firm -= loose;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.give_back(self.held);
    }
}
