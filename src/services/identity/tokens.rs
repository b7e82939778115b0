//! Tokens: for docker by its token protocol, for the management API, and for login commands.

use pierhead_storage_format::identity::Id;

use super::sign_in::{Proof, SignInError, actions};
use super::{Identity, own};
use crate::services::access::{Action, Actor, Permit, Resource};
use crate::services::error::Error;
use crate::services::names::RepositoryName;
use crate::services::signin::Secret;
use crate::services::signin::token::{Access, Bearer, Grant, Issued};

/// Scopes one token may be asked for.
const MAX_SCOPES: usize = 100;
/// What is given of an action on a repository that is not named as docker names them.
const KNOWN: [&str; 3] = ["pull", "push", "delete"];

/// What docker asks a token for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedScope {
    /// `repository` or `registry`.
    pub kind: String,
    /// As the client wrote it.
    pub name: String,
    /// `pull`, `push`, `delete`, `*`.
    pub actions: Vec<String>,
}

/// A request for a token of the registry.
#[derive(Debug)]
pub struct TokenRequest {
    /// User name and what proves it; nobody without.
    pub login: Option<(String, Secret)>,
    /// What for.
    pub scopes: Vec<RequestedScope>,
}

/// Why no token is given.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Who asks is not let in.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// He wants to push into an organisation that is not there, and no push makes one.
    #[error("the organisation does not exist")]
    OrganisationUnknown,
}

impl Identity {
    /// A token of the registry: with what of its scopes the one who asks may do now, and who that is. Nobody gets
    /// one too, for public images.
    pub async fn registry_token(&self, request: TokenRequest) -> Result<(Issued, Option<Id>), TokenError> {
        let proof = match &request.login {
            Some((name, password)) => Some(self.sign_in(name, password).await?),
            None => None,
        };
        let actor = proof.as_ref().map_or(Actor::Anonymous, |proof| Actor::User(proof.user));
        let scopes = || request.scopes.iter().take(MAX_SCOPES).filter(|scope| scope.kind == "repository");
        if scopes().any(|scope| self.pushes_nowhere(&actor, scope)) {
            return Err(TokenError::OrganisationUnknown);
        }
        let granted = scopes().filter_map(|scope| self.narrowed(&actor, scope)).collect();
        let bearer = match &proof {
            Some(proof) => bearer_of(proof),
            None => Bearer { user: None, access_key: None, password_at: 0 },
        };
        let issued = self.parts().tokens.issue(bearer, Grant::Registry(granted));
        Ok((issued.ok_or(SignInError::Internal)?, proof.map(|proof| proof.user)))
    }

    /// Whether somebody who signed in wants to push where nothing is and nothing will be made.
    fn pushes_nowhere(&self, actor: &Actor, scope: &RequestedScope) -> bool {
        let name = scope.name.parse::<RepositoryName>();
        let is_push = scope.actions.iter().any(|action| action == "push");
        is_push && name.is_ok_and(|name| self.parts().access.lacks_organisation(actor, &name))
    }

    /// What of a scope somebody may do; nothing if none of it.
    fn narrowed(&self, actor: &Actor, scope: &RequestedScope) -> Option<Access> {
        let name: RepositoryName = scope.name.parse().ok()?;
        let may = |action: Action| {
            self.parts().access.authorise(actor, action, Resource::Repository(name.clone())).is_ok()
        };
        let asked = |known: &str| scope.actions.iter().any(|action| action == known || action == "*");
        let granted: Vec<String> = KNOWN
            .iter()
            .filter(|known| asked(known))
            .filter(|known| actions(known).iter().any(|action| may(*action)))
            .map(|known| (*known).to_owned())
            .collect();
        let kind = scope.kind.clone();
        (!granted.is_empty()).then(|| Access { kind, name: name.as_str().to_owned(), actions: granted })
    }

    /// A token for the management API, in the project of the user's account.
    pub fn api_token_for(&self, proof: &Proof) -> Result<(Issued, Id), SignInError> {
        let project = {
            let directory = self.parts().access.directory();
            let user = directory.user(proof.user).ok_or(SignInError::Wrong)?;
            directory.account(user.account).ok_or(SignInError::Wrong)?.project
        };
        let issued = self.parts().tokens.issue(bearer_of(proof), Grant::Api { project });
        Ok((issued.ok_or(SignInError::Internal)?, project))
    }

    /// A token to sign in to the registry with, for the one who asks and as long as what he asks with
    /// holds: `proof` is what the permit was got with.
    pub fn login_token(&self, permit: &Permit, proof: &Proof) -> Result<Issued, Error> {
        if own(permit, Action::CreateLoginToken)? != proof.user {
            return Err(Error::Bug("a permit of somebody else"));
        }
        let issued = self.parts().tokens.issue(bearer_of(proof), Grant::Login);
        issued.ok_or(Error::Bug("a token could not be made"))
    }
}

/// Whose a token is, which is void with what the proof was got with.
fn bearer_of(proof: &Proof) -> Bearer {
    let Proof { user, access_key, password_at } = proof.clone();
    Bearer { user: Some(user), access_key, password_at }
}
