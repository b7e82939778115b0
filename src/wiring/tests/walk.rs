//! A walk over every route of every surface, by everybody who has no business there and by somebody
//! who has. Statuses are in `walk.golden.txt`; a route that is in a table is in the walk.
//!
//! The administrators' socket is not on the network: its paths are walked to see that they are nowhere.
//! Who reaches the socket and is not the administrator is turned away before any path is looked at
//! (`api::admin`, M1).

use aws_lc_rs::digest::{SHA256, digest as hash};
use aws_lc_rs::hmac;
use hyper::Method;
use pierhead_storage_format::identity::records::Level;
use serde_json::json;

use super::house::{Answer, House, PASSWORD, basic, digest};
use crate::api;
use crate::services::access::{Action, Resource};
use crate::services::identity::NewKey;

const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
const SCOPE: &str = "repository:acme/web:pull,push,delete";
const LAYER: &[u8] = b"layer";

/// A credential in the three forms surfaces take.
#[derive(Clone, Default)]
struct Credential {
    name: &'static str,
    /// `Authorization` at the registry and the token endpoint.
    authorization: String,
    /// `X-Auth-Token` at the identity calls.
    token: String,
    /// AK and SK to sign identity calls with.
    key: Option<(String, String)>,
    /// What a token of the identity calls is asked for with.
    sign_in: String,
}

impl Credential {
    fn by_password(name: &'static str, user: &str, password: &str) -> Self {
        let (account, own) = user.split_once('/').expect("an account");
        let sign_in = sign_in(account, own, password);
        Self { name, authorization: basic(user, password), sign_in, ..Self::default() }
    }

    fn by_key(name: &'static str, key: &NewKey, login: &str) -> Self {
        let secret = key.secret.expose_text().expect("text").to_owned();
        let authorization = basic(&format!("region-1@{}", key.key), login);
        Self { name, authorization, key: Some((key.key.clone(), secret)), ..Self::default() }
    }

    /// The headers for a request of this surface.
    fn headers(&self, surface: &str, method: &Method, path: &str) -> Vec<(&'static str, String)> {
        let is_api = surface == "iam" || (surface == "swr" && !path.starts_with("/dockyard/"));
        match &self.key {
            Some((key, secret)) if is_api => signed(key, secret, method, path),
            None if is_api && !self.token.is_empty() => vec![("x-auth-token", self.token.clone())],
            _ => vec![("authorization", self.authorization.clone())],
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an SDK sends for a request without a query and a body, at the moment the walk begins.
fn signed(key: &str, secret: &str, method: &Method, path: &str) -> Vec<(&'static str, String)> {
    let date = "20231114T222821Z";
    let empty = hex(hash(&SHA256, b"").as_ref());
    let uri = if path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
    let canonical = format!("{method}\n{uri}\n\nx-sdk-date:{date}\n\nx-sdk-date\n{empty}");
    let text = format!("SDK-HMAC-SHA256\n{date}\n{}", hex(hash(&SHA256, canonical.as_bytes()).as_ref()));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes());
    let header =
        format!("SDK-HMAC-SHA256 Access={key}, SignedHeaders=x-sdk-date, Signature={}", hex(mac.as_ref()));
    vec![("x-sdk-date", date.to_owned()), ("authorization", header)]
}

fn sign_in(account: &str, user: &str, password: &str) -> String {
    let user = json!({"name": user, "password": password, "domain": {"name": account}});
    json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}).to_string()
}

async fn api_token(house: &House, account: &str, user: &str) -> String {
    let answer = house.ask(Method::POST, "/v3/auth/tokens", &[], sign_in(account, user, PASSWORD)).await;
    answer.header("x-subject-token").to_owned()
}

/// A private repository with an image, and what the paths of the walk are filled with.
struct Place {
    session: String,
    user: String,
}

async fn furnish(house: &House) -> Place {
    let anna = basic("acme/anna", PASSWORD);
    assert_eq!(house.push_blob("acme/web", &anna, LAYER).await.status, 201);
    let kind = ("content-type", "application/vnd.oci.image.index.v1+json");
    let headers = [("authorization", anna.as_str()), kind];
    let put = house.ask(Method::PUT, "/v2/acme/web/manifests/v1", &headers, INDEX).await;
    assert_eq!(put.status, 201);
    let session = house.as_whom(Method::POST, "/v2/acme/web/blobs/uploads/", &anna).await;
    let session = session.header("location").rsplit('/').next().expect("an id").to_owned();
    let user = house.user("robot", &[]).await;
    house.grant(user, Level::Manage).await;
    Place { session, user: user.to_string() }
}

