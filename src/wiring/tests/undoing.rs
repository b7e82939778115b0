//! Deleted manifests come back, for as long as the settings say, and what deletes free is said beforehand.

use hyper::Method;
use pierhead_storage_format::housekeeping::{
    DeletedManifestKey, DeletedReferenceKey, RemovalKey, RemovalRecord,
};
use pierhead_storage_format::keys::{BlobKey, ManifestKey, RepositoryKey};
use serde_json::json;

use super::house::{House, digest};
use crate::services::access::{Action, Resource};
use crate::services::error::{Error, Thing};
use crate::services::images::{Deleted, Frees, Restored};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn image(config: &[u8], layer: &[u8]) -> String {
    let described =
        |bytes: &[u8]| json!({"mediaType": "text/plain", "digest": digest(bytes), "size": bytes.len()});
    json!({"schemaVersion": 2, "mediaType": OCI, "config": described(config), "layers": [described(layer)]})
        .to_string()
}

async fn push(house: &House, name: &str, layer: &'static [u8], tags: &[&str]) -> String {
    for blob in [&b"{}"[..], layer] {
        assert_eq!(house.push_blob(name, "", blob).await.status, 201);
    }
    let manifest = image(b"{}", layer);
    for tag in tags {
        let path = format!("/v2/{name}/manifests/{tag}");
        let put = house.ask(Method::PUT, &path, &[("content-type", OCI)], manifest.clone()).await;
        assert_eq!(put.status, 201, "{put:?}");
    }
    digest(manifest.as_bytes())
}

async fn delete(house: &House, name: &str, reference: &str) {
    let path = format!("/v2/{name}/manifests/{reference}");
    assert_eq!(house.as_whom(Method::DELETE, &path, "").await.status, 202);
}

fn on(name: &str) -> Resource {
    Resource::Repository(name.parse().expect("a name"))
}

async fn deleted(house: &House) -> Vec<Deleted> {
    let permit = house.permit(Action::ListDeleted, Resource::Registry);
    house.images.deleted(&permit, None, None, 100).await.expect("listed").0
}

async fn restore(house: &House, name: &str, number: u64) -> Result<Restored, Error> {
    house.images.restore(&house.permit(Action::RestoreVersion, on(name)), number).await
}

async fn pulls(house: &House, name: &str, tag: &str, layer: &[u8]) -> (u16, u16) {
    let manifest = house.as_whom(Method::GET, &format!("/v2/{name}/manifests/{tag}"), "").await;
    let blob = house.as_whom(Method::GET, &format!("/v2/{name}/blobs/{}", digest(layer)), "").await;
    (manifest.status, blob.status)
}

#[tokio::test]
async fn a_deleted_manifest_comes_back_with_its_layers_and_the_tags_that_are_free() {
    let house = House::with(true, |settings| settings.registry.delete = true).await;
    let first = push(&house, "acme/web", b"one", &["v1", "latest"]).await;
    delete(&house, "acme/web", &first).await;
    push(&house, "acme/web", b"two", &["latest"]).await;
    for _ in 0..4 {
        house.hours(2).await;
        house.collect().await;
    }
    assert_eq!(pulls(&house, "acme/web", "v1", b"one").await, (404, 404), "off the repository");
    let [Deleted { number, record }] = &deleted(&house).await[..] else { panic!("one is deleted") };
    assert_eq!(
        (record.digest.to_string(), &record.tags[..]),
        (first, &["latest".to_owned(), "v1".to_owned()][..])
    );
    assert_eq!(record.deleted_by, "anonymous");
    let elsewhere = restore(&house, "acme/other", *number).await;
    assert!(matches!(elsewhere, Err(Error::Missing(Thing::Deleted(_)))), "{elsewhere:?}");
    let back = restore(&house, "acme/web", *number).await.expect("restored");
    assert_eq!((back.tags, back.taken), (vec!["v1".to_owned()], vec!["latest".to_owned()]));
    assert_eq!(pulls(&house, "acme/web", "v1", b"one").await, (200, 200));
    assert_eq!(deleted(&house).await.len(), 0);
    assert!(restore(&house, "acme/web", *number).await.is_err(), "once");
    house.sound().await;
}

