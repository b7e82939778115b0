//! `/ca.crt`: the certificate of the appliance's own CA, for clients that do not trust it yet. It is
//! public, so it needs no credentials; that it is the right one is shown by its fingerprint, which
//! comes another way (`pierhead trust`, docs/tls.md).

use std::sync::Arc;

use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::server::body::{self, Body};

/// What this surface answers.
pub const PATH: &str = "/ca.crt";

/// Gives the certificate, PEM, if there is one.
type Ca = dyn Fn() -> Option<Arc<String>> + Send + Sync;

/// The surface of one path.
pub struct Trust {
    ca: Box<Ca>,
}

impl Trust {
    /// Serves what `ca` gives at that moment; it runs on an async thread and must not wait.
    pub fn new(ca: impl Fn() -> Option<Arc<String>> + Send + Sync + 'static) -> Self {
        Self { ca: Box::new(ca) }
    }

    /// The answer, if `request` is for the path and there is a CA.
    pub fn answer<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        if request.uri().path() != PATH {
            return None;
        }
        let ca = (self.ca)()?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = Response::new(body::empty());
            *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(refused);
        }
        Some(body::of_type(StatusCode::OK, "application/x-pem-file", ca.as_bytes().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(ca: Option<&str>, method: Method, path: &str) -> Option<u16> {
        let ca = ca.map(|pem| Arc::new(pem.to_owned()));
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        Trust::new(move || ca.clone()).answer(&request).map(|response| response.status().as_u16())
    }

    #[test]
    fn the_ca_is_given_to_anybody_where_there_is_one() {
        assert_eq!(ask(Some("pem"), Method::GET, "/ca.crt"), Some(200));
        assert_eq!(ask(Some("pem"), Method::HEAD, "/ca.crt"), Some(200));
        assert_eq!(ask(Some("pem"), Method::PUT, "/ca.crt"), Some(405));
        assert_eq!(ask(Some("pem"), Method::GET, "/ca.crt/x"), None);
        assert_eq!(ask(None, Method::GET, "/ca.crt"), None);
    }
}
