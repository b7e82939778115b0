//! The one body type of requests and answers, and the small ways to make one.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// What a body ends with when it does not end well.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A stream of bytes, of a request or an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// No bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Bytes at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer of `status` with `value` as JSON.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    of_type(status, "application/json", value.to_string())
}

/// An answer of `status` with `bytes` of a media type.
pub fn of_type(status: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
