//! The collector: removes, while everything is served, what nothing needs any more.
//!
//! Words: a blob of a repository that none of its manifests names is *unnamed*, a blob of the store that no row keeps
//! is *unkept*; both are rows of `unreferenced`, by the time since when (`images::kept`). The *grace period* is how
//! long both stay. A *run* takes the oldest ones, a batch at a time, until it meets one that is too young.
//!
//! A blob goes in these steps; a stop after any of them is taken up by the next run (files, rows: `FORMAT.md`,
//! "Removing a blob"):
//! 1. one change set takes an unnamed blob off its repository; unkept then, it waits another grace period;
//! 2. one change set removes the row of an unkept blob and notes it as `collected`;
//! 3. its file is renamed to `quarantine/collected/`, which is synced once a batch;
//! 4. when it has been there long enough it is unlinked, the folder synced, and the note removed.
//!
//! G3: nothing is taken that was seen within a grace period, or is held (`leases`): a batch is marked as going before
//!     its change set is asked for, and until its files are moved. The change set looks at every row again.
//! G4: for a grace period after a start nothing is taken: leases are in memory.
//! G5: ages are told by a clock that goes on as it did (`watch`); after a jump they wait, or an operator accepts it.
//! G6: memory is that of one batch; between two batches it can be paused or stopped, and is slowed to its rate.
//! G7: no batch is taken while a backup holds removals back (`stores::blobs`); the run waits.
//!
//! `sweep` is steps 1 and 2, `files` 3 and 4, `listing` what stores of earlier versions need once, `look` what a run
//! would do. Must not know who asks but for the permit. When runs come is the wiring's business.

mod files;
mod listing;
mod look;
mod pace;
mod sweep;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pierhead_storage_format::keys::CounterKey;
use pierhead_storage_format::records::CounterRecord;
use tokio::sync::Notify;

pub use look::Outlook;
use watch::Watch;

use super::access::{Action, Actor, Permit, Resource};
use super::error::Error;
use super::images::Shelves;
use crate::causes;
use crate::seams::tasks;

/// Rows that are looked at, and changed, together.
const BATCH: usize = 500;
/// Says that the operator paused it.
const PAUSED: &str = "collection paused";

/// How it works. Times are milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether runs come by themselves.
    pub on: bool,
    /// Between the end of a run and the next.
    pub every: u64,
    /// How long what nothing needs stays.
    pub grace: u64,
    /// How long files of collected blobs stay in quarantine.
    pub quarantine: u64,
    /// How long deleted manifests can come back; 0 for not at all.
    pub undo: u64,
    /// From which age on untagged manifests are removed; none for never.
    pub untagged: Option<u64>,
    /// Blobs a second at most; 0 for as many as can be.
    pub blobs: u64,
    /// Bytes a second at most; 0 for as many as can be.
    pub bytes: u64,
}

/// What runs did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Untagged manifests removed.
    pub untagged: u64,
    /// Deleted manifests that cannot come back any more.
    pub forgotten: u64,
    /// Unnamed blobs taken off their repositories.
    pub unlinked: u64,
    /// Blobs removed from the store.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files unlinked from quarantine.
    pub files: u64,
    /// Blobs that were old enough, and that somebody counted on.
    pub left: u64,
}

impl Done {
    fn add(&mut self, more: Self) {
        self.untagged += more.untagged;
        self.forgotten += more.forgotten;
        self.unlinked += more.unlinked;
        self.removed += more.removed;
        self.bytes += more.bytes;
        self.files += more.files;
        self.left += more.left;
    }
}

/// How it is.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Whether a run is under way.
    pub running: bool,
    /// Whether the operator paused it.
    pub paused: bool,
    /// Why nothing is removed now, though a run were asked for.
    pub waits: Option<&'static str>,
    /// When the last run began, or the one under way; UTC milliseconds, 0 for none yet.
    pub began_at: u64,
    /// When the last one ended.
    pub ended_at: u64,
    /// What the last run did, or the one under way until now.
    pub last: Done,
    /// What all runs did since the start.
    pub total: Done,
    /// Why the last run ended early.
    pub trouble: Option<String>,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Collector(Arc<Inner>);

struct Inner {
    shelves: Arc<Shelves>,
    options: Options,
    /// When it was made, and generations of leases last turned; monotonic milliseconds.
    started: u64,
    turned: Mutex<u64>,
    next: Mutex<u64>,
    /// What an earlier process left was looked for.
    ordered: AtomicBool,
    asked: AtomicBool,
    accepts: AtomicBool,
    paused: AtomicBool,
    stopping: AtomicBool,
    /// Told when it is paused or stopped.
    halt: Notify,
    status: Mutex<Status>,
    /// Locked during a run.
    course: tokio::sync::Mutex<Course>,
}