#[tokio::test]
async fn what_was_deleted_long_enough_ago_is_gone_with_what_only_it_needed() {
    let house = House::with(true, |settings| settings.registry.delete = true).await;
    let gone = push(&house, "acme/web", b"one", &["v1"]).await;
    push(&house, "acme/web", b"two", &["v2"]).await;
    delete(&house, "acme/web", &gone).await;
    house.hours(23).await;
    house.collect().await;
    assert_eq!(deleted(&house).await.len(), 1);
    for _ in 0..4 {
        house.hours(2).await;
        house.collect().await;
    }
    assert_eq!(deleted(&house).await.len(), 0);
    assert_eq!(house.meta().page::<DeletedReferenceKey>(&[], None, 9).expect("rows").len(), 0);
    for (bytes, there) in [(&b"one"[..], false), (b"two", true), (b"{}", true)] {
        let blob = BlobKey { digest: digest(bytes).parse().expect("a digest") };
        assert_eq!(house.meta().get(&blob).expect("read").is_some(), there);
    }
    house.sound().await;
}

#[tokio::test]
async fn a_removed_repository_is_made_anew_by_what_is_restored_in_it() {
    for share in [1, 7, 4000] {
        let house = House::with(true, |settings| settings.registry.delete = true).await;
        let tags: Vec<String> = (0..9).map(|n| format!("v{n}")).collect();
        push(&house, "acme/web", b"one", &tags.iter().map(String::as_str).collect::<Vec<_>>()).await;
        push(&house, "acme/web", b"two", &["other"]).await;
        house
            .images
            .delete_by(&house.permit(Action::DeleteRepository, on("acme/web")), share)
            .await
            .expect("removed");
        assert_eq!(house.meta().page::<RemovalKey>(&[], None, 9).expect("rows").len(), 0);
        for item in deleted(&house).await {
            restore(&house, "acme/web", item.number).await.expect("restored");
        }
        assert_eq!(pulls(&house, "acme/web", "other", b"two").await, (200, 200), "in steps of {share}");
        if share > 9 {
            assert_eq!(pulls(&house, "acme/web", "v8", b"one").await, (200, 200));
        }
        house.sound().await;
    }
}

/// As a stop leaves it that came after the first of several change sets.
async fn cut_short(house: &House, name: &str) -> RepositoryKey {
    let key = RepositoryKey { name: name.to_owned() };
    let id = house.meta().get(&key).expect("read").expect("there").id;
    let row = RemovalRecord { name: name.to_owned(), begun_at: 1, by: "acme/anna".to_owned() };
    let put: Result<(), crate::stores::meta::MetaError> =
        house.meta().commit(move |tx| tx.put(&RemovalKey { repository: id }, &row)).await;
    put.expect("committed");
    key
}

#[tokio::test]
async fn a_removal_that_was_cut_short_is_gone_on_with_also_while_the_collector_is_paused() {
    for paused in [false, true] {
        let house = House::with(true, |settings| settings.registry.delete = true).await;
        push(&house, "acme/web", b"one", &["v1"]).await;
        let key = cut_short(&house, "acme/web").await;
        house.pause(paused).await;
        let house = house.reopen().await;
        house.collector.tick().await;
        assert!(house.meta().get(&key).expect("read").is_none(), "paused: {paused}");
        assert_eq!(deleted(&house).await[0].record.deleted_by, "acme/anna");
        house.sound().await;
    }
}

#[tokio::test]
async fn what_is_pushed_after_a_removal_was_cut_short_stays() {
    let house = House::with(true, |settings| settings.registry.delete = true).await;
    push(&house, "acme/web", b"one", &["v1"]).await;
    cut_short(&house, "acme/web").await;
    push(&house, "acme/web", b"two", &["v2"]).await;
    assert_eq!(house.meta().page::<RemovalKey>(&[], None, 9).expect("rows").len(), 0);
    let house = house.reopen().await;
    house.collector.tick().await;
    assert_eq!(pulls(&house, "acme/web", "v2", b"two").await, (200, 200));
    house.sound().await;
}

