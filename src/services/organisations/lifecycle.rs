//! Making, showing and removing organisations.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{AccountKey, GrantKey, ShareKey};
use pierhead_storage_format::identity::records::{Creator, GrantRecord, Level};
use pierhead_storage_format::keys::{CounterKey, OrganisationKey, RepositoryKey, TableKey};
use pierhead_storage_format::records::{CounterRecord, OrganisationRecord};

use super::{Organisations, organisation};
use crate::seams::tasks;
use crate::services::access::{Access, Action, Actor, Permit, Resource};
use crate::services::error::{Error, Thing};
use crate::services::names::{LIBRARY, OrganisationName, RepositoryName};
use crate::services::quota;
use crate::stores::meta::Tx;

/// Rights removed in one change; rows looked at together.
const BATCH: usize = 1000;
/// Why [`LIBRARY`] is not deleted.
const ALWAYS: &str = "it is always there";
/// Why another is not.
const NOT_EMPTY: &str = "it has repositories";

/// An organisation as somebody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its name.
    pub name: OrganisationName,
    /// Never used again.
    pub number: u64,
    /// UTC milliseconds.
    pub created_at: u64,
    /// The account it belongs to.
    pub owner: Option<Id>,
    /// Who made it, if a user did.
    pub creator: Option<Creator>,
    /// What the one who asks may do in it.
    pub level: Option<Level>,
}

/// What deleting an organisation would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Repositories in it: it is deleted only without.
    pub repositories: u64,
    /// Grants on it and on what is in it, which would go.
    pub grants: u64,
    /// Why it would be refused now.
    pub refused: Option<&'static str>,
}

/// How much of something there may be, and is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// At most.
    pub limit: u64,
    /// Now.
    pub used: u64,
}

impl Organisations {
    /// Makes an organisation, for the account of the one who asks, or for `owner` if the host's
    /// administrator does; for nobody in a lab, where there are no accounts. The user who makes one is
    /// granted to manage it.
    pub async fn create(&self, permit: &Permit, owner: Option<Id>) -> Result<(), Error> {
        let name = organisation(permit, Action::CreateOrganisation)?;
        let author = self.author(permit)?;
        if *permit.actor() == Actor::Anonymous {
            return self.create_in_lab(permit, name).await;
        }
        let owner = author.as_ref().map(|author| author.account).or(owner);
        let owner =
            owner.ok_or(Error::Invalid { field: "account", why: "name the account it is for".to_owned() })?;
        if name.as_str() == LIBRARY {
            return Err(Error::Exists(Thing::Organisation(LIBRARY.to_owned())));
        }
        let (now, limit) = (self.clock.now_ms(), self.limits.organisations);
        self.commit(permit, move |tx| {
            let key = OrganisationKey { name: name.as_str().to_owned() };
            if tx.get(&key)?.is_some() {
                return Err(Error::Exists(Thing::Organisation(key.name)));
            }
            establish(tx, key, owner, author.map(|author| author.creator), limit, now).map(|_| ())
        })
        .await
    }

    /// As the first push to it would.
    async fn create_in_lab(&self, permit: &Permit, name: OrganisationName) -> Result<(), Error> {
        let created_at = self.clock.now_ms();
        self.meta
            .commit_with(permit.event(), move |tx| {
                let key = OrganisationKey { name: name.as_str().to_owned() };
                if tx.get(&key)?.is_some() {
                    return Err(Error::Exists(Thing::Organisation(key.name)));
                }
                let number = next_number(tx)?;
                let record = OrganisationRecord { number, created_at, owner: None, creator: None };
                Ok(tx.put(&key, &record)?)
            })
            .await
    }

