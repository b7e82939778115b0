//! What a request is done to, found by what its path names: accounts and users by id or name.

use pierhead_storage_format::identity::Id;

use super::errors::{Failure, Kind};
use super::route::Subject;
use super::{Admin, Call};
use crate::api::pattern::Params;
use crate::services::access::{Action, Permit, Resource};
use crate::services::names::NameError;

/// The registry as a whole.
pub const REGISTRY: Subject = |_, _| Ok(Resource::Registry);
/// `{account}`.
pub const ACCOUNT: Subject =
    |admin, params| Ok(Resource::Account(admin.0.services.identity.find_account(params.get("account"))?));
/// `{organisation}`.
pub const ORGANISATION: Subject = |_, params| organisation(params);
/// `{repository}`, with its slashes encoded.
pub const REPOSITORY: Subject = |_, params| repository(params);

fn organisation(params: &Params) -> Result<Resource, Failure> {
    let text = params.get("organisation");
    text.parse().map(Resource::Organisation).map_err(|why| misnamed("organisation", text, &why))
}

fn repository(params: &Params) -> Result<Resource, Failure> {
    let text = params.get("repository");
    text.parse().map(Resource::Repository).map_err(|why| misnamed("repository", text, &why))
}

fn misnamed(what: &str, text: &str, why: &NameError) -> Failure {
    Failure::about(Kind::Invalid, format!("{what} {text:?}: {why}"))
}

impl Admin {
    /// The account the path names.
    pub(super) fn account(&self, call: &Call<'_>) -> Result<Id, Failure> {
        Ok(self.0.services.identity.find_account(call.param("account"))?)
    }

    /// The user the path names, of the account it names.
    pub(super) fn user(&self, call: &Call<'_>) -> Result<Id, Failure> {
        Ok(self.0.services.identity.find_user(self.account(call)?, call.param("user"))?)
    }

    /// A permit for something more, for the one who asks.
    pub(super) fn permit(
        &self,
        call: &Call<'_>,
        action: Action,
        resource: Resource,
    ) -> Result<Permit, Failure> {
        Ok(self.0.services.access.authorise(call.permit.actor(), action, resource)?)
    }

    /// A permit to look at who is in the account the path names.
    pub(super) fn looking(&self, call: &Call<'_>) -> Result<Permit, Failure> {
        self.permit(call, Action::ListUsers, Resource::Account(self.account(call)?))
    }

    /// An account's name; its id if it went a moment ago.
    pub(super) fn account_name(&self, id: Id) -> String {
        let directory = self.0.services.access.directory();
        directory.account(id).map_or_else(|| id.to_string(), |account| account.name.clone())
    }
}
