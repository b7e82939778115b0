//! Requests that are sent again and again, and answers read to their end.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, Uri};

use crate::error::BenchError;

/// A request that can be sent again and again; sending shares its path.
#[derive(Clone)]
pub struct Call {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Call {
    /// A request for a path that begins with `/`.
    pub fn new(method: Method, path: &str) -> Result<Self, BenchError> {
        let what = || format!("{method} {path}");
        let uri = path.parse().map_err(|_| BenchError::content(what(), "this is not a path"))?;
        Ok(Self { method, uri, headers: HeaderMap::new() })
    }

    /// `GET` of a path.
    pub fn get(path: &str) -> Result<Self, BenchError> {
        Self::new(Method::GET, path)
    }

    /// With one more header.
    pub fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// With a body, ready to be sent.
    pub fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Method and path, for messages.
    pub fn what(&self) -> String {
        format!("{} {}", self.method, self.uri)
    }
}

/// An answer read to its end.
pub struct Reply {
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body.
    pub body: Bytes,
}

impl Reply {
    /// A header as text, if it is there and is text.
    pub fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where to go on: the path and query of `Location`, which may name the host or not.
    pub fn location(&self) -> Option<String> {
        let uri: Uri = self.header(LOCATION)?.parse().ok()?;
        uri.path_and_query().map(|path| path.as_str().to_owned())
    }
}
