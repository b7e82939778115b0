//! What SDKs and Terraform ask the identity service before they use the registry's management: a token
//! for a password, the project of a region, the account, a user. Under `/v3` and `/v3.0`.
//!
//! I1: but for the request for a token, nothing is answered without `X-Auth-Token` or a request signature
//! (`AK`/`SK`). I2: everybody sees his own account only; users other than himself if he administers it.
//! I3: no answer is kept by anybody between. I4: a body is read whole before a signature can be checked, and
//! is small ([`MAX_BODY`]) and soon there ([`BODY_TIME`]).
//!
//! Holds no rule. Start at `route`; `views` is the JSON, `errors` what is refused.

mod errors;
mod route;
mod views;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use pierhead_storage_format::identity::Id;
use serde_json::Value;
use tokio::time::timeout;

use self::errors::Failure;
use self::route::Operation;
use self::views::TokenBody;
use super::Recorder;
use super::guarded::Passage;
use super::registry::query::Query;
use super::signed;
use crate::server::PeerFacts;
use crate::server::body::{self, Body};
use crate::server::metrics::Route;
use crate::services::access::{Access, Action, Actor, Caller, Resource};
use crate::services::audit::Trace;
use crate::services::guard::Refused;
use crate::services::identity::{Account, Identity, UserView};
use crate::services::signin::Secret;

/// Bytes of a body at most: a user name, a password and what SDKs write around them.
const MAX_BODY: usize = 64 << 10;
/// Until a body has to be there: nobody is known before, and what it keeps is kept of anybody.
const BODY_TIME: Duration = Duration::from_secs(30);
const X_SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// The surface. Clones share everything.
#[derive(Clone)]
pub struct Iam {
    access: Access,
    identity: Identity,
    region: String,
    recorder: Recorder,
}

impl Iam {
    /// On these services; `region` is what the appliance calls itself.
    pub const fn new(access: Access, identity: Identity, region: String, recorder: Recorder) -> Self {
        Self { access, identity, region, recorder }
    }

