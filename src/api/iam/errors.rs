//! What is answered when something is not done: the shape the API gateway and the identity service
//! of the hosted service have, which the SDKs read.

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::server::body::{self, Body};
use crate::services::access::Refusal;
use crate::services::error::Error;
use crate::services::guard::Refused;
use crate::services::identity::SignInError;

/// A request that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Seconds after which it makes sense to try again, where that helps.
    retry_after: Option<u64>,
}

impl Failure {
    /// Nobody we know; `why` as the gateway says it.
    pub fn unauthorized(why: &str) -> Self {
        let message = format!("Incorrect IAM authentication information: {why}");
        Self { status: StatusCode::UNAUTHORIZED, code: "APIGW.0301", message, retry_after: None }
    }

    /// A token was sent, and it is not good.
    pub fn token() -> Self {
        Self::unauthorized("decrypt token fail")
    }

    /// Signed in, and not allowed.
    pub fn denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "IAM.0003", "you do not have the permission")
    }

    /// There is no such thing, or none that the one who asks may know of.
    pub fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "IAM.0004", "could not find it")
    }

    /// The request cannot be read.
    pub fn invalid(why: impl ToString) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "IAM.0011",
            message: why.to_string(),
            retry_after: None,
        }
    }

    /// The path does not have the method.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "IAM.0005", "the path does not have this method")
    }

    /// The body is longer than any that makes sense here.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("a body can have at most {limit} bytes");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, code: "IAM.0011", message, retry_after: None }
    }

    /// The body did not come in time.
    pub fn timed_out() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "IAM.0011", "the body did not come in time")
    }

    fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self { status, code, message: message.to_owned(), retry_after: None }
    }

    fn too_many(message: &str, seconds: u64) -> Self {
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, "APIGW.0308", message);
        Self { retry_after: Some(seconds), ..failure }
    }

    fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "an identity request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "IAM.0001", "internal error; the server's log says more")
    }

    /// The answer. The server puts the same id into `X-Request-Id`.
    pub fn into_response(self, request_id: &str) -> Response<Body> {
        let value = json!({"error_code": self.code, "error_msg": self.message, "request_id": request_id});
        let mut response = body::json(self.status, &value);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Which of name and secret was wrong is never told.
impl From<SignInError> for Failure {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Wrong | SignInError::Void | SignInError::NotProgrammatic => {
                Self::unauthorized("Unauthorized")
            }
            SignInError::Unreadable(why) => Self::unauthorized(&why.to_string()),
            SignInError::Signature(why) => Self::unauthorized(&why.to_string()),
            SignInError::Busy => Self::too_many("too many sign-ins at once", 5),
            SignInError::Internal => Self::internal(&SignInError::Internal),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let banned = "Not allow to login、upload or download image";
        match refused.retry_after() {
            None => Self::new(StatusCode::FORBIDDEN, "IAM.0003", banned),
            Some(seconds) => Self::too_many("too many requests; try again later", seconds),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Denied | Refusal::Scope => Self::denied(),
            Refusal::Unauthenticated | Refusal::Expired => Self::unauthorized("Unauthorized"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Missing(_) => Self::missing(),
            Error::Refused(refusal) => refusal.into(),
            error => Self::internal(&error),
        }
    }
}
