//! The collector on a disk that fails: every step of runs that untag, forget, collect, restore and clean up fails once,
//! or is the last before a stop, or before a power cut. What images name is there afterwards, byte for byte; what was
//! deleted comes back whole or not at all; in the end everything that nothing names is gone, and `fsck` finds nothing.
//!
//! CI size: every [`STRIDE`]th step, each way at others. `PIERHEAD_FULL=1`: every step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::Method;
use pierhead_storage_format::housekeeping::{
    CollectedKey, DeletedManifestKey, DeletedReferenceKey, UnreferencedKey,
};
use pierhead_storage_format::keys::{BlobKey, ManifestKey};
use pierhead_storage_format::paths;
use serde_json::json;

use super::house::{House, digest};
use crate::config::{Period, Settings};
use crate::services::access::{Action, Resource};
use crate::stores::disk::Disk;
use crate::stores::disk::faulty::Faults;
use crate::stores::disk::power::{Power, PowerDisk};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const NAME: &str = "acme/web";
const EIO: u64 = 5;
const ENOSPC: u64 = 28;
const STRIDE: u64 = 3;
/// Rounds in which nothing fails, so that there is something of every age.
const WELL: usize = 3;
/// Long for whatever is tried again until it works.
const DEADLINE: Duration = Duration::from_secs(60);

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It fails, and those after it do not.
    Once(u64),
    /// It and all after it fail until the process is ended: it is the last but one that reaches the disk.
    Stop(u64),
    /// The same, and what was not synced is lost, or some of it.
    Cut,
}

/// The switches of the disk that is in use.
#[derive(Clone, Default)]
struct Switches(Arc<Mutex<Option<Pair>>>);

type Pair = (Arc<Faults>, Arc<Power>);

impl Switches {
    fn disk(&self) -> impl FnOnce(&Path) -> Arc<dyn Disk> {
        let switches = self.clone();
        move |root| {
            let (disk, faults, power) = PowerDisk::new(root);
            *switches.0.lock().expect("no test panics with it") = Some((faults, power));
            Arc::new(disk)
        }
    }

    fn faults(&self) -> Arc<Faults> {
        let switches = self.0.lock().expect("no test panics with it");
        Arc::clone(&switches.as_ref().expect("a disk").0)
    }

    fn power(&self) -> Arc<Power> {
        let switches = self.0.lock().expect("no test panics with it");
        Arc::clone(&switches.as_ref().expect("a disk").1)
    }
}

fn settings(settings: &mut Settings) {
    settings.collection.remove_untagged = Period::from_secs(7200);
    settings.collection.undo = Period::from_secs(6 * 3600);
    settings.collection.blobs_per_second = 0;
}

/// An image by its manifest.
#[derive(Clone)]
struct Image {
    manifest: String,
    blobs: [&'static [u8]; 2],
}

impl Image {
    /// One whose layer is its own, and now and then too large for the log of small blobs.
    fn new(name: &str) -> Self {
        let size = if name.len().is_multiple_of(2) { 10 } else { 7_000 };
        let layer: &'static [u8] = Box::leak(format!("{name:>10}").repeat(size).into_bytes().into());
        let blobs = [&b"{}"[..], layer];
        let described =
            |bytes: &[u8]| json!({"mediaType": "text/plain", "digest": digest(bytes), "size": bytes.len()});
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI, "config": described(blobs[0]),
            "layers": [described(layer)], "annotations": {"name": name}});
        Self { manifest: manifest.to_string(), blobs }
    }

    fn own(&self) -> String {
        digest(self.manifest.as_bytes())
    }

    async fn push(&self, house: &House, tag: Option<&str>) {
        for blob in self.blobs {
            assert_eq!(house.push_blob(NAME, "", blob).await.status, 201);
        }
        let path = format!("/v2/{NAME}/manifests/{}", tag.map_or_else(|| self.own(), str::to_owned));
        let put = house.ask(Method::PUT, &path, &[("content-type", OCI)], self.manifest.clone()).await;
        assert_eq!(put.status, 201, "{put:?}");
    }

    async fn delete(&self, house: &House) {
        let path = format!("/v2/{NAME}/manifests/{}", self.own());
        assert_eq!(house.as_whom(Method::DELETE, &path, "").await.status, 202);
    }

    async fn is_there(&self, house: &House, case: &str) -> bool {
        let path = format!("/v2/{NAME}/manifests/{}", self.own());
        let answer = house.as_whom(Method::GET, &path, "").await;
        if answer.status == 404 {
            return false;
        }
        assert_eq!((answer.status, &answer.body), (200, &self.manifest), "{case}");
        for blob in self.blobs {
            let path = format!("/v2/{NAME}/blobs/{}", digest(blob));
            let answer = house.as_whom(Method::GET, &path, "").await;
            assert_eq!((answer.status, answer.body.as_bytes()), (200, blob), "{case}");
        }
        true
    }
}

