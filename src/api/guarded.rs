//! The gate before all surfaces of the network: asks the guard before anything of a request is read or checked, and
//! gives the surfaces the [`Passage`] of a request that came in, by which they tell who it turned out to be and which
//! credentials were wrong. Health, the CA's certificate and the admin socket are not behind it.
//!
//! G1: nothing of a body is read for who is banned, and little for who asks too much. G2: where it comes from is the
//! address nearest to us that is no proxy of ours. G3: what a surface answers to who may not come in has its own form.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Body as _;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::Extensions;
use hyper::{Method, Request, Response, Version};

use super::Recorder;
use super::registry::incoming;
use super::signed::X_AUTH_TOKEN;
use crate::server::PeerFacts;
use crate::server::body::{self, Body};
use crate::services::access::Actor;
use crate::services::audit::Source;
use crate::services::guard::{Asks, Class, Guard, Refused, Uploading, Wrong};
use crate::services::identity::SignInError;
use crate::services::signin::signature::{Refused as Unsigned, Signature};

/// Asks the guard. Clones share everything.
#[derive(Clone)]
pub struct Gate {
    guard: Guard,
    recorder: Recorder,
}

/// A request that came in. It is among the extensions of the request, and lasts as long as that.
#[derive(Clone)]
pub struct Passage(Arc<Inner>);

struct Inner {
    guard: Guard,
    from: Option<IpAddr>,
    class: Class,
}

impl Gate {
    /// Of this guard; `recorder` knows where requests come from.
    pub const fn new(guard: Guard, recorder: Recorder) -> Self {
        Self { guard, recorder }
    }

    /// Lets a request in, or says why not.
    pub fn enter(&self, class: Class, request: &mut Request<Body>, facts: &PeerFacts) -> Result<(), Refused> {
        let from = match self.recorder.source(&facts.peer, request.headers()) {
            Source::Address(address) => Some(address),
            Source::Local(_) => None,
        };
        if let Some(from) = from {
            let signs_in = brings_password(request.headers());
            self.guard.enter(from, Asks { class, signs_in, is_probe: is_probe(request) })?;
        }
        let passage = Inner { guard: self.guard.clone(), from, class };
        request.extensions_mut().insert(Passage(Arc::new(passage)));
        Ok(())
    }

