//! `/api/v1/accounts/{account}/policies`.

use pierhead_storage_format::identity::Id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::errors::{Failure, Kind};
use super::reply::{Page, Removed, Reply, time};
use super::text::{Description, Document, IdText, Name, Time};
use super::{Admin, Call};
use crate::services::identity::{NewPolicy, PolicyView as Seen};

/// A policy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyView {
    /// 32 lower-case hex digits.
    #[schemars(with = "IdText")]
    pub id: String,
    /// Unique in the account.
    pub name: String,
    /// At most 255 characters.
    pub description: String,
    /// As it was given, JSON.
    #[schemars(with = "Document")]
    pub document: serde_json::Value,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub created_at: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
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

/// A policy to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPolicyBody {
    /// Unique in the account; a letter, then letters, digits, `.`, `_` and `-`.
    #[schemars(with = "Name")]
    name: String,
    /// At most 255 characters.
    #[serde(default)]
    #[schemars(with = "Description")]
    description: String,
    /// What it says.
    #[schemars(with = "Document")]
    document: Box<RawValue>,
}

/// A change of a policy; what is not given stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyChangeBody {
    /// At most 255 characters.
    #[schemars(with = "Option<Description>")]
    description: Option<String>,
    /// What it says from now on.
    #[schemars(with = "Option<Document>")]
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
    let NewPolicyBody { name, description, document } = call.body()?;
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
    let PolicyChangeBody { description, document } = call.body()?;
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
