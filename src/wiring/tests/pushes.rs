//! Pushing: who may, and what is written down of who made what.

use hyper::Method;
use pierhead_storage_format::Digest;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{GrantKey, RepositorySettingsKey, ShareKey};
use pierhead_storage_format::identity::records::{
    GrantRecord, Level, RepositorySettingsRecord, Role, ShareRecord,
};
use pierhead_storage_format::keys::{OrganisationKey, TableKey};

use super::house::{House, PASSWORD, basic, denied, digest, refusal};
use crate::services::access::{Action, Actor, Resource};
use crate::services::error::Error;
use crate::services::images::{PutManifest, Sources};
use crate::services::names::Reference;
use crate::stores::meta::MetaError;

async fn developer(house: &House, name: &str) -> (pierhead_storage_format::identity::Id, String) {
    let id = house.user(name, &[Role::SwrDeveloper]).await;
    (id, basic(&format!("acme/{name}"), PASSWORD))
}

#[tokio::test]
async fn who_pushes_a_repository_first_is_its_creator_and_manages_it() {
    let house = House::open().await;
    let (id, login) = developer(&house, "dora").await;
    house.grant(id, Level::Edit).await;
    assert_eq!(house.push_blob("acme/new", &login, b"layer").await.status, 201);
    let key = RepositorySettingsKey { name: "acme/new".to_owned() };
    let settings = house.meta().get(&key).expect("read").expect("there");
    assert_eq!(settings.creator.map(|creator| (creator.id, creator.name)), Some((id, "dora".to_owned())));
    let grant = house.meta().get(&GrantKey { user: id, name: "acme/new".to_owned() }).expect("read");
    assert_eq!(grant.map(|grant| grant.level), Some(Level::Manage));
    let layer = digest(b"layer");
    let deleted = house.as_whom(Method::DELETE, &format!("/v2/acme/new/blobs/{layer}"), &login).await;
    assert_eq!(deleted.status, 202, "he manages what he made");

    let anna = basic("acme/anna", PASSWORD);
    house.push_blob("acme/hers", &anna, b"layer").await;
    let deleted = house.as_whom(Method::DELETE, &format!("/v2/acme/hers/blobs/{layer}"), &login).await;
    assert_eq!(deleted.refusal(), denied(), "and nothing else");
    let directory = house.people.access.directory();
    assert_eq!(directory.granted_on("acme/hers").count(), 0, "an administrator needs no grant");
}

#[tokio::test]
async fn a_push_makes_an_organisation_only_where_the_settings_say_so_and_for_the_pushers_account() {
    let message = "Image organization does not exist, you should create it first";
    let closed = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    let answer = closed.push_blob("fresh/web", &anna, b"x").await;
    assert_eq!(answer.refusal(), refusal(403, "DENIED", message));
    assert_eq!(closed.push_blob("ops/web", "", b"x").await.status, 401, "a stranger learns nothing");

    let house = House::with(false, |settings| {
        settings.registry.create_organisations = true;
        settings.identity.organisations_per_account = 2;
    });
    let house = house.await;
    let (id, dora) = developer(&house, "dora").await;
    let token = house.token(&dora, &["repository:fresh/web:pull,push"]).await;
    assert_eq!(house.push_blob("fresh/web", &token, b"x").await.status, 201);
    let row = house.meta().get(&OrganisationKey { name: "fresh".to_owned() }).expect("read").expect("there");
    assert_eq!((row.owner, row.creator.map(|creator| creator.id)), (Some(house.acme), Some(id)));
    assert_eq!(house.push_blob("third/web", &dora, b"x").await.refusal(), denied(), "the quota is used up");
    house.user("guest", &[]).await;
    let guest = basic("acme/guest", PASSWORD);
    assert_eq!(house.push_blob("guests/web", &guest, b"x").await.refusal(), denied(), "not a developer");
    assert_eq!(house.push_blob("fresh/web", &basic("other/otto", PASSWORD), b"x").await.refusal(), denied());
}

#[tokio::test]
async fn a_mount_takes_the_right_to_pull_from_its_source() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    house.push_blob("acme/source", &anna, b"layer").await;
    let (id, dora) = developer(&house, "dora").await;
    house.grant(id, Level::Edit).await;
    let path = |name: &str| format!("/v2/{name}/blobs/uploads/?mount={}&from=acme/source", digest(b"layer"));
    assert_eq!(house.as_whom(Method::POST, &path("acme/target"), &dora).await.status, 201);
    let narrow = house.token(&dora, &["repository:acme/third:pull,push"]).await;
    let answer = house.as_whom(Method::POST, &path("acme/third"), &narrow).await;
    assert_eq!(answer.status, 202, "the token does not say pull of the source: a session is opened instead");
}