async fn restore(house: &House, image: &Image) -> bool {
    let permit = house.permit(Action::ListDeleted, Resource::Registry);
    let listed = house.images.deleted(&permit, None, None, 1000).await.map(|(listed, _)| listed);
    let own = image.own();
    let Some(item) = listed.ok().into_iter().flatten().find(|item| item.record.digest.to_string() == own)
    else {
        return false;
    };
    let permit = house.permit(Action::RestoreVersion, Resource::Repository(NAME.parse().expect("a name")));
    house.images.restore(&permit, item.number).await.is_ok()
}

struct Run {
    house: House,
    switches: Switches,
    /// Images that stay.
    kept: BTreeMap<String, Image>,
    rounds: usize,
}

impl Run {
    async fn new() -> Self {
        let switches = Switches::default();
        let house = House::on(switches.disk(), settings).await;
        Self { house, switches, kept: BTreeMap::new(), rounds: 0 }
    }

    /// A round with the fault at the step after the next `step`; the run, and whether that was reached.
    async fn round(mut self, way: Way, step: u64) -> (Self, bool) {
        let case = format!("{way:?} at step {step}");
        let (kept, back) = self.prepare().await;
        let faults = self.switches.faults();
        let at = faults.steps() + step;
        let (to, errno) = match way {
            Way::Once(errno) => (at + 1, errno),
            Way::Stop(errno) => (u64::MAX, errno),
            Way::Cut => (u64::MAX, EIO),
        };
        faults.fail(at, to, errno);
        let _ = self.house.collector.run().await; // it may fail
        let is_restored = restore(&self.house, &back).await;
        self.house.hours(1).await;
        let _ = self.house.collector.run().await;
        let reached = faults.steps() > at;
        self = self.recover(way, &case).await;
        self.work_goes_on(&case).await;
        for image in [kept, back.clone()] {
            if image.is_there(&self.house, &case).await {
                self.kept.insert(image.own(), image);
            }
        }
        assert!(!is_restored || self.kept.contains_key(&back.own()), "{case}: what was restored is there");
        if !self.kept.contains_key(&back.own()) {
            assert!(restore(&self.house, &back).await, "{case}: it can still be restored");
            assert!(back.is_there(&self.house, &case).await, "{case}");
            self.kept.insert(back.own(), back);
        }
        self.compare(&case).await;
        (self, reached)
    }

    /// Something of every kind: to be kept, to be collected, untagged, deleted for good, and to be restored.
    async fn prepare(&mut self) -> (Image, Image) {
        self.rounds += 1;
        let number = self.rounds;
        let [kept, gone, untagged, back] =
            ["kept", "gone", "untagged", "back"].map(|name| Image::new(&format!("{name} {number}")));
        let house = &self.house;
        kept.push(house, Some(&format!("kept-{number}"))).await;
        gone.push(house, Some(&format!("gone-{number}"))).await;
        untagged.push(house, None).await;
        back.push(house, Some(&format!("back-{number}"))).await;
        let lone: &'static [u8] = Box::leak(format!("nobody's {number}").into_bytes().into());
        assert_eq!(house.push_blob(NAME, "", lone).await.status, 201);
        gone.delete(house).await;
        house.hours(2).await;
        back.delete(house).await;
        house.hours(1).await;
        (kept, back)
    }

