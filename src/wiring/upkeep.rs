//! What keeps the store well while it is served: the scrub, and what backups hold back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::StartError;
use super::gauges::Gauges;
use super::serve::services_panicked;
use super::store::Store;
use crate::config::{ScrubSettings, Settings};
use crate::jobs::Jobs;
use crate::seams::{OsRandom, SystemClock, tasks};
use crate::server::{Phase, Stop};
use crate::services::access::Access;
use crate::services::backup::Holds;
use crate::services::scrub::{Parts, Rules, Scrub};

/// How often is looked for backups that are no longer heard of.
const HOLDS_EVERY: Duration = Duration::from_secs(10);

/// Both, at work.
pub struct Upkeep {
    scrub: Scrub,
    holds: Holds,
    running: JoinSet<()>,
}

impl Upkeep {
    /// Reads blobs beside the serving until the stop.
    pub async fn begin(
        settings: &Settings,
        store: &Store,
        access: &Access,
        (stop, gauges): (&Stop, &Gauges),
    ) -> Result<Self, StartError> {
        let ScrubSettings { on, rate, every } = settings.scrub;
        let rules = Rules { on, rate: rate.bytes(), every_ms: every.as_ms() };
        let (meta, blobs, access) = (store.meta.clone(), store.blobs.clone(), access.clone());
        let holds = Holds::new(blobs.clone(), Arc::new(SystemClock), Arc::new(OsRandom));
        let parts = Parts { meta, blobs, access, clock: Arc::new(SystemClock), rules };
        let scrub = tasks::blocking(move || Scrub::open(parts)).await.map_err(services_panicked)??;
        let mut running = JoinSet::new();
        let (reading, stop, gauges) = (scrub.clone(), stop.clone(), gauges.clone());
        running.spawn(async move {
            tokio::select! {
                () = stop.reached(Phase::Finishing) => {}
                () = reading.run() => {}
                () = gauges.follow(&reading) => {}
            }
        });
        Ok(Self { scrub, holds, running })
    }

    /// Lets holds go whose backups are not heard of for long.
    pub fn watch(&self, jobs: &mut Jobs) -> Holds {
        let held = self.holds.clone();
        jobs.every(HOLDS_EVERY, move || {
            let held = held.clone();
            async move { held.expire() }
        });
        self.holds.clone()
    }

    /// The scrub.
    pub fn scrub(&self) -> Scrub {
        self.scrub.clone()
    }

    /// Waits for what is under way, after the stop, and writes down how far it is. The metadata is still open.
    pub async fn end(self) {
        self.running.join_all().await;
        self.scrub.settle().await;
    }
}
