//! Accounts, users, groups, policies and credentials: who there is, and what proves it.
//!
//! Every change is one transaction that checks what it builds on; the directory of `access` follows
//! it, so that a key, role or policy that was taken away is void with the answer that says so.
//!
//! N1: names of accounts are unique, names of users, groups and policies are unique in their account.
//! N2: a secret is shown once, to whoever had it made; what is kept of it is a hash or sealed.
//! N3: who is removed leaves rows behind for a moment, or until the next start if it was cut short, and
//!     none that gives anybody anything (`removal`).
//!
//! `sign_in` turns credentials into a caller, `tokens` gives tokens; `accounts`, `users`, `groups`,
//! `policies`, `keys` and `logins` change what there is. The rules of names are in `rules`.

mod accounts;
mod groups;
mod keys;
mod logins;
mod policies;
mod removal;
mod rules;
mod sign_in;
mod tokens;
mod users;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::AccountKey;
use pierhead_storage_format::identity::records::AccountRecord;
use pierhead_storage_format::keys::CounterKey;
use pierhead_storage_format::records::CounterRecord;

pub use accounts::{Account, First, NewAccount};
pub use groups::{Group, GroupChange, NewGroup};
pub use keys::Key;
#[cfg(test)]
pub use keys::NewKey;
#[cfg(test)]
pub use logins::NewLogin;
pub use policies::{NewPolicy, PolicyView};
pub use sign_in::{Proof, SignInError};
pub use tokens::{RequestedScope, TokenError, TokenRequest};
pub use users::{NewUser, UserChange, UserView};

use super::access::{Access, Action, Actor, Permit, Resource};
use super::error::{Error, Thing};
use super::signin::password::Passwords;
use super::signin::token::{PURPOSE, Tokens};
use crate::seams::{Clock, Random};
use crate::stores::meta::{Meta, Tx};
use crate::stores::secrets::KeyStore;

/// What the settings decide.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Access keys a user may have.
    pub keys: u64,
    /// How far the clock of whoever signs requests may be off.
    pub skew: Duration,
    /// Whether a user name and password sign in where docker does.
    pub passwords: bool,
    /// How long a temporary login lasts if nothing else is asked for.
    pub login: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let (skew, login) = (Duration::from_secs(15 * 60), Duration::from_secs(6 * 3600));
        Self { keys: 2, skew, passwords: true, login }
    }
}

/// What the service works with.
pub struct Parts {
    /// Rows.
    pub meta: Meta,
    /// Who there is.
    pub access: Access,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Makes ids and secrets.
    pub random: Arc<dyn Random>,
    /// Seals secret keys.
    pub secrets: KeyStore,
    /// Checks passwords.
    pub passwords: Passwords,
    /// Makes and checks tokens.
    pub tokens: Tokens,
    /// What the settings decide.
    pub options: Options,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// Access keys used since this was last written, and when.
    used: Mutex<HashMap<String, u64>>,
    /// Held while secrets are sealed anew: one rotation at a time.
    rotating: tokio::sync::Mutex<()>,
}

impl Identity {
    /// On these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner { parts, used: Mutex::default(), rotating: tokio::sync::Mutex::default() }))
    }

    fn parts(&self) -> &Parts {
        &self.0.parts
    }

    /// Makes a change that the permit is for, if it still holds then.
    async fn commit<T: Send + 'static>(
        &self,
        permit: &Permit,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.parts().access.commit(&self.parts().meta, permit, work).await
    }

    /// Somebody was removed, whatever became of what is left of him: that gives nobody anything.
    fn cleared(&self, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            tracing::warn!(%error, "what is left of somebody who was removed stays until the next start");
        }
    }

    fn new_id(&self) -> Result<Id, Error> {
        let mut bytes = [0; Id::LEN];
        self.parts().random.fill(&mut bytes).map_err(|_| Error::Bug("the host gives no random bytes"))?;
        Ok(Id::from_bytes(bytes))
    }

    /// Seals every secret key under a new key of the host and drops the old one. May be asked again
    /// after it was cut short: it goes on.
    pub async fn rotate_secrets(&self, permit: &Permit) -> Result<u64, Error> {
        if !permit.covers_registry(Action::MaintainStore) {
            return Err(Error::Bug("a permit for something else"));
        }
        let parts = self.parts();
        let _alone = self.0.rotating.lock().await;
        parts.secrets.begin_rotation().map_err(Error::Secrets)?;
        let number = parts.secrets.current();
        parts.tokens.rekey(&parts.secrets.derive(PURPOSE));
        // What was sealed under the old key before is committed before this, so the passes see it.
        parts.meta.commit(|_| Ok::<_, Error>(())).await?;
        let mut resealed = 0;
        loop {
            match self.reseal().await? {
                0 => break,
                more => resealed += more,
            }
        }
        if parts.secrets.current() != number {
            return Err(Error::Bug("another rotation began meanwhile"));
        }
        parts.secrets.finish_rotation().map_err(Error::Secrets)?;
        parts.tokens.rekey(&parts.secrets.derive(PURPOSE));
        Ok(resealed)
    }
}

/// A panic elsewhere leaves nothing half done in what these guard.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The account a permit is for.
fn account(permit: &Permit, action: Action) -> Result<Id, Error> {
    match permit.resource(action) {
        Some(Resource::Account(id)) => Ok(*id),
        _ => Err(Error::Bug("a permit for something else")),
    }
}

/// The user who acts for himself.
fn own(permit: &Permit, action: Action) -> Result<Id, Error> {
    match (permit.actor(), permit.covers_registry(action)) {
        (Actor::User(id), true) => Ok(*id),
        _ => Err(Error::Bug("a permit for something else")),
    }
}

/// Takes a name that is unique; `false` if it is taken. Changes of one group see each other's rows, but
/// not in the directory, so a name needs a row of its own.
fn take_name(tx: &mut Tx<'_>, row: &CounterKey) -> Result<bool, Error> {
    let free = tx.get(row)?.is_none();
    if free {
        tx.put(row, &CounterRecord { next: 1 })?;
    }
    Ok(free)
}

/// The row of an account that has to be there.
fn there(tx: &mut Tx<'_>, id: Id) -> Result<AccountRecord, Error> {
    tx.get(&AccountKey { id })?.ok_or_else(|| Error::Missing(Thing::Account(id.to_string())))
}

#[cfg(test)]
mod tests;
