//! The collector of a running appliance, and what it tells `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::StartError;
use crate::causes;
use crate::config::Settings;
use crate::jobs::{Job, Jobs};
use crate::services::collector::{Collector, Done, Options, Status};
use crate::services::images::Shelves;

/// How often it is asked whether it is time.
const TICK: Duration = Duration::from_secs(1);

/// As the settings say.
pub fn open(settings: &Settings, shelves: &Arc<Shelves>) -> Result<Collector, StartError> {
    let set = &settings.collection;
    let options = Options {
        on: set.on,
        every: set.every.as_ms(),
        grace: set.grace.as_ms(),
        quarantine: set.quarantine.as_ms(),
        undo: set.undo.as_ms(),
        untagged: Some(set.remove_untagged.as_ms()).filter(|age| *age > 0),
        blobs: set.blobs_per_second.into(),
        bytes: set.bytes_per_second.bytes(),
    };
    Ok(Collector::new(Arc::clone(shelves), options)?)
}

/// Lets `jobs` run it.
pub fn watch(collector: &Collector, jobs: &Jobs, gauges: &CollectionGauges) {
    let (collector, gauges) = (collector.clone(), gauges.clone());
    let job = Job::every("collection", "removes what nothing needs any more, when it is time", TICK);
    jobs.every(job, move |handle| {
        let (collector, gauges) = (collector.clone(), gauges.clone());
        async move {
            let result = match handle.is_asked() {
                true => run_now(&collector).await,
                false => {
                    collector.tick().await;
                    Ok(said(&collector.facts()))
                }
            };
            gauges.update(&collector);
            result
        }
    });
}

/// A run that was asked for by the name of the job; what it did.
async fn run_now(collector: &Collector) -> Result<String, String> {
    if collector.facts().paused {
        return Err("collection is paused: `pierhead gc resume` lets it go on".to_owned());
    }
    // A tick may be long in coming where runs are asked for one after the other.
    collector.turn_if_due();
    collector.run().await.map_err(|error| causes::chain(&error))?;
    Ok(said(&collector.facts()))
}

/// What the last run did, until the next one: a look each second that it is not time says nothing of its own.
fn said(status: &Status) -> String {
    if status.ended_at == 0 {
        return String::new();
    }
    let Done { untagged, forgotten, unlinked, removed, bytes, files, .. } = status.last;
    let mut did = format!(
        "removed {removed} blobs of {bytes} bytes, {untagged} untagged manifests; {forgotten} deleted manifests \
         cannot come back any more, {unlinked} blobs left their repositories, {files} files left quarantine"
    );
    if let Some(why) = status.waits {
        did.push_str(&format!("; waits: {why}"));
    }
    if let Some(trouble) = &status.trouble {
        did.push_str(&format!("; ended early: {trouble}"));
    }
    did
}

/// What it did since the start. Clones are the same ones.
#[derive(Clone, Default)]
pub struct CollectionGauges {
    removed: Gauge,
    bytes: Gauge,
    unlinked: Gauge,
    files: Gauge,
    waiting: Gauge,
}

impl CollectionGauges {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("collected_blobs", "Blobs collected since the start", self.removed.clone());
        registry.register("collected_bytes", "Bytes of them", self.bytes.clone());
        let unlinked = "Blobs taken off repositories that did not name them, since the start";
        registry.register("collected_links", unlinked, self.unlinked.clone());
        let files = "Files of collected blobs unlinked since the start";
        registry.register("collected_files", files, self.files.clone());
        registry.register("collection_waiting", "1 while nothing is collected", self.waiting.clone());
    }

    fn update(&self, collector: &Collector) {
        let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let status = collector.facts();
        self.removed.set(clamp(status.total.removed));
        self.bytes.set(clamp(status.total.bytes));
        self.unlinked.set(clamp(status.total.unlinked));
        self.files.set(clamp(status.total.files));
        self.waiting.set(i64::from(status.paused || status.waits.is_some()));
    }
}
