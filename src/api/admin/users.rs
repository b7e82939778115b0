//! `/api/v1/accounts/{account}/users`.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::records::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::{Page, Removed, Reply, time};
use super::text::{Description, IdText, Name, NameOrId, Password, Time};
use super::words::Word;
use super::{Admin, Call};
use crate::services::access::Permit;
use crate::services::identity::{NewUser, UserChange, UserView as Seen};
use crate::services::signin::Secret;

/// A user.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserView {
    /// 32 lower-case hex digits.
    #[schemars(with = "IdText")]
    pub id: String,
    /// The account's name.
    pub account: String,
    /// Unique in the account.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// A password signs in.
    pub has_password: bool,
    /// May use docker, SDKs and other programs.
    pub programmatic: bool,
    /// May use the page.
    pub console: bool,
    /// May do anything.
    pub enabled: bool,
    /// System roles, by name.
    #[schemars(with = "Vec<Word<Role>>")]
    pub roles: Vec<String>,
    /// Custom policies, by name.
    pub policies: Vec<String>,
    /// Groups, by name.
    pub groups: Vec<String>,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub created_at: String,
}

/// A user to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUserBody {
    /// Unique in the account; a letter, then letters, digits, `.`, `_` and `-`.
    #[schemars(with = "Name")]
    pub name: String,
    /// At most 255 characters.
    #[serde(default)]
    #[schemars(with = "Description")]
    description: String,
    /// At least 8 characters and at most 128 bytes; none signs in without one.
    #[schemars(with = "Option<Password>")]
    password: Option<String>,
    /// May use docker, SDKs and other programs.
    #[serde(default = "yes")]
    programmatic: bool,
    /// May use the page.
    #[serde(default)]
    console: bool,
    /// System roles.
    #[serde(default)]
    #[schemars(length(max = 32))]
    roles: Vec<Word<Role>>,
}

const fn yes() -> bool {
    true
}

impl From<NewUserBody> for NewUser {
    fn from(body: NewUserBody) -> Self {
        Self {
            name: body.name,
            description: body.description,
            password: body.password.map(Secret::from),
            programmatic: body.programmatic,
            console: body.console,
            roles: roles(body.roles),
        }
    }
}

/// Each once, as they came.
pub fn roles(words: Vec<Word<Role>>) -> Vec<Role> {
    let mut roles = Vec::new();
    for Word(role) in words {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles
}

/// A change of a user; what is not given stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChangeBody {
    /// At most 255 characters.
    #[schemars(with = "Option<Description>")]
    description: Option<String>,
    /// A new one: at least 8 characters and at most 128 bytes.
    #[schemars(with = "Option<Password>")]
    password: Option<String>,
    /// May use docker, SDKs and other programs.
    programmatic: Option<bool>,
    /// May use the page.
    console: Option<bool>,
    /// May do anything.
    enabled: Option<bool>,
    /// System roles, all of them.
    #[schemars(length(max = 32))]
    roles: Option<Vec<Word<Role>>>,
    /// Custom policies, all of them, by name or id.
    #[schemars(with = "Option<Vec<NameOrId>>", length(max = 32))]
    policies: Option<Vec<String>>,
}

impl Admin {
    fn user_view(&self, user: Seen) -> UserView {
        let directory = self.0.services.access.directory();
        let group = |id: &Id| Some(directory.group(*id)?.name.clone());
        let mut groups: Vec<String> = user.groups.iter().filter_map(group).collect();
        groups.sort();
        let policy = |id: &Id| directory.policy_name(*id).map(str::to_owned);
        let policies = user.policies.iter().filter_map(policy).collect();
        drop(directory);
        UserView {
            id: user.id.to_string(),
            account: self.account_name(user.account),
            name: user.name,
            description: user.description,
            has_password: user.has_password,
            programmatic: user.programmatic,
            console: user.console,
            enabled: user.enabled,
            roles: user.roles.into_iter().map(|role| Word(role).to_string()).collect(),
            policies,
            groups,
            created_at: time(user.created_at),
        }
    }

    fn shown_user(&self, permit: &Permit, id: Id) -> Result<Reply, Failure> {
        Ok(Reply::ok(&self.user_view(self.0.services.identity.show_user(permit, id)?)))
    }

    /// The ids of policies of an account, by id or name.
    pub(super) fn policies(
        &self,
        account: Id,
        named: Option<Vec<String>>,
    ) -> Result<Option<Vec<Id>>, Failure> {
        let Some(named) = named else { return Ok(None) };
        let mut ids = Vec::new();
        for text in named {
            let id = self.0.services.identity.find_policy(account, &text)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(Some(ids))
    }
}

/// The account's users.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let users = admin.0.services.identity.users(&call.permit)?;
    Ok(Reply::ok(&Page::whole(users.into_iter().map(|user| admin.user_view(user)))))
}

/// Makes one.
pub async fn create(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let body: NewUserBody = call.body()?;
    let id = admin.0.services.identity.create_user(&call.permit, body.into()).await?;
    admin.shown_user(&admin.looking(&call)?, id)
}

/// One of them.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    admin.shown_user(&call.permit, admin.user(&call)?)
}

/// Changes one.
pub async fn update(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let body: UserChangeBody = call.body()?;
    let id = admin.user(&call)?;
    let change = UserChange {
        description: body.description,
        password: body.password.map(Secret::from),
        programmatic: body.programmatic,
        console: body.console,
        enabled: body.enabled,
        roles: body.roles.map(roles),
        policies: admin.policies(admin.account(&call)?, body.policies)?,
    };
    admin.0.services.identity.update_user(&call.permit, id, change).await?;
    admin.shown_user(&admin.looking(&call)?, id)
}

/// Removes one.
pub async fn delete(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let id = admin.user(&call)?;
    let name = admin.0.services.identity.show_user(&admin.looking(&call)?, id)?.name;
    admin.0.services.identity.delete_user(&call.permit, id).await?;
    Ok(Reply::ok(&Removed { removed: name }))
}
