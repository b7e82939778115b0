//! Users: people and robots of an account.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{PolicyKey, UserKey, UserNameKey};
use pierhead_storage_format::identity::records::{NamedRecord, Role, UserRecord};

use super::removal::remove_user;
use super::{Identity, account, own, rules, there};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::services::signin::Secret;
use crate::services::signin::password::check_new;
use crate::stores::meta::Tx;

/// A user to be made.
pub struct NewUser {
    /// Unique in the account.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// Without one no password signs in.
    pub password: Option<Secret>,
    /// May use docker, SDKs and other programs.
    pub programmatic: bool,
    /// May use the page.
    pub console: bool,
    /// System roles.
    pub roles: Vec<Role>,
}

/// What to change of a user; `None` leaves it.
#[derive(Default)]
pub struct UserChange {
    /// At most 255 characters.
    pub description: Option<String>,
    /// A new password; tokens got before are void.
    pub password: Option<Secret>,
    /// May use docker, SDKs and other programs.
    pub programmatic: Option<bool>,
    /// May use the page.
    pub console: Option<bool>,
    /// May do anything.
    pub enabled: Option<bool>,
    /// All system roles from now on.
    pub roles: Option<Vec<Role>>,
    /// All custom policies from now on.
    pub policies: Option<Vec<Id>>,
}

/// A user as administrators see him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    /// His id.
    pub id: Id,
    /// His account.
    pub account: Id,
    /// His name.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// He has a password.
    pub has_password: bool,
    /// May use docker, SDKs and other programs.
    pub programmatic: bool,
    /// May use the page.
    pub console: bool,
    /// May do anything.
    pub enabled: bool,
    /// System roles.
    pub roles: Vec<Role>,
    /// Custom policies.
    pub policies: Vec<Id>,
    /// Groups he is in.
    pub groups: Vec<Id>,
    /// UTC milliseconds.
    pub created_at: u64,
}

impl Identity {
    /// Makes a user of the permit's account; his id.
    pub async fn create_user(&self, permit: &Permit, new: NewUser) -> Result<Id, Error> {
        let account = account(permit, Action::ManageUsers)?;
        let id = self.new_id()?;
        let record = self.new_user(account, new).await?;
        self.commit(permit, move |tx| {
            there(tx, account)?;
            add(tx, id, record)
        })
        .await?;
        Ok(id)
    }

    /// The row of a new user.
    pub(super) async fn new_user(&self, account: Id, new: NewUser) -> Result<UserRecord, Error> {
        let NewUser { name, description, password, programmatic, console, roles } = new;
        rules::name("user", &name)?;
        rules::description(&description)?;
        rules::attached("roles", &roles)?;
        let now = self.parts().clock.now_ms();
        let password = match password {
            Some(password) => Some(self.hashed(&password, &name).await?),
            None => None,
        };
        Ok(UserRecord {
            account,
            name,
            description,
            password,
            password_at: now,
            programmatic,
            console,
            enabled: true,
            roles,
            policies: Vec::new(),
            created_at: now,
        })
    }

    async fn hashed(&self, password: &Secret, name: &str) -> Result<String, Error> {
        let wrong = |why: String| Error::Invalid { field: "password", why };
        check_new(password, name).map_err(|rule| wrong(rule.to_string()))?;
        self.parts().passwords.hash(password).await.map_err(Error::Passwords)
    }

    /// Changes a user of the permit's account.
    pub async fn update_user(&self, permit: &Permit, id: Id, change: UserChange) -> Result<(), Error> {
        let account = account(permit, Action::ManageUsers)?;
        self.change_user(permit, account, id, change, None).await
    }

    /// Changes the password of the one who asks, who knows the present one.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page's, which is not there yet"))]
    pub async fn change_own_password(&self, permit: &Permit, old: &Secret, new: Secret) -> Result<(), Error> {
        let id = own(permit, Action::ManageSelf)?;
        let record = self.parts().access.directory().user(id).cloned();
        let record = record.ok_or(Error::Bug("a permit of a user who is not there"))?;
        let stored = record.password.as_deref().map(|hash| (id, hash));
        if !self.parts().passwords.verify(stored, old).await.map_err(Error::Passwords)? {
            return Err(not_the_password());
        }
        let change = UserChange { password: Some(new), ..UserChange::default() };
        self.change_user(permit, record.account, id, change, record.password.clone()).await
    }

