//! The gate before the surfaces: what each answers to who asks too much or is banned, and what counts as an offence.

use hyper::Method;
use serde_json::json;

use super::house::{Answer, House, PASSWORD, basic, refusal};
use crate::config::Rate;
use crate::services::access::{Action, Resource};
use crate::services::guard::{Guard, Subject};

const BANNED: &str = "Not allow to login、upload or download image";

/// Where a house's requests come from.
fn here() -> Subject {
    Guard::subject_of("192.0.2.7".parse().expect("an address"))
}

async fn ban(house: &House, subject: Subject) {
    let permit = house.permit(Action::ManageBans, Resource::Registry);
    house.guard.ban(&permit, subject, None, String::new()).await.expect("banned");
}

async fn ask_everywhere(house: &House) -> Vec<(&'static str, Answer)> {
    let mut answers = Vec::new();
    for (surface, method, path) in [
        ("registry", Method::GET, "/v2/_catalog"),
        ("registry", Method::HEAD, "/v2/acme/web/manifests/v1"),
        ("registry", Method::POST, "/v2/acme/web/blobs/uploads/"),
        ("token", Method::GET, "/swr/auth/v2/registry/auth/?service=dockyard"),
        ("swr", Method::GET, "/v2/manage/namespaces"),
        ("swr", Method::GET, "/dockyard/v2/namespaces"),
        ("iam", Method::POST, "/v3/auth/tokens"),
        ("iam", Method::GET, "/v3/projects"),
        ("registry", Method::GET, "/nowhere"),
    ] {
        answers.push((surface, house.ask(method, path, &[], "").await));
    }
    answers
}

fn message(surface: &str, answer: &Answer) -> String {
    let pointer = match surface {
        "registry" | "token" => "/errors/0/message",
        _ => "/error_msg",
    };
    let value = answer.json();
    value.pointer(pointer).and_then(|text| text.as_str()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn who_is_banned_is_told_so_by_every_surface_in_its_form() {
    let house = House::open().await;
    ban(&house, here()).await;
    for (surface, answer) in ask_everywhere(&house).await {
        assert_eq!(answer.status, 403, "{surface}: {answer:?}");
        assert_eq!(answer.header("retry-after"), "", "{surface}");
        if !answer.body.is_empty() {
            assert_eq!(message(surface, &answer), BANNED, "{surface}");
        }
    }
    assert_eq!(house.ask(Method::GET, "/healthz", &[], "").await.status, 200, "health is for everybody");
    assert_eq!(
        house.ask(Method::GET, "/v2/", &[], "").await.status,
        401,
        "clients show what follows the probe"
    );
    let ping = house.as_whom(Method::GET, "/v2/", &basic("acme/anna", PASSWORD)).await;
    assert_eq!(ping.refusal(), refusal(403, "DENIED", BANNED));
    assert_eq!(ping.header("docker-distribution-api-version"), "registry/2.0");
    let push = house.ask(Method::POST, "/v2/acme/web/blobs/uploads/", &[], vec![0; 1 << 20]).await;
    assert_eq!((push.status, push.header("connection")), (403, "close"), "nothing is read of it");
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_come_back_by_every_surface_in_its_form() {
    let house = House::with(false, |settings| {
        let protection = &mut settings.protection;
        protection.address_sign_in = Rate::new(1, 60);
        protection.address_read = Rate::new(1, 60);
        protection.address_write = Rate::new(1, 60);
        protection.address_manage = Rate::new(1, 60);
    })
    .await;
    ask_everywhere(&house).await;
    for (surface, answer) in ask_everywhere(&house).await {
        assert_eq!((answer.status, answer.header("retry-after")), (429, "60"), "{surface}: {answer:?}");
        if !answer.body.is_empty() {
            assert_eq!(message(surface, &answer), "too many requests; try again later", "{surface}");
        }
    }
    house.after(61);
    assert_eq!(house.ask(Method::GET, "/v2/", &[], "").await.status, 401, "later it is taken");
}

#[tokio::test]
async fn a_banned_user_does_nothing_from_anywhere_and_others_go_on() {
    let house = House::open().await;
    let user = house.user("robot", &[]).await;
    let (robot, anna) = (basic("acme/robot", PASSWORD), basic("acme/anna", PASSWORD));
    let token = house.token(&robot, &[]).await;
    ban(&house, Subject::User(user)).await;
    for credential in [&robot, &token] {
        let answer = house.as_whom(Method::GET, "/v2/", credential).await;
        assert_eq!(answer.refusal(), refusal(403, "DENIED", BANNED));
    }
    let answer = house.as_whom(Method::GET, "/swr/auth/v2/registry/auth/", &robot).await;
    assert_eq!(answer.refusal(), refusal(403, "DENIED", BANNED), "no login");
    let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user":
        {"name": "robot", "password": PASSWORD, "domain": {"name": "acme"}}}}}});
    let answer = house.ask(Method::POST, "/v3/auth/tokens", &[], body.to_string()).await;
    assert_eq!((answer.status, message("iam", &answer).as_str()), (403, BANNED));
    assert_eq!(house.as_whom(Method::GET, "/v2/", &anna).await.status, 200);
    let permit = house.permit(Action::ManageBans, Resource::Registry);
    assert_eq!(house.guard.lift(&permit, Subject::User(user)).await.expect("lifted"), "user:acme/robot");
    assert_eq!(house.as_whom(Method::GET, "/v2/", &robot).await.status, 200);
}

