//! The distribution protocol: Docker Registry HTTP API V2 and OCI Distribution 1.1, under `/v2/`.
//!
//! Words: a *row* of the route table says what a request is; a *call* is a request that was parsed
//! and allowed; a *reply* is what a handler gives; a *failure* is what it could not do.
//!
//! P1: every answer carries `Docker-Distribution-Api-Version`.
//! P2: a handler runs only with a permit for its row's action on its path's repository (to take a tag away, for that).
//! Who asks is found at every request, and a right that was taken away is gone from the next on.
//! P3: an answer to a HEAD has headers only, a refusal's too.
//! P4: a browser runs nothing it is answered: types and bytes are what anybody pushed, and the console
//! may share the host.
//! P5: what is not a 2xx was not done, and left everything stored as it was.
//!
//! Holds no rule: those are in `services`. Must not touch a store. Start at `route` (the table) and
//! `path`; then a handler, such as `manifests`; `caller` says who asks, `challenge` how he signs in; errors are
//! in `errors`, one table.

mod base;
mod blobs;
mod caller;
mod catalog;
mod challenge;
mod conditions;
mod errors;
pub(super) mod incoming;
pub(super) mod location;
mod manifests;
mod memory;
mod paging;
mod path;
pub(super) mod query;
mod range;
mod referrers;
mod reply;
mod route;
mod stream;
mod tags;
mod uploads;

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Version};
use pierhead_storage_format::Digest;

use self::errors::{Failure, Kind};
use self::location::Origin;
use self::memory::Memory;
use self::path::{Path, Shape};
use self::query::Query;
use self::reply::Reply;
use self::route::{BodyLimit, Row};
use super::guarded::Passage;
use super::{Recorder, token};
use crate::server::body::{self, Body};
use crate::server::metrics::Route;
use crate::server::{Departure, PeerFacts};
use crate::services::access::{Access, Action, Caller, Permit, Resource};
#[cfg(test)]
use crate::services::audit::Operation;
use crate::services::audit::Trace;
use crate::services::guard::Refused;
use crate::services::identity::Identity;
use crate::services::images::Images;
use crate::services::names::RepositoryName;
use crate::services::uploads::Uploads;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// What can be set.
#[derive(Clone)]
pub struct Settings {
    /// Bytes of a manifest at most; it is held in memory.
    pub manifest_limit: usize,
    /// Bytes that large manifests of all requests may take together; at least the limit.
    pub manifest_memory: u64,
    /// Whether manifests, tags and blobs can be deleted through this protocol.
    pub deletes: bool,
    /// Whether an address is a proxy whose forwarding headers are believed.
    pub is_trusted_proxy: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

/// The surface. Clones share everything.
#[derive(Clone)]
pub struct Registry {
    access: Access,
    identity: Identity,
    images: Images,
    uploads: Uploads,
    settings: Settings,
    memory: Memory,
    recorder: Recorder,
}

/// A request that was parsed and allowed.
struct Call<'a> {
    caller: Caller,
    /// For the row's action on `name`.
    permit: Permit,
    /// The repository as the client wrote it, so that answers name it alike; empty if there is none.
    name: &'a str,
    /// What the path ends with: reference, digest or session.
    tail: &'a str,
    query: Query,
    headers: &'a HeaderMap,
    origin: Origin,
    is_tls: bool,
    request_id: &'a str,
    /// Where it comes from, proxies of ours left out.
    address: Option<IpAddr>,
    /// When the client leaves, of a request with a body.
    departure: Option<&'a Departure>,
    /// How it came in.
    passage: Option<&'a Passage>,
}

impl Registry {
    /// On these services.
    pub fn new(
        access: Access,
        identity: Identity,
        images: Images,
        uploads: Uploads,
        settings: Settings,
        recorder: Recorder,
    ) -> Self {
        let memory = Memory::new(settings.manifest_memory.max(settings.manifest_limit as u64));
        Self { access, identity, images, uploads, settings, memory, recorder }
    }

    /// What is answered to a request that may not come in.
    pub fn turned_away(refused: Refused, row: &'static str) -> Response<Body> {
        let mut response = Failure::from(refused).into_reply().into_response();
        response.extensions_mut().insert(Route { surface: "registry", route: row });
        common(&mut response);
        response
    }

