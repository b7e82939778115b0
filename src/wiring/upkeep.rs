//! What keeps the store well while it is served: the collector, the scrub, and what backups hold back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::StartError;
use super::collection::{self, CollectionGauges};
use super::gauges::Gauges;
use super::rooms::panicked;
use super::store::Store;
use crate::config::{ScrubSettings, Settings};
use crate::jobs::{Job, Jobs};
use crate::seams::{OsRandom, SystemClock, tasks};
use crate::server::{Phase, Stop};
use crate::services::backup::Holds;
use crate::services::collector::Collector;
use crate::services::images::Shelves;
use crate::services::scrub::{Parts, Rules, Scrub};

/// How often is looked for backups that are no longer heard of.
const HOLDS_EVERY: Duration = Duration::from_secs(10);

/// All three, at work.
pub struct Upkeep {
    scrub: Scrub,
    holds: Holds,
    collector: Collector,
    collected: CollectionGauges,
    running: JoinSet<()>,
}

impl Upkeep {
    /// Reads blobs beside the serving until the stop.
    pub async fn begin(
        settings: &Settings,
        store: &Store,
        shelves: &Arc<Shelves>,
        (stop, gauges): (&Stop, &Gauges),
    ) -> Result<Self, StartError> {
        let ScrubSettings { on, rate, every } = settings.scrub;
        let rules = Rules { on, rate: rate.bytes(), every_ms: every.as_ms() };
        let collector = collection::open(settings, shelves)?;
        let (meta, blobs, access) = (store.meta.clone(), store.blobs.clone(), shelves.access.clone());
        let holds = Holds::new(blobs.clone(), Arc::new(SystemClock), Arc::new(OsRandom));
        let parts = Parts { meta, blobs, access, clock: Arc::new(SystemClock), rules };
        let scrub = tasks::blocking(move || Scrub::open(parts)).await.map_err(panicked)??;
        let mut running = JoinSet::new();
        let (reading, stop, gauges) = (scrub.clone(), stop.clone(), gauges.clone());
        running.spawn(async move {
            tokio::select! {
                () = stop.reached(Phase::Finishing) => {}
                () = reading.run() => {}
                () = gauges.follow(&reading) => {}
            }
        });
        Ok(Self { scrub, holds, collector, collected: CollectionGauges::default(), running })
    }

    /// Lets `jobs` collect, and let holds go whose backups are not heard of for long.
    pub fn watch(&self, jobs: &Jobs) {
        let held = self.holds.clone();
        let job = Job::every("backup-holds", "lets go what a backup held that is not heard of", HOLDS_EVERY);
        jobs.every(job, move |_| {
            held.expire();
            std::future::ready(Ok::<_, String>(String::new()))
        });
        collection::watch(&self.collector, jobs, &self.collected);
    }

    /// What backups hold back.
    pub fn holds(&self) -> Holds {
        self.holds.clone()
    }

    /// The collector.
    pub fn collector(&self) -> Collector {
        self.collector.clone()
    }

    /// What the collector tells `/metrics`.
    pub fn collected(&self) -> CollectionGauges {
        self.collected.clone()
    }

    /// Nothing more is collected.
    pub fn stop(&self) {
        self.collector.stop();
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
