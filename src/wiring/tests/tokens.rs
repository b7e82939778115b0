//! The token endpoint: what it gives to whom, and what a token is worth after things changed.

use hyper::Method;
use pierhead_storage_format::identity::records::{Level, Role};
use serde_json::Value;

use super::house::{House, PASSWORD, basic, denied, refusal, unauthenticated};
use crate::services::access::{Action, Resource};
use crate::services::identity::UserChange;

const AUTH: &str = "/swr/auth/v2/registry/auth";
const TAGS: &str = "/v2/acme/web/tags/list";

async fn get(house: &House, query: &str, login: &str) -> super::house::Answer {
    house.as_whom(Method::GET, &format!("{AUTH}{query}"), login).await
}

#[tokio::test]
async fn an_answer_has_the_token_twice_and_when_it_ends() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    for path in ["", "/", "?service=dockyard&account=acme%2Fanna&client_id=docker&offline_token=true"] {
        let answer = get(&house, path, &anna).await;
        assert_eq!(answer.status, 200, "{path}");
        let value = answer.json();
        assert_eq!(value["token"], value["access_token"]);
        assert_eq!(
            (&value["expires_in"], &value["issued_at"]),
            (&Value::from(900), &Value::from("2023-11-14T22:13:20Z"))
        );
        assert_eq!(answer.header("cache-control"), "no-store");
        let token = format!("Bearer {}", value["token"].as_str().expect("text"));
        assert_eq!(house.as_whom(Method::GET, "/v2/", &token).await.status, 200);
    }
    assert_eq!(get(&house, "", "").await.status, 200, "anybody gets one, for public images");
    assert_eq!(house.as_whom(Method::POST, AUTH, &anna).await.status, 404);
}

#[tokio::test]
async fn bad_credentials_are_answered_alike_and_in_known_words() {
    let house = House::open().await;
    let robot = house.user("page-only", &[]).await;
    house.change_user(robot, UserChange { programmatic: Some(false), ..UserChange::default() }).await;
    let cases = [
        ("a wrong password", basic("acme/anna", "wrong")),
        ("an unknown user", basic("acme/nobody", PASSWORD)),
        ("an unknown account", basic("nowhere/anna", PASSWORD)),
        ("an unknown key", basic("region-1@AAAAAAAAAAAAAAAAAAAA", &"0".repeat(64))),
        ("no programmatic access", basic("acme/page-only", PASSWORD)),
        ("a token", "Bearer abc".to_owned()),
        ("not to be read", "Basic !".to_owned()),
    ];
    let first = get(&house, "", &cases[0].1).await;
    assert_eq!(first.refusal(), refusal(401, "DENIED", "Authenticate Error"));
    for (name, login) in &cases {
        assert_eq!(get(&house, "", login).await, first, "{name}");
    }
}

#[tokio::test]
async fn every_form_of_login_gets_a_token() {
    let house = House::open().await;
    let robot = house.user("robot", &[]).await;
    let (key, login_key) = house.key(robot).await;
    let permit = house.permit(Action::ManageKeys, Resource::Account(house.acme));
    let temporary = house.people.identity.create_login(&permit, robot, None).await.expect("made");
    let secret = temporary.secret.expose_text().expect("text");
    let logins = [
        basic(&format!("region-1@{}", key.key), &login_key),
        basic(&format!("anything@{}", key.key), &login_key),
        basic(&format!("region-1@{}", temporary.key), secret),
        basic("acme/robot", PASSWORD),
        basic("robot@acme", PASSWORD),
    ];
    let alone = basic("robot", PASSWORD);
    assert_eq!(get(&house, "", &alone).await.status, 401, "a name alone is one of the operator's account");
    for login in &logins {
        assert_eq!(get(&house, "", login).await.status, 200, "{login}");
        assert_eq!(
            house.as_whom(Method::GET, "/v2/", login).await.status,
            200,
            "{login}: Basic is good there, too"
        );
    }
}

