//! Who asks, and whether he may: from the headers of a request to a caller and a permit.

use hyper::header;
use hyper::http::request::Parts;

use super::Registry;
use super::errors::{Failure, Kind};
use super::path::{Path, Shape};
use super::route::Row;
use crate::api::guarded::Passage;
use crate::services::access::{Access, Action, Actor, Caller, Permit, Refusal, Resource};
use crate::services::identity::SignInError;

impl Registry {
    /// Who asks. In a lab nobody in particular, whatever credentials he sends.
    pub(super) async fn caller(&self, head: &Parts) -> Result<Caller, Failure> {
        if self.access.is_lab() {
            return Ok(Caller::plain(Actor::Anonymous));
        }
        let values = head.headers.get_all(header::AUTHORIZATION);
        let values: Vec<&[u8]> = values.iter().map(header::HeaderValue::as_bytes).collect();
        match self.identity.registry_caller(&values).await {
            Ok(caller) => Ok(caller),
            Err(error) => {
                Passage::refused(Passage::of(&head.extensions), &error, &head.headers, &[]);
                Err(refused(&error, values.first().is_some_and(|value| is_bearer(value))))
            }
        }
    }

    /// The permit for what is asked.
    pub(super) fn admitted(
        &self,
        mut caller: Caller,
        row: &Row,
        path: Path<'_>,
        resource: Resource,
    ) -> Result<(Caller, Permit), Failure> {
        if caller.expired && path.shape == Shape::Upload {
            caller.expired = !self.goes_on(&caller.actor, &resource, path.tail);
        }
        let permit = admit(&self.access, &caller, row.action_on(path.tail), resource);
        let permit = permit.map_err(|failure| if row.is_probe() { hidden(failure) } else { failure })?;
        Ok((caller, permit))
    }

    /// Whether a token that ended is good for this session: the one who has it began it, so that an
    /// upload can take longer than any token lasts.
    fn goes_on(&self, actor: &Actor, resource: &Resource, session: &str) -> bool {
        matches!(resource, Resource::Repository(name) if self.uploads.is_of(actor, name, session))
    }
}

/// A blob whose repository one may not know of is not there. An answer to a HEAD has no words, and clients
/// that ask before they push end there; so they go on, to the answer that has them.
fn hidden(failure: Failure) -> Failure {
    match failure.kind() {
        Kind::Denied | Kind::OrganisationUnknown => Failure::new(Kind::BlobUnknown),
        _ => failure,
    }
}

/// The permit, or the refusal in the words for it.
pub(super) fn admit(
    access: &Access,
    caller: &Caller,
    action: Action,
    resource: Resource,
) -> Result<Permit, Failure> {
    let lacking = match &resource {
        Resource::Repository(name) if action == Action::Push => {
            access.lacks_organisation(&caller.actor, name)
        }
        _ => false,
    };
    access.admit(caller, action, resource).map_err(|refusal| match refusal {
        Refusal::Denied if lacking => Failure::new(Kind::OrganisationUnknown),
        refusal => refusal.into(),
    })
}

fn is_bearer(value: &[u8]) -> bool {
    value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
}

/// Which of name and secret was wrong is never told, nor whether there is such a user.
fn refused(error: &SignInError, is_bearer: bool) -> Failure {
    match error {
        SignInError::NotProgrammatic => Failure::new(Kind::NotProgrammatic),
        SignInError::Busy => Failure::later(Kind::SignInBusy),
        SignInError::Internal => Failure::new(Kind::Internal),
        SignInError::Wrong | SignInError::Void | SignInError::Unreadable(_) | SignInError::Signature(_) => {
            Failure::new(if is_bearer { Kind::TokenInvalid } else { Kind::Unauthenticated })
        }
    }
}
