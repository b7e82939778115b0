//! Groups: roles and policies for many users at once.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{GroupKey, GroupMemberKey, PolicyKey};
use pierhead_storage_format::identity::records::{GroupRecord, Role};
use pierhead_storage_format::keys::CounterKey;
use pierhead_storage_format::records::Present;

use super::{Identity, account, rules, take_name, there, users};
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::stores::meta::{Attached, Tx};

/// A group to be made.
pub struct NewGroup {
    /// Unique in the account.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// For its members.
    pub roles: Vec<Role>,
}

/// What to change of a group; `None` leaves it.
#[derive(Default)]
pub struct GroupChange {
    /// At most 255 characters.
    pub description: Option<String>,
    /// All system roles from now on.
    pub roles: Option<Vec<Role>>,
    /// All custom policies from now on.
    pub policies: Option<Vec<Id>>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// For its members.
    pub roles: Vec<Role>,
    /// For its members.
    pub policies: Vec<Id>,
    /// Who is in it: id and name.
    pub members: Vec<(Id, String)>,
    /// UTC milliseconds.
    pub created_at: u64,
}

impl Identity {
    /// Makes a group of the permit's account; its id.
    pub async fn create_group(&self, permit: &Permit, new: NewGroup) -> Result<Id, Error> {
        let account = account(permit, Action::ManageGroups)?;
        let NewGroup { name, description, roles } = new;
        rules::name("group", &name)?;
        rules::description(&description)?;
        rules::attached("roles", &roles)?;
        let (id, created_at) = (self.new_id()?, self.parts().clock.now_ms());
        self.parts()
            .meta
            .commit_with(permit.event(), move |tx| {
                there(tx, account)?;
                if !take_name(tx, &name_row(account, &name))? {
                    return Err(Error::Exists(Thing::Group(name)));
                }
                let policies = Vec::new();
                let record = GroupRecord { account, name, description, roles, policies, created_at };
                Ok(tx.put(&GroupKey { id }, &record)?)
            })
            .await?;
        Ok(id)
    }

    /// Changes a group of the permit's account.
    pub async fn update_group(&self, permit: &Permit, id: Id, change: GroupChange) -> Result<(), Error> {
        let account = account(permit, Action::ManageGroups)?;
        change.description.as_deref().map_or(Ok(()), rules::description)?;
        change.roles.as_deref().map_or(Ok(()), |roles| rules::attached("roles", roles))?;
        change.policies.as_deref().map_or(Ok(()), |policies| rules::attached("policies", policies))?;
        self.parts()
            .meta
            .commit_with(permit.event(), move |tx| {
                let mut record = of_account(tx, account, id)?;
                for policy in change.policies.iter().flatten() {
                    let known =
                        tx.get(&PolicyKey { id: *policy })?.is_some_and(|known| known.account == account);
                    if !known {
                        return Err(Error::Missing(Thing::Policy(policy.to_string())));
                    }
                }
                record.description = change.description.unwrap_or(record.description);
                record.roles = change.roles.unwrap_or(record.roles);
                record.policies = change.policies.unwrap_or(record.policies);
                Ok(tx.put(&GroupKey { id }, &record)?)
            })
            .await
    }

    /// Puts users of the account into a group, or takes them out, all or none.
    pub async fn set_members(
        &self,
        permit: &Permit,
        id: Id,
        users: Vec<Id>,
        member: bool,
    ) -> Result<(), Error> {
        let account = account(permit, Action::ManageGroups)?;
        self.parts()
            .meta
            .commit_with(permit.event(), move |tx| {
                of_account(tx, account, id)?;
                for user in users {
                    users::of_account(tx, account, user)?;
                    let key = GroupMemberKey { group: id, user };
                    if member { tx.put(&key, &Present {})? } else { tx.delete(&key)? }
                }
                Ok(())
            })
            .await
    }

    /// Removes a group of the permit's account.
    pub async fn delete_group(&self, permit: &Permit, id: Id) -> Result<(), Error> {
        let account = account(permit, Action::ManageGroups)?;
        let known = self.parts().access.directory().group(id).is_some_and(|group| group.account == account);
        if !known {
            return Err(Error::Missing(Thing::Group(id.to_string())));
        }
        self.forget_group(id, permit.event()).await
    }

    /// First the group, so that nobody is put into it any more, then who was in it (N3).
    pub(super) async fn forget_group(&self, id: Id, event: Attached) -> Result<(), Error> {
        let meta = &self.parts().meta;
        meta.commit_with(event, move |tx| {
            if let Some(GroupRecord { account, name, .. }) = tx.get(&GroupKey { id })? {
                tx.delete(&name_row(account, &name))?;
            }
            Ok::<_, Error>(tx.delete(&GroupKey { id })?)
        })
        .await?;
        let members = self.parts().access.directory().members_of(id);
        meta.commit(move |tx| {
            for user in members {
                tx.delete(&GroupMemberKey { group: id, user })?;
            }
            Ok::<_, Error>(())
        })
        .await
    }

    /// The groups of the permit's account, by name.
    pub fn groups(&self, permit: &Permit) -> Result<Vec<Group>, Error> {
        let account = account(permit, Action::ListUsers)?;
        let directory = self.parts().access.directory();
        let mut groups: Vec<Group> = directory
            .group_ids_of(account)
            .into_iter()
            .filter_map(|id| {
                let GroupRecord { name, description, roles, policies, created_at, .. } =
                    directory.group(id)?.as_ref().clone();
                let named = |user: Id| Some((user, directory.user(user)?.name.clone()));
                let members = directory.members_of(id).into_iter().filter_map(named).collect();
                Some(Group { id, name, description, roles, policies, members, created_at })
            })
            .collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }

    /// The id of a group of an account, by id or name.
    pub fn find_group(&self, account: Id, text: &str) -> Result<Id, Error> {
        let directory = self.parts().access.directory();
        let fits =
            |id: &Id| directory.group(*id).is_some_and(|group| group.name == text || text.parse() == Ok(*id));
        let found = directory.group_ids_of(account).into_iter().find(fits);
        found.ok_or_else(|| Error::Missing(Thing::Group(text.to_owned())))
    }
}

fn of_account(tx: &mut Tx<'_>, account: Id, id: Id) -> Result<GroupRecord, Error> {
    let record = tx.get(&GroupKey { id })?.filter(|record| record.account == account);
    record.ok_or_else(|| Error::Missing(Thing::Group(id.to_string())))
}

/// The row that keeps a group's name from being given twice.
fn name_row(account: Id, name: &str) -> CounterKey {
    CounterKey { name: format!("group {account} {name}") }
}
