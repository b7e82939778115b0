//! What is left of users, groups and accounts that went. Who goes may have any number of rows, so that
//! they cannot all go in one change. A removal is: 1. one change takes the row of the user, group or
//! account out, and with it all its rights (N3); 2. what refers to it goes in changes of [`BATCH`] rows.
//!
//! The absence of the row in 1 is the mark that 2 is to be done; an account leaves a row of its own too,
//! which tells a removal that was cut short from damage and goes last. [`Identity::finish_removals`]
//! looks for both at the start, and does what an earlier run was stopped in.

use std::collections::BTreeSet;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{
    FavouriteKey, GrantKey, GroupMemberKey, ShareKey, UserKey, UserNameKey,
};
use pierhead_storage_format::keys::{CounterKey, TableKey};

use super::{Identity, groups, keys, logins, policies};
use crate::services::counters;
use crate::services::error::Error;
use crate::stores::meta::Tx;

/// Removals in one change. The largest takes out a few small rows, or a policy's document.
const BATCH: usize = 500;
/// Users of whom all that is left is held in memory together.
const USERS: usize = 100;
/// Rows read at a time.
const PAGE: usize = 1000;

/// What the row that says that an account is being removed starts with, before the account's id.
const REMOVAL: &str = "removal of account ";

/// Something that is left of somebody who went.
#[derive(Clone)]
enum Left {
    User(Id),
    Group(Id),
    Policy(Id),
    /// An access key of this user.
    Key(Id, String),
    Login(String),
    /// Of this user, on this name.
    Grant(Id, String),
    /// In this group, this user.
    Member(Id, Id),
    /// By this user, of this name.
    Mark(Id, String),
    /// With this account, of this name.
    Share(Id, String),
    /// That the account is being removed; after all of the others.
    Mention(Id),
    /// How many keys and logins a user has; after these.
    Counters(Id),
}

impl Identity {
    /// Removes what is left of users, groups and accounts that are not there any more; how many of
    /// those there were. At the start, for the removals an earlier run was stopped in.
    pub async fn finish_removals(&self) -> Result<usize, Error> {
        let mut absent = self.parts().access.directory().absent();
        absent.users.extend(self.absent_markers()?);
        absent.accounts.extend(self.marked_accounts()?);
        let all = absent.accounts.len() + absent.users.len() + absent.groups.len();
        for account in absent.accounts {
            self.forget_account(account).await?;
        }
        for group in absent.groups {
            self.forget_group(group).await?;
        }
        self.forget_users(absent.users.into_iter().collect()).await?;
        Ok(all)
    }

    /// Removes what is left of an account that is not there.
    pub(super) async fn forget_account(&self, account: Id) -> Result<(), Error> {
        let (users, groups, rest) = {
            let directory = self.parts().access.directory();
            let users: Vec<Id> = directory.users_of(account).map(|(user, _)| user).collect();
            let policies = directory.policy_ids_of(account).into_iter().map(Left::Policy);
            let shares = directory.all_shared_with(account);
            let shares = shares.map(|name| Left::Share(account, name.to_owned()));
            (users, directory.group_ids_of(account), policies.chain(shares).collect())
        };
        self.forget_users(users).await?;
        for group in groups {
            self.forget_group(group).await?;
        }
        self.clear(rest).await?;
        self.clear(vec![Left::Mention(account)]).await
    }

    /// Removes a group that is not to be any more, and who was in it.
    pub(super) async fn forget_group(&self, group: Id) -> Result<(), Error> {
        let members = self.parts().access.directory().members_of(group);
        let members = members.into_iter().map(|user| Left::Member(group, user));
        self.clear([Left::Group(group)].into_iter().chain(members).collect()).await
    }

    /// Removes users who are not to be any more, and all they had.
    pub(super) async fn forget_users(&self, users: Vec<Id>) -> Result<(), Error> {
        for users in users.chunks(USERS) {
            let mut left: Vec<Left> = users.iter().map(|user| Left::User(*user)).collect();
            for user in users {
                self.parts().passwords.forget(*user);
                self.left_of(*user, &mut left)?;
            }
            self.clear(left).await?;
        }
        Ok(())
    }

