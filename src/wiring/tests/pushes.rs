//! Pushing: who may, and what is written down of who made what.

use hyper::Method;
use pierhead_storage_format::identity::keys::{GrantKey, RepositorySettingsKey};
use pierhead_storage_format::identity::records::{Level, Role};
use pierhead_storage_format::keys::OrganisationKey;

use super::house::{House, PASSWORD, basic, denied, digest, refusal};

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
async fn in_a_lab_nobody_owns_what_is_pushed() {
    let house = House::with(true, |_| {}).await;
    assert_eq!(house.push_blob("lab/web", "", b"x").await.status, 201);
    let row = house.meta().get(&OrganisationKey { name: "lab".to_owned() }).expect("read").expect("there");
    assert_eq!((row.owner, row.creator), (None, None));
    let settings = RepositorySettingsKey { name: "lab/web".to_owned() };
    assert_eq!(house.meta().get(&settings).expect("read"), None);
}
