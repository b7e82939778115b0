//! Building answers as SWR's clients want them: JSON that is never empty but with 204, `Content-Range` of a
//! page, times that are never empty.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::server::body::{self, Body};

/// Of every answer with a body.
const MEDIA_TYPE: &str = "application/json;charset=utf-8";

/// An answer being built.
#[derive(Debug)]
pub struct Reply(Response<Body>);

impl Reply {
    /// 200 with this.
    pub fn ok(value: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// 200 with `{}`.
    pub fn done() -> Self {
        Self::ok(&json!({}))
    }

    /// 201 with `{}`: Terraform takes no empty body there.
    pub fn created() -> Self {
        Self::json(StatusCode::CREATED, &json!({}))
    }

    /// 204 with nothing.
    pub fn nothing() -> Self {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Self(response)
    }

    /// With a JSON body.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).unwrap_or_else(|error| {
            tracing::error!(%error, "an answer cannot be written as JSON");
            b"{}".to_vec()
        });
        Self(body::of_type(status, MEDIA_TYPE, text))
    }

    /// 200 with a page of a list: `Content-Range` tells where it begins, how many it has, how many
    /// there are.
    pub fn page<T: Serialize>(items: &[T], offset: usize, total: usize) -> Self {
        Self::ok(&items).with(header::CONTENT_RANGE, &format!("{offset}-{}/{total}", items.len()))
    }

    /// 200 with JSON that is written while it is sent.
    pub fn streamed(body: Body) -> Self {
        let reply = Self(Response::new(body));
        reply.with(header::CONTENT_TYPE, MEDIA_TYPE)
    }

    /// With a header more. A value that is not one is left out, and logged as the fault of ours it is.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => {
                self.0.headers_mut().insert(name, value);
            }
            Err(error) => tracing::error!(%name, %error, "a header's value is not one"),
        }
        self
    }

    /// With a header that nobody writes into a log.
    pub fn with_secret(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.0.headers_mut().insert(name, value);
            }
            Err(error) => tracing::error!(%name, %error, "a header's value is not one"),
        }
        self
    }

    /// The answer.
    pub fn into_response(self) -> Response<Body> {
        self.0
    }
}

/// A moment, UTC milliseconds since 1970, as RFC 3339.
pub fn time(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_where_it_begins_how_many_it_has_and_how_many_there_are() {
        let cases = [(vec![1], 0, 1, "0-1/1"), (vec![1, 2], 10, 30, "10-2/30"), (vec![], 40, 30, "40-0/30")];
        for (items, offset, total, expected) in cases {
            let response = Reply::page(&items, offset, total).into_response();
            assert_eq!(response.headers()[header::CONTENT_RANGE], expected);
        }
    }

    #[test]
    fn times_are_rfc_3339_and_never_empty() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_530_857_935_120), "2018-07-06T06:18:55.120Z");
        assert!(!time(u64::MAX).is_empty());
    }
}
