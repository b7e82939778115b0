//! Building answers.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::server::body::{self, Body};

/// A page of a list.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// What to give as `after` for the next page; `null` on the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A list that has one page.
    pub fn whole(items: impl Iterator<Item = T>) -> Self {
        Self { items: items.collect(), next: None }
    }
}

/// What was removed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// As it was named.
    pub removed: String,
}

/// An answer being built.
#[derive(Debug)]
pub struct Reply {
    response: Response<Body>,
    /// The type that was written, for tests of the document.
    of: &'static str,
}

impl Reply {
    /// It was done; this is the outcome.
    pub fn ok<T: Serialize + JsonSchema>(value: &T) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// With a JSON body.
    pub fn json<T: Serialize + JsonSchema>(status: StatusCode, value: &T) -> Self {
        let text = serde_json::to_vec(value).unwrap_or_else(|error| {
            tracing::error!(%error, "an answer cannot be written as JSON");
            b"{}".to_vec()
        });
        Self { response: body::of_type(status, "application/json", text), of: std::any::type_name::<T>() }
    }

    /// With a header more.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => {
                self.response.headers_mut().insert(name, value);
            }
            Err(error) => tracing::error!(%name, %error, "a header's value is not one"),
        }
        self
    }

    /// The name of the type that was written.
    pub const fn of(&self) -> &'static str {
        self.of
    }

    /// The answer.
    pub fn into_response(self) -> Response<Body> {
        self.response
    }
}

/// A moment, UTC milliseconds since 1970, as RFC 3339.
pub fn time(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}