#[tokio::test]
async fn who_may_not_make_repositories_pushes_into_those_that_are_there_only() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    assert_eq!(house.push_blob("acme/web", &anna, b"layer").await.status, 201);
    let (id, dora) = developer(&house, "dora").await;
    house.grant(id, Level::Edit).await;
    let deny = r#"{"Version":"1.1","Statement":[{"Effect":"Deny","Action":["swr:repo:createRepo"]}]}"#;
    house.attach(id, deny).await;
    assert_eq!(house.push_blob("acme/web", &dora, b"more").await.status, 201, "it is there");
    let mount = |from: &str| format!("/v2/acme/new/blobs/uploads/?mount={}&from={from}", digest(b"layer"));
    let json = r#"{"schemaVersion":2,"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json"}"#;
    for (what, method, path, body) in [
        ("a session", Method::POST, "/v2/acme/new/blobs/uploads/".to_owned(), ""),
        ("a blob", Method::POST, format!("/v2/acme/new/blobs/uploads/?digest={}", digest(b"new")), "new"),
        ("a mount", Method::POST, mount("acme/web"), ""),
        ("a manifest", Method::PUT, "/v2/acme/new/manifests/v1".to_owned(), json),
    ] {
        let answer = house.ask(method, &path, &[("authorization", &dora)], body).await;
        assert_eq!(answer.refusal(), denied(), "{what}");
    }
    assert_eq!(
        house.as_whom(Method::GET, "/v2/acme/new/tags/list", &anna).await.status,
        404,
        "nothing was made"
    );
    let fine = house.ask(Method::PUT, "/v2/acme/web/manifests/v1", &[("authorization", &dora)], json).await;
    assert_eq!(fine.status, 201, "{fine:?}");
}

#[tokio::test]
async fn a_right_to_a_repository_alone_does_not_make_it_anew() {
    let house = House::open().await;
    let (id, dora) = developer(&house, "dora").await;
    let organisation = number(&house, "acme");
    let grant = GrantRecord { organisation, level: Level::Manage, granted_at: 0 };
    put(&house, GrantKey { user: id, name: "acme/web".to_owned() }, grant).await;
    let directory = || house.people.access.directory();
    assert_eq!(directory().grant(id, "acme/web"), Some(Level::Manage));
    assert_eq!(house.push_blob("acme/web", &dora, b"layer").await.refusal(), denied(), "it is not there");
    house.push_blob("acme/web", &basic("acme/anna", PASSWORD), b"layer").await;
    assert_eq!(
        house.push_blob("acme/web", &dora, b"layer").await.refusal(),
        denied(),
        "and his right is gone"
    );
}

/// The number of an organisation; that of the first one to come if it is not there.
fn number(house: &House, name: &str) -> u64 {
    let key = OrganisationKey { name: name.to_owned() };
    house.meta().get(&key).expect("read").map_or(1, |record| record.number)
}

async fn put<K>(house: &House, key: K, record: K::Record)
where
    K: TableKey + Send + 'static,
    K::Record: Send + 'static,
{
    let put: Result<(), MetaError> = house.meta().commit(move |tx| tx.put(&key, &record)).await;
    put.expect("committed");
}

#[tokio::test]
async fn a_pushed_repository_takes_nothing_from_an_earlier_one_of_its_name() {
    for lab in [false, true] {
        let house = House::with(lab, |_| {}).await;
        let name = || "acme/web".to_owned();
        let number = number(&house, "acme");
        let settings = RepositorySettingsRecord { public: true, ..RepositorySettingsRecord::default() };
        put(&house, RepositorySettingsKey { name: name() }, settings).await;
        let user = Id::from_bytes([5; 16]);
        let grant = GrantRecord { organisation: number, level: Level::Manage, granted_at: 0 };
        put(&house, GrantKey { user, name: name() }, grant).await;
        let share = ShareRecord {
            organisation: number,
            until: None,
            description: String::new(),
            creator: user,
            created_at: 0,
            updated_at: 0,
        };
        put(&house, ShareKey { account: user, name: name() }, share).await;
        let anna = if lab { String::new() } else { basic("acme/anna", PASSWORD) };
        assert_eq!(house.push_blob("acme/web", &anna, b"layer").await.status, 201);
        let directory = house.people.access.directory();
        assert!(!directory.is_public("acme/web"), "lab: {lab}");
        assert_eq!(directory.rights_on("acme/web"), (vec![], vec![]), "lab: {lab}");
    }
}

