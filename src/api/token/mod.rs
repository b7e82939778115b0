//! The Docker token protocol: `GET /swr/auth/v2/registry/auth`, with a slash at its end and without.
//! A client that was challenged asks here, with Basic credentials or none, for a token with scopes.
//!
//! K1: a token has what its bearer may do now of what he asked for; what he may not is dropped, so that
//! the registry says why. K2: unknown user, wrong secret, void key: one answer. K3: no answer is kept
//! by anybody between (`Cache-Control: no-store`). K4: other methods than reading are not here: 404.
//!
//! Holds no rule: `services::identity` gives tokens. `scope` reads the parameter of that name.

mod scope;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::Recorder;
use super::guarded::Passage;
use super::registry::query::Query;
use crate::server::PeerFacts;
use crate::server::body::{self, Body};
use crate::server::metrics::Route;
use crate::services::access::{Access, Actor};
use crate::services::audit::{Operation, Trace};
use crate::services::guard::Refused;
use crate::services::identity::{Identity, SignInError, TokenError, TokenRequest};
use crate::services::signin::Secret;
use crate::services::signin::authorization::Authorization;
use crate::services::signin::token::Issued;

/// What a challenge calls the service that takes the tokens.
pub const SERVICE: &str = "dockyard";
/// Where a challenge leads.
pub const REALM: &str = "/swr/auth/v2/registry/auth/";
/// Methods and paths.
const ROUTES: [(Method, &str); 2] =
    [(Method::GET, "/swr/auth/v2/registry/auth"), (Method::GET, "/swr/auth/v2/registry/auth/")];

/// Only refusals are in the trail: every pull begins with a token.
static OPERATION: Operation = Operation::refused("createRegistryToken", "token");
const ROUTE: Route = Route { surface: "token", route: "registry-token" };

/// The surface. Clones share everything.
#[derive(Clone)]
pub struct TokenEndpoint {
    access: Access,
    identity: Identity,
    recorder: Recorder,
}

impl TokenEndpoint {
    /// On these services.
    pub const fn new(access: Access, identity: Identity, recorder: Recorder) -> Self {
        Self { access, identity, recorder }
    }

    /// Whether a path is this surface's.
    pub fn is_for(path: &str) -> bool {
        ROUTES.iter().any(|(_, known)| *known == path)
    }

    /// Answers a request whose path is this surface's.
    pub async fn handle(&self, request: Request<Body>, facts: &PeerFacts) -> Response<Body> {
        let (head, _) = request.into_parts();
        let trace = self.recorder.begin(&OPERATION, facts, &head.headers);
        let mut response = match head.method {
            Method::GET | Method::HEAD => {
                let query = Query::parse(head.uri.query().unwrap_or_default());
                self.give(&head, &query, trace.as_ref()).await
            }
            _ => error(StatusCode::NOT_FOUND, "UNSUPPORTED", "there is no such path"),
        };
        if let Some(trace) = &trace {
            trace.end(response.status().as_u16());
        }
        if head.method == Method::HEAD {
            *response.body_mut() = body::empty();
        }
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response.extensions_mut().insert(ROUTE);
        response
    }

    async fn give(&self, head: &Parts, query: &Query, trace: Option<&Trace>) -> Response<Body> {
        let passage = Passage::of(&head.extensions);
        let wrong = |error: &SignInError| Passage::refused(passage, error, &head.headers, &[]);
        let login = match self.login(&head.headers) {
            Ok(login) => login,
            Err(error) => {
                wrong(&error);
                return refused(&error.into());
            }
        };
        if let (Some(trace), Some((user, _))) = (trace, &login) {
            trace.asked("user", user.as_str());
        }
        let scopes = scope::parse(query.all("scope"));
        match self.identity.registry_token(TokenRequest { login, scopes }).await {
            Ok((issued, user)) => {
                match Passage::goes_on(passage, &user.map_or(Actor::Anonymous, Actor::User)) {
                    Ok(()) => given(&issued),
                    Err(refused) => turned_away(refused),
                }
            }
            Err(error) => {
                if let TokenError::SignIn(error) = &error {
                    wrong(error);
                }
                refused(&error)
            }
        }
    }

    /// What is answered to a request that may not come in.
    pub fn turned_away(refused: Refused, row: &'static str) -> Response<Body> {
        let mut response = turned_away(refused);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(Route { surface: "token", route: row });
        response
    }

    /// The credentials, if any. In a lab nobody has to have good ones, so that none are looked at.
    fn login(&self, headers: &HeaderMap) -> Result<Option<(String, Secret)>, SignInError> {
        if self.access.is_lab() {
            return Ok(None);
        }
        let values = headers.get_all(header::AUTHORIZATION);
        let values: Vec<&[u8]> = values.iter().map(HeaderValue::as_bytes).collect();
        match Authorization::parse(&values)? {
            None => Ok(None),
            Some(Authorization::Basic { user, password }) => Ok(Some((user, password))),
            Some(_) => Err(SignInError::Wrong),
        }
    }
}

fn turned_away(refused: Refused) -> Response<Body> {
    let Some(seconds) = refused.retry_after() else {
        return error(StatusCode::FORBIDDEN, "DENIED", "Not allow to login、upload or download image");
    };
    let message = "too many requests; try again later";
    let mut response = error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn given(issued: &Issued) -> Response<Body> {
    let Some(token) = issued.token.expose_text() else { return internal("a token is not text") };
    let issued_at = i64::try_from(issued.issued_at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    let Some(issued_at) = issued_at else { return internal("the clock is far off") };
    let value = json!({
        "token": token,
        "access_token": token,
        "expires_in": issued.expires_in,
        "issued_at": issued_at.to_string(),
    });
    body::json(StatusCode::OK, &value)
}

fn refused(why: &TokenError) -> Response<Body> {
    match why {
        TokenError::OrganisationUnknown => {
            denied("Image organization does not exist, you should create it first")
        }
        TokenError::SignIn(SignInError::Busy) => {
            let message = "too many sign-ins at once; try again";
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
        TokenError::SignIn(SignInError::Internal) => internal("no token could be made"),
        TokenError::SignIn(_) => denied("Authenticate Error"),
    }
}

fn denied(message: &str) -> Response<Body> {
    let mut response = error(StatusCode::UNAUTHORIZED, "DENIED", message);
    let basic = HeaderValue::from_static("Basic realm=\"dockyard\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    response
}

fn internal(why: &str) -> Response<Body> {
    tracing::error!(why, "a token was not given");
    error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "internal error; the registry's log says more")
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let errors: Value = json!({"errors": [{"code": code, "message": message}]});
    body::json(status, &errors)
}

/// Every route's operation in the audit trail.
#[cfg(test)]
pub fn operations() -> Vec<&'static Operation> {
    vec![&OPERATION]
}

/// Method and path of every route, for the walk over all surfaces.
#[cfg(test)]
pub fn routes() -> Vec<(Method, String)> {
    ROUTES.iter().map(|(method, path)| (method.clone(), (*path).to_owned())).collect()
}
