//! Collection of an appliance without sockets, by its own clock: what goes, what stays, and what a push meets.

use hyper::Method;
use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{CollectedKey, UnreferencedKey};
use pierhead_storage_format::keys::{BlobKey, RepositoryBlobKey};
use pierhead_storage_format::paths;
use serde_json::json;
use tokio::task::JoinSet;

use super::house::{House, digest};
use crate::services::access::{Action, Resource};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
/// As the settings have it, in seconds.
const GRACE: u64 = 3600;

async fn lab() -> House {
    House::with(true, |settings| settings.registry.delete = true).await
}

fn image(config: &[u8], layers: &[&[u8]]) -> String {
    let described =
        |bytes: &[u8]| json!({"mediaType": "text/plain", "digest": digest(bytes), "size": bytes.len()});
    let layers: Vec<_> = layers.iter().map(|layer| described(layer)).collect();
    json!({"schemaVersion": 2, "mediaType": OCI, "config": described(config), "layers": layers}).to_string()
}

async fn put(house: &House, name: &str, tag: &str, manifest: &str) -> u16 {
    let path = format!("/v2/{name}/manifests/{tag}");
    house.ask(Method::PUT, &path, &[("content-type", OCI)], manifest.to_owned()).await.status
}

async fn delete(house: &House, path: &str) {
    assert_eq!(house.as_whom(Method::DELETE, path, "").await.status, 202);
}

async fn head(house: &House, name: &str, bytes: &[u8]) -> u16 {
    house.as_whom(Method::HEAD, &format!("/v2/{name}/blobs/{}", digest(bytes)), "").await.status
}

fn of(bytes: &[u8]) -> Digest {
    digest(bytes).parse().expect("a digest")
}

fn has_row(house: &House, bytes: &[u8]) -> bool {
    house.meta().get(&BlobKey { digest: of(bytes) }).expect("read").is_some()
}

fn has_file(house: &House, bytes: &[u8]) -> bool {
    house.data().join(paths::blob(&of(bytes))).exists()
}

#[tokio::test]
async fn what_only_a_deleted_manifest_needed_goes_a_grace_period_after_and_the_rest_stays() {
    let house = House::with(true, |settings| {
        settings.registry.delete = true;
        settings.collection.undo = crate::config::Period::from_secs(0);
    })
    .await;
    for blob in [&b"{}"[..], b"shared", b"lost"] {
        assert_eq!(house.push_blob("acme/web", "", blob).await.status, 201);
    }
    let (kept, gone) = (image(b"{}", &[b"shared"]), image(b"{}", &[b"shared", b"lost"]));
    assert_eq!(
        (put(&house, "acme/web", "v1", &kept).await, put(&house, "acme/web", "v2", &gone).await),
        (201, 201)
    );
    let of_gone = format!("/v2/acme/web/manifests/{}", digest(gone.as_bytes()));
    delete(&house, &of_gone).await;

    house.hours(2).await;
    house.collect().await;
    assert_eq!(head(&house, "acme/web", b"lost").await, 404, "no manifest names it");
    assert!(has_row(&house, b"lost"), "the store keeps it a grace period longer");
    house.hours(2).await;
    house.collect().await;
    assert!(!has_row(&house, b"lost") && !has_file(&house, b"lost"));
    let set_aside = house.data().join(paths::collected(&of(b"lost")));
    assert!(set_aside.exists(), "in quarantine at first");
    house.hours(2).await;
    house.collect().await;
    assert!(!set_aside.exists());
    assert_eq!(house.meta().page::<CollectedKey>(&[], None, 9).expect("rows").len(), 0);
    for blob in [&b"{}"[..], b"shared", kept.as_bytes()] {
        assert!(has_row(&house, blob) && has_file(&house, blob));
    }
    house.sound().await;
}

#[tokio::test]
async fn what_a_client_was_told_of_stays_for_a_grace_period() {
    let house = lab().await;
    assert_eq!(house.push_blob("acme/web", "", b"layer").await.status, 201);
    house.hours(3).await;
    assert_eq!(head(&house, "acme/web", b"layer").await, 200);
    house.collect().await;
    house.after_more(GRACE - 1).await;
    house.collect().await;
    assert_eq!(
        put(&house, "acme/web", "v1", &image(b"layer", &[])).await,
        201,
        "it was told that it is there"
    );
    house.hours(9).await;
    house.collect().await;
    assert_eq!(head(&house, "acme/web", b"layer").await, 200, "named by now");
    house.sound().await;
}

#[tokio::test]
async fn nothing_goes_for_a_grace_period_after_a_start_nor_while_it_is_paused() {
    let house = lab().await;
    assert_eq!(house.push_blob("acme/web", "", b"layer").await.status, 201);
    house.hours(3).await;
    let house = house.reopen().await;
    assert_eq!(house.collector.facts().waits, Some("the grace period since the start is not over"));
    house.collect().await;
    assert_eq!(house.collector.facts().last.unlinked, 0);
    house.hours(1).await;
    house.pause(true).await;
    house.collector.tick().await;
    assert_eq!(house.collector.facts().total.unlinked, 0);
    let house = house.reopen().await;
    assert!(house.collector.facts().paused, "over a restart, too");
    house.pause(false).await;
    house.hours(1).await;
    house.collector.tick().await;
    assert_eq!(house.collector.facts().total.unlinked, 1);
}

