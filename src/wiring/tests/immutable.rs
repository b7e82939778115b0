//! Immutable tags: in a repository that has them no tag that is there moves or goes, by whichever way it is asked for.

use hyper::Method;
use pierhead_storage_format::housekeeping::{RemovalKey, RemovalRecord};
use pierhead_storage_format::keys::RepositoryKey;
use serde_json::json;

use super::house::{Answer, House, OPENED, digest, refusal};
use crate::services::access::{Action, Resource};
use crate::services::error::Error;
use crate::services::images::Tagged;
use crate::services::organisations::Changed;
use crate::stores::meta::Tx;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const WEB: &str = "acme/web";
const MOVES: &str = "tag v1 is immutable and names another manifest already: push under another tag";
const LIFT: &str = "the administrator of the registry can make the repository's tags mutable first";

/// A manifest that is another for every `what`.
fn manifest(what: &str) -> String {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"what": what}})
        .to_string()
}

async fn lab() -> House {
    House::with(true, |settings| settings.registry.delete = true).await
}

async fn put(house: &House, reference: &str, what: &str) -> Answer {
    let path = format!("/v2/{WEB}/manifests/{reference}");
    house.ask(Method::PUT, &path, &[("content-type", INDEX)], manifest(what)).await
}

async fn pushed(house: &House, reference: &str, what: &str) {
    let answer = put(house, reference, what).await;
    assert_eq!(answer.status, 201, "{reference}: {answer:?}");
}

async fn of_manifest(house: &House, method: Method, reference: &str) -> Answer {
    house.as_whom(method, &format!("/v2/{WEB}/manifests/{reference}"), "").await
}

async fn tags(house: &House) -> String {
    house.as_whom(Method::GET, &format!("/v2/{WEB}/tags/list"), "").await.json()["tags"].to_string()
}

fn web() -> Resource {
    Resource::Repository(WEB.parse().expect("a name"))
}

fn id(house: &House) -> u64 {
    house.meta().get(&RepositoryKey { name: WEB.to_owned() }).expect("read").expect("there").id
}

async fn set(house: &House, immutable_tags: bool) {
    let change = Changed { immutable_tags: Some(immutable_tags), ..Changed::default() };
    let permit = house.permit(Action::UpdateRepository, web());
    house.people.organisations.update(&permit, change).await.expect("changed");
}

