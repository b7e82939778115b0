//! From credentials to a caller. What takes time or tells something by the time it takes is done
//! alike for who is known and who is not.
//!
//! A user name without an account is one of the only account, or of the operator's; never another
//! tenant's, who could otherwise take the sign-ins of a name by making a user of it.

use std::sync::Arc;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::records::{LoginRecord, UserRecord};

use super::Identity;
use crate::services::access::{Action, Actor, Caller, Scopes};
use crate::services::signin::Secret;
use crate::services::signin::access_key::{is_login_key, verifies_temporary};
use crate::services::signin::authorization::{Authorization, AuthorizationError};
use crate::services::signin::login::Login;
use crate::services::signin::password::PasswordError;
use crate::services::signin::signature::{Refused, Request};
use crate::services::signin::token::{Audience, Bearer, Claims, Grant, Verdict};

/// Who signed in, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The user.
    pub user: Id,
    /// The AK or temporary login it was done with.
    pub access_key: Option<String>,
    /// When the password was set that the user had when this was checked. What is got with a proof is
    /// void with that password, though it be changed before it is given.
    pub password_at: u64,
}

/// Why somebody is not let in. Which of name and secret was wrong is never told.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The credential is wrong, or void.
    #[error("authentication required")]
    Wrong,
    /// It is a token that was good once: it ended, or what it was got with did.
    #[error("authentication required")]
    Void,
    /// It is right, and its user may not use programs.
    #[error("the user has no programmatic access")]
    NotProgrammatic,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] AuthorizationError),
    /// The request's signature is not accepted.
    #[error(transparent)]
    Signature(#[from] Refused),
    /// Too many passwords are being checked; later it can be.
    #[error("too many sign-ins at once")]
    Busy,
    /// A fault of ours.
    #[error("internal error")]
    Internal,
}

impl From<PasswordError> for SignInError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            _ => Self::Internal,
        }
    }
}

impl Identity {
    /// Who sends a request to the registry, by all its `Authorization` headers.
    pub async fn registry_caller(&self, headers: &[&[u8]]) -> Result<Caller, SignInError> {
        match Authorization::parse(headers)? {
            None => Ok(Caller::plain(Actor::Anonymous)),
            Some(Authorization::Basic { user, password }) => {
                let proof = self.sign_in(&user, &password).await?;
                Ok(Caller::plain(Actor::User(proof.user)))
            }
            Some(Authorization::Bearer(token)) => self.bearer(&token),
            Some(Authorization::Signature(_)) => Err(SignInError::Wrong),
        }
    }

    /// Who sends a request to the management API: a token of its own first, then a signature.
    ///
    /// The caller reads the whole body first, within a bound of his own, and gives its bytes as they came
    /// in `request.body`, though he does nothing with them: what he acts on later has to be these. A
    /// signature is made over their SHA-256, or over the hash in `X-Sdk-Content-Sha256`, which then has to
    /// be theirs and signed itself. One over `UNSIGNED-PAYLOAD` is accepted for a request without a body
    /// only: whoever saw it could otherwise send it again with a body of his own.
    pub fn api_caller(
        &self,
        token: Option<&Secret>,
        headers: &[&[u8]],
        request: &Request<'_>,
    ) -> Result<(Proof, Caller), SignInError> {
        let proof = match token {
            Some(token) => self.api_token(token)?,
            None => match Authorization::parse(headers)? {
                Some(Authorization::Signature(signature)) => {
                    let key = signature.access().to_owned();
                    let known = self.secret_of(&key);
                    let secret = known.as_ref().map(|(_, secret)| secret);
                    let now = self.parts().clock.now_ms();
                    let signed = signature.verify(secret, request, now, self.parts().options.skew)?;
                    if !signed.covers_body && !request.body.is_empty() {
                        return Err(Refused::Malformed("the body is not signed").into());
                    }
                    let Some(((user, password_at), _)) = known else { return Err(SignInError::Wrong) };
                    Proof { user, access_key: Some(key), password_at }
                }
                Some(Authorization::Bearer(token)) => self.api_token(&token)?,
                _ => return Err(SignInError::Wrong),
            },
        };
        let proof = self.programmatic(proof)?;
        let caller = Caller::plain(Actor::User(proof.user));
        Ok((proof, caller))
    }

