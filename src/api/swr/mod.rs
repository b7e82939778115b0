//! SWR's management API, field for field as its SDKs, Terraform and Harbor speak it: `/v2/manage/`, `/v3/manage/`,
//! `/dockyard/v2/`, and the versions at `/` and `/v2`.
//!
//! Words: a *row* of the route table says what a request is; a *call* is a request that was parsed
//! and allowed; a *reply* is what a handler gives; a *failure* is what it could not do. What SWR calls a namespace is an organisation,
//! what it calls a domain is an account.
//!
//! S1: nothing is answered to nobody: a token, a signature of the request or (Harbor) docker's credentials come first.
//! S2: a handler runs only with a permit for its row's action on what its path, or body, names.
//! S3: what somebody may not know of is not there for him: 404, as for what nobody has.
//! S4: a success with no content is `{}`, but with 204, which has nothing. S5: no answer is kept by anybody between.
//! S6: what is not known in a body or a query is left alone: clients of many years speak this.
//!
//! Holds no rule: those are in `services`. Start at `route` (the table); `caller` says who asks, `path`, `query` and
//! `reply` are the grammar, `errors` the refusals; then a handler, such as `versions`. A new operation
//! is a row and a handler.

mod account;
mod caller;
mod dockyard;
mod errors;
mod lists;
mod logins;
mod organisations;
mod path;
mod pieces;
mod query;
mod quotas;
mod reply;
mod repositories;
mod retention;
mod rights;
mod route;
mod shares;
mod sync;
mod tags;
mod triggers;
mod versions;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, Version};
use pierhead_storage_format::identity::Id;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::caller::Known;
use self::errors::{Failure, Kind};
use self::query::Asked;
use self::reply::Reply;
use self::route::{Found, Row, Subject};
use super::Recorder;
use super::guarded::Passage;
use super::pattern::Params;
use super::registry::incoming;
use super::registry::location::Origin;
use super::registry::query::Query;
use crate::server::PeerFacts;
use crate::server::body::Body;
use crate::server::metrics::Route;
use crate::services::access::{Access, Action, Actor, Permit, Resource};
use crate::services::audit::Trace;
use crate::services::error::Error;
use crate::services::guard::Refused;
use crate::services::identity::{Account, Identity, Proof};
use crate::services::images::{Images, RepositoryFacts};
use crate::services::names::{OrganisationName, RepositoryName};
use crate::services::organisations::Organisations;
use crate::services::quota::Quotas;
use crate::services::retention::Retention;
use crate::services::sync::Synchronisation;
use crate::services::triggers::Triggers;

/// The second part of paths that are the registry's though the first is `manage`: those of the image `library/manage`.
const REGISTRYS: [&str; 4] = ["tags", "manifests", "blobs", "referrers"];

/// What is asked.
pub struct Services {
    /// Decides.
    pub access: Access,
    /// Signing in, accounts and users.
    pub identity: Identity,
    /// Organisations and the rights in them.
    pub organisations: Organisations,
    /// How much they may hold.
    pub quotas: Quotas,
    /// Manifests, tags and repositories.
    pub images: Images,
    /// Which versions go by themselves.
    pub retention: Retention,
}

/// What can be set.
pub struct Settings {
    /// What the appliance calls itself as a region: the project in login commands.
    pub region: String,
    /// Whether an address is a proxy whose forwarding headers are believed.
    pub is_trusted_proxy: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Into the audit trail.
    pub recorder: Recorder,
}

/// The surface. Clones share everything.
#[derive(Clone)]
pub struct Swr(Arc<Inner>);

struct Inner {
    access: Access,
    identity: Identity,
    organisations: Organisations,
    quotas: Quotas,
    images: Images,
    retention: Retention,
    triggers: Triggers,
    sync: Synchronisation,
    settings: Settings,
}

/// A request that was parsed and allowed.
struct Call<'a> {
    /// What it is.
    row: &'static Row,
    /// What who asks signed in with; none in a lab and where docker's credentials are taken.
    proof: Option<Proof>,
    /// For the row's action on its subject.
    permit: Permit,
    params: Params,
    query: &'a Query,
    body: Bytes,
    /// How the client reached the registry: `https://host:port`.
    origin: String,
}

