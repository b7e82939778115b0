//! Pierhead's own administration: JSON over HTTP/1.1 on a Unix socket, under `/api/v1`.
//!
//! Words: a *row* of the route table says what a request is; a *call* is a request that was parsed
//! and allowed; a *reply* is what a handler gives; a *failure* is what it could not do.
//!
//! M1: nobody but the local administrator learns anything, not even which paths there are. M2: a handler
//! runs only with a permit for its row's action. M3: what is not known is refused: paths, methods,
//! parameters, fields, a body where none belongs. M4: every failure is
//! `{"error": {"code", "message"}}`, every list `{"items", "next"}`, every time RFC 3339, every
//! length of time milliseconds, every size bytes. M5: what is not a 2xx was not done.
//!
//! Holds no rule: those are in `services`. A new operation is a row in `route`, a handler in its
//! resource's file (`uploads` is an example), an entry in `document`, which says what its types are and
//! how it fails, and, if it fails in a new way, a row in `errors`.

mod accounts;
mod audit;
mod bans;
mod body;
mod check;
mod collection;
mod credentials;
mod deletes;
mod document;
mod errors;
mod facts;
mod grants;
mod groups;
mod holds;
mod index;
mod jobs;
mod organisations;
mod policies;
mod query;
mod quotas;
mod reload;
mod reply;
mod repositories;
mod retention;
mod route;
mod said;
mod scrub;
mod shares;
mod status;
mod subject;
mod text;
mod uploads;
mod users;
mod words;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use self::errors::{Failure, Kind};
use self::reply::Reply;
use self::route::{Found, Row};
use crate::api::Recorder;
use crate::api::pattern::Params;
use crate::jobs::Jobs;
use crate::server::body::Body;
use crate::server::metrics::Route;
use crate::server::{App, CrowdFacts, Peer, PeerFacts};
use crate::services::access::{Access, Actor, Permit};
use crate::services::appliance::Appliance;
use crate::services::audit::{Audit, Trace};
use crate::services::backup::Holds;
use crate::services::collector::Collector;
use crate::services::guard::Guard;
use crate::services::identity::Identity;
use crate::services::images::Images;
use crate::services::maintenance::Checks;
use crate::services::object::Object;
use crate::services::organisations::Organisations;
use crate::services::quota::Quotas;
use crate::services::retention::Retention;
use crate::services::scrub::Scrub;
use crate::services::uploads::Uploads;

pub use accounts::{AccountView, FirstView};
pub use audit::EventView;
pub use bans::{BanView, ExemptionView};
pub use check::{CheckFindingView, CheckView, CheckedView, CountsView};
pub use collection::{CollectedView, CollectorView, OutlookView};
pub use credentials::{KeyView, LoginView, NewKeyView, RotatedView};
pub use deletes::{DeletedView, EmptiedView, FreesView, RestoredView};
pub use document::document;
pub use grants::GrantView;
pub use groups::GroupView;
pub use holds::HoldView;
pub use jobs::{JobView, RunningView};
pub use organisations::{OrganisationFreesView, OrganisationView};
pub use policies::PolicyView;
pub use quotas::QuotaView;
pub use reload::ReloadView;
pub use reply::{Page, Removed};
pub use repositories::RepositoryView;
pub use retention::{GoingView, PreviewView, RetentionView, RetiredView};
pub use scrub::{FindingView, ScrubView};
pub use shares::ShareView;
pub use status::{AuditView, GuardView, LimitedView};
pub use status::{ConnectionsView, ListeningView, NearView, QuotasView, SlotsView, SpaceView, StatusView};
pub use uploads::{Aborted, UploadView};
pub use users::UserView;

/// What is asked on behalf of administrators.
pub struct Services {
    /// Decides.
    pub access: Access,
    /// How everything is.
    pub appliance: Appliance,
    /// Upload sessions.
    pub uploads: Uploads,
    /// Accounts, users, groups, policies and credentials.
    pub identity: Identity,
    /// Organisations and the rights in them.
    pub organisations: Organisations,
    /// How much they may hold.
    pub quotas: Quotas,
    /// What was done.
    pub audit: Audit,
    /// Rates and bans.
    pub guard: Guard,
    /// Images, to delete and restore.
    pub images: Images,
    /// Removes what nothing needs any more.
    pub collector: Collector,
    /// Begins to record what is done here.
    pub recorder: Recorder,
    /// Which versions go by themselves.
    pub retention: Retention,
    /// The work in the background.
    pub jobs: Jobs,
    /// What backups hold back.
    pub holds: Holds,
    /// Reads every blob again.
    pub scrub: Scrub,
    /// Checks that metadata and blobs agree.
    pub checks: Checks,
}

/// What is known of the process when it begins to serve.
pub struct About {
    /// The data directory.
    pub data: PathBuf,
    /// Where it listens.
    pub listening: ListeningView,
    /// Who is connected to the registry.
    pub crowd: Arc<dyn Fn() -> CrowdFacts + Send + Sync>,
    /// The user it runs as.
    pub uid: u32,
    /// The project in login commands.
    pub project: String,
    /// The registry as clients name it, as far as the host knows.
    pub host: String,
}

/// The surface. Clones share everything.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    services: Services,
    about: About,
}