async fn guess(house: &House, way: &str, number: usize) -> u16 {
    let wrong = format!("guess-{number}");
    let answer = match way {
        "basic" => house.as_whom(Method::GET, "/v2/", &basic("acme/anna", &wrong)).await,
        "token" => {
            house.as_whom(Method::GET, "/swr/auth/v2/registry/auth/", &basic("acme/anna", &wrong)).await
        }
        "bearer" => house.as_whom(Method::GET, "/v2/", &format!("Bearer {wrong}")).await,
        "api" => house.ask(Method::GET, "/v2/manage/namespaces", &[("x-auth-token", &wrong)], "").await,
        _ => {
            let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user":
                {"name": "anna", "password": wrong, "domain": {"name": "acme"}}}}}});
            house.ask(Method::POST, "/v3/auth/tokens", &[], body.to_string()).await
        }
    };
    answer.status
}

#[tokio::test]
async fn guessing_by_any_way_bans_the_address_and_never_the_user_who_was_guessed_at() {
    for way in ["basic", "token", "bearer", "api", "iam"] {
        let house = House::with(false, |settings| {
            settings.protection.failed_sign_ins = 3;
            settings.protection.invalid_tokens = 3;
        })
        .await;
        for _ in 0..10 {
            assert_eq!(guess(&house, way, 0).await, 401, "{way}: the same one again and again");
        }
        assert_eq!(guess(&house, way, 1).await, 401, "{way}");
        assert_eq!(guess(&house, way, 2).await, 401, "{way}");
        assert_eq!(guess(&house, way, 3).await, 403, "{way}");
        let permit = house.permit(Action::ListBans, Resource::Registry);
        let (bans, _) = house.guard.bans(&permit, None, 10).expect("listed");
        let subjects: Vec<&str> = bans.iter().map(|ban| ban.subject.as_str()).collect();
        assert_eq!(subjects, ["192.0.2.7"], "{way}");
    }
}

#[tokio::test]
async fn a_token_that_was_good_once_is_no_guess() {
    let house = House::with(false, |settings| settings.protection.invalid_tokens = 1).await;
    let user = house.user("robot", &[]).await;
    let token = house.token(&basic("acme/robot", PASSWORD), &[]).await;
    let permit = house.permit(Action::ManageUsers, Resource::Account(house.acme));
    house.people.identity.delete_user(&permit, user).await.expect("removed");
    for _ in 0..5 {
        assert_eq!(house.as_whom(Method::GET, "/v2/", &token).await.status, 401);
    }
    assert_eq!(house.guard.facts().banned, 0);
}
