//! Pulling: who sees what, and how those who do not are answered.

use hyper::Method;
use pierhead_storage_format::identity::records::Level;
use serde_json::json;

use super::house::{HOST, House, PASSWORD, basic, denied, refusal, unauthenticated};
use crate::services::access::{Action, Resource};
use crate::services::identity::{NewPolicy, UserChange};
use crate::services::organisations::Changed;

const TAGS: &str = "/v2/acme/web/tags/list";

async fn publish(house: &House, name: &str) {
    let permit = house.permit(Action::UpdateRepository, Resource::Repository(name.parse().expect("a name")));
    let public = Changed { public: Some(true), ..Changed::default() };
    house.people.organisations.update(&permit, public).await.expect("changed");
}

#[tokio::test]
async fn who_is_not_signed_in_is_told_where_to_get_a_token() {
    let house = House::open().await;
    let realm = format!("Bearer realm=\"https://{HOST}/swr/auth/v2/registry/auth/\",service=\"dockyard\"");
    let cases = [
        (Method::GET, "/v2/", String::new()),
        (Method::GET, TAGS, ",scope=\"repository:acme/web:pull\"".to_owned()),
        (Method::HEAD, "/v2/acme/web/manifests/v1", ",scope=\"repository:acme/web:pull\"".to_owned()),
        (Method::POST, "/v2/acme/web/blobs/uploads/", ",scope=\"repository:acme/web:pull,push\"".to_owned()),
    ];
    for (method, path, scope) in cases {
        let answer = house.as_whom(method.clone(), path, "").await;
        assert_eq!(answer.header("www-authenticate"), format!("{realm}{scope}"), "{path}");
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        if method != Method::HEAD {
            assert_eq!(answer.refusal(), unauthenticated());
        }
    }
    let expired = house.token(&basic("acme/anna", PASSWORD), &[]).await;
    house.after(901);
    for token in [expired.as_str(), "Bearer rubbish"] {
        let answer = house.as_whom(Method::GET, "/v2/", token).await;
        assert_eq!(answer.header("www-authenticate"), format!("{realm},error=\"invalid_token\""));
        assert_eq!(answer.refusal(), unauthenticated());
    }
}

#[tokio::test]
async fn the_realm_is_at_the_host_a_trusted_proxy_names_and_no_other_does() {
    let forwarded = [("x-forwarded-host", "front.example"), ("x-forwarded-proto", "https")];
    for (trusted, host) in [("192.0.2.0/24", "front.example"), ("10.0.0.0/8", HOST)] {
        let house = House::with(false, |settings| {
            settings.server.trusted_proxies = vec![trusted.parse().expect("a range")];
        });
        let house = house.await;
        let answer = house.ask(Method::GET, "/v2/", &forwarded, "").await;
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with(&format!("Bearer realm=\"https://{host}/swr/")), "{challenge}");
    }
}

#[tokio::test]
async fn a_private_repository_is_answered_as_one_that_is_not_there() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    assert_eq!(house.push_blob("acme/web", &anna, b"layer").await.status, 201);
    let stranger = basic("other/otto", PASSWORD);
    let layer = super::house::digest(b"layer");
    let tails = [
        "tags/list".to_owned(),
        "manifests/v1".to_owned(),
        format!("blobs/{layer}"),
        format!("referrers/{layer}"),
    ];
    for tail in &tails {
        for login in ["", &stranger] {
            let private = house.as_whom(Method::GET, &format!("/v2/acme/web/{tail}"), login).await;
            for absent in ["acme/gone", "none/gone"] {
                let mut answer = house.as_whom(Method::GET, &format!("/v2/{absent}/{tail}"), login).await;
                for value in answer.headers.values_mut() {
                    *value = value.replace(absent, "acme/web");
                }
                assert_eq!(answer, private, "{absent}/{tail}");
            }
            assert_eq!(private.status, if login.is_empty() { 401 } else { 403 });
        }
        let expected = if tail.starts_with("manifests") { 404 } else { 200 };
        let own = house.as_whom(Method::GET, &format!("/v2/acme/web/{tail}"), &anna).await;
        assert_eq!(own.status, expected, "{tail}");
    }
}