    async fn recover(mut self, way: Way, case: &str) -> Self {
        match way {
            Way::Once(_) => self.switches.faults().heal(),
            Way::Stop(_) => {
                let ground = self.house.fallen();
                let report = ground.check();
                assert!(report.is_clean(), "{case}: {:?}", report.findings);
                self.house = ground.up(self.switches.disk()).await;
            }
            Way::Cut => {
                let ground = self.house.fallen();
                let power = self.switches.power();
                // Another part of what may be lost each round.
                power.cut(self.rounds * 7 % (power.loose() + 1));
                self.house = ground.up(self.switches.disk()).await;
            }
        }
        self
    }

    /// The disk is well again: soon there are runs that come to their end.
    async fn work_goes_on(&self, case: &str) {
        let deadline = Instant::now() + DEADLINE;
        self.house.hours(1).await;
        while let Err(error) = self.house.collector.run().await {
            assert!(Instant::now() < deadline, "{case}: {error}");
            self.house.after_more(2).await;
            tokio::task::yield_now().await;
        }
    }

    async fn compare(&self, case: &str) {
        for (own, image) in &self.kept {
            assert!(image.is_there(&self.house, case).await, "{case}: {own} is lost");
        }
    }

    /// Long enough for all that was deleted to go: what images name is left, and nothing else.
    async fn end(self, case: &str) {
        let Self { house, kept, .. } = self;
        for _ in 0..12 {
            house.hours(2).await;
            house.collector.run().await.expect("a run");
        }
        let mut named: BTreeSet<String> = kept.keys().cloned().collect();
        named.extend(kept.values().flat_map(|image| image.blobs.iter().map(|blob| digest(blob))));
        let rows = house.meta().page::<BlobKey>(&[], None, 10_000).expect("rows");
        let left: BTreeSet<String> = rows.iter().map(|(key, _)| key.digest.to_string()).collect();
        assert_eq!(left, named, "{case}");
        assert_eq!(house.meta().page::<ManifestKey>(&[], None, 10_000).expect("rows").len(), kept.len());
        assert_eq!(house.files().len(), named.len(), "{case}: no file is nobody's");
        let set_aside = std::fs::read_dir(house.data().join(paths::COLLECTED)).expect("readable");
        assert_eq!(set_aside.count(), 0, "{case}: the quarantine is empty");
        assert_eq!(house.meta().page::<CollectedKey>(&[], None, 9).expect("rows"), []);
        assert_eq!(house.meta().page::<UnreferencedKey>(&[], None, 9).expect("rows"), []);
        assert_eq!(house.meta().page::<DeletedManifestKey>(&[], None, 9).expect("rows"), []);
        assert_eq!(house.meta().page::<DeletedReferenceKey>(&[], None, 9).expect("rows"), []);
        for image in kept.values() {
            assert!(image.is_there(&house, case).await, "{case}");
        }
        house.sound().await;
    }
}

/// One store goes through all of it, so that damage would add up.
async fn every_step(way: Way, first: u64) {
    let full = std::env::var_os("PIERHEAD_FULL").is_some();
    let (first, stride) = if full { (0, 1) } else { (first, STRIDE) };
    let mut run = Run::new().await;
    for _ in 0..WELL {
        (run, _) = run.round(Way::Once(EIO), u64::MAX / 2).await;
    }
    let mut step = first;
    loop {
        let (next, reached) = run.round(way, step).await;
        run = next;
        if !reached {
            break;
        }
        step += stride;
    }
    assert!(step > 30, "{way:?}: {step} steps are fewer than such a round has");
    run.end(&format!("{way:?}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_whose_disk_fails_once_at_any_step_loses_nothing_and_leaves_nothing() {
    every_step(Way::Once(EIO), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_whose_disk_is_full_at_any_step_loses_nothing_and_leaves_nothing() {
    every_step(Way::Once(ENOSPC), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_ended_at_any_step_by_a_disk_that_goes_loses_nothing_and_leaves_nothing() {
    every_step(Way::Stop(EIO), 2).await;
    every_step(Way::Stop(ENOSPC), 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_whose_power_is_cut_at_any_step_loses_nothing_and_leaves_nothing() {
    every_step(Way::Cut, 1).await;
}
