//! The identity calls of SDKs and Terraform.

use aws_lc_rs::{digest, hmac};
use hyper::Method;
use serde_json::{Value, json};

use super::house::{Answer, House, PASSWORD, basic};
use crate::services::identity::NewKey;

fn password(account: &str, user: &str, password: &str, scope: Value) -> String {
    let user = json!({"name": user, "password": password, "domain": {"name": account}});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    json!({"auth": {"identity": identity, "scope": scope}}).to_string()
}

async fn sign_in(house: &House, body: String) -> Answer {
    house.ask(Method::POST, "/v3/auth/tokens", &[("content-type", "application/json")], body).await
}

async fn get(house: &House, path: &str, token: &str) -> Answer {
    house.ask(Method::GET, path, &[("x-auth-token", token)], "").await
}

#[tokio::test]
async fn a_password_gets_a_token_and_the_token_shows_project_account_and_user() {
    let house = House::open().await;
    let answer =
        sign_in(&house, password("acme", "anna", PASSWORD, json!({"project": {"name": "region-1"}}))).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let token = answer.json()["token"].clone();
    assert_eq!(token["expires_at"], "2023-11-15T22:13:20.000000Z");
    assert_eq!((&token["project"]["name"], &token["user"]["name"]), (&json!("region-1"), &json!("anna")));
    assert_eq!(token["roles"][0]["name"], "Tenant Administrator");
    let subject = answer.header("x-subject-token");

    let projects = get(&house, "/v3/projects?name=region-1", subject).await.json();
    assert_eq!(projects["projects"].as_array().map(Vec::len), Some(1));
    assert_eq!(projects["projects"][0]["id"], token["project"]["id"]);
    let others = get(&house, "/v3/projects?name=region-2", subject).await.json();
    assert_eq!(others, json!({"projects": [], "links": {}}));
    let domains = get(&house, "/v3/auth/domains", subject).await.json();
    assert_eq!(
        (&domains["domains"][0]["id"], &domains["domains"][0]["name"]),
        (&json!(house.acme.to_string()), &json!("acme"))
    );
    let id = token["user"]["id"].as_str().expect("an id");
    let user = get(&house, &format!("/v3.0/OS-USER/users/{id}"), subject).await.json();
    assert_eq!(
        (&user["user"]["name"], &user["user"]["domain_id"]),
        (&json!("anna"), &json!(house.acme.to_string()))
    );
}

