//! Who sends a request of a management API: by a token of its own first, then by a signature over the request.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use crate::services::access::Caller;
use crate::services::identity::{Identity, Proof, SignInError};
use crate::services::signin::{Secret, signature};

/// Where a token is.
pub const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// Who sends it, and whether he sent a token; `body` is all of the body, which a signature covers.
pub fn caller(
    identity: &Identity,
    head: &Parts,
    body: &[u8],
) -> (Result<(Proof, Caller), SignInError>, bool) {
    let token = head.headers.get(X_AUTH_TOKEN).map(|value| Secret::new(value.as_bytes().to_vec()));
    let values: Vec<&[u8]> =
        head.headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect();
    let mut headers: Vec<(&str, &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    if let Some(authority) = head.uri.authority().filter(|_| !head.headers.contains_key(header::HOST)) {
        headers.push(("host", authority.as_str().as_bytes()));
    }
    let request = signature::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &headers,
        body,
    };
    (identity.api_caller(token.as_ref(), &values, &request), token.is_some())
}
