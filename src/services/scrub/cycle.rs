//! A run of the job: what an unclean stop left is read first, then a cycle to its end, or until it is paused or the
//! appliance stops. Pages of blob rows, slices of their bytes, rests between. What cannot be done now is tried again a
//! minute later, for as long as the run lasts.

use std::time::{Duration, Instant};

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{BlobKey, TableKey};

use super::recent::Recent;
use super::work::{Slice, Work};
use super::{Facts, LOOK_EVERY, Scrub};
use crate::causes;
use crate::jobs::Handle;
use crate::seams::tasks;
use crate::services::error::Error;

/// Rows looked up at a time.
const ROWS: usize = 256;
/// How often it is written down how far it is.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// After an error of the store, or in trouble of the disk.
const AGAIN: Duration = Duration::from_secs(60);

/// What a run works on.
struct Run {
    work: Work,
    /// What it reads came last before a stop out of order.
    is_recent: bool,
    /// Of that, so many were read again.
    reread: u64,
    /// The cycle came to its end.
    is_over: bool,
    /// What had been asked for when it was begun.
    asked: u64,
    kept: Instant,
    /// When findings are looked at again.
    look_at: Instant,
}

impl Run {
    fn new(asked: u64) -> Self {
        let (work, now) = (Work::default(), Instant::now());
        let look_at = now + LOOK_EVERY; // the cycle is first
        Self { work, is_recent: false, reread: 0, is_over: false, asked, kept: now, look_at }
    }
}

impl Scrub {
    /// Notes that a server has the store, and whether the last one did not let go of it in order. Before a first run.
    pub async fn serve(&self) {
        let (unclean, on) = {
            let mut known = self.known();
            let unclean = std::mem::replace(&mut known.state.served, true);
            known.unclean = unclean && self.0.parts.rules.on;
            (unclean, known.unclean)
        };
        if on {
            tracing::info!("the last run did not stop in order: its last blobs are read again");
        } else if unclean {
            tracing::info!("the last run did not stop in order; the scrub does not begin by itself");
        }
        match self.count_findings().await {
            Ok(findings) => self.known().findings = findings,
            Err(error) => {
                tracing::warn!(error = causes::chain(&error), "findings of the scrub were not counted")
            }
        }
        self.keep_now().await;
    }

    /// Writes down how far it is, and that the store was let go of in order: but for what of an unclean stop is still
    /// to be read again.
    pub async fn settle(&self) {
        {
            let mut known = self.known();
            known.state.served = known.unclean;
        }
        self.keep_now().await;
    }

