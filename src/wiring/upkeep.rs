//! What keeps the store well while it is served: the collector, the scrub, and what backups hold back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::StartError;
use super::collection::{self, CollectionGauges};
use super::gauges::Gauges;
use super::rooms::panicked;
use super::store::Store;
use crate::causes;
use crate::config::{ScrubSettings, Settings};
use crate::jobs::{Job, Jobs};
use crate::seams::{OsRandom, SystemClock, tasks};
use crate::server::{Phase, Stop};
use crate::services::backup::Holds;
use crate::services::collector::Collector;
use crate::services::images::Shelves;
use crate::services::scrub::{LOOK_EVERY, Parts, Rules, Scrub};

/// How often is looked for backups that are no longer heard of.
const HOLDS_EVERY: Duration = Duration::from_secs(10);

/// All three, at work.
pub struct Upkeep {
    scrub: Scrub,
    rules: Rules,
    holds: Holds,
    collector: Collector,
    collected: CollectionGauges,
    running: JoinSet<()>,
}

impl Upkeep {
    /// Opens them.
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
        scrub.serve().await;
        let mut running = JoinSet::new();
        let (followed, stop, gauges) = (scrub.clone(), stop.clone(), gauges.clone());
        running.spawn(async move {
            tokio::select! {
                () = stop.reached(Phase::Finishing) => {}
                () = gauges.follow(&followed) => {}
            }
        });
        Ok(Self { scrub, rules, holds, collector, collected: CollectionGauges::default(), running })
    }

    /// Lets `jobs` collect, read blobs again, and let holds go whose backups are not heard of for long.
    pub fn watch(&self, jobs: &Jobs) {
        let held = self.holds.clone();
        let job = Job::every("backup-holds", "lets go what a backup held that is not heard of", HOLDS_EVERY);
        jobs.every(job, move |_| {
            held.expire();
            std::future::ready(Ok::<_, String>(String::new()))
        });
        collection::watch(&self.collector, jobs, &self.collected);
        self.watch_blobs(jobs);
    }

    fn watch_blobs(&self, jobs: &Jobs) {
        let every = self.rules.on.then_some(Duration::from_millis(self.rules.every_ms));
        let job = Job::own("scrub", "reads every blob again, and finds those that are damaged", every);
        let reading = self.scrub.clone();
        jobs.by_itself(job, Arc::new(self.scrub.clone()), move |handle| {
            let scrub = reading.clone();
            async move { scrub.run(&handle).await }
        });
        let about = "looks whether blobs that were found damaged are well again";
        let looking = self.scrub.clone();
        jobs.every(Job::every("scrub-findings", about, LOOK_EVERY), move |handle| {
            let scrub = looking.clone();
            async move {
                scrub.look_again(&handle).await.map(|()| String::new()).map_err(|error| causes::chain(&error))
            }
        });
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
