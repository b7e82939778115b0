//! `/api/v1/quotas`, and the quotas of organisations and accounts: what they hold and may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::query::Limit;
use super::reply::{Page, Reply};
use super::{Admin, Call};
use crate::services::access::{Action, Resource};
use crate::services::error::Error;
use crate::services::quota::{MAX_QUOTA, Storage, Storages};

/// What an organisation, or the organisations of an account, hold and may hold. Bytes, each digest once an organisation.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct QuotaView {
    /// Of the organisation or account.
    pub name: String,
    /// What may be held; `null` for no limit.
    pub quota: Option<u64>,
    /// What is held.
    pub used: u64,
    /// What is left of the quota; 0 if it is below what is held.
    pub left: Option<u64>,
    /// By uploads under way.
    pub reserved: u64,
    /// Blobs and manifests held.
    pub blobs: u64,
}

/// A quota to be set.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaBody {
    /// What may be held.
    #[schemars(range(max = MAX_QUOTA))]
    bytes: u64,
}

/// Which are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuotasQuery {
    /// Items at most, 1 to 1,000.
    limit: Limit,
    /// The `next` of the page before.
    after: Option<String>,
}

impl From<Storage> for QuotaView {
    fn from(storage: Storage) -> Self {
        let left = storage.left();
        let Storage { name, quota, used, reserved, blobs } = storage;
        Self { name, quota, used, left, reserved, blobs }
    }
}

fn page(Storages { items, more }: Storages) -> Reply {
    let next = items.last().filter(|_| more).map(|last| last.name.clone());
    Reply::ok(&Page::<QuotaView> { items: items.into_iter().map(QuotaView::from).collect(), next })
}

/// Every organisation's.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let QuotasQuery { limit, after } = call.query()?;
    Ok(page(admin.0.services.quotas.list(&call.permit, after.as_deref(), limit.0)?))
}

/// Every account's.
pub async fn accounts(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let QuotasQuery { limit, after } = call.query()?;
    Ok(page(admin.0.services.quotas.list_accounts(&call.permit, after, limit.0).await?))
}

/// An organisation's.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&QuotaView::from(admin.0.services.quotas.show(&call.permit)?)))
}

/// Sets an organisation's.
pub async fn set(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let QuotaBody { bytes } = call.body()?;
    change(admin, &call, Some(bytes)).await
}

/// Lifts an organisation's.
pub async fn clear(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    change(admin, &call, None).await
}

async fn change(admin: &Admin, call: &Call<'_>, quota: Option<u64>) -> Result<Reply, Failure> {
    admin.0.services.quotas.set(&call.permit, quota).await?;
    let Some(resource) = call.permit.resource(Action::UpdateStorageQuota).cloned() else {
        return Err(Error::Bug("a permit for something else").into());
    };
    let permit = admin.permit(call, Action::ShowStorageQuota, resource)?;
    Ok(Reply::ok(&QuotaView::from(admin.0.services.quotas.show(&permit)?)))
}

/// An account's.
pub async fn show_account(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let account = admin.account(&call)?;
    Ok(Reply::ok(&QuotaView::from(admin.0.services.quotas.show_account(&call.permit, account)?)))
}

/// Sets an account's.
pub async fn set_account(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let QuotaBody { bytes } = call.body()?;
    change_account(admin, &call, Some(bytes)).await
}

/// Lifts an account's.
pub async fn clear_account(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    change_account(admin, &call, None).await
}

async fn change_account(admin: &Admin, call: &Call<'_>, quota: Option<u64>) -> Result<Reply, Failure> {
    let account = admin.account(call)?;
    admin.0.services.quotas.set_account(&call.permit, account, quota).await?;
    let permit = admin.permit(call, Action::ListAccounts, Resource::Registry)?;
    Ok(Reply::ok(&QuotaView::from(admin.0.services.quotas.show_account(&permit, account)?)))
}