#[tokio::test]
async fn public_images_are_pulled_by_anybody_and_pushed_by_nobody_else() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    house.push_blob("acme/web", &anna, b"layer").await;
    publish(&house, "acme/web").await;
    let anonymous = house.token("", &["repository:acme/web:pull,push"]).await;
    let stranger = basic("other/otto", PASSWORD);
    for login in ["", anonymous.as_str(), stranger.as_str(), anna.as_str()] {
        assert_eq!(house.as_whom(Method::GET, TAGS, login).await.status, 200, "{login}");
    }
    for login in ["", anonymous.as_str()] {
        assert_eq!(house.push_blob("acme/web", login, b"x").await.refusal(), unauthenticated());
    }
    assert_eq!(house.push_blob("acme/web", &stranger, b"x").await.refusal(), denied());
}

#[tokio::test]
async fn the_catalog_has_what_the_caller_may_pull() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    for name in ["acme/a", "acme/b", "acme/c"] {
        house.push_blob(name, &anna, b"layer").await;
    }
    publish(&house, "acme/b").await;
    let reader = house.user("reader", &[]).await;
    let catalog = async |query: &str, login: &str| {
        let answer = house.as_whom(Method::GET, &format!("/v2/_catalog{query}"), login).await;
        (answer.status, answer.json()["repositories"].clone(), answer.header("link").to_owned())
    };
    let none = String::new;
    let reader_login = basic("acme/reader", PASSWORD);
    assert_eq!(catalog("", &anna).await, (200, json!(["acme/a", "acme/b", "acme/c"]), none()));
    assert_eq!(catalog("", &reader_login).await, (200, json!(["acme/b"]), none()));
    assert_eq!(
        catalog("?n=1", &reader_login).await,
        (200, json!(["acme/b"]), none()),
        "nothing follows for him"
    );
    assert_eq!(catalog("", &basic("other/otto", PASSWORD)).await.1, json!(["acme/b"]));
    house.grant(reader, Level::Read).await;
    assert_eq!(catalog("", &reader_login).await.1, json!(["acme/a", "acme/b", "acme/c"]));
    assert_eq!(catalog("?n=1", &reader_login).await.2, "</v2/_catalog?n=1&last=acme/a>; rel=\"next\"");
    assert_eq!(catalog("", "").await.0, 401);
}

#[tokio::test]
async fn a_policy_counts_from_the_next_request_on() {
    let house = House::open().await;
    house.push_blob("acme/web", &basic("acme/anna", PASSWORD), b"layer").await;
    let reader = house.user("reader", &[]).await;
    house.grant(reader, Level::Read).await;
    let token = house.token(&basic("acme/reader", PASSWORD), &["repository:acme/web:pull"]).await;
    assert_eq!(house.as_whom(Method::GET, TAGS, &token).await.status, 200);
    let document = r#"{"Version":"1.1","Statement":[{"Effect":"Deny","Action":["swr:repo:download"],"Resource":["SWR:*:repo:acme/*"]}]}"#;
    let permit = house.permit(Action::ManagePolicies, Resource::Account(house.acme));
    let new = NewPolicy { name: "no".to_owned(), description: String::new(), document: document.to_owned() };
    let policy = house.people.identity.create_policy(&permit, new).await.expect("made");
    house.change_user(reader, UserChange { policies: Some(vec![policy]), ..UserChange::default() }).await;
    assert_eq!(house.as_whom(Method::GET, TAGS, &token).await.refusal(), denied());
    house.change_user(reader, UserChange { policies: Some(Vec::new()), ..UserChange::default() }).await;
    assert_eq!(house.as_whom(Method::GET, TAGS, &token).await.status, 200);
}

#[tokio::test]
async fn a_wrong_name_is_told_whoever_asks() {
    let house = House::open().await;
    for login in ["", "Bearer rubbish", &basic("other/otto", PASSWORD)] {
        let answer = house.as_whom(Method::GET, "/v2/Acme/web/tags/list", login).await;
        assert_eq!(answer.refusal(), refusal(400, "NAME_INVALID", "'repository' is invalid"));
    }
}