    /// One run; what it did.
    pub async fn run(&self, handle: &Handle) -> Result<String, String> {
        if handle.is_asked() {
            self.begin_if_idle().await?; // who looks at findings lets it have its turn
        }
        let _turn = self.0.turn.lock().await;
        let mut run = Run::new(self.known().asked);
        loop {
            if run.look_at <= Instant::now() {
                self.look_through(&mut run, handle).await;
            }
            let (asked, paused) = {
                let known = self.known();
                (known.asked, known.state.paused)
            };
            if handle.is_stopping() || paused {
                let why = if paused { "paused" } else { "stopped" };
                return Ok(format!("{why}; {}", said(&self.facts())));
            }
            if asked != run.asked {
                run = Run::new(asked);
            }
            let rest = match self.step(&mut run, handle).await {
                Ok(Some(rest)) => rest,
                Ok(None) => {
                    self.look_through(&mut run, handle).await;
                    return Ok(self.ended(&run));
                }
                Err(error) => {
                    tracing::warn!(error = causes::chain(&error), "the scrub goes on later");
                    AGAIN
                }
            };
            self.tell(&run, handle);
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.0.wake.notified() => {}
                () = handle.stopped() => {}
            }
        }
    }

    /// Somebody asked the job for a run.
    async fn begin_if_idle(&self) -> Result<(), String> {
        let facts = self.facts();
        if facts.state.paused {
            return Err("the scrub is paused: `pierhead scrub resume` lets it go on".to_owned());
        }
        self.begin_by_itself().await.map(drop).map_err(|error| causes::chain(&error))
    }

    fn tell(&self, run: &Run, handle: &Handle) {
        if run.is_recent {
            let total = run.reread + run.work.left();
            handle.progress(run.reread, Some(total), "blobs of the last run");
        } else {
            handle.progress(self.known().state.blobs, None, "blobs");
        }
    }

    /// A run that came to its end.
    fn ended(&self, run: &Run) -> String {
        match (run.is_over, run.reread) {
            (true, _) => said(&self.facts()),
            (false, 0) => String::new(),
            (false, reread) => format!("{reread} blobs of the last run read again"),
        }
    }

    /// Looks at findings again, until something is asked for. Takes half of the time at most: findings that are large and
    /// cannot be read do not hold up the cycle.
    async fn look_through(&self, run: &mut Run, handle: &Handle) {
        let (began, asked) = (Instant::now(), run.asked);
        if let Err(error) = self.recheck(handle, || self.known().asked != asked).await {
            tracing::debug!(%error, "findings of the scrub were not looked at again");
        }
        let took = began.elapsed();
        run.look_at = began + took + took.max(LOOK_EVERY);
    }

    /// Does a slice of work; how long to rest then, none if there is no more.
    async fn step(&self, run: &mut Run, handle: &Handle) -> Result<Option<Duration>, Error> {
        self.record_all(&mut run.work.judged).await?;
        if run.work.is_read() && !self.find_work(run, handle).await? {
            return Ok(None);
        }
        let full = self.known().state.full && !run.is_recent;
        let mut slice = self.slice(&mut run.work, full).await?;
        let rest = self.rest(&slice, full);
        let settled = self.settle_findings(std::mem::take(&mut slice.found)).await;
        let (unread, untold) = (settled.unread.len(), settled.untold.len());
        slice.blobs = slice.blobs.saturating_sub((unread + untold) as u64);
        run.work.again.extend(settled.untold);
        run.work.judged.extend(settled.judged);
        let trouble = run.work.try_again(slice.blobs + unread as u64, settled.unread);
        let has_found = !run.work.judged.is_empty();
        let recorded = self.record_all(&mut run.work.judged).await;
        self.count(run, &slice);
        // After a stop, what is written down as found is not counted again.
        if has_found || run.kept.elapsed() >= KEEP_EVERY {
            run.kept = Instant::now();
            self.keep(&self.system()?).await?;
        }
        settled.error.map_or(recorded, Err)?;
        Ok(Some(if trouble { AGAIN } else { rest }))
    }

    /// The next blobs to be read; false if there are none. Finds none, and true, if the run is to be looked at first.
    async fn find_work(&self, run: &mut Run, handle: &Handle) -> Result<bool, Error> {
        if run.is_recent {
            // All of that was read.
            run.is_recent = false;
            run.work = Work::default();
            self.known().unclean = false;
        }
        if self.known().unclean {
            let Some(recent) = self.recent(run.asked, handle).await? else { return Ok(true) };
            run.work.turn_page(recent.into_iter());
            run.is_recent = !run.work.is_read();
            self.known().unclean = run.is_recent;
            if run.is_recent {
                return Ok(true);
            }
        }
        let now = self.0.parts.clock.now_ms();
        let facts = self.facts();
        if !facts.state.running {
            if facts.next_at.is_none_or(|at| at > now) {
                return Ok(false);
            }
            let Some(asked) = self.begin_by_itself().await? else { return Ok(true) };
            run.asked = asked;
        }
        if self.fill(&mut run.work).await? {
            return Ok(true);
        }
        run.is_over = self.end_cycle(run.asked).await?;
        Ok(!run.is_over)
    }

    /// What came last before the last stop, the newest first; `None` if the run is to be looked at first. Goes over all
    /// rows.
    async fn recent(&self, asked: u64, handle: &Handle) -> Result<Option<Vec<(Digest, u64)>>, Error> {
        let (mut recent, mut after) = (Recent::default(), None::<Vec<u8>>);
        loop {
            // A pause is asked for, too.
            if handle.is_stopping() || self.known().asked != asked {
                return Ok(None);
            }
            let meta = self.0.parts.meta.clone();
            let from = after.take();
            let page = tasks::blocking(move || meta.page::<BlobKey>(&[], from.as_deref(), ROWS)).await??;
            let Some((last, _)) = page.last() else { return Ok(Some(recent.finish())) };
            after = Some(last.encode());
            page.iter().for_each(|(key, row)| recent.see(key.digest, row.size, row.changed_at));
        }
    }

    /// The next page of blobs of the cycle; false if there is none.
    async fn fill(&self, work: &mut Work) -> Result<bool, Error> {
        let after = self.known().state.after.map(|digest| BlobKey { digest }.encode());
        let meta = self.0.parts.meta.clone();
        let page = tasks::blocking(move || meta.page::<BlobKey>(&[], after.as_deref(), ROWS)).await??;
        work.turn_page(page.into_iter().map(|(key, row)| (key.digest, row.size)));
        Ok(!work.is_read())
    }

    /// False if something else was asked for meanwhile: that may be another cycle.
    pub(super) async fn end_cycle(&self, asked: u64) -> Result<bool, Error> {
        let (blobs, bytes, damaged) = {
            let mut known = self.known();
            if known.asked != asked {
                return Ok(false);
            }
            let state = &mut known.state;
            (state.running, state.full, state.after) = (false, false, None);
            state.ended_at = self.0.parts.clock.now_ms();
            (state.blobs, state.bytes, state.damaged)
        };
        tracing::info!(blobs, bytes, damaged, "the scrub has read every blob");
        self.keep(&self.system()?).await?;
        Ok(true)
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

    pub(super) fn rest(&self, slice: &Slice, full: bool) -> Duration {
        if full {
            return Duration::ZERO;
        }
        let rate = self.0.parts.rules.rate.max(1);
        let paced = Duration::from_micros(slice.cost.saturating_mul(1_000_000) / rate);
        paced.saturating_sub(slice.took).max(slice.took)
    }

    /// Nothing of the cycle, if something else was asked for meanwhile.
    fn count(&self, run: &mut Run, slice: &Slice) {
        if run.is_recent {
            run.reread += slice.blobs;
            return;
        }
        let mut known = self.known();
        if known.asked == run.asked {
            known.state.blobs += slice.blobs;
            known.state.bytes += slice.bytes;
            known.state.after = run.work.place().or(known.state.after);
        }
    }

    async fn keep_now(&self) {
        let kept = match self.system() {
            Ok(permit) => self.keep(&permit).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "how far the scrub is could not be written down");
        }
    }
}

fn said(facts: &Facts) -> String {
    let state = &facts.state;
    format!("{} blobs of {} bytes read, {} damaged or missing", state.blobs, state.bytes, state.damaged)
}
