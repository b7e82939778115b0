//! Private repositories shared with other accounts, to be pulled.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{AccountKey, RepositorySettingsKey, ShareKey};
use pierhead_storage_format::identity::limits::SHARE_DESCRIPTION;
use pierhead_storage_format::identity::records::ShareRecord;
use pierhead_storage_format::keys::RepositoryKey;

use super::{Organisations, repository, there};
use crate::seams::tasks;
use crate::services::access::{Action, Actor, Permit, Resource};
use crate::services::error::{Error, Thing};
use crate::stores::meta::Tx;

/// On what terms a repository is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareTerms {
    /// UTC milliseconds; for ever without.
    pub until: Option<u64>,
    /// At most 1,000 characters.
    pub description: String,
}

/// A share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The repository's whole name.
    pub repository: String,
    /// The account it is shared with.
    pub account: Id,
    /// Its name.
    pub account_name: String,
    /// The terms.
    pub terms: ShareTerms,
    /// Who shared it; his name, if he is still known.
    pub creator: (Id, Option<String>),
    /// UTC milliseconds.
    pub created_at: u64,
    /// UTC milliseconds.
    pub updated_at: u64,
    /// It has not ended.
    pub valid: bool,
}

impl Organisations {
    /// Shares a repository with an account that it is not shared with.
    pub async fn share(&self, permit: &Permit, account: Id, terms: ShareTerms) -> Result<(), Error> {
        let name = repository(permit, Action::CreateShare)?.as_str().to_owned();
        let creator = self.author(permit)?.map_or(Id::from_bytes([0; 16]), |author| author.creator.id);
        self.check_terms(&terms)?;
        let this = self.clone();
        // To the end, also without the one who asked: the next one counts only what was answered.
        tasks::to_the_end(async move { this.share_alone(name, account, creator, terms).await }).await?
    }

    /// One at a time: the directory counts the one before once that is answered.
    async fn share_alone(
        &self,
        name: String,
        account: Id,
        creator: Id,
        terms: ShareTerms,
    ) -> Result<(), Error> {
        let (now, limit) = (self.clock.now_ms(), self.limits.shares);
        let _alone = self.sharing.lock().await;
        let shared = self.access.directory().shares_of(&name).count();
        if shared >= limit {
            return Err(Error::Limit { what: "shares of one repository", limit: limit as u64 });
        }
        self.meta
            .commit(move |tx| {
                let organisation = there(tx, name.split('/').next().unwrap_or_default())?;
                if tx.get(&RepositoryKey { name: name.clone() })?.is_none() {
                    return Err(Error::Missing(Thing::Repository(name)));
                }
                if tx.get(&RepositorySettingsKey { name: name.clone() })?.is_some_and(|r| r.public) {
                    let why = "a public repository is open to everybody already".to_owned();
                    return Err(Error::Invalid { field: "repository", why });
                }
                if organisation.owner == Some(account) {
                    let why = "the account owns the repository".to_owned();
                    return Err(Error::Invalid { field: "access_domain", why });
                }
                if tx.get(&AccountKey { id: account })?.is_none() {
                    return Err(Error::Missing(Thing::Account(account.to_string())));
                }
                let key = ShareKey { account, name };
                let there = tx.get(&key)?.filter(|share| share.organisation == organisation.number);
                if there.is_some() {
                    return Err(Error::Exists(Thing::Share(format!("{} with {account}", key.name))));
                }
                let record = ShareRecord {
                    organisation: organisation.number,
                    until: terms.until,
                    description: terms.description,
                    creator,
                    created_at: now,
                    updated_at: now,
                };
                Ok(tx.put(&key, &record)?)
            })
            .await
    }

    /// Changes the terms of a share.
    pub async fn reshare(&self, permit: &Permit, account: Id, terms: ShareTerms) -> Result<(), Error> {
        let name = repository(permit, Action::UpdateShare)?.as_str().to_owned();
        self.check_terms(&terms)?;
        let now = self.clock.now_ms();
        self.meta
            .commit(move |tx| {
                let key = ShareKey { account, name };
                let share = shared(tx, &key)?;
                let ShareTerms { until, description } = terms;
                Ok(tx.put(&key, &ShareRecord { until, description, updated_at: now, ..share })?)
            })
            .await
    }

