//! How a row gets into the view: each table has one arm, which takes what was known under the key
//! out and puts in what the record says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use pierhead_storage_format::FormatError;
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::identity::keys::{
    AccessKeyKey, AccountKey, GrantKey, GroupKey, GroupMemberKey, LoginKey, PolicyKey, RepositorySettingsKey,
    ShareKey, TextKey, UserKey,
};
use pierhead_storage_format::identity::records::{AccountRecord, GrantRecord, ShareRecord, UserRecord};
use pierhead_storage_format::keys::{OrganisationKey, Table, TableKey};
use pierhead_storage_format::records::OrganisationRecord;

use super::{Directory, Grant, policy_of};
use crate::services::access::policy::Policy;

/// A row that does not parse. The store checks rows when it opens, so this is damage met since.
#[derive(Debug, thiserror::Error)]
#[error("a row of the table {} does not parse: {source}", .table.name())]
pub struct FollowError {
    table: Table,
    #[source]
    source: FormatError,
}

/// The tables the view is made of, in the order they are read.
pub const TABLES: [Table; 12] = [
    Table::Organisation,
    Table::Account,
    Table::User,
    Table::Group,
    Table::GroupMember,
    Table::Policy,
    Table::Text,
    Table::AccessKey,
    Table::Login,
    Table::Grant,
    Table::Share,
    Table::RepositorySettings,
];

impl Directory {
    /// Takes in that a row was set, or removed (`None`). Rows of tables that are not in [`TABLES`]
    /// are nothing to it.
    pub fn apply(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), FollowError> {
        let followed = match table {
            Table::Organisation => row(key, value).map(|(k, r)| self.organisation_is(k, r)),
            Table::Account => row(key, value).map(|(k, r)| self.account_is(k, r)),
            Table::User => row(key, value).map(|(k, r)| self.user_is(k, r)),
            Table::Group => {
                row(key, value).map(|(GroupKey { id }, r)| set(&mut self.groups, id, r.map(Arc::new)))
            }
            Table::GroupMember => row(key, value).map(|(k, r)| self.member_is(k, r.is_some())),
            Table::Policy => row(key, value).map(|(PolicyKey { id }, r)| set(&mut self.policies, id, r)),
            Table::Text => row(key, value).map(|(k, r)| self.text_is(k, r.map(|r| r.part))),
            Table::AccessKey => row(key, value).map(|(AccessKeyKey { key }, r)| {
                if let Some(old) = self.keys.get(&key) {
                    unlink(&mut self.keys_of, old.user, &key);
                }
                if let Some(new) = &r {
                    link(&mut self.keys_of, new.user, key.clone());
                }
                set(&mut self.keys, key, r.map(Arc::new));
            }),
            Table::Login => row(key, value).map(|(LoginKey { key }, r)| {
                if let Some(old) = self.logins.get(&key) {
                    unlink(&mut self.logins_of, old.user, &key);
                }
                if let Some(new) = &r {
                    link(&mut self.logins_of, new.user, key.clone());
                }
                set(&mut self.logins, key, r.map(Arc::new));
            }),
            Table::Grant => row(key, value).map(|(k, r)| self.grant_is(k, r)),
            Table::Share => row(key, value).map(|(k, r)| self.share_is(k, r)),
            Table::RepositorySettings => row(key, value).map(|(RepositorySettingsKey { name }, r)| {
                match r.is_some_and(|r| r.public) {
                    true => self.public.insert(name),
                    false => self.public.remove(&name),
                };
            }),
            _ => Ok(()),
        };
        followed.map_err(|source| FollowError { table, source })
    }

    fn organisation_is(&mut self, key: OrganisationKey, record: Option<OrganisationRecord>) {
        let OrganisationKey { name } = key;
        if let Some(owner) = self.organisations.get(&name).and_then(|old| old.owner) {
            unlink(&mut self.owned, owner, &name);
        }
        if let Some(owner) = record.as_ref().and_then(|new| new.owner) {
            link(&mut self.owned, owner, name.clone());
        }
        match record {
            Some(record) => drop(self.organisations.insert(name, record)),
            None => drop(self.organisations.remove(&name)),
        }
    }

