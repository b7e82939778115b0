//! What the surfaces that the network reaches leave in the audit trail.

use std::collections::BTreeSet;

use hyper::Method;
use pierhead_storage_format::audit::{EventKey, EventRecord, Rating};
use pierhead_storage_format::identity::records::Role;
use serde_json::json;

use super::house::{House, PASSWORD, basic, digest};
use crate::services::access::{Action, Resource};
use crate::services::audit::{Order, Search, Wanted, When};

const CONFIG: &[u8] = b"{}";

async fn events(house: &House) -> Vec<EventRecord> {
    let permit = house.permit(Action::ListEvents, Resource::Registry);
    let wanted = Wanted { filter: Search::default(), order: Order::Oldest, after: None, limit: 1000 };
    let page = house.audit.list(&permit, wanted).await.expect("readable");
    page.events.into_iter().map(|(_, event)| event).collect()
}

fn manifest() -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": digest(CONFIG)},
        "layers": [],
    })
    .to_string()
}

async fn push(house: &House, login: &str) -> u16 {
    house.push_blob("acme/web", login, CONFIG).await;
    let headers = [("authorization", login), ("content-type", "application/vnd.oci.image.manifest.v1+json")];
    house.ask(Method::PUT, "/v2/acme/web/manifests/v1", &headers, manifest()).await.status
}

#[tokio::test]
async fn a_push_and_a_delete_are_in_the_change_sets_that_made_them() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    assert_eq!(push(&house, &anna).await, 201);
    let rows = house.meta().page::<EventKey>(&[], None, 10).expect("readable");
    let (_, pushed) = rows.last().expect("the row is there with the answer");
    assert_eq!(
        (pushed.name.as_str(), pushed.resource.as_str()),
        ("postMultipartImagePackage", "acme/web:v1")
    );
    assert_eq!((pushed.account, pushed.account_name.as_str()), (Some(house.acme), "acme"));
    assert_eq!((pushed.user_name.as_str(), pushed.source.as_str(), pushed.code), ("anna", "192.0.2.7", 201));
    assert_eq!(pushed.request, r#"{"reference":"v1","repository":"acme/web"}"#);
    assert_eq!(pushed.response, format!(r#"{{"digest":"{}"}}"#, digest(manifest().as_bytes())));
    assert_eq!(house.as_whom(Method::DELETE, "/v2/acme/web/manifests/v1", &anna).await.status, 202);
    let found = events(&house).await;
    let last = found.last().expect("an event");
    assert_eq!((last.name.as_str(), last.code, last.rating), ("deleteImageTag", 202, Rating::Normal));
    assert_eq!(house.audit.facts().late, 0, "no change was recorded after it was made");
}

#[tokio::test]
async fn refusals_are_recorded_and_questions_are_not() {
    let house = House::open().await;
    house.user("guest", &[Role::SwrReadOnlyAccess]).await;
    let (anna, guest) = (basic("acme/anna", PASSWORD), basic("acme/guest", PASSWORD));
    push(&house, &anna).await;
    let before = events(&house).await.len();
    let ask = |method, path, login| house.as_whom(method, path, login);
    // Asking how to sign in, pulling, and looking for what is not there are nobody's business.
    house.ask(Method::GET, "/v2/", &[], "").await;
    house.ask(Method::GET, "/v2/acme/web/manifests/v1", &[], "").await;
    assert_eq!(ask(Method::GET, "/v2/acme/web/manifests/v1", &guest).await.status, 200);
    assert_eq!(ask(Method::HEAD, "/v2/acme/web/manifests/none", &guest).await.status, 404);
    assert_eq!(events(&house).await.len(), before);

    assert_eq!(push(&house, &guest).await, 403);
    assert_eq!(ask(Method::DELETE, "/v2/acme/web/manifests/v1", &guest).await.status, 403);
    let wrong = basic("acme/anna", "a guess");
    assert_eq!(ask(Method::GET, "/v2/acme/web/manifests/v1", &wrong).await.status, 401);
    let token = "/swr/auth/v2/registry/auth/?service=dockyard&scope=repository:acme/web:pull";
    assert_eq!(ask(Method::GET, token, &wrong).await.status, 401);
    let found = events(&house).await.split_off(before);
    let told: Vec<_> = found.iter().map(|e| (e.name.as_str(), e.user_name.as_str(), e.code)).collect();
    let expected = [
        ("postMultipartImagePackage", "guest", 403),
        ("postMultipartImagePackage", "guest", 403),
        ("deleteImageTag", "guest", 403),
        ("pullImage", "anonymous", 401),
        ("createRegistryToken", "anonymous", 401),
    ];
    assert_eq!(told, expected);
    assert!(found.iter().all(|event| event.rating == Rating::Warning));
    assert_eq!(found[4].request, r#"{"user":"acme/anna"}"#, "who he said he was, never the secret");
}

#[tokio::test]
async fn signing_in_to_the_management_is_recorded_without_the_password() {
    let house = House::open().await;
    for (password, status) in [(PASSWORD, 201), ("a guess", 401)] {
        let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user":
            {"name": "anna", "password": password, "domain": {"name": "acme"}}}}}});
        let headers = [("content-type", "application/json")];
        let answer = house.ask(Method::POST, "/v3/auth/tokens", &headers, body.to_string()).await;
        assert_eq!(answer.status, status);
    }
    let found = events(&house).await;
    let told: Vec<_> = found.iter().map(|e| (e.name.as_str(), e.user_name.as_str(), e.code)).collect();
    assert_eq!(told, [("createToken", "anna", 201), ("createToken", "anonymous", 401)]);
    for event in found {
        let text = format!("{event:?}");
        assert!(!text.contains(PASSWORD) && !text.contains("a guess"), "{text}");
        assert_eq!(event.request, r#"{"domain":"acme","user":"anna"}"#);
    }
}

/// `docs/audit.md` has a line for every operation there is, and for no other.
#[test]
fn every_trace_name_is_in_the_page_for_operators() {
    let page = include_str!("../../../docs/audit.md");
    let recorded = |when: When| when != When::Never;
    let known: BTreeSet<String> = crate::api::operations()
        .into_iter()
        .filter(|operation| recorded(operation.when))
        .map(|operation| {
            format!("| `{}` | {} | {} |", operation.name, operation.resource_type, words(operation.when))
        })
        .collect();
    let begin = page
        .split_once("| trace name | resource type | recorded |\n| --- | --- | --- |\n")
        .expect("a table")
        .1;
    let written: BTreeSet<String> =
        begin.lines().take_while(|line| line.starts_with('|')).map(str::to_owned).collect();
    let missing: Vec<&String> = known.difference(&written).collect();
    let extra: Vec<&String> = written.difference(&known).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing: {missing:#?}\nno more: {extra:#?}");
}

fn words(when: When) -> &'static str {
    match when {
        When::Never => "never",
        When::Change => "always",
        When::Read => "a read",
        When::Pull => "a pull",
        When::Refused => "if refused",
    }
}
