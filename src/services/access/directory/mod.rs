//! What is known of accounts, users, rights and organisations, in memory: a view of the identity
//! tables that follows every change set in the order of its commit, before the change is answered.
//! So a right that was taken away is gone with the answer that says so.
//!
//! D1: a directory that followed changes equals one read anew (a test holds it to that).
//! D2: a row that refers to something absent is harmless: it gives nobody anything.
//!
//! `load` reads it; `apply` is the one way a row gets in, at start and later. Must not decide
//! anything; that is `decide`'s.

mod apply;
mod load;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::TextOwner;
use pierhead_storage_format::identity::records::{
    AccessKeyRecord, AccountRecord, GroupRecord, Level, LoginRecord, PolicyRecord, ShareRecord, UserRecord,
};
use pierhead_storage_format::records::OrganisationRecord;

use super::policy::Policy;

pub use apply::{FollowError, TABLES};
pub use load::LoadError;

/// Users or accounts, and the names of what they were given something on.
pub type Given = Vec<(Id, String)>;

/// What a user was granted, and in which organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grant {
    organisation: u64,
    level: Level,
}

/// Who is not there any more, though something refers to him.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absent {
    /// Accounts.
    pub accounts: BTreeSet<Id>,
    /// Users.
    pub users: BTreeSet<Id>,
    /// Groups.
    pub groups: BTreeSet<Id>,
}

/// The view. Everything is found in a constant number of look-ups, whatever there is; what is in an organisation
/// lies together, by name.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    accounts: HashMap<Id, Arc<AccountRecord>>,
    account_names: HashMap<String, Id>,
    users: HashMap<Id, Arc<UserRecord>>,
    user_names: HashMap<Id, BTreeMap<String, Id>>,
    /// Accounts that run the appliance: one, once there is any.
    operators: BTreeSet<Id>,
    groups: HashMap<Id, Arc<GroupRecord>>,
    members: HashMap<Id, BTreeSet<Id>>,
    groups_of: HashMap<Id, BTreeSet<Id>>,
    policies: HashMap<Id, PolicyRecord>,
    texts: HashMap<Id, BTreeMap<u64, String>>,
    /// Documents, but those that cannot be read: a policy without one denies everything.
    documents: HashMap<Id, Arc<Policy>>,
    keys: HashMap<String, Arc<AccessKeyRecord>>,
    keys_of: HashMap<Id, BTreeSet<String>>,
    logins: HashMap<String, Arc<LoginRecord>>,
    logins_of: HashMap<Id, BTreeSet<String>>,
    grants: HashMap<Id, BTreeMap<String, Grant>>,
    granted_on: BTreeMap<String, BTreeMap<Id, Grant>>,
    shares: BTreeMap<String, BTreeMap<Id, ShareRecord>>,
    shared_with: HashMap<Id, BTreeSet<String>>,
    organisations: BTreeMap<String, OrganisationRecord>,
    owned: HashMap<Id, BTreeSet<String>>,
    public: BTreeSet<String>,
}

impl Directory {
    /// An account.
    pub fn account(&self, id: Id) -> Option<&Arc<AccountRecord>> {
        self.accounts.get(&id)
    }

    /// Every account.
    pub fn accounts(&self) -> impl Iterator<Item = (Id, &Arc<AccountRecord>)> {
        self.accounts.iter().map(|(id, record)| (*id, record))
    }

    /// An account by name.
    pub fn account_named(&self, name: &str) -> Option<Id> {
        self.account_names.get(name).copied()
    }

    /// Whether there is any account.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// A user.
    pub fn user(&self, id: Id) -> Option<&Arc<UserRecord>> {
        self.users.get(&id)
    }

    /// A user by name in an account.
    pub fn user_named(&self, account: Id, name: &str) -> Option<Id> {
        self.user_names.get(&account)?.get(name).copied()
    }

    /// Who signs in with a name alone: the user of the only account, or of the operator's.
    pub fn plain_user_named(&self, name: &str) -> Option<Id> {
        let only = self.accounts.keys().next().filter(|_| self.accounts.len() == 1);
        self.user_named(*only.or_else(|| self.operators.first())?, name)
    }

