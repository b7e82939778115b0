//! Building answers.

use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use pierhead_storage_format::Digest;
use serde::Serialize;

use crate::server::body::{self, Body};

/// The digest of what is answered, or was stored.
pub const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An answer being built.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    reason: Option<ReasonPhrase>,
    body: Body,
}

impl Reply {
    /// Without a body.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), reason: None, body: body::empty() }
    }

    /// With a JSON body. `Content-Length` is set here, so that a HEAD tells it too.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).unwrap_or_else(|error| {
            tracing::error!(%error, "an answer cannot be written as JSON");
            b"{}".to_vec()
        });
        Self::new(status)
            .with(header::CONTENT_TYPE, "application/json")
            .with(header::CONTENT_LENGTH, &bytes.len().to_string())
            .containing(body::full(bytes))
    }

    /// With a header more. Values are digests, names, numbers and media types, which their parsers
    /// hold to visible ASCII; any other is left out, and logged as the fault of ours it is.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => {
                self.headers.append(name, value);
            }
            Err(error) => tracing::error!(%name, %error, "a header's value is not one"),
        }
        self
    }

    /// With another `Content-Type`.
    pub fn typed(mut self, media_type: &str) -> Self {
        self.headers.remove(header::CONTENT_TYPE);
        self.with(header::CONTENT_TYPE, media_type)
    }

    /// With `Docker-Content-Digest`.
    pub fn digest(self, digest: &Digest) -> Self {
        self.with(DOCKER_CONTENT_DIGEST, &digest.to_string())
    }

    /// With these words behind the status, which is all that docker and skopeo show of a 5xx.
    pub fn saying(mut self, reason: ReasonPhrase) -> Self {
        self.reason = Some(reason);
        self
    }

    /// With this body.
    pub fn containing(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Its status.
    #[cfg(test)]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer.
    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(reason) = self.reason {
            response.extensions_mut().insert(reason);
        }
        response
    }
}