    /// Answers a request whose path is `/v2` or below.
    pub async fn handle(&self, request: Request<Body>, facts: &PeerFacts) -> Response<Body> {
        let (head, mut body) = request.into_parts();
        let path = query::decoded_path(head.uri.path());
        let path = path.as_deref().and_then(Path::parse);
        let row = path.and_then(|path| self.row(&head.method, path.shape));
        let trace = row.and_then(|row| self.recorder.begin(&row.audit, facts, &head.headers));
        let outcome = match (path, row) {
            (Some(path), Some(row)) => self.serve(row, path, &head, &mut body, (facts, trace.as_ref())).await,
            (Some(path), None) => Err(self.method_unknown(path.shape)),
            (None, _) => Err(Failure::new(Kind::PathUnknown)),
        };
        let name = row.map_or("unknown", |row| row.name);
        let reply = outcome.unwrap_or_else(|failure| {
            failure.log(name, &facts.request_id);
            failure.into_reply()
        });
        let mut response = reply.into_response();
        if let Some(trace) = &trace {
            trace.end(response.status().as_u16());
        }
        response.extensions_mut().insert(Route { surface: "registry", route: name });
        finish(&head, body, &mut response).await;
        response
    }

    /// Does it; who is not let in is told where to get a token.
    async fn serve(
        &self,
        row: &Row,
        path: Path<'_>,
        head: &Parts,
        body: &mut Body,
        (facts, trace): (&PeerFacts, Option<&Trace>),
    ) -> Result<Reply, Failure> {
        let done = self.call(row, path, head, body, (facts, trace)).await;
        done.map_err(|failure| match challenge::error(failure.kind()) {
            Some(error) => {
                let realm = self.origin(head, facts).absolute(&head.headers, &head.uri, facts.tls);
                let realm = realm.unwrap_or_default().url(token::REALM);
                let scope = challenge::scope(row, path, &query_of(head));
                failure.with(header::WWW_AUTHENTICATE, challenge::value(&realm, &scope, error))
            }
            None => failure,
        })
    }

    async fn call(
        &self,
        row: &Row,
        path: Path<'_>,
        head: &Parts,
        body: &mut Body,
        (facts, trace): (&PeerFacts, Option<&Trace>),
    ) -> Result<Reply, Failure> {
        let resource = resource(path)?;
        if let Some(trace) = trace {
            follow(trace, path, &resource);
        }
        let caller = self.caller(head).await?;
        if let Some(trace) = trace {
            trace.by(&caller.actor);
        }
        let passage = Passage::of(&head.extensions);
        Passage::goes_on(passage, &caller.actor)?;
        let (caller, permit) = self.admitted(caller, row, path, resource)?;
        let permit = permit.traced(trace);
        self.refuse_large(row, head)?;
        let call = Call {
            caller,
            permit,
            name: path.name,
            tail: path.tail,
            query: query_of(head),
            headers: &head.headers,
            origin: self.origin(head, facts),
            is_tls: facts.tls,
            request_id: &facts.request_id,
            address: self.recorder.address(&facts.peer, &head.headers),
            departure: head.extensions.get(),
            passage,
        };
        (row.handler)(self, call, body).await
    }

    fn origin(&self, head: &Parts, facts: &PeerFacts) -> Origin {
        facts.peer.ip().map_or_else(Origin::default, |peer| {
            Origin::of(&head.headers, peer, |ip| (self.settings.is_trusted_proxy)(ip))
        })
    }

    /// Says no to a manifest that says itself that it is too large.
    fn refuse_large(&self, row: &Row, head: &Parts) -> Result<(), Failure> {
        let limit = self.settings.manifest_limit;
        let declared = incoming::declared(&head.headers).filter(|_| row.body == BodyLimit::Manifest);
        match declared {
            Some(length) if length > limit as u64 => Err(Failure::about(Kind::ManifestTooLarge, limit)),
            _ => Ok(()),
        }
    }

    fn row(&self, method: &Method, shape: Shape) -> Option<&'static Row> {
        route::find(method, shape).filter(|row| self.is_on(row))
    }

    fn is_on(&self, row: &Row) -> bool {
        self.settings.deletes || row.action != Action::DeleteVersion
    }

    fn method_unknown(&self, shape: Shape) -> Failure {
        let allow = route::allow(shape, |row| self.is_on(row));
        Failure::new(Kind::MethodUnknown).with(header::ALLOW, allow)
    }
}