/// What runs of this process know.
struct Course {
    watch: Watch,
    /// The index was checked and what an earlier run, or version, left is in order.
    begun: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collector {
    /// On these stores. Reads what the last process knew of time.
    pub fn new(shelves: Arc<Shelves>, options: Options) -> Result<Self, Error> {
        let watch = Watch::load(&shelves)?;
        let paused = shelves.meta.get(&CounterKey { name: PAUSED.to_owned() })?.is_some();
        let started = shelves.clock.monotonic_ms();
        Ok(Self(Arc::new(Inner {
            shelves,
            options,
            started,
            turned: Mutex::new(started),
            next: Mutex::new(started.saturating_add(options.every.min(options.grace))),
            ordered: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            accepts: AtomicBool::new(false),
            paused: AtomicBool::new(paused),
            stopping: AtomicBool::new(false),
            halt: Notify::new(),
            status: Mutex::default(),
            course: tokio::sync::Mutex::new(Course { watch, begun: false }),
        })))
    }

    /// How it is.
    pub fn status(&self, permit: &Permit) -> Result<Status, Error> {
        self.covers(permit, Action::ShowCollection)?;
        Ok(self.facts())
    }

    /// The same, for the appliance itself.
    pub fn facts(&self) -> Status {
        let mut status = lock(&self.0.status).clone();
        status.paused = self.0.paused.load(Ordering::SeqCst);
        if status.waits.is_none() && !self.is_warm() {
            status.waits = Some(COLD);
        }
        status
    }

    /// Has a run begin within a second. With `accept_clock` the time is believed whatever it did.
    pub fn ask(&self, permit: &Permit, accept_clock: bool) -> Result<Status, Error> {
        self.covers(permit, Action::ManageCollection)?;
        if accept_clock {
            self.0.accepts.store(true, Ordering::SeqCst);
        }
        self.0.asked.store(true, Ordering::SeqCst);
        lock(&self.0.status).running = true;
        Ok(self.facts())
    }

    /// Pauses it, or lets it go on; also over a restart.
    pub async fn pause(&self, permit: &Permit, paused: bool) -> Result<Status, Error> {
        self.covers(permit, Action::ManageCollection)?;
        let key = CounterKey { name: PAUSED.to_owned() };
        let shelves = &self.0.shelves;
        let set = shelves.access.commit(&shelves.meta, permit, move |tx| {
            if paused { Ok(tx.put(&key, &CounterRecord { next: 1 })?) } else { Ok(tx.delete(&key)?) }
        });
        set.await?;
        self.0.paused.store(paused, Ordering::SeqCst);
        self.0.halt.notify_waiters();
        Ok(self.facts())
    }

    /// Ends a run after its batch, and lets none begin: at the stop of the process.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        self.0.halt.notify_waiters();
    }

    /// Runs if it is time, or somebody asked for it; to be called about every second.
    pub async fn tick(&self) {
        let inner = &self.0;
        let now = inner.shelves.clock.monotonic_ms();
        self.turn_if_due();
        let stops = inner.stopping.load(Ordering::SeqCst);
        if !stops && !inner.ordered.swap(true, Ordering::SeqCst) {
            self.put_in_order().await;
        }
        let asked = inner.asked.swap(false, Ordering::SeqCst);
        let due = inner.options.on && now >= *lock(&inner.next);
        if self.is_halted() || !(asked || due) {
            if asked {
                // What it was to accept was the clock as it was then.
                inner.accepts.store(false, Ordering::SeqCst);
                lock(&inner.status).running = false;
            }
            return;
        }
        if let Err(error) = self.run().await {
            tracing::warn!(
                error = causes::chain(&error),
                "a run of the collector ended early; the next one goes on"
            );
        }
        *lock(&inner.next) = inner.shelves.clock.monotonic_ms().saturating_add(inner.options.every);
    }

    /// Begins a generation of leases when a grace period has passed since the last.
    pub fn turn_if_due(&self) {
        let now = self.0.shelves.clock.monotonic_ms();
        let mut turned = lock(&self.0.turned);
        if now.saturating_sub(*turned) >= self.0.options.grace {
            self.0.shelves.leases.turn();
            *turned = now;
        }
    }

    /// One run; what it did. Once begun it runs to its end, a pause or the stop though nobody waits for it.
    pub async fn run(&self) -> Result<Done, Error> {
        let service = self.clone();
        tasks::to_the_end(async move {
            let mut course = service.0.course.lock().await;
            let now = service.0.shelves.clock.now_ms();
            {
                let mut status = lock(&service.0.status);
                (status.running, status.began_at, status.last, status.trouble) =
                    (true, now, Done::default(), None);
            }
            let ran = service.go(&mut course).await;
            let ended = service.0.shelves.clock.now_ms();
            let mut status = lock(&service.0.status);
            (status.running, status.ended_at) = (service.0.asked.load(Ordering::SeqCst), ended);
            status.trouble = ran.as_ref().err().map(|error| causes::chain(error));
            ran.map(|()| status.last)
        })
        .await?
    }

