//! Long work on one large repository is held up in its midst: by a pause, a stop, and the rate of the settings.

use std::time::{Duration, Instant};

use hyper::Method;
use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{DeletedManifestKey, RemovalKey, RemovalRecord, UnreferencedKey};
use pierhead_storage_format::keys::{CounterKey, ManifestKey, RepositoryBlobKey, RepositoryKey};
use pierhead_storage_format::records::{RepositoryBlobRecord, RepositoryRecord};
use serde_json::json;
use tokio::task::JoinSet;

use super::house::{House, digest};
use crate::config::{Period, Settings};
use crate::services::collector::Done;
use crate::services::error::Error;
use crate::stores::meta::MetaError;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A batch of manifests takes half a second.
fn slow(settings: &mut Settings) {
    settings.collection.remove_untagged = Period::from_secs(7200);
    settings.collection.blobs_per_second = 100;
}

fn manifests(house: &House) -> usize {
    house.meta().page::<ManifestKey>(&[], None, 10_000).expect("rows").len()
}

fn deleted(house: &House) -> usize {
    house.meta().page::<DeletedManifestKey>(&[], None, 10_000).expect("rows").len()
}

/// So many manifests that no tag names.
async fn untagged(house: &House, count: usize) {
    for number in 0..count {
        let body = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [],
            "annotations": {"number": number.to_string()}})
        .to_string();
        let path = format!("/v2/acme/web/manifests/{}", digest(body.as_bytes()));
        assert_eq!(house.ask(Method::PUT, &path, &[("content-type", INDEX)], body).await.status, 201);
    }
}

/// Begins a run in the background.
fn begin(house: &House) -> JoinSet<Result<Done, Error>> {
    let collector = house.collector.clone();
    let mut running = JoinSet::new();
    running.spawn(async move { collector.run().await });
    running
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_and_the_rate_are_heeded_within_a_repository_of_many_untagged_manifests() {
    let house = House::with(true, slow).await;
    untagged(&house, 220).await;
    house.hours(3).await;
    let began = Instant::now();
    let mut running = begin(&house);
    until("a batch is gone", || manifests(&house) < 220).await;
    house.pause(true).await;
    let done = running.join_next().await.expect("it runs").expect("no panic").expect("a run");
    let left = manifests(&house);
    assert!(left > 0 && left + usize::try_from(done.untagged).expect("few") == 220, "{left}, {done:?}");
    house.pause(false).await;
    house.collect().await;
    assert_eq!(manifests(&house), 0);
    assert!(began.elapsed() >= Duration::from_millis(1700), "a hundred a second: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_seen_while_deleted_manifests_are_forgotten() {
    let house = House::with(true, |settings| {
        slow(settings);
        settings.collection.undo = Period::from_secs(3600);
    })
    .await;
    untagged(&house, 100).await;
    house.hours(3).await;
    house.collect().await;
    house.hours(3).await;
    let mut running = begin(&house);
    until("some are forgotten", || deleted(&house) < 100).await;
    house.collector.stop();
    let done = running.join_next().await.expect("it runs").expect("no panic").expect("a run");
    assert!(done.forgotten > 0 && done.forgotten < 100, "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_seen_while_blobs_of_a_large_repository_are_listed_and_it_begins_again() {
    let house = House::with(true, |settings| settings.collection.blobs_per_second = 500).await;
    assert_eq!(house.push_blob("acme/web", "", b"layer").await.status, 201);
    let row: RepositoryRecord =
        house.meta().get(&RepositoryKey { name: "acme/web".to_owned() }).expect("read").expect("there");
    let many = move |tx: &mut crate::stores::meta::Tx<'_>| -> Result<(), MetaError> {
        for number in 0..1500u32 {
            let digest: Digest = digest(&number.to_be_bytes()).parse().expect("a digest");
            let record = RepositoryBlobRecord { size: 4, linked_at: 1, references: 0 };
            tx.put(&RepositoryBlobKey { repository: row.id, digest }, &record)?;
        }
        Ok(())
    };
    house.meta().commit(many).await.expect("written");
    let listed = || house.meta().page::<UnreferencedKey>(&[], None, 10_000).expect("rows").len();
    let is_done = || {
        let key = CounterKey { name: "unreferenced blobs listed".to_owned() };
        house.meta().get(&key).expect("read").is_some()
    };
    let running = begin(&house);
    until("some are listed", || listed() > 100).await;
    house.pause(true).await;
    running.join_all().await;
    assert!(listed() < 1500 && !is_done());
    house.pause(false).await;
    let running = begin(&house);
    until("it is done", is_done).await;
    assert_eq!(listed(), 1501);
    house.collector.stop();
    running.join_all().await;
}

/// As the first of several change sets leaves it.
async fn cut_short(house: &House, key: &RepositoryKey) {
    let id = house.meta().get(key).expect("read").expect("there").id;
    let row = RemovalRecord { name: key.name.clone(), begun_at: 1, by: "acme/anna".to_owned() };
    let put: Result<(), MetaError> =
        house.meta().commit(move |tx| tx.put(&RemovalKey { repository: id }, &row)).await;
    put.expect("committed");
}

#[tokio::test]
async fn a_removal_that_was_cut_short_waits_for_the_next_start_when_this_one_stops() {
    let house = House::with(true, |settings| settings.registry.delete = true).await;
    untagged(&house, 3).await;
    let key = RepositoryKey { name: "acme/web".to_owned() };
    cut_short(&house, &key).await;
    house.collector.stop();
    house.collect().await;
    assert_eq!(house.meta().page::<RemovalKey>(&[], None, 9).expect("rows").len(), 1);
    let house = house.reopen().await;
    house.collect().await;
    assert_eq!(house.meta().page::<RemovalKey>(&[], None, 9).expect("rows").len(), 0);
    assert!(house.meta().get(&key).expect("read").is_none());
    house.sound().await;
}

#[tokio::test]
async fn a_removal_that_is_gone_on_with_rests_for_what_it_removed() {
    let house = House::with(true, |settings| settings.collection.blobs_per_second = 200).await;
    untagged(&house, 450).await;
    let key = RepositoryKey { name: "acme/web".to_owned() };
    cut_short(&house, &key).await;
    let began = Instant::now();
    house.collect().await;
    let took = began.elapsed();
    assert!(house.meta().get(&key).expect("read").is_none());
    // One rest, for the four hundred that fit in a change set.
    assert!(took >= Duration::from_millis(1900) && took < Duration::from_secs(12), "{took:?}");
}