#[tokio::test]
async fn a_scope_is_narrowed_to_what_its_bearer_may_do() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    house.push_blob("acme/web", &anna, b"layer").await;
    let reader = house.user("reader", &[]).await;
    house.grant(reader, Level::Read).await;
    let login = basic("acme/reader", PASSWORD);
    let token = house.token(&login, &["repository:acme/web:pull,push"]).await;
    assert_eq!(house.as_whom(Method::GET, TAGS, &token).await.status, 200);
    assert_eq!(house.push_blob("acme/web", &token, b"more").await.refusal(), denied());

    let elsewhere = house.token(&login, &["repository:acme/other:pull"]).await;
    let answer = house.as_whom(Method::GET, TAGS, &elsewhere).await;
    assert_eq!(answer.refusal(), unauthenticated());
    assert!(
        answer
            .header("www-authenticate")
            .ends_with(",scope=\"repository:acme/web:pull\",error=\"insufficient_scope\""),
        "{answer:?}"
    );
    let both = house.token(&login, &["repository:acme/other:pull", "repository:acme/web:pull"]).await;
    assert_eq!(house.as_whom(Method::GET, TAGS, &both).await.status, 200);
    let encoded = house.token(&login, &["repository%3Aacme%2Fweb%3Apull%2Cpush"]).await;
    assert_eq!(house.as_whom(Method::GET, TAGS, &encoded).await.status, 200);
}

#[tokio::test]
async fn pushing_where_no_organisation_is_gets_no_token_and_pulling_does() {
    let house = House::open().await;
    let anna = basic("acme/anna", PASSWORD);
    let push = get(&house, "?scope=repository:nowhere/web:pull,push", &anna).await;
    let message = "Image organization does not exist, you should create it first";
    assert_eq!(push.refusal(), refusal(401, "DENIED", message));
    assert_eq!(get(&house, "?scope=repository:nowhere/web:pull", &anna).await.status, 200);
    assert_eq!(
        get(&house, "?scope=repository:nowhere/web:pull,push", "").await.status,
        200,
        "nobody is told"
    );
    let at_the_registry = house.push_blob("nowhere/web", &anna, b"x").await;
    assert_eq!(at_the_registry.refusal(), refusal(403, "DENIED", message));
}

#[tokio::test]
async fn what_is_taken_away_is_void_at_the_next_request() {
    let house = House::open().await;
    house.push_blob("acme/web", &basic("acme/anna", PASSWORD), b"layer").await;
    for case in
        ["grant", "key disabled", "key deleted", "user disabled", "password", "programmatic", "user deleted"]
    {
        let name = format!("robot-{}", case.replace(' ', "-"));
        let robot = house.user(&name, &[Role::SwrDeveloper]).await;
        house.grant(robot, Level::Read).await;
        let (key, login) = house.key(robot).await;
        let by_key = basic(&format!("region-1@{}", key.key), &login);
        let credential = if case == "password" { basic(&format!("acme/{name}"), PASSWORD) } else { by_key };
        let token = house.token(&credential, &["repository:acme/web:pull"]).await;
        assert_eq!(house.as_whom(Method::GET, TAGS, &token).await.status, 200, "{case}");
        take_away(&house, case, robot, &key.key).await;
        let answer = house.as_whom(Method::GET, TAGS, &token).await;
        let expected = match case {
            "grant" => denied(),
            "programmatic" => refusal(403, "DENIED", "Authenticate Error"),
            _ => unauthenticated(),
        };
        assert_eq!(answer.refusal(), expected, "{case}");
        let direct = house.as_whom(Method::GET, TAGS, &credential).await;
        assert_eq!(direct.refusal(), expected, "{case}, by Basic");
    }
}

async fn take_away(house: &House, case: &str, robot: pierhead_storage_format::identity::Id, key: &str) {
    let identity = &house.people.identity;
    let keys = house.permit(Action::ManageKeys, Resource::Account(house.acme));
    let none = UserChange::default;
    match case {
        "grant" => house.revoke(robot).await,
        "key disabled" => identity.enable_key(&keys, key.to_owned(), false).await.expect("done"),
        "key deleted" => identity.delete_key(&keys, key.to_owned()).await.expect("done"),
        "user disabled" => house.change_user(robot, UserChange { enabled: Some(false), ..none() }).await,
        "programmatic" => house.change_user(robot, UserChange { programmatic: Some(false), ..none() }).await,
        "password" => {
            house.after(1);
            let password = Some("Another-horse-8".to_owned().into());
            house.change_user(robot, UserChange { password, ..none() }).await;
        }
        _ => {
            let users = house.permit(Action::ManageUsers, Resource::Account(house.acme));
            identity.delete_user(&users, robot).await.expect("done");
        }
    }
}

#[tokio::test]
async fn in_a_lab_anybody_gets_a_token_and_needs_none() {
    let house = House::with(true, |_| {}).await;
    assert_eq!(get(&house, "?scope=repository:a/b:push", &basic("any", "thing")).await.status, 200);
    for login in ["", "Bearer rubbish", "Basic rubbish"] {
        assert_eq!(house.push_blob("new/web", login, b"x").await.status, 201, "{login:?}");
    }
}
