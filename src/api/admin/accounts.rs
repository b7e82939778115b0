//! `/api/v1/init` and `/api/v1/accounts`.

use pierhead_storage_format::identity::Id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::{Page, Removed, Reply, time};
use super::text::{IdText, Name, Time};
use super::users::NewUserBody;
use super::{Admin, Call};
use crate::services::access::{Action, Resource};
use crate::services::identity::{Account, First, NewAccount};
use crate::services::object::Object;

/// An account.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AccountView {
    /// 32 lower-case hex digits.
    #[schemars(with = "IdText")]
    pub id: String,
    /// Unique.
    pub name: String,
    /// Its project, as SDKs name it.
    #[schemars(with = "IdText")]
    pub project_id: String,
    /// It runs the appliance.
    pub operator: bool,
    /// Its users may do something.
    pub enabled: bool,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub created_at: String,
}

/// An account that was made, with its administrator.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct FirstView {
    /// The account's name.
    pub account: String,
    /// Its id.
    #[schemars(with = "IdText")]
    pub account_id: String,
    /// Its administrator's name.
    pub user: String,
    /// His id.
    #[schemars(with = "IdText")]
    pub user_id: String,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            name: account.name,
            project_id: account.project.to_string(),
            operator: account.operator,
            enabled: account.enabled,
            created_at: time(account.created_at),
        }
    }
}

/// An account to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccountBody {
    /// Unique; a letter, then letters, digits, `.`, `_` and `-`.
    #[schemars(with = "Name")]
    name: String,
    /// Its administrator, who gets that role.
    #[schemars(with = "NewUserBody")]
    administrator: Object<NewUserBody>,
}

impl NewAccountBody {
    /// What the service takes, and how what it made is shown.
    fn split(self) -> (NewAccount, impl FnOnce(First) -> FirstView) {
        let (account, user) = (self.name.clone(), self.administrator.0.name.clone());
        let new = NewAccount { name: self.name, administrator: self.administrator.0.into() };
        let show = move |first: First| FirstView {
            account,
            account_id: first.account.to_string(),
            user,
            user_id: first.administrator.to_string(),
        };
        (new, show)
    }
}

/// Makes the first account.
pub async fn initialise(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let (new, show) = call.body::<NewAccountBody>()?.split();
    Ok(Reply::ok(&show(admin.0.services.identity.initialise(&call.permit, new).await?)))
}

/// Makes another.
pub async fn create(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let (new, show) = call.body::<NewAccountBody>()?.split();
    Ok(Reply::ok(&show(admin.0.services.identity.create_account(&call.permit, new).await?)))
}

/// Every account.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let accounts = admin.0.services.identity.accounts(&call.permit)?;
    Ok(Reply::ok(&Page::whole(accounts.into_iter().map(AccountView::from))))
}

/// One account.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    shown(admin, &call, admin.account(&call)?)
}

fn shown(admin: &Admin, call: &Call<'_>, id: Id) -> Result<Reply, Failure> {
    let permit = admin.permit(call, Action::ListUsers, Resource::Account(id))?;
    Ok(Reply::ok(&AccountView::from(admin.0.services.identity.show_account(&permit)?)))
}

/// A change of an account.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountChangeBody {
    /// Whether its users may do something.
    enabled: bool,
}

/// Switches one on or off.
pub async fn update(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let AccountChangeBody { enabled } = call.body()?;
    let id = admin.account(&call)?;
    admin.0.services.identity.enable_account(&call.permit, id, enabled).await?;
    shown(admin, &call, id)
}

/// Removes one.
pub async fn delete(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let id = admin.account(&call)?;
    let name = admin.account_name(id);
    admin.0.services.identity.delete_account(&call.permit, id).await?;
    Ok(Reply::ok(&Removed { removed: name }))
}