#[tokio::test]
async fn a_time_that_was_to_be_accepted_while_it_is_paused_is_not_accepted_later() {
    let house = lab().await;
    house.hours(1).await;
    house.collect().await;
    // A start days later: the clock may be wrong.
    house.after_more(3 * 86_400).await;
    let house = house.reopen().await;
    let ask = |accept: bool| {
        let permit = house.permit(Action::ManageCollection, Resource::Registry);
        house.collector.ask(&permit, accept).expect("asked");
    };
    house.pause(true).await;
    ask(true);
    house.collector.tick().await;
    house.pause(false).await;
    ask(false);
    house.collector.tick().await;
    let waits = house.collector.facts().waits;
    assert!(waits.is_some_and(|why| why.contains("the clock jumped")), "{waits:?}");
    ask(true);
    house.collector.tick().await;
    let waits = house.collector.facts().waits;
    assert_eq!(waits, Some("the grace period since the start is not over"), "it is accepted now");
}

#[tokio::test]
async fn a_blob_that_is_pushed_again_while_its_file_is_in_quarantine_is_there_anew() {
    let house = lab().await;
    house.push_blob("acme/web", "", b"layer").await;
    for _ in 0..2 {
        house.hours(2).await;
        house.collect().await;
    }
    assert!(!has_file(&house, b"layer"));
    assert_eq!(house.push_blob("acme/web", "", b"layer").await.status, 201);
    assert_eq!(put(&house, "acme/web", "v1", &image(b"layer", &[])).await, 201);
    house.hours(9).await;
    house.collect().await;
    assert!(has_file(&house, b"layer"));
    assert_eq!(head(&house, "acme/web", b"layer").await, 200);
    house.sound().await;
}

#[tokio::test]
async fn a_run_that_was_cut_after_its_rows_is_gone_on_with() {
    let house = lab().await;
    house.push_blob("acme/web", "", b"layer").await;
    house.hours(2).await;
    house.collect().await;
    house.hours(2).await;
    let kept = std::fs::read(house.data().join(paths::blob(&of(b"layer")))).expect("there");
    house.collect().await;
    assert!(!has_file(&house, b"layer"));
    // As a stop between the rows and the files leaves it.
    std::fs::remove_file(house.data().join(paths::collected(&of(b"layer")))).expect("there");
    let house = house.reopen().await;
    std::fs::write(house.data().join(paths::blob(&of(b"layer"))), kept).expect("written");
    house.collect().await;
    assert!(!has_file(&house, b"layer"), "moved by the first run");
    house.hours(2).await;
    house.collect().await;
    assert!(!house.data().join(paths::collected(&of(b"layer"))).exists());
    house.sound().await;
}

#[tokio::test]
async fn a_store_of_an_earlier_version_has_everything_listed_once() {
    let house = lab().await;
    for blob in [&b"one"[..], b"two"] {
        house.push_blob("acme/web", "", Box::leak(blob.into())).await;
    }
    delete(&house, &format!("/v2/acme/web/blobs/{}", digest(b"one"))).await;
    let listed = || house.meta().page::<UnreferencedKey>(&[], None, 9).expect("rows");
    let before = listed();
    assert_eq!(before.len(), 2);
    // Earlier versions listed nothing.
    let keys: Vec<_> = before.iter().map(|(key, _)| key.clone()).collect();
    let dropped: Result<(), crate::stores::meta::MetaError> =
        house.meta().commit(move |tx| keys.iter().try_for_each(|key| tx.delete(key))).await;
    dropped.expect("committed");
    house.collect().await;
    assert_eq!(listed(), before);
    house.hours(2).await;
    house.collect().await;
    assert_eq!(house.meta().page::<RepositoryBlobKey>(&[], None, 9).expect("rows").len(), 0);
    house.sound().await;
}

/// Pushes of a manifest race the collection of what it names, in as many orders as the machine makes: whoever was
/// told that a blob is there can name it, and what was named is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_push_never_meets_a_blob_that_is_there_and_about_to_go() {
    let house = std::sync::Arc::new(
        House::with(true, |settings| {
            settings.registry.delete = true;
            settings.collection.grace = crate::config::Period::from_secs(0);
            settings.collection.quarantine = crate::config::Period::from_secs(0);
        })
        .await,
    );
    let rounds = 60;
    for round in 0..rounds {
        let layer: &'static [u8] = Box::leak(format!("layer {round}").into_bytes().into());
        assert_eq!(house.push_blob("acme/web", "", layer).await.status, 201);
        house.after_more(1).await;
        house.leases.forget();
        let mut collecting = JoinSet::new();
        {
            let house = std::sync::Arc::clone(&house);
            collecting.spawn(async move {
                for _ in 0..3 {
                    house.collect().await;
                    house.after_more(1).await;
                }
            });
        }
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        let told = head(&house, "acme/web", layer).await;
        if told == 404 {
            assert_eq!(house.push_blob("acme/web", "", layer).await.status, 201);
        }
        assert_eq!(
            put(&house, "acme/web", "v1", &image(layer, &[])).await,
            201,
            "round {round}, told {told}"
        );
        collecting.join_all().await;
        let path = format!("/v2/acme/web/blobs/{}", digest(layer));
        let answer = house.as_whom(Method::GET, &path, "").await;
        assert_eq!((answer.status, answer.body.as_bytes()), (200, layer), "round {round}");
    }
    std::sync::Arc::into_inner(house).expect("the last").sound().await;
}
