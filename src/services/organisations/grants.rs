//! Who may do what in an organisation or repository.

use std::collections::{BTreeMap, BTreeSet};

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{GrantKey, UserKey};
use pierhead_storage_format::identity::records::{GrantRecord, Level};
use pierhead_storage_format::keys::RepositoryKey;

use super::{Organisations, there};
use crate::services::access::{Action, Actor, Permit, Resource};
use crate::services::error::{Error, Thing};

/// What rights are granted on. Its actions differ, what they do does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// An organisation, and everything in it.
    Organisation,
    /// One repository.
    Repository,
}

/// A right somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Who.
    pub user: Id,
    /// His name.
    pub name: String,
    /// How much.
    pub level: Level,
}

impl On {
    const fn create(self) -> Action {
        match self {
            Self::Organisation => Action::CreateOrganisationGrant,
            Self::Repository => Action::CreateRepositoryGrant,
        }
    }

    const fn update(self) -> Action {
        match self {
            Self::Organisation => Action::UpdateOrganisationGrant,
            Self::Repository => Action::UpdateRepositoryGrant,
        }
    }

    const fn delete(self) -> Action {
        match self {
            Self::Organisation => Action::DeleteOrganisationGrant,
            Self::Repository => Action::DeleteRepositoryGrant,
        }
    }

    const fn show(self) -> Action {
        match self {
            Self::Organisation => Action::ShowOrganisationGrants,
            Self::Repository => Action::ShowRepositoryGrants,
        }
    }
}

impl Organisations {
    /// Grants rights to users who have none there, all or none.
    pub async fn grant(&self, permit: &Permit, on: On, grants: Vec<(Id, Level)>) -> Result<(), Error> {
        self.set_grants(permit, on, on.create(), grants, false).await
    }

    /// Changes rights users have there, all or none.
    pub async fn regrant(&self, permit: &Permit, on: On, grants: Vec<(Id, Level)>) -> Result<(), Error> {
        self.set_grants(permit, on, on.update(), grants, true).await
    }

    async fn set_grants(
        &self,
        permit: &Permit,
        on: On,
        action: Action,
        grants: Vec<(Id, Level)>,
        is_change: bool,
    ) -> Result<(), Error> {
        let name = target(permit, on, action)?;
        refuse_self(permit.actor(), grants.iter().map(|(user, _)| *user))?;
        let grants: BTreeMap<Id, Level> = grants.into_iter().collect();
        let now = self.clock.now_ms();
        self.meta
            .commit_with(permit.event(), move |tx| {
                let organisation = there(tx, name.split('/').next().unwrap_or_default())?;
                if on == On::Repository && tx.get(&RepositoryKey { name: name.clone() })?.is_none() {
                    return Err(Error::Missing(Thing::Repository(name)));
                }
                for (user, level) in grants {
                    let known =
                        tx.get(&UserKey { id: user })?.filter(|u| Some(u.account) == organisation.owner);
                    let known = known.ok_or_else(|| Error::Missing(Thing::User(user.to_string())))?;
                    let key = GrantKey { user, name: name.clone() };
                    let has = tx.get(&key)?.is_some_and(|grant| grant.organisation == organisation.number);
                    let thing = || Thing::Grant(format!("{} on {name}", known.name));
                    match (has, is_change) {
                        (true, false) => return Err(Error::Exists(thing())),
                        (false, true) => return Err(Error::Missing(thing())),
                        _ => {}
                    }
                    let grant = GrantRecord { organisation: organisation.number, level, granted_at: now };
                    tx.put(&key, &grant)?;
                }
                Ok(())
            })
            .await
    }

    /// Takes users' rights there away, all or none.
    pub async fn revoke(&self, permit: &Permit, on: On, users: Vec<Id>) -> Result<(), Error> {
        let name = target(permit, on, on.delete())?;
        refuse_self(permit.actor(), users.iter().copied())?;
        let users: BTreeSet<Id> = users.into_iter().collect();
        self.meta
            .commit_with(permit.event(), move |tx| {
                let organisation = there(tx, name.split('/').next().unwrap_or_default())?;
                for user in users {
                    let key = GrantKey { user, name: name.clone() };
                    if tx.get(&key)?.is_none_or(|grant| grant.organisation != organisation.number) {
                        return Err(Error::Missing(Thing::Grant(format!("{user} on {name}"))));
                    }
                    tx.delete(&key)?;
                }
                Ok(())
            })
            .await
    }

    /// Who was granted what there, by name.
    pub fn grants(&self, permit: &Permit, on: On) -> Result<Vec<Granted>, Error> {
        let name = target(permit, on, on.show())?;
        let directory = self.access.directory();
        let known = |user| directory.user(user).map(|record| record.name.clone());
        let granted = directory.granted_on(&name);
        let mut all: Vec<Granted> =
            granted.filter_map(|(user, level)| Some(Granted { user, name: known(user)?, level })).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }
}

fn target(permit: &Permit, on: On, action: Action) -> Result<String, Error> {
    match (on, permit.resource(action)) {
        (On::Organisation, Some(Resource::Organisation(name))) => Ok(name.as_str().to_owned()),
        (On::Repository, Some(Resource::Repository(name))) => Ok(name.as_str().to_owned()),
        _ => Err(Error::Bug("a permit for something else")),
    }
}

fn refuse_self(actor: &Actor, mut users: impl Iterator<Item = Id>) -> Result<(), Error> {
    match actor {
        Actor::User(own) if users.any(|user| user == *own) => {
            Err(Error::Invalid { field: "user_id", why: "nobody changes his own rights".to_owned() })
        }
        _ => Ok(()),
    }
}
