//! The surfaces that the network reaches, by path.

use std::future::{Future, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Request, Response, StatusCode};
use serde_json::json;

use super::people::People;
use crate::api::health::Health;
use crate::api::iam::Iam;
use crate::api::registry::{self, Registry};
use crate::api::swr::{self, Swr};
use crate::api::token::TokenEndpoint;
use crate::api::trust::Trust;
use crate::api::{Gate, Recorder};
use crate::config::Settings;
use crate::server::body::{self, Body};
use crate::server::metrics::Route;
use crate::server::{App, PeerFacts};
use crate::services::audit::Audit;
use crate::services::guard::{Class, Guard, Refused};
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
    gate: Gate,
}

/// Which surface a path is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Swr,
    Registry,
    Token,
    Iam,
    Nowhere,
}

impl Place {
    fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        if Swr::is_for(request) {
            Self::Swr
        } else if path == "/v2" || path.starts_with("/v2/") {
            Self::Registry
        } else if TokenEndpoint::is_for(path) {
            Self::Token
        } else if Iam::is_for(path) {
            Self::Iam
        } else {
            Self::Nowhere
        }
    }

    /// What a request there does, as far as rates tell it apart.
    fn class<B>(self, request: &Request<B>) -> Class {
        match self {
            Self::Token => Class::SignIn,
            Self::Iam if Iam::is_sign_in(request.uri().path()) => Class::SignIn,
            Self::Swr | Self::Iam => Class::Manage,
            Self::Registry if !request.method().is_safe() => Class::Write,
            Self::Registry | Self::Nowhere => Class::Read,
        }
    }

    /// What is answered there to who may not come in.
    fn turned_away(self, refused: Refused, request_id: &str) -> Response<Body> {
        let row = match refused {
            Refused::Banned => "banned",
            Refused::Limited(_) => "limited",
        };
        match self {
            Self::Swr => Swr::turned_away(refused, request_id, row),
            Self::Token => TokenEndpoint::turned_away(refused, row),
            Self::Iam => Iam::turned_away(refused, request_id, row),
            Self::Registry | Self::Nowhere => Registry::turned_away(refused, row),
        }
    }
}

impl Surfaces {
    /// Puts them together.
    pub fn new(
        settings: &Settings,
        people: &People,
        (images, uploads, retention): (Images, Uploads, Retention),
        (health, trust): (Health, Trust),
        (recorder, guard): (&Recorder, Guard),
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
            gate: Gate::new(guard, recorder.clone()),
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
        let (place, gate) = (Place::of(&request), self.gate.clone());
        let mut request = request;
        if let Err(refused) = gate.enter(place.class(&request), &mut request, &facts) {
            let response = place.turned_away(refused, &facts.request_id);
            return Box::pin(async move { gate.turn_away(refused, request, response).await });
        }
        match place {
            Place::Swr => {
                let swr = self.swr.clone();
                return Box::pin(async move { swr.handle(request, &facts).await });
            }
            Place::Registry => {
                let registry = self.registry.clone();
                return Box::pin(async move { registry.handle(request, &facts).await });
            }
            Place::Token => {
                let token = self.token.clone();
                return Box::pin(async move { token.handle(request, &facts).await });
            }
            Place::Iam => {
                let iam = self.iam.clone();
                return Box::pin(async move { iam.handle(request, &facts).await });
            }
            Place::Nowhere => {}
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
