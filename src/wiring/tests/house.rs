//! An appliance without sockets: two accounts, some users, and requests as calls.

mod ground;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::records::{Level, Role};
use serde_json::Value;

use self::ground::Ground;
use super::super::audit;
use super::super::collection;
use super::super::people::People;
use super::super::rooms::{services, shelves};
use super::super::store::{self, Store};
use super::super::surfaces::{Surfaces, recorder};
use super::super::{protection, retention};
use crate::api::health::Health;
use crate::api::trust::Trust;
use crate::config::Settings;
use crate::seams::{Clock, TestClock};
use crate::server::body::{self, Body};
use crate::server::{App, Peer, PeerFacts};
use crate::services::access::{Action, Actor, Permit, Resource};
use crate::services::audit::Audit;
use crate::services::collector::Collector;
use crate::services::guard::Guard;
use crate::services::identity::{NewAccount, NewKey, NewPolicy, NewUser, UserChange};
use crate::services::images::Images;
use crate::services::leases::Leases;
use crate::services::organisations::On;
use crate::services::retention::Retention;
use crate::services::signin::Secret;
use crate::services::signin::access_key::login_key;
use crate::stores::meta::Meta;

/// When a house opens.
pub const OPENED: u64 = 1_700_000_000_000;
/// Everybody's password.
pub const PASSWORD: &str = "Correct-horse-9";
/// The head of every answer a test looks at.
pub const HOST: &str = "registry.example";

/// An appliance: the operator's account `ops` with `boss`, the account `acme` with `anna` who administers it, and
/// `other` with `otto` who administers that. `acme` owns the organisation `acme`.
pub struct House {
    pub people: People,
    pub clock: Arc<TestClock>,
    pub acme: Id,
    pub images: Images,
    pub audit: Audit,
    pub retention: Retention,
    pub guard: Guard,
    pub collector: Collector,
    pub leases: Arc<Leases>,
    surfaces: Surfaces,
    store: Arc<Store>,
    lab: bool,
    settings: Settings,
    folder: tempfile::TempDir,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Code and message of the first error, with the status.
    pub fn refusal(&self) -> (u16, String, String) {
        let error = &self.json()["errors"][0];
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (self.status, text("code"), text("message"))
    }
}

/// A refusal as a test writes it.
pub fn refusal(status: u16, code: &str, message: &str) -> (u16, String, String) {
    (status, code.to_owned(), message.to_owned())
}

pub fn denied() -> (u16, String, String) {
    refusal(403, "DENIED", "you do not have the permission")
}

pub fn unauthenticated() -> (u16, String, String) {
    refusal(401, "UNAUTHORIZED", "authentication required")
}

pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", Base64::encode_string(format!("{user}:{password}").as_bytes()))
}

impl House {
    pub async fn open() -> Self {
        Self::with(false, |_| {}).await
    }

    pub async fn with(lab: bool, change: impl FnOnce(&mut Settings)) -> Self {
        let base = if lab { Settings::lab() } else { Settings::default() };
        let mut house = Self::opened(lab, Ground::of(base, change)).await;
        if !lab {
            house.move_in().await;
        }
        house
    }

    async fn opened(lab: bool, ground: Ground) -> Self {
        let (store, _) = store::open(&ground.settings.storage).expect("a store");
        Self::furnished(lab, ground, store).await
    }

    async fn furnished(lab: bool, ground: Ground, store: Store) -> Self {
        let Ground { settings, folder, clock } = ground;
        let store = Arc::new(store);
        let people = People::open_at(&settings, lab, &store, clock.clone()).expect("people");
        let shelves = shelves(&settings, &store, &people, clock.clone());
        let collector = collection::open(&settings, &shelves).expect("a collector");
        let health = Health::new(Vec::new());
        let audit = audit::open(&settings, &store, &people, clock.clone()).expect("a trail");
        let recorder = recorder(&settings, Some(audit.clone()));
        let (images, uploads) = services(&settings, &shelves);
        let told = (health, Trust::new(|| None));
        let parts = (&images, &audit);
        let retention = retention::open(&settings, &store, &people, parts, clock.clone()).expect("retention");
        let guard = protection::open(&settings, &store, &people, &audit, clock.clone()).expect("a guard");
        let shown = (images.clone(), uploads, retention.clone());
        let surfaces = Surfaces::new(&settings, &people, shown, told, (&recorder, guard.clone()));
        let acme = Id::from_bytes([0; 16]);
        let leases = Arc::clone(&shelves.leases);
        Self {
            people,
            clock,
            acme,
            images,
            audit,
            retention,
            guard,
            collector,
            leases,
            surfaces,
            store,
            lab,
            settings,
            folder,
        }
    }

