//! The work of a cycle: pages of blob rows, slices of their bytes, rests between.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{BlobKey, TableKey};
use pierhead_storage_format::scrub::DamageKind;

use super::Scrub;
use crate::seams::tasks;
use crate::services::error::Error;
use crate::stores::blobs::{Blobs, Look, Looked};

/// Bytes read between two rests, and at full rate between two looks at what was asked for.
const SLICE: u64 = 1 << 20;
const FULL_SLICE: u64 = 64 << 20;
/// Threads that read at full rate.
const THREADS: usize = 2;
/// What a blob costs at least, in bytes of the rate: opening a file is not free.
const LEAST: u64 = 16 << 10;
/// Rows looked up at a time.
const ROWS: usize = 256;
/// How often it is written down how far it is.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked whether a cycle is due, and findings are well again.
const IDLE: Duration = Duration::from_secs(60);
/// What is read first after a stop out of order: blobs that came so long before the last one, milliseconds.
const RECENT: u64 = 10 * 60_000;
/// So many of them at most: memory is bounded, and the cycle comes to the rest.
const MOST_RECENT: usize = 100_000;
/// A blob that cannot be read is tried so often in a cycle, then it is a finding.
const TRIES: u32 = 3;
/// So many in a row are the disk's trouble, not theirs.
const TROUBLE: u32 = 3;
/// After an error of the store, or in such trouble.
const AGAIN: Duration = Duration::from_secs(60);

/// Blobs to look at, and the one that is being looked at.
#[derive(Default)]
struct Work {
    queue: VecDeque<(Digest, u64)>,
    look: Option<(Look, u64)>,
    /// How often blobs of this page could not be read.
    tries: BTreeMap<Digest, u32>,
    /// Blobs that could not be read since one could.
    unread: u32,
}

/// What a slice brought.
#[derive(Default)]
struct Slice {
    /// Bytes read, and what opening cost.
    cost: u64,
    bytes: u64,
    /// Blobs that were looked at to their end; the last of them.
    blobs: u64,
    last: Option<Digest>,
    found: Vec<(Digest, u64, Looked)>,
    took: Duration,
}

