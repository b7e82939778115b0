//! `/healthz` (the process answers) and `/readyz` (it can serve: 200, or 503 with what is wrong),
//! for load balancers, Kubernetes and people. Neither needs credentials, so neither says more
//! than names of checks and one reason each.

use std::sync::Arc;

use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::server::body::{self, Body};

/// What this surface answers.
pub const PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// Says whether a part can serve; an error is the reason for the operator.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The parts that must be well for the appliance to be ready.
#[derive(Clone)]
pub struct Health {
    checks: Arc<Vec<(&'static str, Check)>>,
}

impl Health {
    /// Checks by name. Each runs on every `/readyz`, on an async thread: none may wait.
    pub fn new(checks: Vec<(&'static str, Check)>) -> Self {
        Self { checks: Arc::new(checks) }
    }

    /// The answer, if `request` is for one of the two paths.
    pub fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let path = request.uri().path();
        if !PATHS.contains(&path) {
            return None;
        }
        Some(match (request.method(), path) {
            (&Method::GET | &Method::HEAD, "/healthz") => {
                body::json(StatusCode::OK, &json!({"status": "ok"}))
            }
            (&Method::GET | &Method::HEAD, _) => self.readiness(),
            _ => method_not_allowed(),
        })
    }

    fn readiness(&self) -> Response<Body> {
        let mut results = Map::new();
        let mut ready = true;
        for (name, check) in self.checks.iter() {
            let result = check();
            ready &= result.is_ok();
            results
                .insert((*name).to_owned(), Value::String(result.err().unwrap_or_else(|| "ok".to_owned())));
        }
        let (status, word) =
            if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
        body::json(status, &json!({"status": word, "checks": results}))
    }
}

fn method_not_allowed() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(hyper::header::ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn ask(health: &Health, method: Method, path: &str) -> Option<(u16, String)> {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let response = health.answer(&request)?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Some((status, String::from_utf8(bytes.to_vec()).unwrap()))
    }

    #[tokio::test]
    async fn readiness_names_the_part_that_is_not_well() {
        let health = Health::new(vec![
            ("server", Box::new(|| Ok(()))),
            ("metadata", Box::new(|| Err("rebuilding the index".to_owned()))),
        ]);
        let (status, text) = ask(&health, Method::GET, "/readyz").await.unwrap();
        assert_eq!(status, 503);
        let value: Value = serde_json::from_str(&text).unwrap();
        let checks = json!({"server": "ok", "metadata": "rebuilding the index"});
        assert_eq!(value, json!({"status": "not ready", "checks": checks}));
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_told_apart() {
        let health = Health::new(Vec::new());
        assert_eq!(ask(&health, Method::GET, "/healthz").await.unwrap().0, 200);
        assert_eq!(ask(&health, Method::GET, "/readyz").await.unwrap().0, 200);
        assert_eq!(ask(&health, Method::POST, "/readyz").await.unwrap().0, 405);
        assert_eq!(ask(&health, Method::GET, "/healthz/x").await, None);
    }
}