    /// The same once more, as after a stop without notice.
    pub async fn reopen(self) -> Self {
        self.reopen_after(|_| {}).await
    }

    /// The same, and `fsck` finds nothing in between.
    pub async fn reopen_sound(self) -> Self {
        let check = |ground: &Ground| {
            let report = ground.check();
            assert!(report.is_clean(), "{:?}", report.findings);
        };
        self.reopen_after(check).await
    }

    async fn reopen_after(self, between: impl FnOnce(&Ground)) -> Self {
        let (lab, acme) = (self.lab, self.acme);
        let ground = self.fallen();
        between(&ground);
        Self { acme, ..Self::opened(lab, ground).await }
    }

    /// The files of its blobs.
    pub fn files(&self) -> Vec<std::path::PathBuf> {
        let sha256 = self.data().join("blobs/sha256");
        let inside = |folder: &std::path::Path| -> Vec<std::path::PathBuf> {
            let entries = std::fs::read_dir(folder).expect("readable");
            entries.map(|entry| entry.expect("readable").path()).collect()
        };
        inside(&sha256).iter().flat_map(|folder| inside(folder)).collect()
    }

    /// Its data directory.
    pub fn data(&self) -> &std::path::Path {
        &self.settings.storage.data
    }

    /// Lets more seconds go by.
    pub async fn after_more(&self, seconds: u64) {
        self.clock.set(self.clock.now_ms() + seconds * 1000);
    }

    /// Lets hours go by as a collector that is asked every second sees them.
    pub async fn hours(&self, hours: u64) {
        for _ in 0..hours {
            self.after_more(3600).await;
            self.collector.turn_if_due();
        }
    }

    /// One run of the collector.
    pub async fn collect(&self) {
        self.collector.run().await.expect("a run");
    }

    pub async fn pause(&self, paused: bool) {
        let permit = self.permit(Action::ManageCollection, Resource::Registry);
        self.collector.pause(&permit, paused).await.expect("changed");
    }

    /// What `fsck` finds is nothing; the store is closed.
    pub async fn sound(self) {
        self.store.close();
        assert_eq!(self.fallen().check().findings, []);
    }

    async fn move_in(&mut self) {
        let identity = self.people.identity.clone();
        let new = |name: &str, user: &str| NewAccount {
            name: name.to_owned(),
            administrator: new_user(user, vec![]),
        };
        let host = self.permit(Action::MaintainStore, Resource::Registry);
        identity.initialise(&host, new("ops", "boss")).await.expect("the first account");
        let permit = self.permit(Action::ManageAccounts, Resource::Registry);
        self.acme = identity.create_account(&permit, new("acme", "anna")).await.expect("an account").account;
        identity.create_account(&permit, new("other", "otto")).await.expect("an account");
        self.organisation("acme").await;
    }

    /// The rows.
    pub fn meta(&self) -> &Meta {
        &self.store.meta
    }

    /// What the host's administrator may do, which is everything.
    pub fn permit(&self, action: Action, resource: Resource) -> Permit {
        self.people.access.authorise(&Actor::LocalAdministrator, action, resource).expect("everything")
    }

    /// Makes an organisation of `acme`.
    pub async fn organisation(&self, name: &str) {
        let resource = Resource::Organisation(name.parse().expect("a name"));
        let permit = self.permit(Action::CreateOrganisation, resource);
        self.people.organisations.create(&permit, Some(self.acme)).await.expect("made");
    }

    /// A user of `acme`.
    pub async fn user(&self, name: &str, roles: &[Role]) -> Id {
        let permit = self.permit(Action::ManageUsers, Resource::Account(self.acme));
        self.people.identity.create_user(&permit, new_user(name, roles.to_vec())).await.expect("made")
    }

