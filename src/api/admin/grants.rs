//! `/api/v1/organisations/{organisation}/grants` and `/api/v1/repositories/{repository}/grants`: who may
//! do what there. Users are of the account that owns the organisation.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::records::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::{Page, Removed, Reply};
use super::words::Word;
use super::{Admin, Call};
use crate::services::access::{Action, Resource};
use crate::services::error::{Error, Thing};
use crate::services::organisations::{Granted, On};

/// What somebody may do there.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct GrantView {
    /// Who, by name.
    pub user: String,
    /// `read`, `edit` or `manage`.
    #[schemars(with = "Word<Level>")]
    pub level: String,
}

/// What rights on the organisation or repository of a path are about.
struct Place {
    on: On,
    organisation: String,
    resource: Resource,
}

impl Place {
    fn of(call: &Call<'_>, action: impl Fn(On) -> Action) -> Result<Self, Failure> {
        let permit = &call.permit;
        let place = match (permit.resource(action(On::Organisation)), permit.resource(action(On::Repository)))
        {
            (Some(resource @ Resource::Organisation(name)), _) => {
                (On::Organisation, name.as_str().to_owned(), resource)
            }
            (_, Some(resource @ Resource::Repository(name))) => {
                (On::Repository, name.organisation().to_owned(), resource)
            }
            _ => return Err(Error::Bug("a permit for something else").into()),
        };
        Ok(Self { on: place.0, organisation: place.1, resource: place.2.clone() })
    }
}

impl Admin {
    /// The user the path names, of the account that owns the organisation.
    fn granted_user(&self, call: &Call<'_>, organisation: &str) -> Result<Id, Failure> {
        let owner = self.0.services.access.directory().organisation(organisation).cloned();
        let missing = || Error::Missing(Thing::Organisation(organisation.to_owned()));
        let owner = owner.ok_or_else(missing)?.owner.ok_or_else(|| {
            Error::InUse(Thing::Organisation(organisation.to_owned()), "it belongs to no account")
        })?;
        Ok(self.0.services.identity.find_user(owner, call.param("user"))?)
    }
}

/// Who may do what there.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let place = Place::of(&call, |on| match on {
        On::Organisation => Action::ShowOrganisationGrants,
        On::Repository => Action::ShowRepositoryGrants,
    })?;
    let granted = admin.0.services.organisations.grants(&call.permit, place.on)?;
    let view = |grant: Granted| GrantView { user: grant.name, level: Word(grant.level).to_string() };
    Ok(Reply::ok(&Page::whole(granted.into_iter().map(view))))
}

/// What somebody is to be allowed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantBody {
    /// `read`, `edit` or `manage`.
    level: Word<Level>,
}

/// Lets a user do something there, whatever he was granted before.
pub async fn put(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let GrantBody { level } = call.body()?;
    let place = Place::of(&call, |on| match on {
        On::Organisation => Action::CreateOrganisationGrant,
        On::Repository => Action::CreateRepositoryGrant,
    })?;
    let user = admin.granted_user(&call, &place.organisation)?;
    let change = match place.on {
        On::Organisation => Action::UpdateOrganisationGrant,
        On::Repository => Action::UpdateRepositoryGrant,
    };
    let permit = admin.permit(&call, change, place.resource)?;
    let organisations = &admin.0.services.organisations;
    match organisations.regrant(&permit, place.on, vec![(user, level.0)]).await {
        Err(Error::Missing(Thing::Grant(_))) => {
            organisations.grant(&call.permit, place.on, vec![(user, level.0)]).await?;
        }
        changed => changed?,
    }
    Ok(Reply::ok(&GrantView { user: call.param("user").to_owned(), level: level.to_string() }))
}

/// Takes what a user was granted there away.
pub async fn delete(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let place = Place::of(&call, |on| match on {
        On::Organisation => Action::DeleteOrganisationGrant,
        On::Repository => Action::DeleteRepositoryGrant,
    })?;
    let user = admin.granted_user(&call, &place.organisation)?;
    admin.0.services.organisations.revoke(&call.permit, place.on, vec![user]).await?;
    Ok(Reply::ok(&Removed { removed: call.param("user").to_owned() }))
}