#[tokio::test]
async fn where_nothing_can_be_undone_a_delete_keeps_nothing() {
    let house = House::with(true, |settings| {
        settings.registry.delete = true;
        settings.collection.undo = crate::config::Period::from_secs(0);
    })
    .await;
    let gone = push(&house, "acme/web", b"one", &["v1"]).await;
    delete(&house, "acme/web", &gone).await;
    assert_eq!(house.meta().page::<DeletedManifestKey>(&[], None, 9).expect("rows").len(), 0);
    house.sound().await;
}

#[tokio::test]
async fn the_trash_is_emptied_for_one_repository_or_all() {
    let house = House::with(true, |settings| settings.registry.delete = true).await;
    for name in ["acme/web", "acme/api"] {
        let gone = push(&house, name, b"one", &["v1"]).await;
        delete(&house, name, &gone).await;
    }
    let permit = house.permit(Action::EmptyTrash, Resource::Registry);
    let one = house.images.empty_trash(&permit, Some("acme/api".parse().expect("a name"))).await;
    assert_eq!((one.expect("emptied"), deleted(&house).await.len()), (1, 1));
    assert_eq!(house.images.empty_trash(&permit, None).await.expect("emptied"), 1);
    house.sound().await;
}

#[tokio::test]
async fn what_a_delete_frees_is_what_nothing_else_keeps() {
    let house = House::with(true, |settings| settings.registry.delete = true).await;
    let only = push(&house, "acme/web", b"only", &["v1", "v2"]).await;
    push(&house, "acme/web", b"shared", &["v3"]).await;
    push(&house, "acme/api", b"shared", &["v1"]).await;
    let frees = async |reference: Option<&str>| {
        let permit = house.permit(Action::ShowRepository, on("acme/web"));
        let reference = reference.map(|text| text.parse().expect("a reference"));
        house.images.frees(&permit, reference).await.expect("told")
    };
    let manifest = image(b"{}", b"only").len() as u64;
    let of_manifest = Frees { tags: 2, manifests: 1, blobs: 2, bytes: manifest + 4, refused: None };
    assert_eq!(frees(Some(&only)).await, of_manifest, "its layer and itself; the config is another's too");
    assert_eq!(frees(Some("v1")).await, Frees { tags: 1, ..Frees::default() });
    // The config, the second manifest and the shared layer are in the other repository as well.
    assert_eq!(frees(None).await, Frees { tags: 3, manifests: 2, ..of_manifest });
    house.sound().await;
}

#[tokio::test]
async fn untagged_manifests_go_where_the_settings_say_so_but_not_what_something_names() {
    let house = House::with(true, |settings| {
        settings.registry.delete = true;
        settings.collection.remove_untagged = crate::config::Period::from_secs(7200);
    })
    .await;
    let put = async |reference: &str, kind: &str, body: serde_json::Value| {
        let path = format!("/v2/acme/web/manifests/{reference}");
        let put = house.ask(Method::PUT, &path, &[("content-type", kind)], body.to_string()).await;
        assert_eq!(put.status, 201, "{put:?}");
    };
    push(&house, "acme/web", b"tagged", &["v1"]).await;
    let child = push(&house, "acme/web", b"child", &["x"]).await;
    let alone = push(&house, "acme/web", b"alone", &["y"]).await;
    let index = "application/vnd.oci.image.index.v1+json";
    let named = json!({"mediaType": OCI, "digest": child, "size": 1});
    put("all", index, json!({"schemaVersion": 2, "mediaType": index, "manifests": [named]})).await;
    let about = json!({"mediaType": OCI, "digest": digest(image(b"{}", b"tagged").as_bytes()), "size": 1});
    let referrer = json!({"schemaVersion": 2, "mediaType": index, "manifests": [], "subject": about});
    put(&digest(referrer.to_string().as_bytes()), index, referrer.clone()).await;
    for tag in ["x", "y"] {
        delete(&house, "acme/web", tag).await;
    }
    house.hours(1).await;
    house.collect().await;
    assert_eq!(house.meta().page::<ManifestKey>(&[], None, 9).expect("rows").len(), 5, "too young");
    house.hours(3).await;
    house.collect().await;
    let there = house.meta().page::<ManifestKey>(&[], None, 9).expect("rows");
    assert_eq!(there.len(), 4);
    assert!(there.iter().all(|(key, _)| key.digest.to_string() != alone));
    assert_eq!(deleted(&house).await.len(), 1, "it can come back");
    house.sound().await;
}