    async fn go(&self, course: &mut Course) -> Result<(), Error> {
        let permit = self.system()?;
        if !course.begun {
            course.begun = self.begin(&permit).await?;
        }
        let accepts = self.0.accepts.swap(false, Ordering::SeqCst);
        course.watch.tick(&self.0.shelves, &permit, self.longest(), accepts).await?;
        let options = self.0.options;
        let cutoff = course.watch.before(options.grace).filter(|_| self.is_warm());
        lock(&self.0.status).waits = self.waits(&course.watch);
        // What is wrong there is told at the end: blobs go all the same.
        let manifests = self.let_manifests_go(&permit, &course.watch).await;
        if let Some(cutoff) = cutoff {
            self.sweep(&permit, cutoff).await?;
        }
        if let Some(cutoff) = course.watch.before(options.quarantine) {
            self.unlink_files(&permit, cutoff).await?;
        }
        manifests
    }

    /// Untagged manifests, where the settings say so, and those that were deleted long enough ago.
    async fn let_manifests_go(&self, permit: &Permit, watch: &Watch) -> Result<(), Error> {
        let (shelves, options) = (&self.0.shelves, self.0.options);
        let age = options.untagged.and_then(|age| watch.before(age)).filter(|_| self.is_warm());
        if let Some(cutoff) = age {
            let untagged = shelves.remove_untagged(permit, cutoff, self).await?;
            self.did(Done { untagged, ..Done::default() });
        }
        if let Some(cutoff) = watch.before(options.undo) {
            let forgotten = shelves.forget_deleted(permit, cutoff, |_| true, self).await?;
            self.did(Done { forgotten, ..Done::default() });
        }
        Ok(())
    }

    /// What an earlier process, or version, left, soon after the start, whether runs come or not.
    async fn put_in_order(&self) {
        let service = self.clone();
        let done = tasks::to_the_end(async move {
            let mut course = service.0.course.lock().await;
            course.begun = service.begin(&service.system()?).await?;
            Ok::<_, Error>(())
        });
        if let Ok(Err(error)) = done.await {
            tracing::warn!(error = causes::chain(&error), "what an earlier run left waits for the next one");
        }
    }

    /// Once a process, before anything goes: decisions here need every row. False if it was halted; a pause holds up
    /// what is collected, not the removals of repositories that somebody asked for. Whether it was halted is told by the
    /// work: a pause that came and went in its midst left some of it undone.
    async fn begin(&self, permit: &Permit) -> Result<bool, Error> {
        let meta = self.0.shelves.meta.clone();
        tasks::blocking(move || meta.wait_until_checked()).await??;
        let removals = self.0.shelves.finish_removals(&pace::UntilStopped(self)).await?;
        if removals > 0 {
            tracing::info!(removals, "finished removals of repositories that were cut short");
        }
        if self.is_halted() {
            return Ok(false);
        }
        Ok(self.list_old_ones(permit).await? && self.move_files_again().await?)
    }

    /// The longest age that anything here goes by.
    fn longest(&self) -> u64 {
        let Options { grace, quarantine, undo, untagged, .. } = self.0.options;
        grace.max(quarantine).max(undo).max(untagged.unwrap_or(0))
    }

    /// Whether leases since the start tell of a whole grace period.
    fn is_warm(&self) -> bool {
        let now = self.0.shelves.clock.monotonic_ms();
        now.saturating_sub(self.0.started) >= self.0.options.grace
    }

    fn waits(&self, watch: &Watch) -> Option<&'static str> {
        if watch.before(self.0.options.grace).is_none() {
            return Some(DOUBT);
        }
        (!self.is_warm()).then_some(COLD)
    }

    fn is_halted(&self) -> bool {
        self.0.stopping.load(Ordering::SeqCst) || self.0.paused.load(Ordering::SeqCst)
    }

    fn did(&self, more: Done) {
        let mut status = lock(&self.0.status);
        status.last.add(more);
        status.total.add(more);
    }

    fn system(&self) -> Result<Permit, Error> {
        let actor = Actor::System("collector");
        Ok(self.0.shelves.access.authorise(&actor, Action::MaintainStore, Resource::Registry)?)
    }

    fn covers(&self, permit: &Permit, action: Action) -> Result<(), Error> {
        match permit.covers_registry(action) {
            true => Ok(()),
            false => Err(Error::Bug("a permit for something else")),
        }
    }
}

const COLD: &str = "the grace period since the start is not over";
const DOUBT: &str = "the clock jumped, or is far from what it was at the last stop: what is removed by age waits, or is \
                     let go on by `pierhead gc run --accept-clock`";