impl Call<'_> {
    /// Who asks.
    fn actor(&self) -> &Actor {
        self.permit.actor()
    }

    /// What the path has in the place of `{name}`.
    fn param(&self, name: &str) -> &str {
        self.params.get(name)
    }

    /// What a list is asked for; `plain` are the parameters that may stand outside of `filter`.
    fn asked(&self, plain: &[&str]) -> Result<Asked, Failure> {
        Asked::parse(self.query, plain)
    }

    /// The JSON body.
    fn body<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json(&self.body)
    }

    /// The image that is asked about.
    fn repository(&self) -> Result<&RepositoryName, Failure> {
        let name = self.permit.repository(self.row.action);
        Ok(name.ok_or(Error::Bug("a permit for something else"))?)
    }

    /// The registry as the client named it, with its port: the front of the names of images.
    fn host(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, host)| host)
    }
}

impl Swr {
    /// On these services.
    pub fn new(services: Services, settings: Settings) -> Self {
        let Services { access, identity, organisations, quotas, images, retention } = services;
        let (triggers, sync) = (Triggers::new(images.clone()), Synchronisation::new(images.clone()));
        Self(Arc::new(Inner {
            access,
            identity,
            organisations,
            quotas,
            images,
            retention,
            triggers,
            sync,
            settings,
        }))
    }

    /// Whether a request is this surface's. The root and the paths of one part are the versions of this API
    /// for those who sign in as it wants it, and somebody else's for everybody else.
    pub fn is_for<B>(request: &Request<B>) -> bool {
        let path = request.uri().path();
        if let Some(below) = path.strip_prefix("/v2/manage/") {
            return !REGISTRYS.contains(&below.split('/').next().unwrap_or_default());
        }
        let is_version = !path[1.min(path.len())..].contains('/') && caller::signs_in(request.headers());
        path.starts_with("/v3/manage/") || path.starts_with("/dockyard/") || is_version
    }

    /// What is answered to a request that may not come in.
    pub fn turned_away(refused: Refused, request_id: &str, row: &'static str) -> Response<Body> {
        let mut response = Failure::from(refused).into_reply(request_id).into_response();
        response.extensions_mut().insert(Route { surface: "swr", route: row });
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Answers a request that is this surface's.
    pub async fn handle(&self, request: Request<Body>, facts: &PeerFacts) -> Response<Body> {
        let (head, mut body) = request.into_parts();
        let (mut name, mut trace) = ("unknown", None);
        let outcome = match route::find(&head.method, head.uri.path()) {
            Ok(found) => {
                name = found.row.operation;
                trace = self.0.settings.recorder.begin(&found.row.audit, facts, &head.headers);
                self.serve(found, &head, &mut body, (facts, trace.as_ref())).await
            }
            Err(failure) => Err(failure),
        };
        let reply = outcome.unwrap_or_else(|failure| {
            failure.log(name, &facts.request_id);
            failure.into_reply(&facts.request_id)
        });
        let mut response = reply.into_response();
        if let Some(trace) = &trace {
            trace.end(response.status().as_u16());
        }
        response.extensions_mut().insert(Route { surface: "swr", route: name });
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !incoming::drain(&head.headers, body).await && head.version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn serve(
        &self,
        found: Found,
        head: &Parts,
        body: &mut Body,
        (facts, trace): (&PeerFacts, Option<&Trace>),
    ) -> Result<Reply, Failure> {
        let Found { row, params } = found;
        let Known { caller, proof, body } = self.known(row, head, body).await?;
        if let Some(trace) = trace {
            trace.by(&caller.actor);
        }
        Passage::goes_on(Passage::of(&head.extensions), &caller.actor)?;
        let resource = subject(row.subject, &params, &body)?;
        if let Some(trace) = trace {
            follow(trace, &resource, &params, &body);
        }
        let permit = self.admitted(&caller, row, resource)?.traced(trace);
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let origin = self.origin(head, facts);
        (row.handler)(self, Call { row, proof, permit, params, query: &query, body, origin }).await
    }

    /// A permit for something else that a call needs.
    fn permit(&self, call: &Call<'_>, action: Action, resource: Resource) -> Result<Permit, Failure> {
        Ok(self.0.access.authorise(call.actor(), action, resource)?)
    }

    /// What is known of the image of a call.
    fn facts(&self, call: &Call<'_>, name: &RepositoryName) -> Result<RepositoryFacts, Failure> {
        let permit = self.permit(call, Action::ShowRepository, Resource::Repository(name.clone()))?;
        Ok(self.0.images.facts(&permit)?)
    }

    /// How many have rights of their own in an organisation, for who may see them.
    fn users_of(&self, call: &Call<'_>, organisation: &OrganisationName) -> usize {
        let resource = Resource::Organisation(organisation.clone());
        match self.permit(call, Action::ShowOrganisationGrants, resource) {
            Ok(_) => self.0.access.directory().granted_on(organisation.as_str()).count(),
            Err(_) => 0,
        }
    }

    /// The account of the one who asks.
    fn own_account(&self, call: &Call<'_>) -> Result<Account, Failure> {
        let permit = self.permit(call, Action::ShowSelf, Resource::Registry)?;
        Ok(self.0.identity.own_account(&permit)?)
    }

    fn account_name(&self, id: Id) -> Option<String> {
        self.0.access.directory().account(id).map(|account| account.name.clone())
    }

    /// How the client reached the registry.
    fn origin(&self, head: &Parts, facts: &PeerFacts) -> String {
        let trusted = &self.0.settings.is_trusted_proxy;
        let origin = facts.peer.ip().map(|peer| Origin::of(&head.headers, peer, |ip| trusted(ip)));
        let origin = origin.unwrap_or_default().absolute(&head.headers, &head.uri, facts.tls);
        origin.unwrap_or_default().url("")
    }
}

/// Fields of bodies that the trail records; no other is, so that none that holds a secret is by mistake.
const TOLD: [&str; 15] = [
    "user_id",
    "user_name",
    "auth",
    "access_domain",
    "permit",
    "deadline",
    "is_public",
    "category",
    "source_tag",
    "destination_tag",
    "override",
    "remoteRegionId",
    "remoteNamespace",
    "imageTag",
    "enable",
];

/// What the trail records of a request: its path, and what its body may show: of an object its fields, of a
/// list those of its objects, and its texts.
fn follow(trace: &Trace, resource: &Resource, params: &Params, body: &Bytes) {
    trace.on(resource);
    let told = |fields: &Map<String, Value>| -> Vec<(&'static str, Value)> {
        let shown = TOLD.into_iter().filter_map(|name| Some((name, fields.get(name)?.clone())));
        shown.filter(|(_, value)| !value.is_object()).collect()
    };
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(fields)) => {
            for (name, value) in told(&fields) {
                trace.asked(name, value);
            }
        }
        Ok(Value::Array(items)) => {
            let items = items.iter().filter_map(|item| match item {
                Value::Object(fields) => {
                    let fields = told(fields).into_iter().map(|(name, value)| (name.to_owned(), value));
                    Some(Value::Object(fields.collect()))
                }
                Value::String(text) => Some(Value::String(text.clone())),
                _ => None,
            });
            trace.asked("items", items.collect::<Vec<Value>>());
        }
        _ => {}
    }
    for name in ["tag", "access_domain", "trigger", "retention_id", "project_id"] {
        let value = params.get(name);
        if !value.is_empty() {
            trace.asked(name, value);
        }
    }
    let tag = params.get("tag");
    if let Resource::Repository(name) = resource
        && !tag.is_empty()
    {
        trace.named(format!("{}:{tag}", name.as_str()));
    }
}

