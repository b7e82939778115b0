//! Changes that a permit is for. A permit says what was so when it was asked for, and a body that is
//! slow to come, or a queue of other changes, may lie in between. So it is asked for again where the
//! change is made, on the writer's thread: the directory has followed there all that was answered
//! before, and nothing can come between the question and the change.
//!
//! Changes of one group are not in the directory before all of them are durable. Where one of them
//! made, removed or replaced what the answer hangs on (the user, his account, the organisation), the
//! question is put off until the directory has it.

use pierhead_storage_format::identity::keys::{AccountKey, UserKey};
use pierhead_storage_format::keys::OrganisationKey;

use super::{Access, Actor, Permit, Refusal, Rules};
use crate::services::error::Error;
use crate::stores::meta::{Meta, MetaError, Tx};

/// How often a question is put off: each time somebody changed the same thing in the same moment.
const ATTEMPTS: usize = 16;

/// Why a change was not made.
enum Undone<W> {
    /// It failed, or was refused.
    Failed(Error),
    /// The directory does not know yet what the answer hangs on; this is to be done then.
    TooSoon(W),
}

impl<W> From<MetaError> for Undone<W> {
    fn from(error: MetaError) -> Self {
        Self::Failed(error.into())
    }
}

impl Access {
    /// Makes the change that `permit` is for, if its actor may still do it in the moment it is made.
    /// Otherwise like [`Meta::commit`]. Every change somebody asks for goes through here.
    pub async fn commit<T, F>(&self, meta: &Meta, permit: &Permit, work: F) -> Result<T, Error>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
        T: Send + 'static,
    {
        let mut work = work;
        for _ in 0..ATTEMPTS {
            let (access, permit) = (self.clone(), permit.copied());
            let done = meta.commit_with(permit.event(), move |tx| match access.holds(tx, &permit) {
                Ok(true) => work(tx).map_err(Undone::Failed),
                Ok(false) => Err(Undone::TooSoon(work)),
                Err(error) => Err(Undone::Failed(error)),
            });
            match done.await {
                Ok(done) => return Ok(done),
                Err(Undone::Failed(error)) => return Err(error),
                Err(Undone::TooSoon(undone)) => work = undone,
            }
        }
        Err(Refusal::Denied.into())
    }

    /// Whether a permit holds where a change is made; an error if its actor may not any more. False if the
    /// directory does not know yet what the answer hangs on.
    pub fn holds(&self, tx: &mut Tx<'_>, permit: &Permit) -> Result<bool, Error> {
        let now = self.again(permit)?;
        if matches!(self.0.rules, Rules::Lab) {
            return Ok(true); // whoever and wherever it is
        }
        if let Actor::User(id) = *now.actor() {
            let user = tx.get(&UserKey { id })?;
            let account = user.map(|user| tx.get(&AccountKey { id: user.account })).transpose()?;
            if account.flatten().is_none() {
                return Ok(false);
            }
        }
        let Some(name) = now.resource.organisation() else { return Ok(true) };
        let organisation = tx.get(&OrganisationKey { name: name.to_owned() })?;
        Ok(organisation.map(|record| record.number) == now.organisation)
    }
}