    fn account_is(&mut self, AccountKey { id }: AccountKey, record: Option<AccountRecord>) {
        // A name may be another's by now: the rows of a group of changes come in the order of their keys.
        if let Some(old) = self.accounts.get(&id)
            && self.account_names.get(&old.name) == Some(&id)
        {
            self.account_names.remove(&old.name);
        }
        self.operators.remove(&id);
        if let Some(new) = &record {
            if new.operator {
                self.operators.insert(id);
            }
            self.account_names.insert(new.name.clone(), id);
        }
        set(&mut self.accounts, id, record.map(Arc::new));
    }

    fn user_is(&mut self, UserKey { id }: UserKey, record: Option<UserRecord>) {
        if let Some(old) = self.users.get(&id) {
            let named = self.user_names.get(&old.account).and_then(|names| names.get(&old.name));
            if named == Some(&id) {
                remove_inner(&mut self.user_names, old.account, &old.name);
            }
        }
        if let Some(new) = &record {
            self.user_names.entry(new.account).or_default().insert(new.name.clone(), id);
        }
        set(&mut self.users, id, record.map(Arc::new));
    }

    fn member_is(&mut self, GroupMemberKey { group, user }: GroupMemberKey, is_there: bool) {
        if is_there {
            link(&mut self.members, group, user);
            link(&mut self.groups_of, user, group);
        } else {
            unlink(&mut self.members, group, &user);
            unlink(&mut self.groups_of, user, &group);
        }
    }

    fn text_is(&mut self, key: TextKey, part: Option<String>) {
        let Some(policy) = policy_of(key.owner) else { return };
        match part {
            Some(part) => drop(self.texts.entry(policy).or_default().insert(key.part, part)),
            None => remove_inner(&mut self.texts, policy, &key.part),
        }
        self.documents.remove(&policy);
        let Some(parts) = self.texts.get(&policy) else { return };
        if let Ok(document) = Policy::parse(&parts.values().map(String::as_str).collect::<String>()) {
            self.documents.insert(policy, Arc::new(document));
        }
    }

    fn grant_is(&mut self, GrantKey { user, name }: GrantKey, record: Option<GrantRecord>) {
        match record {
            Some(GrantRecord { organisation, level, .. }) => {
                let grant = Grant { organisation, level };
                self.granted_on.entry(name.clone()).or_default().insert(user, grant);
                self.grants.entry(user).or_default().insert(name, grant);
            }
            None => {
                remove_inner(&mut self.grants, user, &name);
                remove_below(&mut self.granted_on, &name, &user);
            }
        }
    }

    fn share_is(&mut self, ShareKey { account, name }: ShareKey, record: Option<ShareRecord>) {
        match record {
            Some(share) => {
                link(&mut self.shared_with, account, name.clone());
                self.shares.entry(name).or_default().insert(account, share);
            }
            None => {
                unlink(&mut self.shared_with, account, &name);
                remove_below(&mut self.shares, &name, &account);
            }
        }
    }
}

fn row<K: TableKey>(key: &[u8], value: Option<&[u8]>) -> Result<(K, Option<K::Record>), FormatError> {
    Ok((K::decode(key)?, value.map(K::Record::decode).transpose()?))
}

fn set<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn link<K: Eq + Hash, V: Ord>(map: &mut HashMap<K, BTreeSet<V>>, key: K, value: V) {
    map.entry(key).or_default().insert(value);
}

/// An inner set that becomes empty goes, so that two views of the same rows are equal.
fn unlink<K: Eq + Hash, V: Ord>(map: &mut HashMap<K, BTreeSet<V>>, key: K, value: &V) {
    if let Some(values) = map.get_mut(&key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(&key);
        }
    }
}

fn remove_inner<K: Eq + Hash, I: Ord, V>(map: &mut HashMap<K, BTreeMap<I, V>>, key: K, inner: &I) {
    if let Some(values) = map.get_mut(&key) {
        values.remove(inner);
        if values.is_empty() {
            map.remove(&key);
        }
    }
}

fn remove_below<I: Ord, V>(map: &mut BTreeMap<String, BTreeMap<I, V>>, key: &str, inner: &I) {
    if let Some(values) = map.get_mut(key) {
        values.remove(inner);
        if values.is_empty() {
            map.remove(key);
        }
    }
}
