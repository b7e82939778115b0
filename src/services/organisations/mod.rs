//! Organisations and the rights in them: who owns what, grants, public images, shares, attributes.
//!
//! Every change is one transaction that checks what it builds on; the directory of `access` follows
//! it, so that it counts from the answer on.
//!
//! G1: a grant or share is bound to the number of its organisation. What is left of an organisation
//!     that went gives nobody anything in a later one of that name.
//! G2: nobody grants to himself; a repository is shared with other accounts only.
//!
//! `lifecycle` makes and removes; `grants`, `shares`, `attributes` and `favourites` are about what is
//! in them; `migrate` numbers those that were made before organisations had numbers. Reading is answered from the directory and the store.

mod attributes;
mod favourites;
mod grants;
mod lifecycle;
mod migrate;
mod shares;

use std::sync::Arc;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::records::Creator;
use pierhead_storage_format::keys::OrganisationKey;
use pierhead_storage_format::records::OrganisationRecord;

pub use attributes::{Attributes, Changed, put_text, text};
pub use grants::{Granted, On};
pub use lifecycle::{Leaving, Organisation, clear_rights, establish};
pub use shares::{Share, ShareTerms};

use super::access::{Access, Action, Actor, Permit, Resource};
use super::error::{Error, Thing};
use super::names::{OrganisationName, RepositoryName};
use crate::seams::Clock;
use crate::stores::meta::{Meta, Tx};

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Organisations an account may own.
    pub organisations: u64,
    /// Accounts a repository may be shared with.
    pub shares: usize,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Organisations {
    meta: Meta,
    access: Access,
    clock: Arc<dyn Clock>,
    limits: Limits,
    /// Held while a repository is shared, so that the limit is kept.
    sharing: Arc<tokio::sync::Mutex<()>>,
}

impl Organisations {
    /// On this store.
    pub fn new(meta: Meta, access: Access, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self { meta, access, clock, limits, sharing: Arc::default() }
    }

    /// Makes a change that the permit is for, if it still holds then.
    async fn commit<T: Send + 'static>(
        &self,
        permit: &Permit,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.access.commit(&self.meta, permit, work).await
    }

    /// The user who acts and his account; `None` for the host's administrator.
    fn author(&self, permit: &Permit) -> Result<Option<Author>, Error> {
        let Actor::User(id) = *permit.actor() else { return Ok(None) };
        let directory = self.access.directory();
        let user = directory.user(id).ok_or(Error::Bug("a permit of a user who is not there"))?;
        let creator = Creator { id, name: user.name.clone() };
        Ok(Some(Author { account: user.account, creator }))
    }
}

/// A user who changes something.
#[derive(Clone)]
struct Author {
    account: Id,
    creator: Creator,
}

fn organisation(permit: &Permit, action: Action) -> Result<OrganisationName, Error> {
    match permit.resource(action) {
        Some(Resource::Organisation(name)) => Ok(name.clone()),
        _ => Err(Error::Bug("a permit for something else")),
    }
}

fn repository(permit: &Permit, action: Action) -> Result<RepositoryName, Error> {
    permit.repository(action).cloned().ok_or(Error::Bug("a permit for something else"))
}

/// The row of an organisation that has to be there.
fn there(tx: &mut Tx<'_>, name: &str) -> Result<OrganisationRecord, Error> {
    let record = tx.get(&OrganisationKey { name: name.to_owned() })?;
    record.ok_or_else(|| Error::Missing(Thing::Organisation(name.to_owned())))
}

#[cfg(test)]
mod tests;