#[tokio::test]
async fn a_tag_that_is_there_does_not_move_while_new_ones_come_and_the_same_manifest_is_taken_again() {
    let house = lab().await;
    pushed(&house, "v1", "a").await;
    pushed(&house, "v1", "b").await;
    set(&house, true).await;
    pushed(&house, "v1", "b").await;
    pushed(&house, "v2", "b").await;
    assert_eq!(put(&house, "v1", "c").await.refusal(), refusal(403, "DENIED", MOVES));
    assert_eq!(put(&house, "v3?tag=v1", "c").await.refusal(), refusal(403, "DENIED", MOVES));
    assert_eq!(tags(&house).await, r#"["v1","v2"]"#, "all tags of a push or none");
    let refused = of_manifest(&house, Method::GET, &digest(manifest("c").as_bytes())).await;
    assert_eq!(refused.status, 404, "nothing of what was refused is kept");
    assert_eq!(of_manifest(&house, Method::GET, "v1").await.body, manifest("b"));

    pushed(&house, "latest", "c").await;
    let tag = async |from: &str, to: &str| {
        let (from, to) = (from.parse().expect("a tag"), to.parse().expect("a tag"));
        house.images.create_tag(&house.permit(Action::CreateTag, web()), from, to, true).await
    };
    assert!(matches!(tag("latest", "v1").await, Err(Error::Immutable(_))));
    assert!(tag("v2", "v1").await.is_ok(), "it names that already");
    assert!(tag("v2", "v4").await.is_ok(), "a new one");

    set(&house, false).await;
    pushed(&house, "v1", "c").await;
    house.sound().await;
}

#[tokio::test]
async fn neither_a_tag_nor_what_it_names_nor_its_repository_is_deleted() {
    let house = lab().await;
    pushed(&house, "v1", "a").await;
    let (tagged, untagged) = (digest(manifest("a").as_bytes()), digest(manifest("b").as_bytes()));
    pushed(&house, &untagged, "b").await;
    set(&house, true).await;
    let of_tag = format!("tag v1 is immutable and cannot be deleted: {LIFT}");
    let of_what_it_names = format!("the manifest cannot be deleted: its tag v1 is immutable; {LIFT}");
    let of_repository = format!("the repository cannot be deleted: its tag v1 is immutable; {LIFT}");
    for (reference, why) in [("v1", &of_tag), (&*tagged, &of_what_it_names)] {
        let answer = of_manifest(&house, Method::DELETE, reference).await;
        assert_eq!(answer.refusal(), refusal(403, "DENIED", why), "{reference}");
    }
    assert_eq!(of_manifest(&house, Method::DELETE, "v2").await.status, 404, "there is none");
    let delete =
        async || house.images.delete_repository(&house.permit(Action::DeleteRepository, web())).await;
    assert_eq!(delete().await.expect_err("refused").to_string(), of_repository);

    let refused = async |reference: Option<&str>| {
        let reference = reference.map(|text| text.parse().expect("a reference"));
        let permit = house.permit(Action::ShowRepository, web());
        house.images.frees(&permit, reference).await.expect("told").refused.map(|tag| tag.to_string())
    };
    let cases =
        [(Some("v1"), Some(of_tag)), (Some(&*tagged), Some(of_what_it_names)), (None, Some(of_repository))];
    for (reference, why) in cases {
        assert_eq!(refused(reference).await, why, "what is said beforehand of {reference:?}");
    }
    assert_eq!(refused(Some(&untagged)).await, None);
    assert_eq!(of_manifest(&house, Method::DELETE, &untagged).await.status, 202, "no tag names it");
    assert_eq!(of_manifest(&house, Method::GET, "v1").await.body, manifest("a"));

    set(&house, false).await;
    assert_eq!(of_manifest(&house, Method::DELETE, "v1").await.status, 202);
    set(&house, true).await;
    assert_eq!(refused(None).await, None);
    delete().await.expect("without tags it goes");
    pushed(&house, "v1", "a").await;
    pushed(&house, "v1", "b").await;
    house.sound().await;
}

#[tokio::test]
async fn what_comes_back_takes_no_tag_from_another_manifest() {
    let house = lab().await;
    pushed(&house, "v1", "a").await;
    pushed(&house, "v2", "a").await;
    let gone = digest(manifest("a").as_bytes());
    assert_eq!(of_manifest(&house, Method::DELETE, &gone).await.status, 202);
    pushed(&house, "v1", "b").await;
    set(&house, true).await;
    let back = house.images.restore(&house.permit(Action::RestoreVersion, web()), 1).await.expect("back");
    assert_eq!((back.tags, back.taken), (vec!["v2".to_owned()], vec!["v1".to_owned()]));
    assert_eq!(of_manifest(&house, Method::GET, "v1").await.body, manifest("b"));
    house.sound().await;
}

#[tokio::test]
async fn retention_that_planned_before_takes_nothing_after() {
    let house = lab().await;
    pushed(&house, "v1", "a").await;
    let versions = house.images.tagged(id(&house), None, 10).expect("a page");
    let retire = async || {
        let permit = house.permit(Action::MaintainStore, Resource::Registry);
        let place = (WEB.parse().expect("a name"), id(&house));
        let may = |_: &mut Tx<'_>| Ok(true);
        let gone = |_: &mut Tx<'_>, went: &[Tagged]| Ok(went.len());
        house.images.retire(&permit, place, versions.clone(), may, gone).await.expect("done")
    };
    set(&house, true).await;
    assert_eq!(retire().await, None);
    set(&house, false).await;
    assert_eq!(retire().await, Some(1));
    house.sound().await;
}

#[tokio::test]
async fn a_removal_that_has_begun_goes_on_though_tags_became_immutable() {
    let house = lab().await;
    pushed(&house, "v1", "a").await;
    let key = RemovalKey { repository: id(&house) };
    let record = RemovalRecord { name: WEB.to_owned(), begun_at: OPENED, by: "ann".to_owned() };
    house.meta().commit(move |tx| Ok::<_, Error>(tx.put(&key, &record)?)).await.expect("as a stop leaves it");
    set(&house, true).await;
    let house = house.reopen().await;
    house.collect().await;
    assert_eq!(of_manifest(&house, Method::GET, "v1").await.status, 404);
    house.sound().await;
}
