//! `/api/v1/organisations`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::{Page, Removed, Reply, time};
use super::text::{NameOrId, Time};
use super::{Admin, Call};
use crate::services::access::Action;
use crate::services::error::Error;
use crate::services::organisations::{Leaving, Organisation};

/// An organisation.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct OrganisationView {
    /// Unique.
    pub name: String,
    /// The account it belongs to, by name; `null` for none.
    pub account: Option<String>,
    /// The user who made it, if one did.
    pub creator: Option<String>,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub created_at: String,
}

/// What deleting an organisation would do.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct OrganisationFreesView {
    /// Repositories in it, for which it would be refused.
    pub repositories: u64,
    /// Grants in it that would go.
    pub grants: u64,
    /// Why the delete would be refused now.
    pub refused: Option<String>,
}

/// An organisation to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrganisationBody {
    /// The account it is for, by name or id.
    #[schemars(with = "NameOrId")]
    account: String,
}

impl Admin {
    fn organisation_view(&self, organisation: Organisation) -> OrganisationView {
        OrganisationView {
            name: organisation.name.to_string(),
            account: organisation.owner.map(|owner| self.account_name(owner)),
            creator: organisation.creator.map(|creator| creator.name),
            created_at: time(organisation.created_at),
        }
    }
}

/// Every organisation.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let all = admin.0.services.organisations.list(&call.permit, false)?;
    Ok(Reply::ok(&Page::whole(all.into_iter().map(|one| admin.organisation_view(one)))))
}

/// Makes one for an account.
pub async fn create(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let NewOrganisationBody { account } = call.body()?;
    let owner = admin.0.services.identity.find_account(&account)?;
    admin.0.services.organisations.create(&call.permit, Some(owner)).await?;
    let Some(resource) = call.permit.resource(Action::CreateOrganisation).cloned() else {
        return Err(Error::Bug("a permit for something else").into());
    };
    let permit = admin.permit(&call, Action::ShowOrganisation, resource)?;
    Ok(Reply::ok(&admin.organisation_view(admin.0.services.organisations.show(&permit)?)))
}

/// One of them.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&admin.organisation_view(admin.0.services.organisations.show(&call.permit)?)))
}

/// Says what removing one would do.
pub async fn frees(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let Leaving { repositories, grants, refused } =
        admin.0.services.organisations.leaving(&call.permit).await?;
    Ok(Reply::ok(&OrganisationFreesView { repositories, grants, refused: refused.map(str::to_owned) }))
}

/// Removes one.
pub async fn delete(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    admin.0.services.organisations.delete(&call.permit).await?;
    Ok(Reply::ok(&Removed { removed: call.param("organisation").to_owned() }))
}
