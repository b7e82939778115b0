//! Disk space kept back, so that metadata and deletes never meet a full disk: a ballast file that is
//! given up when they do, and a floor of free space below which uploads are refused. Pulls and
//! deletes ask nothing here.
//!
//! The ballast's length is set only after its space is allocated, so a file of the right length is a
//! whole one. Free space is looked up at most every [`FRESH`], or after [`GRANTED`] bytes. What was
//! admitted counts as used until a look finds that much less free space, or for [`PENDING`](look::PENDING): one
//! whose bytes did not come by then has given up, or is met by a full disk.
//!
//! An upload whose length is known has a [`Promise`]: room is *held* for what it has yet to bring, and nobody else is
//! promised that. A byte that came makes sixty of it *firm*: nobody else's bytes take these. A promise has a *holder*; *room*
//! is what is free above the floor.
//!
//! S1: what is firm is kept: an upload that comes within an hour, at the pace of each minute, does not fail because
//! another came later. Of a slower one an hour's bytes are kept; what is beyond goes on like an upload of unknown
//! length, for as long as there is room.
//! S2: one holder is never promised more than his share of the room that others were not promised
//! ([`Reserve::with_share`]), or one body of the largest size where that leaves them a quarter of it. All addresses
//! together have one such share: who has many is no more than who has one.
//! S3: who is promised nothing is let in all the same, like an upload of unknown length, if what is firm leaves room for all
//! he announced. What is only announced refuses nobody: it takes promises from others, and no byte.
//! S4: who announces and sends nothing is cut by the server's clock of silent bodies; who sends next to nothing keeps
//! next to nothing from others at any time.
//!
//! Two marks: below the soft one stale uploads are removed, by whoever asks [`Reserve::standing`]; the hard one
//! is the floor.

mod look;
mod promise;
mod shares;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pierhead_storage_format::paths;

use super::disk::{Disk, is_full};
use look::Look;
#[cfg(test)]
use look::{FRESH, GRANTED, PENDING};
pub use promise::Promise;
pub use shares::Holder;

/// Where the soft mark is unless it is set: this part of the disk,
const SOFT_PART: u64 = 20;
/// but no more than this.
const SOFT_MOST: u64 = 4 << 30;

/// An upload is refused: free space would fall below the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{free} bytes of disk space are free, and {floor} are kept back")]
pub struct Full {
    /// Bytes free, less what was admitted, or firmly promised, and is not written yet.
    pub free: u64,
    /// Bytes kept back.
    pub floor: u64,
}

/// How the disk stands to its marks, at one moment. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Free.
    pub free: u64,
    /// The whole disk.
    pub total: u64,
    /// What uploads under way have yet to bring, and what is on its way to the disk.
    pub promised: u64,
    /// Who was promised most of it, and how much.
    pub most: Option<(Holder, u64)>,
    /// The mark below which stale uploads are removed.
    pub soft: u64,
    /// The mark below which uploads are refused.
    pub hard: u64,
}

impl Standing {
    /// Bytes free that nobody was promised.
    pub const fn usable(&self) -> u64 {
        self.free.saturating_sub(self.promised)
    }

    /// Whether space is low.
    pub const fn is_low(&self) -> bool {
        self.usable() < self.soft
    }

    /// Whether uploads are refused.
    pub const fn is_full(&self) -> bool {
        self.usable() < self.hard
    }
}

/// The space kept back.
pub struct Reserve {
    disk: Arc<dyn Disk>,
    ballast: u64,
    floor: u64,
    soft: Option<u64>,
    /// Percent of the room that one holder may be promised.
    share: u32,
    look: Mutex<Look>,
    /// Held while the ballast is made or removed.
    changing: Mutex<()>,
}

