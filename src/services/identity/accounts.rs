//! Accounts: making the first and others, switching them off, removing them.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{AccountKey, AccountNameKey};
use pierhead_storage_format::identity::records::{AccountRecord, NamedRecord, Role};
use pierhead_storage_format::keys::{CounterKey, OrganisationKey};
use pierhead_storage_format::records::{CounterRecord, OrganisationRecord};

use super::removal::mention;
use super::users::{self, NewUser};
use super::{Identity, account, own, rules, there};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::services::names::LIBRARY;
use crate::services::quota;
use crate::stores::meta::Tx;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Its project.
    pub project: Id,
    /// UTC milliseconds.
    pub created_at: u64,
    /// It runs the appliance.
    pub operator: bool,
    /// Its users may do something.
    pub enabled: bool,
}

/// An account to be made, with its administrator.
pub struct NewAccount {
    /// Its name.
    pub name: String,
    /// The administrator; his roles are added to.
    pub administrator: NewUser,
}

/// What was made first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// The account.
    pub account: Id,
    /// Its administrator.
    pub administrator: Id,
}

impl Identity {
    /// Makes the operator's account and its administrator, the first there are, and gives it `library`.
    pub async fn initialise(&self, permit: &Permit, new: NewAccount) -> Result<First, Error> {
        if !permit.covers_registry(Action::MaintainStore) {
            return Err(Error::Bug("a permit for something else"));
        }
        self.add_account(permit, new, true).await
    }

    /// Makes an account with its administrator.
    pub async fn create_account(&self, permit: &Permit, new: NewAccount) -> Result<First, Error> {
        if !permit.covers_registry(Action::ManageAccounts) {
            return Err(Error::Bug("a permit for something else"));
        }
        self.add_account(permit, new, false).await
    }

    async fn add_account(&self, permit: &Permit, new: NewAccount, operator: bool) -> Result<First, Error> {
        let NewAccount { name, mut administrator } = new;
        rules::name("name", &name)?;
        if !administrator.roles.contains(&Role::TenantAdministrator) {
            administrator.roles.push(Role::TenantAdministrator);
        }
        let first = First { account: self.new_id()?, administrator: self.new_id()? };
        let user = self.new_user(first.account, administrator).await?;
        let (project, now) = (self.new_id()?, self.parts().clock.now_ms());
        self.commit(permit, move |tx| {
            if operator && let Some((_, there)) = tx.page::<AccountKey>(&[], None, 1)?.pop() {
                return Err(Error::Exists(Thing::Account(there.name)));
            }
            let by_name = AccountNameKey { name };
            if tx.get(&by_name)?.is_some() {
                return Err(Error::Exists(Thing::Account(by_name.name)));
            }
            tx.put(&by_name, &NamedRecord { id: first.account })?;
            let name = by_name.name;
            let record = AccountRecord { name, project, created_at: now, operator, enabled: true };
            tx.put(&AccountKey { id: first.account }, &record)?;
            users::add(tx, first.administrator, user)?;
            if operator {
                adopt_library(tx, first.account, now)?;
            }
            Ok(first)
        })
        .await
    }

    /// Every account, by name.
    pub fn accounts(&self, permit: &Permit) -> Result<Vec<Account>, Error> {
        if !permit.covers_registry(Action::ListAccounts) {
            return Err(Error::Bug("a permit for something else"));
        }
        Ok(self.all_accounts())
    }