    /// The users of an account, by name.
    pub fn users_of(&self, account: Id) -> impl Iterator<Item = (Id, &Arc<UserRecord>)> {
        let ids = self.user_names.get(&account).into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|id| Some((*id, self.users.get(id)?)))
    }

    /// A group.
    pub fn group(&self, id: Id) -> Option<&Arc<GroupRecord>> {
        self.groups.get(&id)
    }

    /// The groups of an account.
    pub fn group_ids_of(&self, account: Id) -> Vec<Id> {
        let of = self.groups.iter().filter(|(_, group)| group.account == account);
        of.map(|(id, _)| *id).collect()
    }

    /// Who is in a group, present or not.
    pub fn members_of(&self, group: Id) -> Vec<Id> {
        self.members.get(&group).into_iter().flatten().copied().collect()
    }

    /// Groups a user is in, present or not.
    pub fn all_groups_of(&self, user: Id) -> impl Iterator<Item = Id> {
        self.groups_of.get(&user).into_iter().flatten().copied()
    }

    /// Who is not there, and something is left of.
    pub fn absent(&self) -> Absent {
        let of_users = self.users.values().map(|user| user.account);
        let of_groups = self.groups.values().map(|group| group.account);
        let of_policies = self.policies.values().map(|policy| policy.account);
        let of_accounts =
            of_users.chain(of_groups).chain(of_policies).chain(self.shared_with.keys().copied());
        let of_keys = self.keys_of.keys().chain(self.logins_of.keys());
        let of_rights = self.grants.keys().chain(self.groups_of.keys());
        Absent {
            accounts: of_accounts.filter(|id| !self.accounts.contains_key(id)).collect(),
            users: of_keys.chain(of_rights).filter(|id| !self.users.contains_key(*id)).copied().collect(),
            groups: self.members.keys().filter(|id| !self.groups.contains_key(*id)).copied().collect(),
        }
    }

    /// The groups a user is in.
    pub fn groups_of(&self, user: Id) -> impl Iterator<Item = (Id, &Arc<GroupRecord>)> {
        let ids = self.groups_of.get(&user).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.groups.get(id)?)))
    }

    /// The policies of an account.
    pub fn policy_ids_of(&self, account: Id) -> Vec<Id> {
        let of = self.policies.iter().filter(|(_, policy)| policy.account == account);
        of.map(|(id, _)| *id).collect()
    }

    /// A policy's name.
    pub fn policy_name(&self, policy: Id) -> Option<&str> {
        self.policies.get(&policy).map(|record| record.name.as_str())
    }

    /// Whether users or groups of an account have a policy.
    pub fn is_attached(&self, account: Id, policy: Id) -> bool {
        let groups = self.groups.values().filter(|group| group.account == account);
        self.users_of(account).any(|(_, user)| user.policies.contains(&policy))
            || groups.into_iter().any(|group| group.policies.contains(&policy))
    }

    /// A policy's document, read.
    pub fn document(&self, policy: Id) -> Option<&Policy> {
        self.documents.get(&policy).map(Arc::as_ref)
    }

    /// An access key by its AK.
    pub fn access_key(&self, key: &str) -> Option<&Arc<AccessKeyRecord>> {
        self.keys.get(key)
    }

    /// The AKs of a user.
    pub fn access_keys_of(&self, user: Id) -> impl Iterator<Item = &str> {
        self.keys_of.get(&user).into_iter().flatten().map(String::as_str)
    }

    /// A temporary login by its AK.
    pub fn login(&self, key: &str) -> Option<&Arc<LoginRecord>> {
        self.logins.get(key)
    }

    /// The temporary logins of a user.
    pub fn logins_of(&self, user: Id) -> Vec<String> {
        self.logins_of.get(&user).into_iter().flatten().cloned().collect()
    }

    /// Everything a user was granted, whether it still says anything or not: by name.
    pub fn all_grants_of(&self, user: Id) -> impl Iterator<Item = &str> {
        self.grants.get(&user).into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// What a user was granted on exactly this organisation or repository.
    pub fn grant(&self, user: Id, name: &str) -> Option<Level> {
        let grant = self.grants.get(&user)?.get(name)?;
        self.is_of_now(name, grant.organisation).then_some(grant.level)
    }

    /// Everything a user was granted: organisations and repositories by name.
    pub fn grants_of(&self, user: Id) -> impl Iterator<Item = (&str, Level)> {
        let all = self.grants.get(&user).into_iter().flatten();
        let now = all.filter(|(name, grant)| self.is_of_now(name, grant.organisation));
        now.map(|(name, grant)| (name.as_str(), grant.level))
    }

    /// Who was granted something on exactly this organisation or repository.
    pub fn granted_on(&self, name: &str) -> impl Iterator<Item = (Id, Level)> {
        let all = self.granted_on.get(name).into_iter().flatten();
        let now = all.filter(|(_, grant)| self.is_of_now(name, grant.organisation));
        now.map(|(user, grant)| (*user, grant.level))
    }

    /// The share of a repository with an account, ended or not.
    pub fn share(&self, name: &str, account: Id) -> Option<&ShareRecord> {
        let share = self.shares.get(name)?.get(&account)?;
        self.is_of_now(name, share.organisation).then_some(share)
    }

    /// The accounts a repository is shared with.
    pub fn shares_of(&self, name: &str) -> impl Iterator<Item = (Id, &ShareRecord)> {
        let all = self.shares.get(name).into_iter().flatten();
        let now = all.filter(|(_, share)| self.is_of_now(name, share.organisation));
        now.map(|(account, share)| (*account, share))
    }

    /// The repositories of an account that are shared with others, whether the shares still say anything or not.
    pub fn shared_by(&self, account: Id) -> impl Iterator<Item = &str> {
        self.organisations_of(account)
            .flat_map(|organisation| within(&self.shares, &format!("{organisation}/")))
            .map(|(name, _)| name.as_str())
    }

    /// The repositories shared with an account, by name.
    pub fn shared_with(&self, account: Id) -> impl Iterator<Item = &str> {
        self.shared_with.get(&account).into_iter().flatten().map(String::as_str)
    }

    /// The repositories that were shared with an account, whether the shares still say anything or not.
    pub fn all_shared_with(&self, account: Id) -> impl Iterator<Item = &str> {
        self.shared_with(account)
    }

    /// An organisation.
    pub fn organisation(&self, name: &str) -> Option<&OrganisationRecord> {
        self.organisations.get(name)
    }

    /// Every organisation, by name.
    pub fn organisation_names(&self) -> Vec<String> {
        self.organisations.keys().cloned().collect()
    }

    /// The organisations whose names come after `after`, by name.
    pub fn organisations_after(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&str, &OrganisationRecord)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.organisations.range::<str, _>((from, Bound::Unbounded));
        range.map(|(name, record)| (name.as_str(), record))
    }

    /// The organisations of a user's account, and those he was granted something in, by name.
    pub fn organisations_around(&self, user: Id) -> BTreeSet<String> {
        let own = self.user(user).into_iter().flat_map(|user| self.organisations_of(user.account));
        let granted = self.all_grants_of(user).filter_map(|name| name.split('/').next());
        own.chain(granted).map(str::to_owned).collect()
    }

    /// Whether a user was granted something on what starts with `within`.
    pub fn is_granted_within(&self, user: Id, within: &str) -> bool {
        let grants = self.grants.get(&user);
        let mut inside = grants.into_iter().flat_map(|grants| self::within(grants, within));
        inside.any(|(name, grant)| self.is_of_now(name, grant.organisation))
    }

    /// Grants and shares on `name` and on what starts with `within`, whether they still say anything or not.
    pub fn rights_in(&self, name: &str, within: &str) -> (Given, Given) {
        let grants =
            self.granted_on.get_key_value(name).into_iter().chain(self::within(&self.granted_on, within));
        let grants = grants.flat_map(|(key, by)| by.keys().map(move |user| (*user, key.clone())));
        let shares = self.shares.get_key_value(name).into_iter().chain(self::within(&self.shares, within));
        let shares = shares.flat_map(|(key, by)| by.keys().map(move |account| (*account, key.clone())));
        (grants.collect(), shares.collect())
    }

    /// The users who have a grant on exactly this, and the accounts it is shared with, whether that still
    /// says anything or not.
    pub fn rights_on(&self, name: &str) -> (Vec<Id>, Vec<Id>) {
        let users = self.granted_on.get(name).into_iter().flat_map(BTreeMap::keys);
        let accounts = self.shares.get(name).into_iter().flat_map(BTreeMap::keys);
        (users.copied().collect(), accounts.copied().collect())
    }

    /// Grants and shares of organisations that went, by user or account and name: they say nothing.
    pub fn outdated(&self) -> (Given, Given) {
        let grants =
            self.granted_on.iter().flat_map(|(name, by)| by.iter().map(move |(id, of)| (name, id, of)));
        let grants = grants.filter(|(name, _, grant)| !self.is_of_now(name, grant.organisation));
        let shares = self.shares.iter().flat_map(|(name, by)| by.iter().map(move |(id, of)| (name, id, of)));
        let shares = shares.filter(|(name, _, share)| !self.is_of_now(name, share.organisation));
        let grants = grants.map(|(name, user, _)| (*user, name.clone())).collect();
        (grants, shares.map(|(name, account, _)| (*account, name.clone())).collect())
    }

    /// The organisations of an account, by name.
    pub fn organisations_of(&self, account: Id) -> impl Iterator<Item = &str> {
        self.owned.get(&account).into_iter().flatten().map(String::as_str)
    }

    /// Whether what was given in `name`, a repository or organisation, was given in the organisation
    /// that has the name now.
    fn is_of_now(&self, name: &str, organisation: u64) -> bool {
        let now = name.split('/').next().and_then(|name| self.organisations.get(name));
        now.is_some_and(|now| now.number == organisation)
    }

    /// Whether anybody may pull a repository.
    pub fn is_public(&self, name: &str) -> bool {
        self.public.contains(name)
    }
}

/// What lies below names that start with `start`.
fn within<'a, V>(
    map: &'a BTreeMap<String, V>,
    start: &str,
) -> impl Iterator<Item = (&'a String, &'a V)> + use<'a, V> {
    let start = start.to_owned();
    let from = (Bound::Included(start.as_str()), Bound::Unbounded);
    map.range::<str, _>(from).take_while(move |(name, _)| name.starts_with(&start))
}

/// The policy a text belongs to, if it is one's.
const fn policy_of(owner: TextOwner) -> Option<Id> {
    match owner {
        TextOwner::Policy(id) => Some(id),
        TextOwner::Repository(_) | TextOwner::Retention(_) => None,
    }
}

#[cfg(test)]
mod tests;