    /// Ends a share.
    pub async fn unshare(&self, permit: &Permit, account: Id) -> Result<(), Error> {
        let name = repository(permit, Action::DeleteShare)?.as_str().to_owned();
        self.meta
            .commit(move |tx| {
                let key = ShareKey { account, name };
                shared(tx, &key)?;
                Ok(tx.delete(&key)?)
            })
            .await
    }

    /// The shares of a repository, by account.
    pub fn shares(&self, permit: &Permit) -> Result<Vec<Share>, Error> {
        let name = repository(permit, Action::ListShares)?;
        let accounts: Vec<Id> =
            self.access.directory().shares_of(name.as_str()).map(|(account, _)| account).collect();
        Ok(accounts.into_iter().filter_map(|account| self.share_of(name.as_str(), account)).collect())
    }

    /// The share of a repository with an account, if there is one.
    pub fn show_share(&self, permit: &Permit, account: Id) -> Result<Option<Share>, Error> {
        let name = repository(permit, Action::ShowShare)?;
        Ok(self.share_of(name.as_str(), account))
    }

    /// What other accounts share with the account of the one who asks, ended or not, by name.
    pub fn shared_with(&self, permit: &Permit) -> Result<Vec<Share>, Error> {
        if !permit.covers_registry(Action::ListRepositories) {
            return Err(Error::Bug("a permit for something else"));
        }
        let Actor::User(user) = permit.actor() else { return Ok(Vec::new()) };
        let (account, names) = {
            let directory = self.access.directory();
            let Some(user) = directory.user(*user) else { return Ok(Vec::new()) };
            let names: Vec<String> = directory.shared_with(user.account).map(str::to_owned).collect();
            (user.account, names)
        };
        Ok(names.iter().filter_map(|name| self.share_of(name, account)).collect())
    }

    /// What the account of the one who asks shares with others, ended or not, by name: of what he may see the shares of.
    pub fn shared_by(&self, permit: &Permit) -> Result<Vec<Share>, Error> {
        if !permit.covers_registry(Action::ListRepositories) {
            return Err(Error::Bug("a permit for something else"));
        }
        let Actor::User(user) = permit.actor() else { return Ok(Vec::new()) };
        let mut names: Vec<String> = {
            let directory = self.access.directory();
            let Some(user) = directory.user(*user) else { return Ok(Vec::new()) };
            directory.shared_by(user.account).map(str::to_owned).collect()
        };
        names.sort_unstable();
        let mut shares = Vec::new();
        for name in names {
            let Ok(parsed) = name.parse() else { continue };
            let resource = Resource::Repository(parsed);
            if self.access.authorise(permit.actor(), Action::ListShares, resource).is_err() {
                continue;
            }
            let accounts: Vec<Id> =
                self.access.directory().shares_of(&name).map(|(account, _)| account).collect();
            shares.extend(accounts.into_iter().filter_map(|account| self.share_of(&name, account)));
        }
        Ok(shares)
    }

    fn share_of(&self, name: &str, account: Id) -> Option<Share> {
        let directory = self.access.directory();
        let share = directory.share(name, account)?;
        let now = self.clock.now_ms();
        Some(Share {
            repository: name.to_owned(),
            account,
            account_name: directory.account(account)?.name.clone(),
            terms: ShareTerms { until: share.until, description: share.description.clone() },
            creator: (share.creator, directory.user(share.creator).map(|user| user.name.clone())),
            created_at: share.created_at,
            updated_at: share.updated_at,
            valid: share.until.is_none_or(|until| now < until),
        })
    }

    fn check_terms(&self, terms: &ShareTerms) -> Result<(), Error> {
        if terms.description.chars().count() > SHARE_DESCRIPTION {
            let why = format!("at most {SHARE_DESCRIPTION} characters");
            return Err(Error::Invalid { field: "description", why });
        }
        if terms.until.is_some_and(|until| until <= self.clock.now_ms()) {
            return Err(Error::Invalid { field: "deadline", why: "lies in the past".to_owned() });
        }
        Ok(())
    }
}

/// The row of a share that has to be there, and to be of the organisation that has the name now.
fn shared(tx: &mut Tx<'_>, key: &ShareKey) -> Result<ShareRecord, Error> {
    let organisation = there(tx, key.name.split('/').next().unwrap_or_default())?;
    let share = tx.get(key)?.filter(|share| share.organisation == organisation.number);
    share.ok_or_else(|| Error::Missing(Thing::Share(format!("{} with {}", key.name, key.account))))
}
