//! Blobs to look at, and slices of their bytes. Blocks: for threads that may.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use pierhead_storage_format::Digest;

use super::findings::{Judged, Unread};
use crate::stores::blobs::{Blobs, Look, Looked};

/// Bytes read between two rests, and at full rate between two looks at what was asked for.
pub(super) const SLICE: u64 = 1 << 20;
pub(super) const FULL_SLICE: u64 = 64 << 20;
/// Threads that read at full rate.
pub(super) const THREADS: usize = 2;
/// What a blob costs at least, in bytes of the rate: opening a file is not free.
pub(super) const LEAST: u64 = 16 << 10;
/// A blob that cannot be read is tried so often, then it is a finding, or left out where that would say too much.
const TRIES: u32 = 3;
/// So many in a row are the disk's trouble, not theirs.
const TROUBLE: u32 = 3;

/// What was looked up, and what became of it so far. As long as anything of it is left, the cycle's place stays before
/// it, so that a stop loses nothing.
#[derive(Default)]
pub(super) struct Work {
    queue: VecDeque<(Digest, u64)>,
    look: Option<(Look, u64)>,
    /// Whether that one is read again.
    is_late: bool,
    /// To be read again after the rest.
    pub(super) again: VecDeque<(Digest, u64)>,
    /// Found, and not written down yet.
    pub(super) judged: Vec<Judged>,
    /// The last blob, by digest, that was looked at to its end.
    seen: Option<Digest>,
    /// How often blobs could not be read.
    tries: BTreeMap<Digest, u32>,
    /// Blobs that could not be read since one could.
    unread: u32,
}

/// What a slice brought.
#[derive(Default)]
pub(super) struct Slice {
    /// Bytes read, and what opening cost.
    pub(super) cost: u64,
    pub(super) bytes: u64,
    /// Blobs that were looked at to their end.
    pub(super) blobs: u64,
    pub(super) found: Vec<(Digest, u64, Looked)>,
    pub(super) took: Duration,
}

impl Work {
    /// Takes the next page of blobs, by digest.
    pub(super) fn turn_page(&mut self, blobs: impl Iterator<Item = (Digest, u64)>) {
        self.tries.clear();
        self.queue.extend(blobs);
    }

    /// Whether nothing is left to read.
    pub(super) fn is_read(&self) -> bool {
        self.queue.is_empty() && self.look.is_none() && self.again.is_empty()
    }

    /// How many are left of the page.
    pub(super) fn left(&self) -> u64 {
        self.queue.len() as u64
    }

    /// The place of the cycle: nothing at or before it is left to be done.
    pub(super) fn place(&self) -> Option<Digest> {
        let rereads = self.look.is_some() && self.is_late;
        self.seen.filter(|_| self.again.is_empty() && self.judged.is_empty() && !rereads)
    }

    /// Has what could not be read read again after the rest, or makes it a finding if the disk is to blame; whether so much in a row could not
    /// be that the disk had better be left alone for a while.
    pub(super) fn try_again(&mut self, read: u64, unread: Vec<Unread>) -> bool {
        if read > unread.len() as u64 {
            self.unread = 0;
        }
        for Unread { digest, size, condemned } in unread {
            self.unread = self.unread.saturating_add(1);
            let tries = self.tries.entry(digest).or_default();
            *tries += 1;
            if *tries < TRIES {
                self.again.push_back((digest, size));
                continue;
            }
            self.tries.remove(&digest);
            if condemned {
                self.judged.push(Judged::unreadable(digest, size));
            } else {
                tracing::error!(%digest, "whether a blob is well is not known: its file cannot be read, for a reason that is not the disk's; the next cycle tries again");
            }
        }
        self.unread >= TROUBLE
    }

    /// Reads a slice.
    pub(super) fn go_on(&mut self, blobs: &Blobs, full: bool) -> Slice {
        let (most, threads) = if full { (FULL_SLICE, THREADS) } else { (SLICE, 1) };
        let (began, mut slice) = (Instant::now(), Slice::default());
        while slice.cost < most {
            let Some((mut look, size)) = self.next(blobs, &mut slice) else { break };
            let before = look.read();
            let looked = look.go_on(most - slice.cost, threads);
            let read = look.read() - before;
            (slice.cost, slice.bytes) = (slice.cost + read, slice.bytes + read);
            match looked {
                Ok(None) => self.look = Some((look, size)),
                Ok(Some(looked)) => self.end(&mut slice, look.digest(), size, looked),
                Err(error) => {
                    tracing::warn!(digest = %look.digest(), %error, "a blob could not be looked at");
                    self.end(&mut slice, look.digest(), size, Looked::Suspect(Vec::new()));
                }
            }
        }
        slice.took = began.elapsed();
        slice
    }

    /// The blob to go on with; what could be told of blobs at once is in the slice.
    fn next(&mut self, blobs: &Blobs, slice: &mut Slice) -> Option<(Look, u64)> {
        if let Some(look) = self.look.take() {
            return Some(look);
        }
        loop {
            self.is_late = self.queue.is_empty();
            let (digest, size) = self.queue.pop_front().or_else(|| self.again.pop_front())?;
            slice.cost += LEAST;
            match blobs.look_at(&digest, size) {
                Ok(Ok(look)) => return Some((look, size)),
                Ok(Err(looked)) => self.end(slice, digest, size, looked),
                Err(error) => {
                    tracing::warn!(%digest, %error, "a blob could not be looked at");
                    self.end(slice, digest, size, Looked::Suspect(Vec::new()));
                }
            }
        }
    }

    fn end(&mut self, slice: &mut Slice, digest: Digest, size: u64, looked: Looked) {
        slice.blobs += 1;
        // What is read again is no step back.
        self.seen = self.seen.max(Some(digest));
        if looked != Looked::Sound {
            slice.found.push((digest, size, looked));
        }
    }
}