/// A request that was parsed and allowed.
struct Call<'a> {
    row: &'static Row,
    /// For the row's action on its resource.
    permit: Permit,
    params: Params,
    query: &'a str,
    body: Bytes,
}

impl Call<'_> {
    /// What the path has in the place of `{name}`.
    fn param(&self, name: &str) -> &str {
        self.params.get(name)
    }

    /// The parameters after the `?`; a type that refuses those it does not know.
    fn query<T: DeserializeOwned + JsonSchema>(&self) -> Result<T, Failure> {
        debug_assert!(self.row.is_asked::<T>(), "{}: another type in the document", self.row.name);
        query::parse(self.query).map_err(|why| Failure::about(Kind::QueryInvalid, why))
    }

    /// The JSON body; a type that refuses fields it does not know.
    fn body<T: DeserializeOwned + JsonSchema>(&self) -> Result<T, Failure> {
        debug_assert!(self.row.is_sent::<T>(), "{}: another type in the document", self.row.name);
        let read = serde_json::from_slice(&self.body).map(|Object(body)| body);
        read.map_err(|why| Failure::about(Kind::BodyInvalid, why))
    }
}

impl Admin {
    /// On these services.
    pub fn new(services: Services, about: About) -> Self {
        Self(Arc::new(Inner { services, about }))
    }

    /// Answers a request.
    async fn handle(&self, request: Request<Body>, facts: &PeerFacts) -> Response<Body> {
        let (head, mut body) = request.into_parts();
        let (mut name, mut trace) = ("unknown", None);
        let outcome = match self.find(&head, facts.peer) {
            Ok((actor, found)) => {
                name = found.row.name;
                trace = self.0.services.recorder.begin(&found.row.audit, facts, &head.headers);
                self.serve(found, actor, (&head, &mut body), trace.as_ref()).await
            }
            Err(failure) => Err(failure),
        };
        debug_assert!(document::has(name, &outcome), "{name}: {outcome:?} is not in the document");
        let reply = outcome.unwrap_or_else(|failure| {
            failure.log(name, &facts.request_id);
            failure.into_reply()
        });
        let mut response = reply.into_response();
        if let Some(trace) = &trace {
            trace.end(response.status().as_u16());
        }
        response.extensions_mut().insert(Route { surface: "admin", route: name });
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !body.is_end_stream() {
            // What is left of it was not read, and will not be.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Who asks, and for what.
    fn find(&self, head: &Parts, peer: Peer) -> Result<(Actor, Found), Failure> {
        let actor = local(&self.0.services.access, peer, self.0.about.uid)?;
        Ok((actor, route::find(&head.method, head.uri.path())?))
    }

    async fn serve(
        &self,
        found: Found,
        actor: Actor,
        (head, body): (&Parts, &mut Body),
        trace: Option<&Trace>,
    ) -> Result<Reply, Failure> {
        let Found { row, params } = found;
        if let Some(trace) = trace {
            facts::path(trace, &actor, &params);
        }
        let resource = (row.resource)(self, &params)?;
        if let Some(trace) = trace {
            trace.on(&resource);
        }
        let permit = self.0.services.access.authorise(&actor, row.action, resource)?.traced(trace);
        let body = body::read(row, body).await?;
        if let Some(trace) = trace {
            facts::body(trace, &params, &body);
        }
        let query = head.uri.query().unwrap_or_default();
        row.refuse_query(query)?;
        (row.handler)(self, Call { row, permit, params, query, body }).await
    }
}

/// Who asks: the host's administrator, or nobody (M1).
fn local(access: &Access, peer: Peer, own: u32) -> Result<Actor, Failure> {
    let Peer::Local { uid, .. } = peer else { return Err(Failure::about(Kind::Stranger, "unknown")) };
    access.authenticate_local(uid, own).map_err(|_| Failure::about(Kind::Stranger, uid))
}

impl App for Admin {
    fn call(
        &self,
        request: Request<Body>,
        facts: PeerFacts,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        let admin = self.clone();
        Box::pin(async move { admin.handle(request, &facts).await })
    }
}

pub use crate::services::quota::gigabytes;
#[cfg(test)]
pub use index::{operations, routes};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::access::{Options, Rules};

    fn asks(rules: Rules, peer: Peer, own: u32) -> Result<Actor, Kind> {
        local(&Access::without_accounts(rules), peer, own).map_err(|failure| failure.kind())
    }

    #[test]
    fn nobody_on_the_network_gets_as_far_as_a_route_whatever_the_rules() {
        for rules in [Rules::Lab, Rules::Closed(Options::default())] {
            for address in ["127.0.0.1:1", "[::1]:1", "192.0.2.1:443"] {
                let peer = Peer::Network(address.parse().expect("an address"));
                assert_eq!(asks(rules, peer, 0), Err(Kind::Stranger), "{rules:?} {address}");
            }
        }
    }

    #[test]
    fn only_root_and_the_services_own_user_are_the_local_administrator() {
        for (uid, own, yes) in
            [(0, 0, true), (0, 990, true), (990, 990, true), (1000, 990, false), (65_534, 0, false)]
        {
            let expected = if yes { Ok(Actor::LocalAdministrator) } else { Err(Kind::Stranger) };
            assert_eq!(asks(Rules::Lab, Peer::Local { uid, pid: None }, own), expected, "{uid} asks {own}");
        }
    }
}