    /// With `verified`, only if that is still the hash of his password: an administrator who set
    /// another meanwhile wins.
    async fn change_user(
        &self,
        permit: &Permit,
        account: Id,
        id: Id,
        change: UserChange,
        verified: Option<String>,
    ) -> Result<(), Error> {
        change.description.as_deref().map_or(Ok(()), rules::description)?;
        change.roles.as_deref().map_or(Ok(()), |roles| rules::attached("roles", roles))?;
        change.policies.as_deref().map_or(Ok(()), |policies| rules::attached("policies", policies))?;
        let name = self.name_of(account, id)?;
        let password = match &change.password {
            Some(password) => Some(self.hashed(password, &name).await?),
            None => None,
        };
        let now = self.parts().clock.now_ms();
        self.parts().passwords.forget(id);
        self.commit(permit, move |tx| {
            let mut record = of_account(tx, account, id)?;
            if verified.is_some() && verified != record.password {
                return Err(not_the_password());
            }
            for policy in change.policies.iter().flatten() {
                let known = tx.get(&PolicyKey { id: *policy })?.is_some_and(|known| known.account == account);
                if !known {
                    return Err(Error::Missing(Thing::Policy(policy.to_string())));
                }
            }
            if let Some(hash) = password {
                // Never the same twice, though the clock stands: tokens are void by inequality.
                record.password_at = now.max(record.password_at + 1);
                record.password = Some(hash);
            }
            record.description = change.description.unwrap_or(record.description);
            record.programmatic = change.programmatic.unwrap_or(record.programmatic);
            record.console = change.console.unwrap_or(record.console);
            record.enabled = change.enabled.unwrap_or(record.enabled);
            record.roles = change.roles.unwrap_or(record.roles);
            record.policies = change.policies.unwrap_or(record.policies);
            Ok(tx.put(&UserKey { id }, &record)?)
        })
        .await
    }

    fn name_of(&self, account: Id, id: Id) -> Result<String, Error> {
        let directory = self.parts().access.directory();
        let user = directory.user(id).filter(|user| user.account == account);
        user.map(|user| user.name.clone()).ok_or_else(|| Error::Missing(Thing::User(id.to_string())))
    }

    /// Removes a user of the permit's account, with his keys, logins, rights and marks. The last
    /// administrator of an account may go too: the host's administrator can make another.
    pub async fn delete_user(&self, permit: &Permit, id: Id) -> Result<(), Error> {
        let account = account(permit, Action::ManageUsers)?;
        let (this, permit) = (self.clone(), self.parts().access.again(permit)?);
        tasks::to_the_end(async move {
            this.commit(&permit, move |tx| {
                of_account(tx, account, id)?;
                remove_user(tx, id)
            })
            .await?;
            this.cleared(this.forget_users(vec![id]).await);
            Ok(())
        })
        .await?
    }

    /// The users of the permit's account, by name.
    pub fn users(&self, permit: &Permit) -> Result<Vec<UserView>, Error> {
        let account = account(permit, Action::ListUsers)?;
        let directory = self.parts().access.directory();
        let ids: Vec<Id> = directory.users_of(account).map(|(id, _)| id).collect();
        drop(directory);
        Ok(ids.into_iter().filter_map(|id| self.seen(id)).collect())
    }

    /// A user of the permit's account.
    pub fn show_user(&self, permit: &Permit, id: Id) -> Result<UserView, Error> {
        let account = account(permit, Action::ListUsers)?;
        let seen = self.seen(id).filter(|user| user.account == account);
        seen.ok_or_else(|| Error::Missing(Thing::User(id.to_string())))
    }

    /// The one who asks.
    pub fn show_self(&self, permit: &Permit) -> Result<UserView, Error> {
        let id = own(permit, Action::ShowSelf)?;
        self.seen(id).ok_or(Error::Bug("a permit of a user who is not there"))
    }

    /// The id of a user of an account, by id or name.
    pub fn find_user(&self, account: Id, text: &str) -> Result<Id, Error> {
        let directory = self.parts().access.directory();
        let is_of = |id: &Id| directory.user(*id).is_some_and(|user| user.account == account);
        let found = text.parse().ok().filter(is_of).or_else(|| directory.user_named(account, text));
        found.ok_or_else(|| Error::Missing(Thing::User(text.to_owned())))
    }

    fn seen(&self, id: Id) -> Option<UserView> {
        let directory = self.parts().access.directory();
        let user = directory.user(id)?;
        Some(UserView {
            id,
            account: user.account,
            name: user.name.clone(),
            description: user.description.clone(),
            has_password: user.password.is_some(),
            programmatic: user.programmatic,
            console: user.console,
            enabled: user.enabled,
            roles: user.roles.clone(),
            policies: user.policies.clone(),
            groups: directory.groups_of(id).map(|(group, _)| group).collect(),
            created_at: user.created_at,
        })
    }
}

fn not_the_password() -> Error {
    Error::Invalid { field: "old_password", why: "is not the password".to_owned() }
}

/// Puts a new user in.
pub(super) fn add(tx: &mut Tx<'_>, id: Id, record: UserRecord) -> Result<(), Error> {
    let by_name = UserNameKey { account: record.account, name: record.name.clone() };
    if tx.get(&by_name)?.is_some() {
        return Err(Error::Exists(Thing::User(record.name)));
    }
    tx.put(&by_name, &NamedRecord { id })?;
    Ok(tx.put(&UserKey { id }, &record)?)
}

/// The row of a user who has to be there, and of this account.
pub(super) fn of_account(tx: &mut Tx<'_>, account: Id, id: Id) -> Result<UserRecord, Error> {
    let record = tx.get(&UserKey { id })?.filter(|record| record.account == account);
    record.ok_or_else(|| Error::Missing(Thing::User(id.to_string())))
}