    /// Ends what a surface answers to a request that may not come in.
    pub async fn turn_away(
        &self,
        refused: Refused,
        request: Request<Body>,
        mut response: Response<Body>,
    ) -> Response<Body> {
        let (head, unread) = request.into_parts();
        if head.method == Method::HEAD {
            *response.body_mut() = body::empty();
        }
        let is_read = match refused {
            Refused::Banned => unread.is_end_stream(),
            Refused::Limited(_) => incoming::drain(&head.headers, unread).await,
        };
        if !is_read && head.version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Passage {
    /// That of a request; none if it did not come through the gate.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Whether a request may go on, now that it is known who asks.
    pub fn goes_on(passage: Option<&Self>, actor: &Actor) -> Result<(), Refused> {
        match (passage, actor) {
            (Some(Self(inner)), Actor::User(id)) => inner.guard.user(*id, inner.from, inner.class),
            _ => Ok(()),
        }
    }

    /// The body of an upload is received from now on, until what this gives is dropped. Not to be asked while it waits
    /// for its slot: waiting is no offence.
    pub fn uploading(passage: Option<&Self>) -> Option<Uploading> {
        let Self(inner) = passage?;
        inner.from.map(|from| inner.guard.uploading(from))
    }

    /// Somebody was not let in. What was wrong is taken from the headers, or is `shown` where it was in the body.
    pub fn refused(passage: Option<&Self>, error: &SignInError, headers: &HeaderMap, shown: &[&[u8]]) {
        let Some((inner, from)) = passage.and_then(|Self(inner)| Some((inner, inner.from?))) else { return };
        let is_charged = inner.class == Class::SignIn;
        if let Some((wrong, parts)) = credential(error, headers, shown) {
            inner.guard.wrong(from, wrong, &parts, is_charged);
        }
    }
}

/// What was wrong, if anything was that a guesser would send.
fn credential<'a>(
    error: &SignInError,
    headers: &'a HeaderMap,
    shown: &[&'a [u8]],
) -> Option<(Wrong, Vec<&'a [u8]>)> {
    match error {
        SignInError::Wrong | SignInError::Unreadable(_) | SignInError::Signature(Unsigned::Wrong) => {}
        // Good once, good but not for this, or nothing that a guess could change.
        SignInError::Void
        | SignInError::NotProgrammatic
        | SignInError::Signature(_)
        | SignInError::Busy
        | SignInError::Internal => return None,
    }
    if !shown.is_empty() {
        return Some((Wrong::Login, shown.to_vec()));
    }
    if let Some(token) = headers.get(X_AUTH_TOKEN) {
        return Some((Wrong::Token, vec![token.as_bytes()]));
    }
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    if value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer ")) {
        return Some((Wrong::Token, vec![value]));
    }
    Some((Wrong::Login, vec![signer(value).unwrap_or(value)]))
}

/// Of a signed request who signs it: with one secret every request has another signature.
fn signer(value: &[u8]) -> Option<&[u8]> {
    let signed = value.strip_prefix(Signature::ALGORITHM.as_bytes())?;
    signed.split(|byte| *byte == b',').find(|part| part.trim_ascii().starts_with(b"Access="))
}

/// Whether a password has to be checked, which is made to take long.
fn brings_password(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    value.and_then(|value| value.get(..6)).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
}

/// Whether it is what every client asks before it does anything: `/v2/` without credentials.
fn is_probe<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let is_anonymous = !headers.contains_key(header::AUTHORIZATION) && !headers.contains_key(X_AUTH_TOKEN);
    is_anonymous && matches!(request.uri().path(), "/v2/" | "/v2") && request.method().is_safe()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn a_wrong_credential_is_the_same_one_however_often_it_is_sent() {
        let wrong = |error, name, value| {
            let headers = headers(name, value);
            let found = credential(&error, &headers, &[]);
            found.map(|(what, parts)| (what, parts.concat()))
        };
        let signed = |rest| wrong(SignInError::Signature(Unsigned::Wrong), "authorization", rest);
        let first = signed("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=host, Signature=01");
        assert_eq!(first, signed("SDK-HMAC-SHA256 Access=AK1, SignedHeaders=host, Signature=02"));
        assert_ne!(first, signed("SDK-HMAC-SHA256 Access=AK2, SignedHeaders=host, Signature=01"));
        let basic = wrong(SignInError::Wrong, "authorization", "Basic YTpi");
        assert_eq!(basic, Some((Wrong::Login, b"Basic YTpi".to_vec())));
        let bearer = wrong(SignInError::Wrong, "authorization", "bearer abc");
        assert_eq!(bearer, Some((Wrong::Token, b"bearer abc".to_vec())));
        let token = wrong(SignInError::Wrong, "x-auth-token", "abc");
        assert_eq!(token, Some((Wrong::Token, b"abc".to_vec())));
        for error in [SignInError::Void, SignInError::NotProgrammatic, SignInError::Busy] {
            assert_eq!(wrong(error, "authorization", "Bearer abc"), None);
        }
        let clock = SignInError::Signature(Unsigned::Expired);
        assert_eq!(wrong(clock, "authorization", "SDK-HMAC-SHA256 Access=AK1"), None);
        assert_eq!(credential(&SignInError::Wrong, &HeaderMap::new(), &[]), None, "nothing was shown");
    }

    #[test]
    fn only_the_probe_without_credentials_is_one() {
        let is = |method: Method, path: &str, headers: HeaderMap| {
            let mut request = Request::builder().method(method).uri(path).body(()).expect("a request");
            *request.headers_mut() = headers;
            is_probe(&request)
        };
        assert!(is(Method::GET, "/v2/", HeaderMap::new()) && is(Method::HEAD, "/v2", HeaderMap::new()));
        assert!(!is(Method::GET, "/v2/", headers("authorization", "Basic YTpi")));
        assert!(!is(Method::GET, "/v2/_catalog", HeaderMap::new()));
        assert!(!is(Method::POST, "/v2/", HeaderMap::new()));
    }
}