/// Everybody who is to be turned away, and last somebody who is not.
async fn credentials(house: &House, place: &Place) -> Vec<Credential> {
    let robot = place.user.parse().expect("an id");
    let keys = house.permit(Action::ManageKeys, Resource::Account(house.acme));
    let identity = &house.people.identity;
    let expired = Credential {
        name: "expired",
        authorization: house.token(&basic("acme/robot", PASSWORD), &[SCOPE]).await,
        ..Credential::default()
    };
    // Tokens of the registry last a quarter of an hour: it ends now.
    house.after(901);
    let (deleted, deleted_login) = house.key(robot).await;
    let by_deleted = house.token(&basic(&format!("x@{}", deleted.key), &deleted_login), &[SCOPE]).await;
    identity.delete_key(&keys, deleted.key.clone()).await.expect("deleted");
    let (disabled, disabled_login) = house.key(robot).await;
    let by_disabled = house.token(&basic(&format!("x@{}", disabled.key), &disabled_login), &[SCOPE]).await;
    identity.enable_key(&keys, disabled.key.clone(), false).await.expect("disabled");
    let (good, _) = house.key(robot).await;
    let token = |name, authorization| Credential { name, authorization, ..Credential::default() };
    let wrong = NewKey { key: good.key.clone(), secret: "0".repeat(40).into() };
    let with_token = |credential: Credential, token: String| Credential { token, ..credential };
    vec![
        Credential { name: "none", ..Credential::default() },
        with_token(
            Credential::by_password("stranger", "other/otto", PASSWORD),
            api_token(house, "other", "otto").await,
        ),
        token("stranger-token", house.token(&basic("other/otto", PASSWORD), &[SCOPE]).await),
        expired,
        Credential::by_key("disabled-key", &disabled, &disabled_login),
        token("disabled-key-token", by_disabled),
        Credential::by_key("deleted-key", &deleted, &deleted_login),
        token("deleted-key-token", by_deleted),
        Credential::by_key("wrong-key", &wrong, &"0".repeat(64)),
        with_token(Credential::by_password("wrong-password", "acme/anna", "wrong"), "rubbish".to_owned()),
        with_token(
            Credential::by_password("administrator", "acme/anna", PASSWORD),
            api_token(house, "acme", "anna").await,
        ),
    ]
}

fn filled(template: &str, place: &Place) -> String {
    let (name, layer) = ("acme/web", digest(LAYER));
    let known = [
        ("{name}", name),
        ("{reference}", "v1"),
        ("{digest}", &layer),
        ("{session}", &place.session),
        ("{id}", &place.user),
        ("{namespace}", "acme"),
        ("{repository}", "web"),
        ("{tag}", "v1"),
        ("{access_domain}", "other"),
        ("{resource_type}", "store"),
        ("{frequency}", "daily"),
        ("{api_version}", "v2"),
        ("{retention_id}", "1"),
    ];
    let path = known.iter().fold(template.to_owned(), |path, (part, value)| path.replace(part, value));
    // What is left is the administrators', who are not on the network.
    path.replace(['{', '}'], "")
}

async fn visit(house: &House, surface: &str, method: &Method, path: &str, who: &Credential) -> Answer {
    let mut headers = who.headers(surface, method, path);
    let is_manifest = path.contains("/manifests/") && *method == Method::PUT;
    if is_manifest {
        headers.push(("content-type", "application/vnd.oci.image.index.v1+json".to_owned()));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = match (surface, method) {
        ("iam", &Method::POST) => who.sign_in.clone(),
        ("swr", &Method::POST) => json!({"namespace": "fresh", "repository": "fresh"}).to_string(),
        _ => {
            if is_manifest {
                INDEX.to_owned()
            } else {
                String::new()
            }
        }
    };
    house.ask(method.clone(), path, &headers, body).await
}

#[tokio::test]
async fn a_walk_over_every_route_lets_nobody_in_who_has_no_business_there() {
    let house = House::open().await;
    let place = furnish(&house).await;
    let credentials = credentials(&house, &place).await;
    let mut routes = api::routes();
    // Last, so that there is something to ask about before.
    routes.sort_by_key(|(surface, method, _)| *surface == "swr" && *method == Method::DELETE);
    let mut lines: Vec<String> =
        routes.iter().map(|(surface, method, path)| format!("{surface} {method} {path}")).collect();
    for who in &credentials {
        for ((surface, method, template), line) in routes.iter().zip(&mut lines) {
            let answer = visit(&house, surface, method, &filled(template, &place), who).await;
            *line += &format!(" {}={}", who.name, answer.status);
            let documented = *surface != "swr" || api::swr::may_answer(method, template, answer.status);
            // The root is nobody's yet, and the ping the registry's.
            assert!(documented || template.matches('/').count() == 1, "{line}");
            let is_private = match *surface {
                "registry" => template.contains("{name}"),
                "swr" => template.contains("{namespace}") && !template.starts_with("/dockyard/"),
                _ => false,
            };
            let entitled = who.name == "administrator";
            assert!(*surface != "admin" || answer.status == 404, "{line}");
            assert!(!is_private || entitled || [401, 403, 404].contains(&answer.status), "{line}");
            let leaks = ["robot", "anna", "v1", "layer", &place.user];
            // A login made for oneself is random.
            let leaks = if template.contains("/utils/") { &leaks[..0] } else { &leaks[..] };
            let told = leaks.iter().find(|word| answer.body.contains(**word));
            assert!(
                entitled || answer.status == 201 || *surface == "token" || told.is_none(),
                "{line} tells {told:?}: {answer:?}"
            );
        }
    }
    // Those of the administrators are nowhere on the network, as was seen above.
    lines.retain(|line| !line.starts_with("admin "));
    let walked = lines.join("\n") + "\n";
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/wiring/tests/walk.golden.txt");
    if std::env::var_os("PIERHEAD_WRITE_GOLDEN").is_some() {
        std::fs::write(golden, &walked).expect("written");
    }
    let reviewed = include_str!("walk.golden.txt");
    assert!(
        walked == reviewed,
        "run with PIERHEAD_WRITE_GOLDEN=1, review the difference, run again:\n{walked}"
    );
}

#[tokio::test]
async fn a_good_key_signs_what_a_bad_one_does_not() {
    let house = House::open().await;
    let place = furnish(&house).await;
    let (key, login) = house.key(place.user.parse().expect("an id")).await;
    house.after(901);
    let good = Credential::by_key("good", &key, &login);
    for (surface, path) in
        [("iam", "/v3/auth/domains"), ("swr", "/"), ("swr", "/v2"), ("registry", "/v2/acme/web/tags/list")]
    {
        assert_eq!(visit(&house, surface, &Method::GET, path, &good).await.status, 200, "{path}");
    }
}