    pub async fn change_user(&self, user: Id, change: UserChange) {
        let permit = self.permit(Action::ManageUsers, Resource::Account(self.acme));
        self.people.identity.update_user(&permit, user, change).await.expect("changed");
    }

    /// An access key of a user, and the login key of it.
    pub async fn key(&self, user: Id) -> (NewKey, String) {
        let permit = self.permit(Action::ManageKeys, Resource::Account(self.acme));
        let key = self.people.identity.create_key(&permit, user, String::new()).await.expect("made");
        let login = login_key(&key.key, &key.secret).expose_text().expect("hex").to_owned();
        (key, login)
    }

    pub async fn grant(&self, user: Id, level: Level) {
        let resource = Resource::Organisation("acme".parse().expect("a name"));
        let permit = self.permit(Action::CreateOrganisationGrant, resource);
        let granted = self.people.organisations.grant(&permit, On::Organisation, vec![(user, level)]);
        granted.await.expect("granted");
    }

    pub async fn revoke(&self, user: Id) {
        let resource = Resource::Organisation("acme".parse().expect("a name"));
        let permit = self.permit(Action::DeleteOrganisationGrant, resource);
        self.people.organisations.revoke(&permit, On::Organisation, vec![user]).await.expect("revoked");
    }

    /// Attaches a policy of `acme` with this document to a user, in place of what he has.
    pub async fn attach(&self, user: Id, document: &str) {
        let permit = self.permit(Action::ManagePolicies, Resource::Account(self.acme));
        let (name, document) = (format!("policy-of-{user}"), document.to_owned());
        let new = NewPolicy { name, description: String::new(), document };
        let policy = self.people.identity.create_policy(&permit, new).await.expect("made");
        self.change_user(user, UserChange { policies: Some(vec![policy]), ..UserChange::default() }).await;
    }

    /// Retention as another process opens it on the same rows, later.
    pub fn retention_again(&self) -> Retention {
        let parts = (&self.images, &self.audit);
        retention::open(&Settings::default(), &self.store, &self.people, parts, self.clock.clone())
            .expect("retention")
    }

    /// Lets time go on.
    pub fn after(&self, seconds: u64) {
        self.clock.set(OPENED + seconds * 1000);
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let peer = Peer::Network(SocketAddr::from(([192, 0, 2, 7], 4711)));
        let facts = PeerFacts { peer, tls: true, request_id: "0".repeat(32) };
        let response = self.surfaces.call(request, facts).await;
        let (head, body) = response.into_parts();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Answer { status: head.status.as_u16(), headers, body: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// A request with these headers and body.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.send(request(method, path, headers, body::full(body.into()))).await
    }

    /// A request with credentials, which may be none.
    pub async fn as_whom(&self, method: Method, path: &str, authorization: &str) -> Answer {
        self.ask(method, path, &[("authorization", authorization)], "").await
    }

    /// A token's header for these scopes.
    pub async fn token(&self, login: &str, scopes: &[&str]) -> String {
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("scope={scope}")).collect();
        let path = format!("/swr/auth/v2/registry/auth/?service=dockyard&{}", scopes.join("&"));
        let answer = self.as_whom(Method::GET, &path, login).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        format!("Bearer {}", answer.json()["token"].as_str().expect("a token"))
    }

    /// Pushes a blob in one request; the answer.
    pub async fn push_blob(&self, name: &str, login: &str, bytes: &'static [u8]) -> Answer {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", digest(bytes));
        self.ask(Method::POST, &path, &[("authorization", login)], bytes).await
    }
}

pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    let map: &mut HeaderMap = request.headers_mut();
    map.insert("host", HeaderValue::from_static(HOST));
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        let name: HeaderName = name.parse().expect("a header");
        map.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    request
}

pub fn digest(bytes: &[u8]) -> String {
    crate::stores::blobs::digest_of(pierhead_storage_format::Algorithm::Sha256, bytes).to_string()
}

fn new_user(name: &str, roles: Vec<Role>) -> NewUser {
    NewUser {
        name: name.to_owned(),
        description: String::new(),
        password: Some(Secret::from(PASSWORD.to_owned())),
        programmatic: true,
        console: true,
        roles,
    }
}
