//! `/api/v1/accounts/{account}/groups`.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::records::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::{Failure, Kind};
use super::reply::{Page, Removed, Reply, time};
use super::text::{Description, IdText, Name, NameOrId, Time};
use super::users::roles;
use super::words::Word;
use super::{Admin, Call};
use crate::services::identity::{Group, GroupChange, NewGroup};

/// A group.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct GroupView {
    /// 32 lower-case hex digits.
    #[schemars(with = "IdText")]
    pub id: String,
    /// Unique in the account.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// System roles of its members, by name.
    #[schemars(with = "Vec<Word<Role>>")]
    pub roles: Vec<String>,
    /// Custom policies of its members, by name.
    pub policies: Vec<String>,
    /// Who is in it, by name.
    pub members: Vec<String>,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub created_at: String,
}

/// A group to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroupBody {
    /// Unique in the account; a letter, then letters, digits, `.`, `_` and `-`.
    #[schemars(with = "Name")]
    name: String,
    /// At most 255 characters.
    #[serde(default)]
    #[schemars(with = "Description")]
    description: String,
    /// System roles of its members.
    #[serde(default)]
    #[schemars(length(max = 32))]
    roles: Vec<Word<Role>>,
}

/// A change of a group; what is not given stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupChangeBody {
    /// At most 255 characters.
    #[schemars(with = "Option<Description>")]
    description: Option<String>,
    /// System roles of its members, all of them.
    #[schemars(length(max = 32))]
    roles: Option<Vec<Word<Role>>>,
    /// Custom policies of its members, all of them, by name or id.
    #[schemars(with = "Option<Vec<NameOrId>>", length(max = 32))]
    policies: Option<Vec<String>>,
}

/// Who is to be in a group.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MembersBody {
    /// By name or id.
    #[schemars(with = "Vec<NameOrId>")]
    users: Vec<String>,
}

impl Admin {
    fn group_view(&self, group: Group) -> GroupView {
        let directory = self.0.services.access.directory();
        let policy = |id: &Id| directory.policy_name(*id).map(str::to_owned);
        let mut members: Vec<String> = group.members.into_iter().map(|(_, name)| name).collect();
        members.sort();
        GroupView {
            id: group.id.to_string(),
            name: group.name,
            description: group.description,
            roles: group.roles.into_iter().map(|role| Word(role).to_string()).collect(),
            policies: group.policies.iter().filter_map(policy).collect(),
            members,
            created_at: time(group.created_at),
        }
    }

    fn group(&self, call: &Call<'_>) -> Result<Id, Failure> {
        Ok(self.0.services.identity.find_group(self.account(call)?, call.param("group"))?)
    }

    fn shown_group(&self, call: &Call<'_>, id: Id) -> Result<Reply, Failure> {
        let groups = self.0.services.identity.groups(&self.looking(call)?)?;
        let group = groups.into_iter().find(|group| group.id == id);
        let group = group.ok_or_else(|| Failure::about(Kind::Missing, format!("group \"{id}\"")))?;
        Ok(Reply::ok(&self.group_view(group)))
    }
}

/// The account's groups.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let groups = admin.0.services.identity.groups(&call.permit)?;
    Ok(Reply::ok(&Page::whole(groups.into_iter().map(|group| admin.group_view(group)))))
}

/// Makes one.
pub async fn create(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let NewGroupBody { name, description, roles: words } = call.body()?;
    let new = NewGroup { name, description, roles: roles(words) };
    let id = admin.0.services.identity.create_group(&call.permit, new).await?;
    admin.shown_group(&call, id)
}

/// One of them.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    admin.shown_group(&call, admin.group(&call)?)
}

/// Changes one.
pub async fn update(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let body: GroupChangeBody = call.body()?;
    let id = admin.group(&call)?;
    let policies = admin.policies(admin.account(&call)?, body.policies)?;
    let change = GroupChange { description: body.description, roles: body.roles.map(roles), policies };
    admin.0.services.identity.update_group(&call.permit, id, change).await?;
    admin.shown_group(&call, id)
}

/// Removes one.
pub async fn delete(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let id = admin.group(&call)?;
    admin.0.services.identity.delete_group(&call.permit, id).await?;
    Ok(Reply::ok(&Removed { removed: call.param("group").to_owned() }))
}

/// Puts users into one, all or none.
pub async fn join(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let MembersBody { users } = call.body()?;
    members(admin, &call, &users, true).await
}

/// Takes a user out of one.
pub async fn leave(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    members(admin, &call, &[call.param("user").to_owned()], false).await
}

async fn members(admin: &Admin, call: &Call<'_>, named: &[String], member: bool) -> Result<Reply, Failure> {
    let (account, id) = (admin.account(call)?, admin.group(call)?);
    let mut users = Vec::new();
    for name in named {
        users.push(admin.0.services.identity.find_user(account, name)?);
    }
    admin.0.services.identity.set_members(&call.permit, id, users, member).await?;
    admin.shown_group(call, id)
}
