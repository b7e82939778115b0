//! `/metrics` for Prometheus, with `/healthz` and `/readyz` beside it, on a listener of its own
//! (`[metrics] listen`), so that it need not be where the images are.

use std::future::{Future, ready};
use std::pin::Pin;

use hyper::{Method, Request, Response, StatusCode};

use super::health::Health;
use crate::server::body::{self, Body};
use crate::server::metrics::Metrics;
use crate::server::{App, PeerFacts};

/// What the listener for monitoring serves: `/metrics`, `/healthz`, `/readyz`.
pub struct Monitoring {
    metrics: Metrics,
    health: Health,
}

impl Monitoring {
    /// Serves these.
    pub fn new(metrics: Metrics, health: Health) -> Self {
        Self { metrics, health }
    }

    fn answer(&self, request: &Request<Body>) -> Response<Body> {
        if let Some(response) = self.health.answer(request) {
            return response;
        }
        let mut refused = Response::new(body::empty());
        *refused.status_mut() = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => {
                return body::of_type(StatusCode::OK, OPEN_METRICS, self.metrics.text());
            }
            (_, "/metrics") => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::NOT_FOUND,
        };
        refused
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl App for Monitoring {
    fn call(
        &self,
        request: Request<Body>,
        _: PeerFacts,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(ready(self.answer(&request)))
    }
}