    fn all_accounts(&self) -> Vec<Account> {
        let directory = self.parts().access.directory();
        let mut all: Vec<Account> = directory.accounts().map(|(id, record)| view(id, record)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The id of an account, by id or name.
    pub fn find_account(&self, text: &str) -> Result<Id, Error> {
        let directory = self.parts().access.directory();
        let by_id = text.parse().ok().filter(|id| directory.account(*id).is_some());
        let found = by_id.or_else(|| directory.account_named(text));
        found.ok_or_else(|| Error::Missing(Thing::Account(text.to_owned())))
    }

    /// The account of the one who asks.
    pub fn own_account(&self, permit: &Permit) -> Result<Account, Error> {
        let user = own(permit, Action::ShowSelf)?;
        let directory = self.parts().access.directory();
        let id = directory.user(user).map(|user| user.account);
        let record = id.and_then(|id| Some((id, directory.account(id)?)));
        record.map(|(id, record)| view(id, record)).ok_or(Error::Bug("a permit of a user who is not there"))
    }

    /// One account.
    pub fn show_account(&self, permit: &Permit) -> Result<Account, Error> {
        let id = account(permit, Action::ListUsers)?;
        let directory = self.parts().access.directory();
        let record = directory.account(id).ok_or_else(|| Error::Missing(Thing::Account(id.to_string())))?;
        Ok(view(id, record))
    }

    /// Switches an account on or off. The operator's stays on.
    pub async fn enable_account(&self, permit: &Permit, id: Id, enabled: bool) -> Result<(), Error> {
        if !permit.covers_registry(Action::ManageAccounts) {
            return Err(Error::Bug("a permit for something else"));
        }
        self.commit(permit, move |tx| {
            let record = there(tx, id)?;
            if record.operator && !enabled {
                return Err(Error::InUse(Thing::Account(record.name), "it runs the appliance"));
            }
            Ok(tx.put(&AccountKey { id }, &AccountRecord { enabled, ..record })?)
        })
        .await
    }

    /// Removes an account that owns no organisation, with its users, groups, policies and the shares
    /// it was given.
    pub async fn delete_account(&self, permit: &Permit, id: Id) -> Result<(), Error> {
        if !permit.covers_registry(Action::ManageAccounts) {
            return Err(Error::Bug("a permit for something else"));
        }
        let (this, permit) = (self.clone(), self.parts().access.again(permit)?);
        tasks::to_the_end(async move {
            this.commit(&permit, move |tx| remove(tx, id)).await?;
            this.cleared(this.forget_account(id).await);
            Ok(())
        })
        .await?
    }
}

/// Takes the row of an account out, and that of its name: from then on nobody of it may do anything.
fn remove(tx: &mut Tx<'_>, id: Id) -> Result<(), Error> {
    let record = there(tx, id)?;
    if record.operator {
        return Err(Error::InUse(Thing::Account(record.name), "it runs the appliance"));
    }
    let counter = CounterKey { name: format!("organisations of {id}") };
    if tx.get(&counter)?.is_some_and(|owned| owned.next > 0) {
        return Err(Error::InUse(Thing::Account(record.name), "it owns organisations"));
    }
    tx.delete(&counter)?;
    quota::forget_account(tx, id)?;
    tx.put(&mention(id), &CounterRecord { next: 1 })?;
    tx.delete(&AccountNameKey { name: record.name })?;
    Ok(tx.delete(&AccountKey { id })?)
}

fn view(id: Id, record: &AccountRecord) -> Account {
    let AccountRecord { name, project, created_at, operator, enabled } = record.clone();
    Account { id, name, project, created_at, operator, enabled }
}

/// `library` is the operator's, whether images were pushed to it before there was one or not.
fn adopt_library(tx: &mut Tx<'_>, owner: Id, now: u64) -> Result<(), Error> {
    let key = OrganisationKey { name: LIBRARY.to_owned() };
    let there = tx.get(&key)?;
    let record = match there {
        Some(record) => OrganisationRecord { owner: Some(owner), ..record },
        None => {
            let counter = CounterKey { name: "organisation".to_owned() };
            let number = tx.get(&counter)?.map_or(1, |record| record.next);
            tx.put(&counter, &CounterRecord { next: number + 1 })?;
            OrganisationRecord { number, created_at: now, owner: Some(owner), creator: None }
        }
    };
    quota::set_held(tx, owner, record.number)?;
    // The account is new: this is the first it owns.
    tx.put(&CounterKey { name: format!("organisations of {owner}") }, &CounterRecord { next: 1 })?;
    Ok(tx.put(&key, &record)?)
}
