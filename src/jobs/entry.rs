//! One job: when its turn is, and what is known of its runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::Job;
use super::lock;
use super::schedule::Schedule;
use super::timing::Timing;
use super::view::{JobView, LastRun, Progress, Refused, Running};
use crate::seams::Clock;

/// A clock that is set right is noticed within this.
const LOOK: u64 = 60_000;
/// Characters of a result that are kept.
const MAX_TEXT: usize = 1000;

/// A job and its state.
pub struct Entry {
    job: Job,
    clock: Arc<dyn Clock>,
    /// Of work that knows itself when its turn is.
    timing: Option<Arc<dyn Timing>>,
    asked: Notify,
    paused: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_asked: bool,
    running: Option<Running>,
    last: Option<LastRun>,
    next_at: Option<u64>,
    runs: u64,
    failures: u64,
    succeeded_at: Option<u64>,
}

impl Entry {
    pub fn new(job: Job, clock: Arc<dyn Clock>, timing: Option<Arc<dyn Timing>>) -> Self {
        let next_at = job.schedule.wait(clock.now_ms(), true).map(|wait| clock.now_ms().saturating_add(wait));
        let state = Mutex::new(State { next_at, ..State::default() });
        Self { job, clock, timing, asked: Notify::new(), paused: watch::Sender::new(false), state }
    }

    /// Waits for the next turn; whether somebody asked for it.
    pub async fn turn(&self) -> bool {
        if let Some(timing) = &self.timing {
            return tokio::select! {
                biased;
                () = self.asked.notified() => true,
                () = timing.due() => false,
            };
        }
        let is_first = lock(&self.state).runs == 0;
        loop {
            let due = self.due(is_first);
            tokio::select! {
                // Whoever asked is told of his own run.
                biased;
                () = self.asked.notified() => return true,
                () = due => {}
            }
            if !*self.paused.borrow() {
                return false;
            }
            // Its turn passes; the next is a period from now, or as soon as it goes on.
            tokio::select! {
                () = self.asked.notified() => return true,
                () = self.unpaused() => {}
            }
        }
    }

    /// Waits until the schedule's time has come.
    async fn due(&self, is_first: bool) {
        let now = self.clock.now_ms();
        let Some(wait) = self.job.schedule.wait(now, is_first) else { return std::future::pending().await };
        let at = now.saturating_add(wait);
        lock(&self.state).next_at = Some(at);
        if matches!(self.job.schedule, Schedule::Every(_)) || is_first {
            return tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        // By the wall clock, which may be set meanwhile.
        loop {
            let now = self.clock.now_ms();
            let Some(left) = at.checked_sub(now).filter(|left| *left > 0) else { return };
            tokio::time::sleep(Duration::from_millis(left.min(LOOK))).await;
        }
    }

    /// Waits while the job is paused.
    pub async fn unpaused(&self) {
        // An error means that the entry is gone, which holds the sender.
        let _ = self.paused.subscribe().wait_for(|paused| !*paused).await;
    }

    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// A run begins, if none is under way.
    pub fn begin(&self) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        if state.running.is_some() {
            return Err(Refused::Running(self.job.name));
        }
        state.is_asked = false;
        state.next_at = None;
        state.running = Some(Running { began_at: self.clock.now_ms(), progress: None });
        Ok(())
    }

    /// The run ended so.
    pub fn end(&self, result: Result<String, String>) {
        let ended_at = self.clock.now_ms();
        let is_ok = result.is_ok();
        let mut text = result.unwrap_or_else(|why| why);
        if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
            text.truncate(end);
        }
        let name = self.job.name;
        if is_ok {
            tracing::debug!(job = name, result = text, "a job ended");
        } else {
            tracing::warn!(job = name, error = text, "a job failed");
        }
        let mut state = lock(&self.state);
        let began_at = state.running.take().map_or(ended_at, |running| running.began_at);
        state.runs += 1;
        if is_ok {
            state.succeeded_at = Some(ended_at);
        } else {
            state.failures += 1;
        }
        state.last = Some(LastRun { began_at, ended_at, is_ok, text });
    }

    pub fn progress(&self, progress: Progress) {
        if let Some(running) = &mut lock(&self.state).running {
            running.progress = Some(progress);
        }
    }

    /// Somebody wants it to run now.
    pub fn ask(&self) -> Result<(), Refused> {
        if self.job.schedule == Schedule::Asked {
            return Err(Refused::Asked(self.job.name));
        }
        let mut state = lock(&self.state);
        if state.running.is_some() || state.is_asked {
            return Err(Refused::Running(self.job.name));
        }
        state.is_asked = true;
        self.asked.notify_one();
        Ok(())
    }

    pub fn pause(&self, is_paused: bool) -> Result<(), Refused> {
        if self.timing.is_some() {
            return Err(Refused::Own(self.job.name));
        }
        if !self.job.can_pause {
            return Err(Refused::Needed(self.job.name));
        }
        self.paused.send_replace(is_paused);
        Ok(())
    }

    pub fn view(&self) -> JobView {
        let timing = self.timing.as_deref();
        let is_paused = timing.map_or(*self.paused.borrow(), Timing::is_paused);
        let own_at = timing.and_then(Timing::next_at);
        let state = lock(&self.state);
        JobView {
            name: self.job.name,
            about: self.job.about,
            schedule: self.job.schedule.to_string(),
            can_pause: self.job.can_pause,
            is_paused,
            running: state.running.clone(),
            last: state.last.clone(),
            next_at: state.next_at.or(own_at).filter(|_| !is_paused && state.running.is_none()),
            runs: state.runs,
            failures: state.failures,
            succeeded_at: state.succeeded_at,
        }
    }
}
