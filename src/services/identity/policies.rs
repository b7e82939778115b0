//! Custom policies of an account.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{GroupKey, PolicyKey, TextKey, TextOwner, UserKey};
use pierhead_storage_format::identity::records::PolicyRecord;
use pierhead_storage_format::keys::CounterKey;

use super::{Identity, account, rules, take_name, there};
use crate::services::access::{Action, Permit, Policy};
use crate::services::error::{Error, Thing};
use crate::services::organisations::{put_text, text};
use crate::stores::meta::Tx;

/// Parts a document may have; far more than its limit makes.
const MAX_PARTS: usize = 64;

/// A policy to be made.
pub struct NewPolicy {
    /// Unique in the account.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// JSON of version 1.1.
    pub document: String,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyView {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// As it was given.
    pub document: String,
    /// UTC milliseconds.
    pub created_at: u64,
    /// UTC milliseconds.
    pub updated_at: u64,
}

impl Identity {
    /// Makes a policy of the permit's account; its id. It says nothing until it is attached.
    pub async fn create_policy(&self, permit: &Permit, new: NewPolicy) -> Result<Id, Error> {
        let account = account(permit, Action::ManagePolicies)?;
        let NewPolicy { name, description, document } = new;
        rules::name("policy", &name)?;
        rules::description(&description)?;
        check(&document)?;
        let (id, now) = (self.new_id()?, self.parts().clock.now_ms());
        self.parts()
            .meta
            .commit_with(permit.event(), move |tx| {
                there(tx, account)?;
                if !take_name(tx, &name_row(account, &name))? {
                    return Err(Error::Exists(Thing::Policy(name)));
                }
                let record = PolicyRecord { account, name, description, created_at: now, updated_at: now };
                tx.put(&PolicyKey { id }, &record)?;
                put_text(tx, TextOwner::Policy(id), &document)
            })
            .await?;
        Ok(id)
    }

    /// Changes a policy's document or description, for everybody it is attached to.
    pub async fn update_policy(
        &self,
        permit: &Permit,
        id: Id,
        description: Option<String>,
        document: Option<String>,
    ) -> Result<(), Error> {
        let account = account(permit, Action::ManagePolicies)?;
        description.as_deref().map_or(Ok(()), rules::description)?;
        document.as_deref().map_or(Ok(()), check)?;
        let now = self.parts().clock.now_ms();
        self.parts()
            .meta
            .commit_with(permit.event(), move |tx| {
                let mut record = of_account(tx, account, id)?;
                record.description = description.unwrap_or(record.description);
                record.updated_at = now;
                tx.put(&PolicyKey { id }, &record)?;
                document.map_or(Ok(()), |document| put_text(tx, TextOwner::Policy(id), &document))
            })
            .await
    }

    /// Removes a policy that is attached to nobody.
    pub async fn delete_policy(&self, permit: &Permit, id: Id) -> Result<(), Error> {
        let account = account(permit, Action::ManagePolicies)?;
        let name = {
            let directory = self.parts().access.directory();
            directory.policy_name(id).map_or_else(|| id.to_string(), str::to_owned)
        };
        let in_use = move || Error::InUse(Thing::Policy(name.clone()), "users or groups have it");
        if self.parts().access.directory().is_attached(account, id) {
            return Err(in_use());
        }
        let access = self.parts().access.clone();
        self.parts()
            .meta
            .commit_with(permit.event(), move |tx| {
                of_account(tx, account, id)?;
                // Who is made in the same group of changes has no policies yet, so all are known.
                let (users, groups) = {
                    let directory = access.directory();
                    let users: Vec<Id> = directory.users_of(account).map(|(user, _)| user).collect();
                    (users, directory.group_ids_of(account))
                };
                if is_attached(tx, id, &users, &groups)? {
                    return Err(in_use());
                }
                remove(tx, id)
            })
            .await
    }

    /// The policies of the permit's account, by name.
    pub fn policies(&self, permit: &Permit) -> Result<Vec<PolicyView>, Error> {
        let account = account(permit, Action::ListUsers)?;
        let ids = self.parts().access.directory().policy_ids_of(account);
        let mut policies = Vec::new();
        for id in ids {
            let Some(record) = self.parts().meta.get(&PolicyKey { id })? else { continue };
            let PolicyRecord { name, description, created_at, updated_at, .. } = record;
            let document = text(&self.parts().meta, TextOwner::Policy(id))?;
            policies.push(PolicyView { id, name, description, document, created_at, updated_at });
        }
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(policies)
    }

    /// The id of a policy of an account, by id or name.
    pub fn find_policy(&self, account: Id, text: &str) -> Result<Id, Error> {
        let directory = self.parts().access.directory();
        let fits = |id: &Id| directory.policy_name(*id) == Some(text) || text.parse() == Ok(*id);
        let found = directory.policy_ids_of(account).into_iter().find(fits);
        found.ok_or_else(|| Error::Missing(Thing::Policy(text.to_owned())))
    }
}

fn check(document: &str) -> Result<(), Error> {
    let wrong = |why: String| Error::Invalid { field: "document", why };
    Policy::parse(document).map(drop).map_err(|error| wrong(error.to_string()))
}

fn of_account(tx: &mut Tx<'_>, account: Id, id: Id) -> Result<PolicyRecord, Error> {
    let record = tx.get(&PolicyKey { id })?.filter(|record| record.account == account);
    record.ok_or_else(|| Error::Missing(Thing::Policy(id.to_string())))
}

fn is_attached(tx: &mut Tx<'_>, policy: Id, users: &[Id], groups: &[Id]) -> Result<bool, Error> {
    for id in users {
        if tx.get(&UserKey { id: *id })?.is_some_and(|user| user.policies.contains(&policy)) {
            return Ok(true);
        }
    }
    for id in groups {
        if tx.get(&GroupKey { id: *id })?.is_some_and(|group| group.policies.contains(&policy)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The row that keeps a policy's name from being given twice.
fn name_row(account: Id, name: &str) -> CounterKey {
    CounterKey { name: format!("policy {account} {name}") }
}

/// Takes a policy and its document out.
pub(super) fn remove(tx: &mut Tx<'_>, id: Id) -> Result<(), Error> {
    if let Some(PolicyRecord { account, name, .. }) = tx.get(&PolicyKey { id })? {
        tx.delete(&name_row(account, &name))?;
    }
    for (key, _) in tx.page::<TextKey>(&TextKey::prefix(TextOwner::Policy(id)), None, MAX_PARTS)? {
        tx.delete(&key)?;
    }
    Ok(tx.delete(&PolicyKey { id })?)
}
