//! Who asks, and whether he may: from the head and body of a request to a caller and a permit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use tokio::time::timeout;

use super::Swr;
use super::errors::{Failure, Kind};
use super::route::{Row, Signs, Subject, Takes};
use crate::api::guarded::Passage;
use crate::api::registry::incoming::Incoming;
use crate::api::signed::{self, X_AUTH_TOKEN};
use crate::server::body::Body;
use crate::services::access::{Action, Actor, Caller, Permit, Refusal, Resource};
use crate::services::error::{Error, SourceError};
use crate::services::identity::{Proof, SignInError};
use crate::services::names::OrganisationName;
use crate::services::signin::signature;
use crate::services::uploads::Source;

/// Until a body has to be there that is read before anybody is known: what it keeps is kept of anybody.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Bytes of a body at most: a description of 30,000 characters, each escaped, is a third of it.
pub const MAX_BODY: usize = 1 << 20;

const BASIC: &str = "Basic realm=\"dockyard\"";

/// Somebody who signed in.
pub struct Known {
    pub caller: Caller,
    /// What he signed in with; none in a lab and where docker's credentials are taken.
    pub proof: Option<Proof>,
    /// The request's body.
    pub body: Bytes,
}

impl Swr {
    /// Who asks, and what he sent. A body is read before he is known only if he signed it, and one that
    /// the operation has no use for not at all otherwise. In a lab he is nobody in particular, whatever he sends.
    pub(super) async fn known(&self, row: &Row, head: &Parts, body: &mut Body) -> Result<Known, Failure> {
        let signed = if is_signed(&head.headers) { Some(soon(body).await?) } else { None };
        let (caller, proof) = match row.signs() {
            _ if self.0.access.is_lab() => (Caller::plain(Actor::Anonymous), None),
            Signs::Login => (self.by_login(head).await?, None),
            Signs::Api => {
                let (proof, caller) = self.by_api(head, signed.as_deref().unwrap_or_default())?;
                (caller, Some(proof))
            }
        };
        let body = match signed {
            Some(signed) => signed,
            None if row.takes == Takes::Json => whole(body).await?,
            None => Bytes::new(),
        };
        Ok(Known { caller, proof, body })
    }

    /// By docker's credentials. A token of the registry is none: it is for repositories.
    async fn by_login(&self, head: &Parts) -> Result<Caller, Failure> {
        let values = authorization(&head.headers);
        let wrong = || Failure::new(Kind::LoginWrong).with(header::WWW_AUTHENTICATE, BASIC);
        let is_basic = |value: &&[u8]| value.get(..6).is_some_and(|v| v.eq_ignore_ascii_case(b"basic "));
        if !values.first().is_some_and(is_basic) {
            return Err(wrong());
        }
        self.0.identity.registry_caller(&values).await.map_err(|error| {
            Passage::refused(Passage::of(&head.extensions), &error, &head.headers, &[]);
            match error {
                SignInError::Busy | SignInError::Internal => error.into(),
                _ => wrong(),
            }
        })
    }

    /// By a token first, then by a signature over the request with its body.
    fn by_api(&self, head: &Parts, body: &[u8]) -> Result<(Proof, Caller), Failure> {
        let (known, has_token) = signed::caller(&self.0.identity, head, body);
        known.map_err(|error| {
            Passage::refused(Passage::of(&head.extensions), &error, &head.headers, &[]);
            match error {
                SignInError::Wrong | SignInError::Void | SignInError::Unreadable(_) if has_token => {
                    Failure::about(Kind::Unauthenticated, "decrypt token fail")
                }
                error => error.into(),
            }
        })
    }

    /// The permit for what is asked. What he may not even know of is not there for him.
    pub(super) fn admitted(&self, caller: &Caller, row: &Row, resource: Resource) -> Result<Permit, Failure> {
        let about = resource.clone();
        self.0.access.admit(caller, row.action, resource).map_err(|refusal| match refusal {
            Refusal::Denied => Failure::new(self.refusal(&caller.actor, row.subject, &about)),
            refusal => refusal.into(),
        })
    }

    fn refusal(&self, actor: &Actor, subject: Subject, resource: &Resource) -> Kind {
        let organisation = resource.organisation().and_then(|name| name.parse::<OrganisationName>().ok());
        let Some(organisation) = organisation else { return Kind::Denied };
        let may = |action| self.0.access.authorise(actor, action, resource.clone()).is_ok();
        match subject {
            Subject::Registry | Subject::NewOrganisation => Kind::Denied,
            Subject::Repository if may(Action::ShowRepository) => Kind::DeniedRepository,
            _ if !self.0.organisations.is_visible(actor, &organisation) => Kind::OrganisationMissing,
            Subject::Repository => Kind::RepositoryMissing,
            Subject::Organisation | Subject::NewRepository => Kind::DeniedOrganisation,
        }
    }
}

/// Whether somebody proves who he is as this surface wants it, well or not: `/` and `/v2` are others' for everybody else.
pub fn signs_in(headers: &HeaderMap) -> bool {
    headers.contains_key(X_AUTH_TOKEN) || is_signed(headers)
}

/// Whether the request is signed and no token comes before that.
fn is_signed(headers: &HeaderMap) -> bool {
    let signed = |value: &&[u8]| value.starts_with(signature::Signature::ALGORITHM.as_bytes());
    !headers.contains_key(X_AUTH_TOKEN) && authorization(headers).first().is_some_and(signed)
}

fn authorization(headers: &HeaderMap) -> Vec<&[u8]> {
    headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect()
}

/// The whole body of somebody who is not known yet.
async fn soon(body: &mut Body) -> Result<Bytes, Failure> {
    let read = timeout(BODY_TIME, whole(body)).await;
    read.unwrap_or_else(|_| Err(Error::from(SourceError::TimedOut).into()))
}

/// The whole body, which must not be longer than any that makes sense.
async fn whole(body: &mut Body) -> Result<Bytes, Failure> {
    let mut all = BytesMut::new();
    let mut source = Incoming(body);
    while let Some(bytes) = source.next().await {
        let bytes = bytes.map_err(Error::from)?;
        if all.len() + bytes.len() > MAX_BODY {
            return Err(Failure::about(Kind::BodyTooLarge, MAX_BODY));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}
