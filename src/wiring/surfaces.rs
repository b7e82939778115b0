//! The surfaces that the network reaches, by path.

use std::future::{Future, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Request, Response, StatusCode};
use serde_json::json;

use super::people::People;
use crate::api::Recorder;
use crate::api::health::Health;
use crate::api::iam::Iam;
use crate::api::registry::{self, Registry};
use crate::api::swr::{self, Swr};
use crate::api::token::TokenEndpoint;
use crate::api::trust::Trust;
use crate::config::Settings;
use crate::server::body::{self, Body};
use crate::server::metrics::Route;
use crate::server::{App, PeerFacts};
use crate::services::audit::Audit;
use crate::services::images::Images;
use crate::services::retention::Retention;
use crate::services::uploads::Uploads;

/// The surfaces, by path.
pub struct Surfaces {
    health: Health,
    trust: Trust,
    token: TokenEndpoint,
    iam: Iam,
    swr: Swr,
    registry: Registry,
}

impl Surfaces {
    /// Puts them together.
    pub fn new(
        settings: &Settings,
        people: &People,
        (images, uploads, retention): (Images, Uploads, Retention),
        (health, trust): (Health, Trust),
        recorder: &Recorder,
    ) -> Self {
        let (access, identity) = (people.access.clone(), people.identity.clone());
        Self {
            health,
            trust,
            token: TokenEndpoint::new(access.clone(), identity.clone(), recorder.clone()),
            iam: Iam::new(
                access.clone(),
                identity.clone(),
                settings.identity.region.clone(),
                recorder.clone(),
            ),
            swr: swr(settings, people, (images.clone(), retention), recorder.clone()),
            registry: Registry::new(
                access,
                identity,
                images,
                uploads,
                registry_settings(settings),
                recorder.clone(),
            ),
        }
    }

    /// What says how the appliance is.
    pub const fn health(&self) -> &Health {
        &self.health
    }
}

impl App for Surfaces {
    fn call(
        &self,
        request: Request<Body>,
        facts: PeerFacts,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        if let Some(mut response) = self.health.answer(&request) {
            response.extensions_mut().insert(Route { surface: "health", route: "health" });
            return Box::pin(ready(response));
        }
        if let Some(mut response) = self.trust.answer(&request) {
            response.extensions_mut().insert(Route { surface: "trust", route: "ca.crt" });
            return Box::pin(ready(response));
        }
        if Swr::is_for(&request) {
            let swr = self.swr.clone();
            return Box::pin(async move { swr.handle(request, &facts).await });
        }
        let path = request.uri().path();
        if path == "/v2" || path.starts_with("/v2/") {
            let registry = self.registry.clone();
            return Box::pin(async move { registry.handle(request, &facts).await });
        }
        if TokenEndpoint::is_for(path) {
            let token = self.token.clone();
            return Box::pin(async move { token.handle(request, &facts).await });
        }
        if Iam::is_for(path) {
            let iam = self.iam.clone();
            return Box::pin(async move { iam.handle(request, &facts).await });
        }
        let nothing = json!({"errors": [{"code": "NOT_FOUND", "message": "there is nothing here"}]});
        Box::pin(ready(body::json(StatusCode::NOT_FOUND, &nothing)))
    }
}

fn swr(
    settings: &Settings,
    people: &People,
    (images, retention): (Images, Retention),
    recorder: Recorder,
) -> Swr {
    let People { access, identity, organisations, quotas } = people.clone();
    let services = swr::Services { access, identity, organisations, quotas, images, retention };
    let is_trusted_proxy = is_trusted_proxy(settings);
    let region = settings.identity.region.clone();
    Swr::new(services, swr::Settings { region, is_trusted_proxy, recorder })
}

/// Into this trail, or none.
pub fn recorder(settings: &Settings, audit: Option<Audit>) -> Recorder {
    Recorder::new(audit, is_trusted_proxy(settings))
}

fn is_trusted_proxy(settings: &Settings) -> Arc<dyn Fn(IpAddr) -> bool + Send + Sync> {
    let proxies = settings.server.trusted_proxies.clone();
    Arc::new(move |address| proxies.iter().any(|range| range.contains(address)))
}

fn registry_settings(settings: &Settings) -> registry::Settings {
    registry::Settings {
        manifest_limit: usize::try_from(settings.registry.max_manifest.bytes()).unwrap_or(usize::MAX),
        manifest_memory: settings.registry.manifest_memory.bytes(),
        deletes: settings.registry.delete,
        is_trusted_proxy: is_trusted_proxy(settings),
    }
}