    /// What is answered to a request that may not come in.
    pub fn turned_away(refused: Refused, request_id: &str, row: &'static str) -> Response<Body> {
        let mut response = Failure::from(refused).into_response(request_id);
        response.extensions_mut().insert(Route { surface: "iam", route: row });
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Whether a request for this surface asks for a token.
    pub fn is_sign_in(path: &str) -> bool {
        route::find(path).is_some_and(|(row, _)| row.operation == Operation::CreateToken)
    }

    /// Whether a path is this surface's.
    pub fn is_for(path: &str) -> bool {
        route::find(path).is_some()
    }

    /// Answers a request whose path is this surface's.
    pub async fn handle(&self, request: Request<Body>, facts: &PeerFacts) -> Response<Body> {
        let (head, mut body) = request.into_parts();
        let row = route::find(head.uri.path()).map(|(row, _)| row).filter(|row| row.method == head.method);
        let trace = row.and_then(|row| self.recorder.begin(&row.audit, facts, &head.headers));
        let name = row.map_or("unknown", |row| row.name);
        let outcome = self.serve(&head, &mut body, trace.as_ref()).await;
        let mut response = outcome.unwrap_or_else(|failure| failure.into_response(&facts.request_id));
        if let Some(trace) = &trace {
            trace.end(response.status().as_u16());
        }
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response.extensions_mut().insert(Route { surface: "iam", route: name });
        response
    }

    async fn serve(
        &self,
        head: &Parts,
        body: &mut Body,
        trace: Option<&Trace>,
    ) -> Result<Response<Body>, Failure> {
        let (row, parameter) = route::find(head.uri.path()).ok_or_else(Failure::missing)?;
        if row.method != head.method {
            return Err(Failure::method());
        }
        let body = soon(body).await?;
        if row.operation == Operation::CreateToken {
            return self.create_token(head, &body, trace).await;
        }
        let caller = self.caller(head, &body)?;
        if let Some(trace) = trace {
            trace.by(&caller.actor).named(parameter);
        }
        Passage::goes_on(Passage::of(&head.extensions), &caller.actor)?;
        let value = match row.operation {
            Operation::ListDomains => views::domains(&self.own_account(&caller)?),
            Operation::ShowUser => self.show_user(&caller, parameter)?,
            Operation::ListProjects | Operation::CreateToken => {
                let query = Query::parse(head.uri.query().unwrap_or_default());
                views::projects(&self.own_account(&caller)?, &self.region, query.some("name"))
            }
        };
        Ok(body::json(StatusCode::OK, &value))
    }

    async fn create_token(
        &self,
        head: &Parts,
        body: &Bytes,
        trace: Option<&Trace>,
    ) -> Result<Response<Body>, Failure> {
        // What serde quotes of a body could be a password.
        let request: TokenBody = serde_json::from_slice(body)
            .map_err(|_| Failure::invalid("the body is no request for a token"))?;
        let methods = &request.auth.identity.methods;
        let password = request.auth.identity.password.filter(|_| methods.iter().any(|m| m == "password"));
        let user = password.ok_or_else(|| Failure::invalid("the method has to be password"))?.user;
        let (given, domain) = (Secret::from(user.password), user.domain.name.unwrap_or_default());
        if let Some(trace) = trace {
            trace.signed().asked("domain", domain.as_str()).asked("user", user.name.as_str());
        }
        let passage = Passage::of(&head.extensions);
        let proof = self.identity.sign_in_to(&domain, &user.name, &given).await.inspect_err(|error| {
            let shown = [domain.as_bytes(), user.name.as_bytes(), given.expose()];
            Passage::refused(passage, error, &head.headers, &shown);
        })?;
        let caller = Caller::plain(Actor::User(proof.user));
        if let Some(trace) = trace {
            trace.by(&caller.actor);
        }
        Passage::goes_on(passage, &caller.actor)?;
        let (account, user) = (self.own_account(&caller)?, self.own_user(&caller)?);
        let scope = request.auth.scope;
        if !scope.fits(&account, &self.region) {
            return Err(Failure::unauthorized("Unauthorized"));
        }
        let (issued, _) = self.identity.api_token_for(&proof)?;
        let value = views::token(&issued, &user, &account, &self.region, &scope);
        let mut response = body::json(StatusCode::CREATED, &value);
        let token = HeaderValue::from_bytes(issued.token.expose());
        let mut token = token.map_err(|_| Failure::token())?;
        token.set_sensitive(true);
        response.headers_mut().insert(X_SUBJECT_TOKEN, token);
        Ok(response)
    }

    /// Who asks: by a token first, then by a signature.
    fn caller(&self, head: &Parts, body: &Bytes) -> Result<Caller, Failure> {
        let (known, has_token) = signed::caller(&self.identity, head, body);
        match known {
            Ok((_, caller)) => Ok(caller),
            Err(error) => {
                Passage::refused(Passage::of(&head.extensions), &error, &head.headers, &[]);
                Err(if has_token { Failure::token() } else { error.into() })
            }
        }
    }

    fn own_account(&self, caller: &Caller) -> Result<Account, Failure> {
        let permit = self.access.admit(caller, Action::ShowSelf, Resource::Registry)?;
        Ok(self.identity.own_account(&permit)?)
    }

    fn own_user(&self, caller: &Caller) -> Result<UserView, Failure> {
        let permit = self.access.admit(caller, Action::ShowSelf, Resource::Registry)?;
        Ok(self.identity.show_self(&permit)?)
    }

    /// A user of the caller's account. Whoever is not told of others is not told who there is.
    fn show_user(&self, caller: &Caller, id: &str) -> Result<Value, Failure> {
        let own = self.own_user(caller)?;
        if own.id.to_string() == id {
            return Ok(views::user(&own));
        }
        let permit = self.access.admit(caller, Action::ListUsers, Resource::Account(own.account))?;
        let id: Id = id.parse().map_err(|_| Failure::missing())?;
        Ok(views::user(&self.identity.show_user(&permit, id)?))
    }
}

/// The whole body of somebody who is not known yet.
async fn soon(body: &mut Body) -> Result<Bytes, Failure> {
    timeout(BODY_TIME, whole(body)).await.map_err(|_| Failure::timed_out())?
}

/// The whole body, which must not be longer than any that makes sense.
async fn whole(body: &mut Body) -> Result<Bytes, Failure> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers say nothing here.
        let frame = frame.map_err(|_| Failure::invalid("the body ended before its end"))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if all.len() + bytes.len() > MAX_BODY {
            return Err(Failure::too_large(MAX_BODY));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}

/// Every row's operation in the audit trail.
#[cfg(test)]
pub fn operations() -> Vec<&'static crate::services::audit::Operation> {
    route::ROUTES.iter().map(|row| &row.audit).collect()
}

/// Method and path of every route, for the walk over all surfaces.
#[cfg(test)]
pub fn routes() -> Vec<(hyper::Method, String)> {
    route::ROUTES.iter().map(|row| (row.method.clone(), row.path.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;
    use crate::server::body::BoxError;

    /// A byte every ten seconds.
    struct Trickle(Pin<Box<tokio::time::Sleep>>);

    impl hyper::body::Body for Trickle {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            std::task::ready!(self.0.as_mut().poll(context));
            self.0.set(tokio::time::sleep(Duration::from_secs(10)));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_goes_on_and_on_is_waited_for_half_a_minute() {
        let begun = tokio::time::Instant::now();
        let mut body = Trickle(Box::pin(tokio::time::sleep(Duration::ZERO))).boxed_unsync();
        assert_eq!(soon(&mut body).await, Err(Failure::timed_out()));
        assert_eq!(begun.elapsed(), BODY_TIME);
        assert_eq!(soon(&mut body::full("{}")).await, Ok(Bytes::from_static(b"{}")));
    }
}
