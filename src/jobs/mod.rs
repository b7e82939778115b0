//! When background work runs, and that it stops. What the work is belongs to the services and
//! stores; this room only gives it its turn: one run at a time per job, the next a whole period
//! after the last ended, so that slow work never piles up. A panic in a run is logged by the
//! panic hook and ends that run, not the job.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

/// The background work of a running appliance.
#[derive(Debug)]
pub struct Jobs {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Jobs {
    /// None yet.
    pub fn new() -> Self {
        Self { stop: watch::Sender::new(false), running: JoinSet::new() }
    }

    /// Runs `work` again and again, `period` after its last run ended, the first time after one
    /// period.
    pub fn every<F, W>(&mut self, period: Duration, mut work: W)
    where
        F: Future<Output = ()> + Send + 'static,
        W: FnMut() -> F + Send + 'static,
    {
        let mut stop = self.stop.subscribe();
        self.running.spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(period) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                let mut run = JoinSet::new();
                run.spawn(work());
                while run.join_next().await.is_some() {}
            }
        });
    }

    /// Lets the runs under way end, and starts no more.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.running.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_runs_each_period_survives_a_panic_and_stops() {
        let runs = Arc::new(AtomicUsize::new(0));
        let mut jobs = Jobs::new();
        let counted = Arc::clone(&runs);
        jobs.every(Duration::from_secs(60), move || {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(run != 0, "the first run panics") }
        });
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(runs.load(Ordering::SeqCst), 3, "after 60, 120 and 180 seconds");
        jobs.stop().await;
        assert_eq!(runs.load(Ordering::SeqCst), 3, "none after the stop");
    }
}