    fn api_token(&self, token: &Secret) -> Result<Proof, SignInError> {
        match self.parts().tokens.verify(token, Audience::Api) {
            Verdict::Valid(Claims { bearer, .. }) => self.still_is(&bearer)?.ok_or(SignInError::Void),
            Verdict::Expired(_) => Err(SignInError::Void),
            Verdict::Invalid => Err(SignInError::Wrong),
        }
    }

    /// Checks a user name of any form and what proves it, for programs.
    pub async fn sign_in(&self, name: &str, password: &Secret) -> Result<Proof, SignInError> {
        let proof = match Login::parse(name).ok_or(SignInError::Wrong)? {
            Login::AccessKey { id, .. } => self.by_key(id, password)?,
            Login::Token => self.by_login_token(password)?,
            Login::User(user) => {
                let found = self.parts().access.directory().plain_user_named(&user);
                self.by_password(found, password).await?
            }
            Login::UserOfAccount { account, user } => {
                let found = self.find_login(&account, &user);
                self.by_password(found, password).await?
            }
            Login::UserAtAccount { account, user, .. } => {
                let found = self.find_login(&account, &user);
                self.by_password(found, password).await?
            }
        };
        self.programmatic(proof)
    }

    fn find_login(&self, account: &str, user: &str) -> Option<Id> {
        let directory = self.parts().access.directory();
        directory.user_named(directory.account_named(account)?, user)
    }

    /// Checks a password of a user of an account, whatever he may do with it.
    pub async fn by_account_password(
        &self,
        account: &str,
        user: &str,
        password: &Secret,
    ) -> Result<Proof, SignInError> {
        let found = self.find_login(account, user);
        self.check_password(found, password).await
    }

    /// The same for programs: somebody who may only use the page is not let in.
    pub async fn sign_in_to(
        &self,
        account: &str,
        user: &str,
        password: &Secret,
    ) -> Result<Proof, SignInError> {
        let proof = self.by_account_password(account, user, password).await?;
        self.programmatic(proof)
    }

    async fn by_password(&self, found: Option<Id>, password: &Secret) -> Result<Proof, SignInError> {
        if !self.parts().options.passwords {
            return Err(SignInError::Wrong);
        }
        self.check_password(found, password).await
    }

    async fn check_password(&self, found: Option<Id>, password: &Secret) -> Result<Proof, SignInError> {
        let user = found.and_then(|id| self.live(id));
        let stored = user.as_ref().and_then(|user| user.password.as_deref());
        let stored = found.zip(stored);
        let right = self.parts().passwords.verify(stored, password).await?;
        match (right, found, user.as_ref().map(|record| record.password_at)) {
            (true, Some(user), Some(password_at)) => Ok(Proof { user, access_key: None, password_at }),
            _ => Err(SignInError::Wrong),
        }
    }

    /// An access key's login key, or a temporary login: both are tried, whichever it is.
    fn by_key(&self, id: String, given: &Secret) -> Result<Proof, SignInError> {
        let long = self.secret_of(&id);
        let is_long = is_login_key(given, &id, long.as_ref().map(|(_, secret)| secret));
        let temporary = self.parts().access.directory().login(&id).cloned();
        let temporary = temporary.filter(|login| self.login_holds(login));
        let is_temporary =
            verifies_temporary(given, temporary.as_ref().map_or(&[0; 32], |login| &login.verifier));
        let found = match (is_long, is_temporary) {
            (true, _) => long.map(|(found, _)| found),
            (_, true) => temporary.map(|login| (login.user, login.password_at)),
            _ => None,
        };
        let (user, password_at) = found.ok_or(SignInError::Wrong)?;
        self.was_used(&id);
        Ok(Proof { user, access_key: Some(id), password_at })
    }

    fn by_login_token(&self, token: &Secret) -> Result<Proof, SignInError> {
        match self.parts().tokens.verify(token, Audience::Login) {
            Verdict::Valid(Claims { bearer, .. }) => self.still_is(&bearer)?.ok_or(SignInError::Void),
            Verdict::Expired(_) => Err(SignInError::Void),
            Verdict::Invalid => Err(SignInError::Wrong),
        }
    }