/// What a request is done to. A wrong name is told to whoever signed in.
fn subject(subject: Subject, params: &Params, body: &Bytes) -> Result<Resource, Failure> {
    #[derive(Deserialize)]
    struct New {
        namespace: Option<String>,
        repository: Option<String>,
    }
    let lacks = |field: &str| Failure::about(Kind::BodyInvalid, format!("{field} is missing"));
    let namespace = params.get("namespace");
    match subject {
        Subject::Registry => Ok(Resource::Registry),
        Subject::Organisation => organisation(namespace).map(Resource::Organisation),
        Subject::Repository => repository(namespace, params.get("repository")).map(Resource::Repository),
        Subject::NewOrganisation => {
            let name = json::<New>(body)?.namespace.ok_or_else(|| lacks("namespace"))?;
            organisation(&name).map(Resource::Organisation)
        }
        Subject::NewRepository => {
            let name = json::<New>(body)?.repository.ok_or_else(|| lacks("repository"))?;
            repository(namespace, &name).map(Resource::Repository)
        }
    }
}

fn organisation(name: &str) -> Result<OrganisationName, Failure> {
    name.parse().map_err(|_| Failure::about(Kind::OrganisationName, format!("{name:?}")))
}

fn repository(organisation: &str, name: &str) -> Result<RepositoryName, Failure> {
    let _: OrganisationName = self::organisation(organisation)?;
    let whole = format!("{organisation}/{name}");
    whole.parse().map_err(|_| Failure::about(Kind::RepositoryName, format!("{name:?}")))
}

/// The name of an image without its organisation.
fn rest(name: &RepositoryName) -> &str {
    name.as_str().get(name.organisation().len() + 1..).unwrap_or_default()
}