#[tokio::test]
async fn nobody_is_told_which_part_of_a_sign_in_was_wrong() {
    let house = House::open().await;
    let none = || json!({});
    let cases = [
        ("a wrong password", password("acme", "anna", "wrong", none())),
        ("an unknown user", password("acme", "nobody", PASSWORD, none())),
        ("another account's user", password("other", "anna", PASSWORD, none())),
        ("another region", password("acme", "anna", PASSWORD, json!({"project": {"name": "elsewhere"}}))),
        ("another account's project", password("acme", "anna", PASSWORD, json!({"project": {"id": "0"}}))),
    ];
    let first = sign_in(&house, cases[0].1.clone()).await;
    assert_eq!(first.status, 401);
    assert_eq!(first.json()["error_code"], "APIGW.0301");
    assert_eq!(first.json()["error_msg"], "Incorrect IAM authentication information: Unauthorized");
    for (name, body) in cases {
        assert_eq!(sign_in(&house, body).await, first, "{name}");
    }
    for (name, body) in [("no JSON", "{"), ("no password", r#"{"auth":{"identity":{"methods":["token"]}}}"#)]
    {
        assert_eq!(sign_in(&house, body.to_owned()).await.status, 400, "{name}");
    }
    assert_eq!(sign_in(&house, "x".repeat(70 << 10)).await.status, 413);
}

#[tokio::test]
async fn without_a_good_token_or_signature_nothing_is_told() {
    let house = House::open().await;
    let registry = house.token(&basic("acme/anna", PASSWORD), &[]).await;
    let registry = registry.trim_start_matches("Bearer ");
    let api = sign_in(&house, password("acme", "anna", PASSWORD, json!({}))).await;
    let old = api.header("x-subject-token").to_owned();
    house.after(86_400);
    let signed = "SDK-HMAC-SHA256 Access=AAAAAAAAAAAAAAAAAAAA, SignedHeaders=host;x-sdk-date, Signature="
        .to_owned()
        + &"0".repeat(64);
    for path in ["/v3/projects", "/v3/auth/domains", "/v3.0/OS-USER/users/0a"] {
        for (headers, message) in [
            (vec![], "Unauthorized"),
            (vec![("authorization", basic("acme/anna", PASSWORD))], "Unauthorized"),
            (vec![("x-auth-token", "rubbish".to_owned())], "decrypt token fail"),
            (vec![("x-auth-token", registry.to_owned())], "decrypt token fail"),
            (vec![("x-auth-token", old.clone())], "decrypt token fail"),
            (
                vec![("authorization", signed.clone()), ("x-sdk-date", "20231114T221320Z".to_owned())],
                "signature expired",
            ),
            (
                vec![("authorization", signed.clone()), ("x-sdk-date", "20231115T221320Z".to_owned())],
                "verify aksk signature fail",
            ),
        ] {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = house.ask(Method::GET, path, &headers, "").await;
            let expected = format!("Incorrect IAM authentication information: {message}");
            assert_eq!(
                (answer.status, &answer.json()["error_msg"]),
                (401, &json!(expected)),
                "{path} {headers:?}"
            );
        }
    }
}

#[tokio::test]
async fn users_are_shown_to_themselves_and_to_their_administrators() {
    let house = House::open().await;
    let robot = house.user("robot", &[]).await;
    let token = async |account: &str, user: &str| {
        let answer = sign_in(&house, password(account, user, PASSWORD, json!({}))).await;
        answer.header("x-subject-token").to_owned()
    };
    let annas = sign_in(&house, password("acme", "anna", PASSWORD, json!({}))).await.json();
    let anna = annas["token"]["user"]["id"].as_str().expect("an id").to_owned();
    let show =
        async |id: &str, token: &str| get(&house, &format!("/v3.0/OS-USER/users/{id}"), token).await.status;
    let (robot, nobody) = (robot.to_string(), "0".repeat(32));
    for (account, user, statuses) in [
        ("acme", "robot", [200, 403, 403]),
        ("acme", "anna", [200, 200, 404]),
        ("other", "otto", [404, 404, 404]),
    ] {
        let token = token(account, user).await;
        let got = [show(&robot, &token).await, show(&anna, &token).await, show(&nobody, &token).await];
        assert_eq!(got, statuses, "{user}");
    }
}

/// Signs a request as SDKs do, over the hash of `signed` or over `UNSIGNED-PAYLOAD` without, and sends `body` with it.
async fn signed_request(house: &House, key: &NewKey, signed: Option<&str>, body: &str) -> Answer {
    const DATE: &str = "20231114T221320Z";
    let hash = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let payload = signed.map_or_else(|| "UNSIGNED-PAYLOAD".to_owned(), |body| hash(body.as_bytes()));
    let lines = format!("x-sdk-content-sha256:{payload}\nx-sdk-date:{DATE}\n");
    let names = "x-sdk-content-sha256;x-sdk-date";
    let canonical = format!("GET\n/v3/projects/\n\n{lines}\n{names}\n{payload}");
    let text = format!("SDK-HMAC-SHA256\n{DATE}\n{}", hash(canonical.as_bytes()));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, key.secret.expose());
    let tag = hex(hmac::sign(&secret, text.as_bytes()).as_ref());
    let authorization = format!("SDK-HMAC-SHA256 Access={}, SignedHeaders={names}, Signature={tag}", key.key);
    let headers =
        [("authorization", &*authorization), ("x-sdk-date", DATE), ("x-sdk-content-sha256", &*payload)];
    house.ask(Method::GET, "/v3/projects", &headers, body.to_owned()).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_signature_is_good_for_the_body_it_was_made_over_and_one_over_none_for_no_body() {
    let house = House::open().await;
    let robot = house.user("robot", &[]).await;
    let (key, _) = house.key(robot).await;
    for (name, signed, body, status) in [
        ("no body, signed", Some(""), "", 200),
        ("no body, unsigned", None, "", 200),
        ("a body, signed", Some("{}"), "{}", 200),
        ("a body, unsigned", None, "{}", 401),
        ("another body", Some("{}"), "[]", 401),
        ("a body where none was signed", Some(""), "{}", 401),
    ] {
        let answer = signed_request(&house, &key, signed, body).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
}