    fn left_of(&self, user: Id, left: &mut Vec<Left>) -> Result<(), Error> {
        {
            let directory = self.parts().access.directory();
            left.extend(directory.access_keys_of(user).map(|key| Left::Key(user, key.to_owned())));
            left.extend(directory.logins_of(user).into_iter().map(Left::Login));
            let grants = directory.all_grants_of(user);
            left.extend(grants.map(|name| Left::Grant(user, name.to_owned())));
            left.extend(directory.all_groups_of(user).map(|group| Left::Member(group, user)));
        }
        left.push(Left::Counters(user));
        let mut after: Option<Vec<u8>> = None;
        loop {
            let prefix = FavouriteKey::prefix(user);
            let page = self.parts().meta.page::<FavouriteKey>(&prefix, after.as_deref(), PAGE)?;
            after = page.last().map(|(key, _)| key.encode());
            let is_last = page.len() < PAGE;
            left.extend(page.into_iter().map(|(key, _)| Left::Mark(user, key.name)));
            if is_last {
                return Ok(());
            }
        }
    }

    /// Users who are not there and have marks: the directory knows nothing of marks.
    fn absent_markers(&self) -> Result<BTreeSet<Id>, Error> {
        let (mut absent, mut after) = (BTreeSet::new(), None::<Vec<u8>>);
        loop {
            let page = self.parts().meta.page::<FavouriteKey>(&[], after.as_deref(), 1)?;
            let Some((FavouriteKey { user, .. }, _)) = page.first() else { return Ok(absent) };
            if self.parts().access.directory().user(*user).is_none() {
                absent.insert(*user);
            }
            // Behind all marks of this user: no name has this byte.
            after = Some([FavouriteKey::prefix(*user).as_slice(), &[0xff]].concat());
        }
    }

    fn marked_accounts(&self) -> Result<Vec<Id>, Error> {
        let (mut marked, mut after) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let page = self.parts().meta.page::<CounterKey>(REMOVAL.as_bytes(), after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(marked) };
            after = Some(last.encode());
            let ids = page.iter().filter_map(|(key, _)| key.name.strip_prefix(REMOVAL)?.parse::<Id>().ok());
            marked.extend(ids);
        }
    }

    async fn clear(&self, left: Vec<Left>) -> Result<(), Error> {
        for batch in left.chunks(BATCH).map(<[_]>::to_vec) {
            let work = move |tx: &mut Tx<'_>| batch.into_iter().try_for_each(|left| left.remove(tx));
            self.parts().meta.commit(work).await?;
        }
        Ok(())
    }
}

impl Left {
    /// Takes it out, if it is still there.
    fn remove(self, tx: &mut Tx<'_>) -> Result<(), Error> {
        match self {
            Self::User(id) => return remove_user(tx, id),
            Self::Group(id) => return groups::remove(tx, id),
            Self::Policy(id) => return policies::remove(tx, id),
            Self::Key(user, key) => return keys::remove(tx, user, key),
            Self::Login(key) => return logins::remove(tx, vec![key], |_| true).map(drop),
            Self::Grant(user, name) => tx.delete(&GrantKey { user, name })?,
            Self::Member(group, user) => tx.delete(&GroupMemberKey { group, user })?,
            Self::Mark(user, name) => tx.delete(&FavouriteKey { user, name })?,
            Self::Share(account, name) => tx.delete(&ShareKey { account, name })?,
            Self::Mention(account) => {
                counters::forget_account(tx, account)?;
                tx.delete(&mention(account))?;
            }
            Self::Counters(user) => {
                tx.delete(&CounterKey { name: keys::counter(user) })?;
                tx.delete(&CounterKey { name: logins::counter(user) })?;
            }
        }
        Ok(())
    }
}

/// The row that says that an account is being removed.
pub(super) fn mention(account: Id) -> CounterKey {
    CounterKey { name: format!("{REMOVAL}{account}") }
}

/// Takes the row of a user out, if it is there, and that of his name.
pub(super) fn remove_user(tx: &mut Tx<'_>, id: Id) -> Result<(), Error> {
    if let Some(record) = tx.get(&UserKey { id })? {
        tx.delete(&UserNameKey { account: record.account, name: record.name })?;
        tx.delete(&UserKey { id })?;
    }
    Ok(())
}