/// What the trail records of a request: its path.
fn follow(trace: &Trace, path: Path<'_>, resource: &Resource) {
    trace.on(resource);
    let Resource::Repository(name) = resource else { return };
    trace.asked("repository", name.as_str());
    if !path.tail.is_empty() {
        let between = if path.tail.contains(':') { '@' } else { ':' };
        trace.named(format!("{}{between}{}", name.as_str(), path.tail)).asked("reference", path.tail);
    }
}

fn query_of(head: &Parts) -> Query {
    Query::parse(head.uri.query().unwrap_or_default())
}

/// What a path is about. A wrong name is refused before anybody is asked who he is.
fn resource(path: Path<'_>) -> Result<Resource, Failure> {
    Ok(match path.shape {
        Shape::Base | Shape::Catalog => Resource::Registry,
        _ => Resource::Repository(repository(path.name)?),
    })
}

/// Headers of every answer.
fn common(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
}

/// What every answer has in common, and an end for a body that nobody read.
async fn finish(head: &Parts, request_body: Body, response: &mut Response<Body>) {
    common(response);
    if head.method == Method::HEAD {
        *response.body_mut() = body::empty();
    }
    let is_read = incoming::drain(&head.headers, request_body).await;
    if !is_read && head.version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn repository(name: &str) -> Result<RepositoryName, Failure> {
    name.parse().map_err(|_| Failure::new(Kind::NameInvalid))
}

fn digest(text: &str) -> Result<Digest, Failure> {
    text.parse().map_err(|error| Failure::about(Kind::DigestInvalid, error))
}

/// Every row's operation in the audit trail.
#[cfg(test)]
pub fn operations() -> Vec<&'static Operation> {
    route::ROUTES.iter().map(|row| &row.audit).collect()
}

/// Method and path of every route, for the walk over all surfaces.
#[cfg(test)]
pub fn routes() -> Vec<(Method, String)> {
    let of = |row: &'static Row| {
        row.methods.iter().map(|method| (method.clone(), row.shape.template().to_owned()))
    };
    route::ROUTES.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::access::{Actor, Options, Rules};

    const NAME: &str = "acme/web";

    fn path_of(shape: Shape) -> Path<'static> {
        let name = if matches!(shape, Shape::Base | Shape::Catalog) { "" } else { NAME };
        Path { shape, name, tail: "" }
    }

    fn admitted(access: &Access, row: &Row) -> Result<Permit, Failure> {
        let resource = resource(path_of(row.shape))?;
        caller::admit(access, &Caller::plain(Actor::Anonymous), row.action, resource)
    }

    #[test]
    fn without_rights_no_route_lets_anybody_in() {
        let closed = Access::without_accounts(Rules::Closed(Options::default()));
        for row in route::ROUTES {
            let refused = admitted(&closed, row);
            assert_eq!(refused.err().map(|f| f.kind()), Some(Kind::Unauthenticated), "{}", row.name);
        }
    }

    #[test]
    fn a_permit_is_for_the_action_of_the_row_on_the_repository_of_the_path() {
        let lab = Access::without_accounts(Rules::Lab);
        for row in route::ROUTES {
            let permit = admitted(&lab, row).expect("a lab is open");
            if path_of(row.shape).name.is_empty() {
                assert!(permit.covers_registry(row.action), "{}", row.name);
            } else {
                let name = permit.repository(row.action).map(RepositoryName::as_str);
                assert_eq!(name, Some(NAME), "{}", row.name);
            }
        }
    }

    #[test]
    fn a_wrong_name_is_refused_before_anybody_is_asked_who_he_is() {
        for row in route::ROUTES.iter().filter(|row| !path_of(row.shape).name.is_empty()) {
            for name in ["", "Acme/web", "a//b", "acme/web-", "manage/x", "a/\u{fffd}"] {
                let refused = resource(Path { name, ..path_of(row.shape) });
                assert_eq!(refused.err().map(|f| f.kind()), Some(Kind::NameInvalid), "{} {name:?}", row.name);
            }
        }
    }
}