fn json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|why| Failure::about(Kind::BodyInvalid, why))
}

/// Method and path of every route, for the walk over all surfaces.
#[cfg(test)]
pub fn routes() -> Vec<(hyper::Method, String)> {
    route::ROUTES.iter().map(|row| (row.method.clone(), row.path.to_owned())).collect()
}

/// Whether a status is one that the table has for a route, or one that every route may answer with.
#[cfg(test)]
pub fn may_answer(method: &hyper::Method, path: &str, status: u16) -> bool {
    const COMMON: [u16; 7] = [400, 401, 403, 405, 413, 429, 503];
    let row = route::ROUTES.iter().find(|row| row.method == *method && row.path == path);
    COMMON.contains(&status) || row.is_some_and(|row| row.statuses.contains(&status))
}

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests {
    use super::*;

    fn is_for(path: &str, header: Option<(&str, &str)>) -> bool {
        let mut request = Request::builder().uri(path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        Swr::is_for(&request.body(()).expect("a request"))
    }

    #[test]
    fn the_surface_takes_its_paths_and_leaves_the_registry_its_own() {
        let token = Some(("x-auth-token", "t"));
        let signed = Some(("authorization", "SDK-HMAC-SHA256 Access=a"));
        let basic = Some(("authorization", "Basic YTpi"));
        let cases = [
            ("/v2/manage/namespaces", None, true),
            ("/v2/manage/nothing", None, true),
            ("/v2/manage/a/manifests/v1", None, true),
            ("/v3/manage/repos", None, true),
            ("/dockyard/v2/namespaces", None, true),
            ("/v2/manage/tags/list", token, false),
            ("/v2/manage/blobs/uploads/", None, false),
            ("/v2/manage", token, false),
            ("/v2/", signed, false),
            ("/v2/acme/web/tags/list", signed, false),
            ("/v3/auth/tokens", token, false),
            ("/v2", None, false),
            ("/v2", basic, false),
            ("/v2", signed, true),
            ("/v2", token, true),
            ("/", None, false),
            ("/", token, true),
        ];
        for (path, header, expected) in cases {
            assert_eq!(is_for(path, header), expected, "{path} {header:?}");
        }
    }

    #[test]
    fn what_is_asked_about_is_in_the_path_or_the_body_and_wrong_names_are_told() {
        let of = |kind, path: &str, body: &str| {
            let pattern = match kind {
                Subject::Repository => "/{namespace}/{repository}",
                _ => "/{namespace}",
            };
            let body = Bytes::copy_from_slice(body.as_bytes());
            let params = path::fit(pattern, path).expect("fits");
            subject(kind, &params, &body).map_err(|failure| failure.kind())
        };
        let organisation = |name: &str| Ok(Resource::Organisation(name.parse().expect("a name")));
        let repository = |name: &str| Ok(Resource::Repository(name.parse().expect("a name")));
        let cases = [
            (Subject::Registry, "/x", "", Ok(Resource::Registry)),
            (Subject::Organisation, "/acme", "", organisation("acme")),
            (Subject::Organisation, "/Acme", "", Err(Kind::OrganisationName)),
            (Subject::Organisation, "/a%2Fb", "", Err(Kind::OrganisationName)),
            (Subject::Repository, "/acme/a$b", "", repository("acme/a/b")),
            (Subject::Repository, "/a%2Fb/c", "", Err(Kind::OrganisationName)),
            (Subject::Repository, "/acme/a$$b", "", Err(Kind::RepositoryName)),
            (Subject::NewOrganisation, "/x", r#"{"namespace":"acme"}"#, organisation("acme")),
            (Subject::NewOrganisation, "/x", r#"{"namespace":"manage"}"#, Err(Kind::OrganisationName)),
            (Subject::NewOrganisation, "/x", "{}", Err(Kind::BodyInvalid)),
            (Subject::NewOrganisation, "/x", "", Err(Kind::BodyInvalid)),
            (Subject::NewRepository, "/acme", r#"{"repository":"a/b"}"#, repository("acme/a/b")),
            (Subject::NewRepository, "/acme", r#"{"repository":""}"#, Err(Kind::RepositoryName)),
            (Subject::NewRepository, "/acme", r#"{"repository":7}"#, Err(Kind::BodyInvalid)),
        ];
        for (kind, path, body, expected) in cases {
            assert_eq!(of(kind, path, body), expected, "{kind:?} {path} {body}");
        }
    }
}
