//! `/api/v1/accounts/{account}/policies`.

use pierhead_storage_format::identity::Id;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::errors::{Failure, Kind};
use super::reply::{Page, Removed, Reply, time};
use super::{Admin, Call};
use crate::services::identity::{NewPolicy, PolicyView as Seen};

/// A policy.
#[derive(Debug, Serialize, Deserialize)]
pub struct PolicyView {
    /// 32 lower-case hex digits.
    pub id: String,
    /// Unique in the account.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// As it was given, JSON.
    pub document: serde_json::Value,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

impl From<Seen> for PolicyView {
    fn from(policy: Seen) -> Self {
        Self {
            id: policy.id.to_string(),
            name: policy.name,
            description: policy.description,
            document: serde_json::from_str(&policy.document).unwrap_or_default(),
            created_at: time(policy.created_at),
            updated_at: time(policy.updated_at),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    name: String,
    #[serde(default)]
    description: String,
    document: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    description: Option<String>,
    document: Option<Box<RawValue>>,
}

impl Admin {
    fn policy(&self, call: &Call<'_>) -> Result<Id, Failure> {
        Ok(self.0.services.identity.find_policy(self.account(call)?, call.param("policy"))?)
    }

    fn shown_policy(&self, call: &Call<'_>, id: Id) -> Result<Reply, Failure> {
        let policies = self.0.services.identity.policies(&self.looking(call)?)?;
        let policy = policies.into_iter().find(|policy| policy.id == id);
        let policy = policy.ok_or_else(|| Failure::about(Kind::Missing, format!("policy \"{id}\"")))?;
        Ok(Reply::ok(&PolicyView::from(policy)))
    }
}

/// The account's policies.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let policies = admin.0.services.identity.policies(&call.permit)?;
    Ok(Reply::ok(&Page::whole(policies.into_iter().map(PolicyView::from))))
}

/// Makes one.
pub async fn create(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let NewBody { name, description, document } = call.body()?;
    let new = NewPolicy { name, description, document: document.get().to_owned() };
    let id = admin.0.services.identity.create_policy(&call.permit, new).await?;
    admin.shown_policy(&call, id)
}

/// One of them.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    admin.shown_policy(&call, admin.policy(&call)?)
}

/// Changes one.
pub async fn update(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let ChangeBody { description, document } = call.body()?;
    let id = admin.policy(&call)?;
    let document = document.map(|document| document.get().to_owned());
    admin.0.services.identity.update_policy(&call.permit, id, description, document).await?;
    admin.shown_policy(&call, id)
}

/// Removes one.
pub async fn delete(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let id = admin.policy(&call)?;
    admin.0.services.identity.delete_policy(&call.permit, id).await?;
    Ok(Reply::ok(&Removed { removed: call.param("policy").to_owned() }))
}