    /// The caller a token of the registry is of.
    fn bearer(&self, token: &Secret) -> Result<Caller, SignInError> {
        let (claims, expired) = match self.parts().tokens.verify(token, Audience::Registry) {
            Verdict::Valid(claims) => (claims, false),
            Verdict::Expired(claims) => (claims, true),
            Verdict::Invalid => return Err(SignInError::Wrong),
        };
        let actor = match self.still_is(&claims.bearer)? {
            Some(proof) => Actor::User(self.programmatic(proof)?.user),
            None => Actor::Anonymous,
        };
        let Grant::Registry(granted) = claims.grant else { return Err(SignInError::Wrong) };
        let scopes = granted.into_iter().filter(|scope| scope.kind == "repository").map(|scope| {
            let actions = scope.actions.iter().flat_map(|action| actions(action)).copied().collect();
            (scope.name, actions)
        });
        Ok(Caller { actor, scopes: Some(Scopes::new(scopes.collect())), expired })
    }

    /// Whether what a token was got with still holds; `None` for nobody's token.
    fn still_is(&self, bearer: &Bearer) -> Result<Option<Proof>, SignInError> {
        let Some(user) = bearer.user else { return Ok(None) };
        let record = self.live(user).ok_or(SignInError::Void)?;
        if record.password_at != bearer.password_at {
            return Err(SignInError::Void);
        }
        let access_key = bearer.access_key.clone();
        if access_key.as_deref().is_some_and(|key| !self.is_good(key, user)) {
            return Err(SignInError::Void);
        }
        Ok(Some(Proof { user, access_key, password_at: bearer.password_at }))
    }

    fn is_good(&self, key: &str, user: Id) -> bool {
        let login = self.parts().access.directory().login(key).cloned();
        let temporary = login.is_some_and(|login| login.user == user && self.login_holds(&login));
        temporary || self.is_good_key(key, user)
    }

    fn is_good_key(&self, key: &str, user: Id) -> bool {
        let directory = self.parts().access.directory();
        directory.access_key(key).is_some_and(|record| record.enabled && record.user == user)
    }

    /// Whether a temporary login has not ended, by its time or with what it was got with.
    fn login_holds(&self, login: &LoginRecord) -> bool {
        let in_time = self.parts().clock.now_ms() < login.expires_at;
        let same_password = self.live(login.user).is_some_and(|user| user.password_at == login.password_at);
        let key = login.access_key.as_deref();
        in_time && same_password && key.is_none_or(|key| self.is_good_key(key, login.user))
    }

    /// The user of an access key that may be used, when his password was set, and its SK.
    fn secret_of(&self, key: &str) -> Option<((Id, u64), Secret)> {
        let record = self.parts().access.directory().access_key(key).cloned();
        let record = record.filter(|record| record.enabled)?;
        let password_at = self.live(record.user)?.password_at;
        match self.parts().secrets.unseal(&record.sealed, key.as_bytes()) {
            Ok(secret) => Some(((record.user, password_at), secret)),
            Err(error) => {
                tracing::error!(access_key = key, %error, "the secret of an access key cannot be read");
                None
            }
        }
    }

    /// A user who is enabled, in an account that is.
    fn live(&self, id: Id) -> Option<Arc<UserRecord>> {
        let directory = self.parts().access.directory();
        let user = directory.user(id).filter(|user| user.enabled)?;
        directory.account(user.account).filter(|account| account.enabled)?;
        Some(Arc::clone(user))
    }

    fn programmatic(&self, proof: Proof) -> Result<Proof, SignInError> {
        match self.live(proof.user) {
            Some(user) if user.programmatic => {
                proof.access_key.as_deref().into_iter().for_each(|key| self.was_used(key));
                Ok(proof)
            }
            Some(_) => Err(SignInError::NotProgrammatic),
            None => Err(SignInError::Wrong),
        }
    }
}

/// What an action of the token protocol stands for.
pub(super) fn actions(name: &str) -> &'static [Action] {
    match name {
        "pull" => &[Action::Pull],
        "push" => &[Action::Push, Action::Untag],
        "delete" => &[Action::DeleteVersion, Action::Untag],
        "*" => &[Action::Pull, Action::Push, Action::DeleteVersion, Action::Untag],
        _ => &[],
    }
}