    /// What deleting an organisation would do now.
    pub async fn leaving(&self, permit: &Permit) -> Result<Leaving, Error> {
        let name = organisation(permit, Action::ShowOrganisation)?;
        let missing = || Error::Missing(Thing::Organisation(name.as_str().to_owned()));
        let within = format!("{name}/");
        let grants = {
            let directory = self.access.directory();
            directory.organisation(name.as_str()).ok_or_else(missing)?;
            directory.rights_in(name.as_str(), &within).0.len() as u64
        };
        let this = self.clone();
        let repositories = tasks::blocking(move || this.repositories_in(&within)).await??;
        let refused = match repositories {
            _ if name.as_str() == LIBRARY => Some(ALWAYS),
            0 => None,
            _ => Some(NOT_EMPTY),
        };
        Ok(Leaving { repositories, grants, refused })
    }

    fn repositories_in(&self, within: &str) -> Result<u64, Error> {
        let (mut count, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.meta.page::<RepositoryKey>(within.as_bytes(), after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            count += page.len() as u64;
            if page.len() < BATCH {
                return Ok(count);
            }
        }
    }

    /// Removes an organisation without repositories, and the rights in it.
    pub async fn delete(&self, permit: &Permit) -> Result<(), Error> {
        let name = organisation(permit, Action::DeleteOrganisation)?;
        if name.as_str() == LIBRARY {
            return Err(Error::InUse(Thing::Organisation(LIBRARY.to_owned()), ALWAYS));
        }
        let key = OrganisationKey { name: name.as_str().to_owned() };
        let number = self
            .commit(permit, move |tx| {
                let record = super::there(tx, &key.name)?;
                let within = format!("{}/", key.name);
                if !tx.page::<RepositoryKey>(within.as_bytes(), None, 1)?.is_empty() {
                    return Err(Error::InUse(Thing::Organisation(key.name), NOT_EMPTY));
                }
                if let Some(owner) = record.owner {
                    count(tx, owner, |owned| Ok(owned.saturating_sub(1)))?;
                }
                quota::forget_organisation(tx, record.number)?;
                tx.delete(&key)?;
                Ok(record.number)
            })
            .await?;
        // The organisation is gone, whatever becomes of this, and whether the one who asked is there.
        let this = self.clone();
        tasks::to_the_end(async move {
            if let Err(error) = this.forget(name.as_str(), number).await {
                tracing::warn!(%error, organisation = name.as_str(), "rights in a removed organisation are left until the next start; they say nothing");
            }
        })
        .await?;
        Ok(())
    }

    /// Removes the rights in organisations that went, if that was cut short; how many there were. At the
    /// start, once all organisations have numbers.
    pub async fn forget_old_rights(&self) -> Result<usize, Error> {
        let (grants, shares) = self.access.directory().outdated();
        let all = grants.len() + shares.len();
        for batch in grants.chunks(BATCH).map(<[_]>::to_vec) {
            self.meta.commit(move |tx| forget_old_grants(tx, batch)).await?;
        }
        for batch in shares.chunks(BATCH).map(<[_]>::to_vec) {
            self.meta.commit(move |tx| forget_old_shares(tx, batch)).await?;
        }
        Ok(all)
    }

    /// Removes the rights that were given in the organisation of this number on `name`, which is it or
    /// a repository in it, and on all in it. Those of an organisation that went say nothing any more
    /// (G1), so that a stop before this only leaves rows; those of one made since stay.
    pub(super) async fn forget(&self, name: &str, number: u64) -> Result<(), Error> {
        let (grants, shares) = self.access.directory().rights_in(name, &format!("{name}/"));
        for batch in grants.chunks(BATCH).map(<[_]>::to_vec) {
            self.meta.commit(move |tx| forget_grants(tx, batch, number)).await?;
        }
        for batch in shares.chunks(BATCH).map(<[_]>::to_vec) {
            self.meta.commit(move |tx| forget_shares(tx, batch, number)).await?;
        }
        Ok(())
    }

    /// One organisation.
    pub fn show(&self, permit: &Permit) -> Result<Organisation, Error> {
        let name = organisation(permit, Action::ShowOrganisation)?;
        self.seen_by(permit.actor(), name.clone())
            .ok_or_else(|| Error::Missing(Thing::Organisation(name.as_str().to_owned())))
    }

    /// The organisations the one who asks may look at, by name; those in which he may only see some
    /// repository too, if `visible`.
    pub fn list(&self, permit: &Permit, visible: bool) -> Result<Vec<Organisation>, Error> {
        if !permit.covers_registry(Action::ListOrganisations) {
            return Err(Error::Bug("a permit for something else"));
        }
        // Nobody may look at those that are not around him.
        let names = match permit.actor() {
            Actor::User(user) => Vec::from_iter(self.access.directory().organisations_around(*user)),
            _ => self.access.directory().organisation_names(),
        };
        let names = names.into_iter().filter_map(|name| name.parse::<OrganisationName>().ok());
        let mut seen = Vec::new();
        for name in names {
            let resource = Resource::Organisation(name.clone());
            let may = self.access.authorise(permit.actor(), Action::ShowOrganisation, resource).is_ok();
            if may || (visible && self.has_right_within(permit.actor(), &name)) {
                seen.extend(self.seen_by(permit.actor(), name));
            }
        }
        Ok(seen)
    }

    /// How many organisations the account of the one who asks may own, and how many it owns.
    pub fn quota(&self, permit: &Permit) -> Result<Quota, Error> {
        if !permit.covers_registry(Action::ListQuotas) {
            return Err(Error::Bug("a permit for something else"));
        }
        let author = self.author(permit)?;
        let directory = self.access.directory();
        let used = author.map_or(0, |author| directory.organisations_of(author.account).count());
        Ok(Quota { limit: self.limits.organisations, used: used as u64 })
    }

    /// Whether somebody may know that an organisation is there: he may look at it, or was granted something in it.
    pub fn is_visible(&self, actor: &Actor, name: &OrganisationName) -> bool {
        let resource = Resource::Organisation(name.clone());
        self.access.authorise(actor, Action::ShowOrganisation, resource).is_ok()
            || self.has_right_within(actor, name)
    }

    fn has_right_within(&self, actor: &Actor, name: &OrganisationName) -> bool {
        let Actor::User(user) = actor else { return false };
        self.access.directory().is_granted_within(*user, &format!("{name}/"))
    }

    fn seen_by(&self, actor: &Actor, name: OrganisationName) -> Option<Organisation> {
        let record = self.access.directory().organisation(name.as_str())?.clone();
        let OrganisationRecord { number, created_at, owner, creator } = record;
        let level = self.level(actor, &Resource::Organisation(name.clone()));
        Some(Organisation { name, number, created_at, owner, creator, level })
    }

    /// The most somebody may do with an organisation or repository.
    pub fn level(&self, actor: &Actor, resource: &Resource) -> Option<Level> {
        let probes = match resource {
            Resource::Organisation(_) => [
                (Level::Manage, Action::DeleteOrganisation),
                (Level::Edit, Action::CreateRepository),
                (Level::Read, Action::ShowOrganisation),
            ],
            _ => [
                (Level::Manage, Action::DeleteVersion),
                (Level::Edit, Action::Push),
                (Level::Read, Action::Pull),
            ],
        };
        let may = |action| self.access.authorise(actor, action, resource.clone()).is_ok();
        probes.into_iter().find(|(_, action)| may(*action)).map(|(level, _)| level)
    }
}

/// Makes the row of an organisation that is not there, with its owner; its number. Who makes it is
/// granted to manage it.
pub fn establish(
    tx: &mut Tx<'_>,
    key: OrganisationKey,
    owner: Id,
    creator: Option<Creator>,
    limit: u64,
    now: u64,
) -> Result<u64, Error> {
    if tx.get(&AccountKey { id: owner })?.is_none() {
        return Err(Error::Missing(Thing::Account(owner.to_string())));
    }
    count(tx, owner, |owned| match owned < limit {
        true => Ok(owned + 1),
        false => Err(Error::Limit { what: "organisations", limit }),
    })?;
    let number = next_number(tx)?;
    let user = creator.as_ref().map(|creator| creator.id);
    tx.put(&key, &OrganisationRecord { number, created_at: now, owner: Some(owner), creator })?;
    if let Some(user) = user {
        let grant = GrantRecord { organisation: number, level: Level::Manage, granted_at: now };
        tx.put(&GrantKey { user, name: key.name }, &grant)?;
    }
    Ok(number)
}

/// Changes how many organisations an account owns.
fn count(tx: &mut Tx<'_>, owner: Id, change: impl FnOnce(u64) -> Result<u64, Error>) -> Result<(), Error> {
    let key = CounterKey { name: format!("organisations of {owner}") };
    let owned = tx.get(&key)?.map_or(0, |record| record.next);
    let next = change(owned)?;
    Ok(tx.put(&key, &CounterRecord { next })?)
}

/// Takes out what was granted on a repository of this name that is not there any more, and its shares.
/// All of it is in the directory: nothing is granted on a repository that is not there.
pub fn clear_rights(tx: &mut Tx<'_>, access: &Access, name: &RepositoryName) -> Result<(), Error> {
    let (users, accounts) = access.directory().rights_on(name.as_str());
    let name = || name.as_str().to_owned();
    users.into_iter().try_for_each(|user| tx.delete(&GrantKey { user, name: name() }))?;
    Ok(accounts.into_iter().try_for_each(|account| tx.delete(&ShareKey { account, name: name() }))?)
}

/// Removes a row that is there and `goes`.
fn forget_if<K: TableKey>(
    tx: &mut Tx<'_>,
    key: &K,
    goes: impl FnOnce(K::Record) -> bool,
) -> Result<(), Error> {
    if tx.get(key)?.is_some_and(goes) {
        tx.delete(key)?;
    }
    Ok(())
}

fn forget_grants(tx: &mut Tx<'_>, grants: Vec<(Id, String)>, number: u64) -> Result<(), Error> {
    for (user, name) in grants {
        forget_if(tx, &GrantKey { user, name }, |grant| grant.organisation == number)?;
    }
    Ok(())
}

fn forget_shares(tx: &mut Tx<'_>, shares: Vec<(Id, String)>, number: u64) -> Result<(), Error> {
    for (account, name) in shares {
        forget_if(tx, &ShareKey { account, name }, |share| share.organisation == number)?;
    }
    Ok(())
}

fn forget_old_grants(tx: &mut Tx<'_>, grants: Vec<(Id, String)>) -> Result<(), Error> {
    for (user, name) in grants {
        let now = number_of(tx, &name)?;
        forget_if(tx, &GrantKey { user, name }, |grant| Some(grant.organisation) != now)?;
    }
    Ok(())
}

fn forget_old_shares(tx: &mut Tx<'_>, shares: Vec<(Id, String)>) -> Result<(), Error> {
    for (account, name) in shares {
        let now = number_of(tx, &name)?;
        forget_if(tx, &ShareKey { account, name }, |share| Some(share.organisation) != now)?;
    }
    Ok(())
}

/// The number of the organisation that something is or is in, if it is there.
fn number_of(tx: &mut Tx<'_>, name: &str) -> Result<Option<u64>, Error> {
    let name = name.split('/').next().unwrap_or_default().to_owned();
    Ok(tx.get(&OrganisationKey { name })?.map(|record| record.number))
}

/// A number no organisation ever had.
pub(super) fn next_number(tx: &mut Tx<'_>) -> Result<u64, Error> {
    let key = CounterKey { name: "organisation".to_owned() };
    let number = tx.get(&key)?.map_or(1, |record| record.next);
    tx.put(&key, &CounterRecord { next: number + 1 })?;
    Ok(number)
}