impl Scrub {
    /// Works until it is dropped.
    pub async fn run(&self) {
        if let Err(error) = self.start().await {
            tracing::warn!(%error, "the blobs that came before the last stop were not all read again");
        }
        let (mut work, mut asked, mut kept, mut looked) =
            (Work::default(), 0, Instant::now(), None::<Instant>);
        loop {
            let now = self.known().asked;
            if now != asked {
                (work, asked, looked) = (Work::default(), now, None);
            }
            if looked.is_none_or(|at| at.elapsed() >= IDLE) {
                looked = Some(Instant::now());
                if let Err(error) = self.recheck().await {
                    tracing::debug!(%error, "findings of the scrub were not looked at again");
                }
            }
            let rest = match self.turn(&mut work, &mut kept).await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::warn!(%error, "the scrub goes on later");
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.0.wake.notified() => {}
            }
        }
    }

    /// Writes down how far it is, and that the store was let go of in order.
    pub async fn settle(&self) {
        self.known().state.served = false;
        let kept = match self.system() {
            Ok(permit) => self.keep(&permit).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "how far the scrub is could not be written down");
        }
    }

    /// After a stop out of order, reads what came last before it.
    async fn start(&self) -> Result<(), Error> {
        let unclean = std::mem::replace(&mut self.known().state.served, true);
        self.keep(&self.system()?).await?;
        if !unclean {
            return Ok(());
        }
        let mut newest = 0;
        self.each_page(|page| newest = page.iter().map(|(_, _, at)| *at).fold(newest, u64::max)).await?;
        let since = newest.saturating_sub(RECENT);
        let mut recent = Vec::new();
        self.each_page(|page| {
            for (digest, size, at) in page {
                if *at >= since && recent.len() < MOST_RECENT {
                    recent.push((*digest, *size));
                }
            }
        })
        .await?;
        tracing::info!(
            blobs = recent.len(),
            "the last run did not stop in order: its last blobs are read again"
        );
        let mut work = Work { queue: recent.into(), ..Work::default() };
        while !work.queue.is_empty() || work.look.is_some() {
            let slice = self.slice(&mut work, false).await?;
            let rest = self.rest(&slice, false);
            // What cannot be read now, the cycle comes to.
            drop(self.settle_findings(slice.found).await?);
            tokio::time::sleep(rest).await;
        }
        Ok(())
    }

    /// Gives pages of blob rows, as digest, size and time of the last change, to `each`.
    async fn each_page(&self, mut each: impl FnMut(&[(Digest, u64, u64)])) -> Result<(), Error> {
        let mut after = None::<Vec<u8>>;
        loop {
            let meta = self.0.parts.meta.clone();
            let from = after.take();
            let page = tasks::blocking(move || meta.page::<BlobKey>(&[], from.as_deref(), ROWS)).await??;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.encode());
            each(&page.iter().map(|(key, row)| (key.digest, row.size, row.changed_at)).collect::<Vec<_>>());
        }
    }

    /// Does a slice of work if there is any; how long to rest then.
    async fn turn(&self, work: &mut Work, kept: &mut Instant) -> Result<Duration, Error> {
        let (running, paused, full) = {
            let known = self.known();
            (known.state.running, known.state.paused, known.state.full)
        };
        if paused {
            return Ok(IDLE);
        }
        if !running {
            return self.begin_if_due().await;
        }
        if work.queue.is_empty() && work.look.is_none() && !self.fill(work).await? {
            self.end_cycle().await?;
            return Ok(Duration::ZERO);
        }
        let asked = self.known().asked;
        let slice = self.slice(work, full).await?;
        let mut rest = self.rest(&slice, full);
        self.count(&slice, asked);
        let read = slice.blobs;
        let unread = self.settle_findings(slice.found).await?;
        if self.try_again(work, read, unread).await? {
            rest = AGAIN;
        }
        if kept.elapsed() >= KEEP_EVERY {
            *kept = Instant::now();
            self.keep(&self.system()?).await?;
        }
        Ok(rest)
    }

    /// Has what could not be read read again after the rest of its page, or writes it down; whether so much in a row
    /// could not be that the disk had better be left alone for a while.
    async fn try_again(&self, work: &mut Work, read: u64, unread: Vec<(Digest, u64)>) -> Result<bool, Error> {
        if read > unread.len() as u64 {
            work.unread = 0;
        }
        for (digest, size) in unread {
            work.unread = work.unread.saturating_add(1);
            let tries = work.tries.entry(digest).or_default();
            *tries += 1;
            if *tries < TRIES {
                work.queue.push_back((digest, size));
            } else {
                work.tries.remove(&digest);
                self.record(digest, DamageKind::Damaged, size, Vec::new()).await?;
            }
        }
        Ok(work.unread >= TROUBLE)
    }

    async fn begin_if_due(&self) -> Result<Duration, Error> {
        let now = self.0.parts.clock.now_ms();
        let due = self.facts().next_at.is_some_and(|at| at <= now);
        if !due {
            return Ok(IDLE);
        }
        self.begin(&self.system()?, false).await?;
        Ok(Duration::ZERO)
    }

    /// The next page of blobs; false if there is none.
    async fn fill(&self, work: &mut Work) -> Result<bool, Error> {
        work.tries.clear();
        let after = self.known().state.after.map(|digest| BlobKey { digest }.encode());
        let meta = self.0.parts.meta.clone();
        let page = tasks::blocking(move || meta.page::<BlobKey>(&[], after.as_deref(), ROWS)).await??;
        work.queue.extend(page.into_iter().map(|(key, row)| (key.digest, row.size)));
        Ok(!work.queue.is_empty())
    }

    async fn end_cycle(&self) -> Result<(), Error> {
        let (blobs, bytes, damaged) = {
            let mut known = self.known();
            let state = &mut known.state;
            (state.running, state.full, state.after) = (false, false, None);
            state.ended_at = self.0.parts.clock.now_ms();
            (state.blobs, state.bytes, state.damaged)
        };
        tracing::info!(blobs, bytes, damaged, "the scrub has read every blob");
        self.keep(&self.system()?).await
    }

    async fn slice(&self, work: &mut Work, full: bool) -> Result<Slice, Error> {
        let (blobs, mut taken) = (self.0.parts.blobs.clone(), std::mem::take(work));
        let (back, slice) = tasks::blocking(move || {
            let slice = taken.go_on(&blobs, full);
            (taken, slice)
        })
        .await?;
        *work = back;
        Ok(slice)
    }

    fn rest(&self, slice: &Slice, full: bool) -> Duration {
        if full {
            return Duration::ZERO;
        }
        let rate = self.0.parts.rules.rate.max(1);
        let paced = Duration::from_micros(slice.cost.saturating_mul(1_000_000) / rate);
        paced.saturating_sub(slice.took).max(slice.took)
    }

    /// Nothing, if something else was asked for meanwhile.
    fn count(&self, slice: &Slice, asked: u64) {
        let mut known = self.known();
        if known.asked == asked {
            known.state.blobs += slice.blobs;
            known.state.bytes += slice.bytes;
            // What is read again is no step back.
            known.state.after = slice.last.max(known.state.after);
        }
    }
}

impl Work {
    /// Reads a slice. Blocks.
    fn go_on(&mut self, blobs: &Blobs, full: bool) -> Slice {
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
                Ok(Some(looked)) => slice.end(look.digest(), size, looked),
                Err(error) => {
                    tracing::warn!(digest = %look.digest(), %error, "a blob could not be looked at");
                    slice.end(look.digest(), size, Looked::Suspect(Vec::new()));
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
        while let Some((digest, size)) = self.queue.pop_front() {
            slice.cost += LEAST;
            match blobs.look_at(&digest, size) {
                Ok(Ok(look)) => return Some((look, size)),
                Ok(Err(looked)) => slice.end(digest, size, looked),
                Err(error) => {
                    tracing::warn!(%digest, %error, "a blob could not be looked at");
                    slice.end(digest, size, Looked::Suspect(Vec::new()));
                }
            }
        }
        None
    }
}

impl Slice {
    fn end(&mut self, digest: Digest, size: u64, looked: Looked) {
        self.blobs += 1;
        self.last = self.last.max(Some(digest));
        if looked != Looked::Sound {
            self.found.push((digest, size, looked));
        }
    }
}