#[tokio::test]
async fn pushes_that_make_an_organisation_at_once_go_to_one_account_and_all_of_its_are_done() {
    let house = House::with(false, |settings| settings.registry.create_organisations = true).await;
    let (anna, otto) = (basic("acme/anna", PASSWORD), basic("other/otto", PASSWORD));
    let made = tokio::join!(
        house.push_blob("fresh/a", &anna, b"a"),
        house.push_blob("fresh/b", &anna, b"b"),
        house.push_blob("fresh/c", &otto, b"c"),
        house.push_blob("fresh/d", &otto, b"d"),
    );
    let statuses = [made.0.status, made.1.status, made.2.status, made.3.status];
    let owner = house.people.access.directory().organisation("fresh").and_then(|made| made.owner);
    let annas = if owner == Some(house.acme) { [201, 201, 403, 403] } else { [403, 403, 201, 201] };
    assert_eq!(statuses, annas);
}

/// Permits that were given before the right went, as for a request that takes its time.
#[tokio::test]
async fn nothing_is_put_mounted_or_deleted_with_a_right_that_was_taken_away_in_between() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    let json = r#"{"schemaVersion":2,"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json"}"#;
    house.push_blob("acme/web", &anna, b"layer").await;
    house.push_blob("acme/source", &anna, b"other").await;
    let put = house.ask(Method::PUT, "/v2/acme/web/manifests/v1", &[("authorization", &anna)], json).await;
    assert_eq!(put.status, 201, "{put:?}");
    let (id, _) = developer(&house, "dora").await;
    let layer = |bytes: &[u8]| digest(bytes).parse::<Digest>().expect("a digest");
    for taken in ["all", "the source"] {
        house.grant(id, Level::Manage).await;
        let permit = |action, name: &str| {
            let resource = Resource::Repository(name.parse().expect("a name"));
            house.people.access.authorise(&Actor::User(id), action, resource).expect("he may")
        };
        let delete = || permit(Action::DeleteVersion, "acme/web");
        let (tag, manifest, blob) = (delete(), delete(), delete());
        let (push, mount) = (permit(Action::Push, "acme/web"), permit(Action::Push, "acme/web"));
        let source = Sources::From(permit(Action::Pull, "acme/source"));
        if taken == "the source" {
            let deny = r#"{"Version":"1.1","Statement":[{"Effect":"Deny","Action":["swr:repo:download"],"Resource":["SWR:*:repo:acme/source"]}]}"#;
            house.attach(id, deny).await;
            let mounted = house.images.mount(mount, layer(b"other"), source).await.expect("asked");
            assert!(!mounted, "as if the source did not have it");
            continue;
        }
        house.revoke(id).await;
        let reference = Reference::Tag("v2".parse().expect("a tag"));
        let put = PutManifest { reference, tags: vec![], media_type: None, bytes: json.into() };
        for (what, outcome) in [
            ("a tag", house.images.delete_tag(tag, "v1".parse().expect("a tag")).await),
            ("a manifest", house.images.delete_manifest(manifest, layer(json.as_bytes())).await),
            ("a blob", house.images.delete_blob(blob, layer(b"layer")).await),
            ("a put", house.images.put_manifest(push, put).await.map(drop)),
            ("a mount", house.images.mount(mount, layer(b"other"), source).await.map(drop)),
        ] {
            assert!(matches!(outcome, Err(Error::Refused(_))), "{what}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn in_a_lab_nobody_owns_what_is_pushed() {
    let house = House::with(true, |_| {}).await;
    assert_eq!(house.push_blob("lab/web", "", b"x").await.status, 201);
    let row = house.meta().get(&OrganisationKey { name: "lab".to_owned() }).expect("read").expect("there");
    assert_eq!((row.owner, row.creator), (None, None));
    let settings = RepositorySettingsKey { name: "lab/web".to_owned() };
    assert_eq!(house.meta().get(&settings).expect("read"), None);
}
