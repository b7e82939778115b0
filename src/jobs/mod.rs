//! When background work runs, how it went, and that it stops. What the work is belongs to the services and
//! stores; this room gives it its turn and keeps the view of it.
//!
//! Words: a *job* is work with a name; a *run* is one turn of it; work reports through its [`Handle`].
//!
//! - J1: one run at a time per job; the next is a whole period after the last ended, so that slow work never piles up.
//! - J2: a panic or an error in a run is a failed result, not the end of the job.
//! - J3: what is known of runs, and a pause, are in memory: a restart begins anew, with nothing paused. Work that
//!   remembers its turns over restarts says when they are, and is paused by commands of its own.
//! - J4: at the stop nothing begins any more, and what runs is told and waited for.
//!
//! `entry` is one job's state, `handle` what work reports with, `schedule` when the next run is, `timing` what work says
//! that knows it better, `view` what is shown.

mod entry;
mod handle;
mod schedule;
mod timing;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::TimeOfDay;
use crate::seams::Clock;
use entry::Entry;
pub use handle::Handle;
pub use schedule::Schedule;
pub use timing::Timing;
pub use view::{JobView, LastRun, Refused, Running};

/// Background work, as it is registered.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Its name: lower-case words joined by `-`, unique.
    pub name: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    /// When it runs.
    pub schedule: Schedule,
    /// Whether an administrator may pause it.
    pub can_pause: bool,
}

impl Job {
    /// Runs one period after the start, then one period after each run.
    pub const fn every(name: &'static str, about: &'static str, period: std::time::Duration) -> Self {
        Self { name, about, schedule: Schedule::Every(period), can_pause: false }
    }

    /// Runs soon after the start, for what was missed, then each day at that time.
    pub const fn daily(name: &'static str, about: &'static str, at: TimeOfDay) -> Self {
        Self { name, about, schedule: Schedule::Daily(at), can_pause: false }
    }

    /// Runs when its work says so, about so often; only when somebody asks if there is no `period`.
    pub const fn own(name: &'static str, about: &'static str, period: Option<std::time::Duration>) -> Self {
        Self { name, about, schedule: Schedule::Own(period), can_pause: false }
    }

    /// The same, which may be paused.
    pub const fn pausable(mut self) -> Self {
        self.can_pause = true;
        self
    }
}

/// The background work of a running appliance. Clones share everything.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    stop: watch::Sender<bool>,
    entries: Mutex<BTreeMap<&'static str, Arc<Entry>>>,
    running: Mutex<JoinSet<()>>,
}

impl Jobs {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (entries, running) = Default::default();
        Self(Arc::new(Inner { clock, stop: watch::Sender::new(false), entries, running }))
    }

    /// Runs `work` again and again, as the job's schedule says. What it gives is what is shown of the run: what
    /// was done, in a few words (none if there was nothing to do), or why it was not.
    pub fn every<F, E, W>(&self, job: Job, work: W)
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: Display + Send + 'static,
        W: FnMut(Handle) -> F + Send + 'static,
    {
        self.register(job, None, work);
    }

    /// The same for work that says itself when its turn is.
    pub fn by_itself<F, E, W>(&self, job: Job, timing: Arc<dyn Timing>, work: W)
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: Display + Send + 'static,
        W: FnMut(Handle) -> F + Send + 'static,
    {
        self.register(job, Some(timing), work);
    }

    fn register<F, E, W>(&self, job: Job, timing: Option<Arc<dyn Timing>>, mut work: W)
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: Display + Send + 'static,
        W: FnMut(Handle) -> F + Send + 'static,
    {
        let entry = Arc::new(Entry::new(job, Arc::clone(&self.0.clock), timing));
        lock(&self.0.entries).insert(job.name, Arc::clone(&entry));
        let mut stop = self.0.stop.subscribe();
        self.spawn(async move {
            loop {
                let is_asked = tokio::select! {
                    is_asked = entry.turn() => is_asked,
                    _ = stop.wait_for(|stop| *stop) => return,
                };
                let handle = Handle::new(Arc::clone(&entry), stop.clone(), is_asked);
                run(&entry, work(handle)).await;
            }
        });
    }

    /// Runs `work` once, now, for an administrator who asked for it; refused while work of that name runs.
    pub fn start<F, E>(
        &self,
        name: &'static str,
        about: &'static str,
        work: impl FnOnce(Handle) -> F,
    ) -> Result<(), Refused>
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let stop = self.0.stop.subscribe();
        if *stop.borrow() {
            return Err(Refused::Stopping);
        }
        let job = Job { name, about, schedule: Schedule::Asked, can_pause: true };
        let new = || Arc::new(Entry::new(job, Arc::clone(&self.0.clock), None));
        let entry = Arc::clone(lock(&self.0.entries).entry(name).or_insert_with(new));
        entry.begin()?;
        let work = work(Handle::new(Arc::clone(&entry), stop, true));
        self.spawn(async move { finish(&entry, work).await });
        Ok(())
    }

    /// Every job by name.
    pub fn list(&self) -> Vec<JobView> {
        lock(&self.0.entries).values().map(|entry| entry.view()).collect()
    }

    /// One of them.
    pub fn show(&self, name: &str) -> Result<JobView, Refused> {
        Ok(self.entry(name)?.view())
    }

    /// Has a job run now, though it is paused.
    pub fn run(&self, name: &str) -> Result<JobView, Refused> {
        let entry = self.entry(name)?;
        entry.ask()?;
        Ok(entry.view())
    }

    /// Pauses a job, or lets it go on. Work that is running waits where it can.
    pub fn pause(&self, name: &str, is_paused: bool) -> Result<JobView, Refused> {
        let entry = self.entry(name)?;
        entry.pause(is_paused)?;
        Ok(entry.view())
    }

    /// Lets the runs under way end, telling them, and starts no more.
    pub async fn stop(&self) {
        self.0.stop.send_replace(true);
        let mut running = std::mem::take(&mut *lock(&self.0.running));
        while running.join_next().await.is_some() {}
    }

    fn entry(&self, name: &str) -> Result<Arc<Entry>, Refused> {
        lock(&self.0.entries).get(name).cloned().ok_or_else(|| Refused::Unknown(name.to_owned()))
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut running = lock(&self.0.running);
        while running.try_join_next().is_some() {} // one-off work that ended
        running.spawn(work);
    }
}

/// One run, if none began meanwhile.
async fn run<E: Display + Send + 'static>(
    entry: &Entry,
    work: impl Future<Output = Result<String, E>> + Send + 'static,
) {
    if entry.begin().is_ok() {
        finish(entry, work).await;
    }
}

/// Does the work of a run that has begun, in a task of its own, so that a panic ends that alone.
async fn finish<E: Display + Send + 'static>(
    entry: &Entry,
    work: impl Future<Output = Result<String, E>> + Send + 'static,
) {
    let mut own = JoinSet::new();
    own.spawn(work);
    let result = match own.join_next().await {
        Some(Ok(Ok(done))) => Ok(done),
        Some(Ok(Err(error))) => Err(error.to_string()),
        _ => Err("it ended in a panic, which the log has".to_owned()),
    };
    entry.end(result);
}

/// Whoever panicked left what these guard as it was before or after.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