impl Reserve {
    /// Makes a ballast of `ballast` bytes (0: none) if there is room for it and `floor`. Blocks. Too
    /// little room is no error: `restore` makes it later.
    pub fn open(disk: Arc<dyn Disk>, ballast: u64, floor: u64) -> io::Result<Self> {
        let space = disk.space()?;
        let look = Mutex::new(Look { free: space.free, total: space.total, ..Look::default() });
        let reserve = Self { disk, ballast, floor, soft: None, share: 100, look, changing: Mutex::new(()) };
        let there = reserve.disk.file_len(Path::new(paths::BALLAST))?;
        if there != Some(ballast) || ballast == 0 {
            reserve.disk.remove_file(Path::new(paths::BALLAST))?; // of another size, or half made
        }
        reserve.restore()?;
        Ok(reserve)
    }

    /// With a soft mark of so many bytes; by the size of the disk without.
    pub const fn with_soft_mark(mut self, soft: Option<u64>) -> Self {
        self.soft = soft;
        self
    }

    /// With so many percent of the room for one holder's promises at most; without, or with 100, one may have all of it.
    pub const fn with_share(mut self, percent: u32) -> Self {
        self.share = percent;
        self
    }

    /// Whether `bytes` more may be written by an upload. Cheap enough for every frame.
    pub fn admits(&self, bytes: u64) -> Result<(), Full> {
        self.admits_at(bytes, Instant::now())
    }

    fn admits_at(&self, bytes: u64, now: Instant) -> Result<(), Full> {
        let mut look = self.looked(bytes, now);
        self.fits(&look, bytes)?;
        look.grant(bytes);
        Ok(())
    }

    fn looked(&self, bytes: u64, now: Instant) -> MutexGuard<'_, Look> {
        let mut look = lock(&self.look);
        look.renew(self.disk.as_ref(), bytes, now);
        look
    }

    fn fits(&self, look: &Look, bytes: u64) -> Result<(), Full> {
        let (free, floor) = (look.open(), self.floor);
        if free < floor.saturating_add(bytes) { Err(Full { free, floor }) } else { Ok(()) }
    }

    /// How the disk stands. Blocks, for a look at the disk.
    pub fn standing(&self) -> Standing {
        let look = self.looked(0, Instant::now());
        let (free, total, hard) = (look.free, look.total, self.floor);
        let by_size = (total / SOFT_PART).min(SOFT_MOST).max(hard.saturating_add(hard / 4));
        let soft = self.soft.unwrap_or(by_size);
        let (promised, most) = (free.saturating_sub(look.usable()), look.promised.most());
        Standing { free, total, promised, most, soft, hard }
    }

    /// Has the next question look at the disk: something was removed.
    pub fn look_again(&self) {
        lock(&self.look).at = None;
    }

    /// Free bytes on the disk now. Blocks.
    pub fn free(&self) -> io::Result<u64> {
        Ok(self.disk.space()?.free)
    }

    /// Gives up the ballast, for a writer of metadata that met a full disk; true if that freed
    /// anything. Blocks.
    pub fn release(&self) -> bool {
        let _changing = lock(&self.changing);
        let ballast = Path::new(paths::BALLAST);
        match self.disk.file_len(ballast) {
            Ok(Some(len)) => self.disk.remove_file(ballast).is_ok() && len > 0,
            _ => false,
        }
    }

    /// Makes the ballast again when there is room for it and the floor; true if it is there
    /// afterwards. For a timer. Blocks.
    pub fn restore(&self) -> io::Result<bool> {
        let _changing = lock(&self.changing);
        let ballast = Path::new(paths::BALLAST);
        if self.ballast == 0 || self.disk.file_len(ballast)? == Some(self.ballast) {
            return Ok(self.ballast > 0);
        }
        if self.disk.space()?.free < self.floor.saturating_add(self.ballast) {
            return Ok(false);
        }
        self.disk.remove_file(ballast)?;
        let made = self.make();
        if made.is_err() {
            let _ = self.disk.remove_file(ballast); // the next restore removes it otherwise
        }
        match made {
            Err(error) if is_full(&error) => Ok(false),
            made => made.map(|()| true),
        }
    }

    fn make(&self) -> io::Result<()> {
        let mut file = self.disk.create(Path::new(paths::BALLAST))?;
        file.allocate(self.ballast)?;
        file.set_len(self.ballast)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
