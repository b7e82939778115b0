//! `…/access` of organisations and images: who may do what there. Users are of the account that owns the organisation.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::records::Level;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::errors::{Failure, Kind};
use super::reply::Reply;
use super::route::Subject;
use super::words::Auth;
use super::{Call, Swr};
use crate::services::access::{Action, Actor, Resource};
use crate::services::error::{Error, Thing};
use crate::services::organisations::On;

#[derive(Serialize)]
struct UserAuthView {
    user_id: String,
    user_name: String,
    auth: Auth,
}

#[derive(Deserialize)]
struct UserAuthBody {
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    user_name: String,
    auth: Auth,
}

/// What rights are asked about.
struct Place<'a> {
    on: On,
    resource: &'a Resource,
    organisation: &'a str,
}

impl<'a> Place<'a> {
    fn of(call: &'a Call<'_>) -> Result<Self, Failure> {
        let resource = call.permit.resource(call.row.action);
        let resource = resource.ok_or(Error::Bug("a permit for something else"))?;
        let on = if call.row.subject == Subject::Repository { On::Repository } else { On::Organisation };
        Ok(Self { on, resource, organisation: resource.organisation().unwrap_or_default() })
    }

    fn failed(&self, error: Error) -> Failure {
        let failure = Failure::from(error);
        if self.on == On::Repository { failure.on_repository() } else { failure }
    }
}

impl Swr {
    /// A user of the account that owns an organisation, by id, else by name.
    fn grantee(&self, organisation: &str, user: &str) -> Result<Id, Failure> {
        let owner = self.0.access.directory().organisation(organisation).and_then(|record| record.owner);
        let owner = owner.ok_or_else(|| Failure::about(Kind::UserUnknown, format!("{user:?}")))?;
        Ok(self.0.identity.find_user(owner, user)?)
    }

    fn wanted(&self, call: &Call<'_>, place: &Place<'_>) -> Result<Vec<(Id, Level)>, Failure> {
        let wanted: Vec<UserAuthBody> = call.body()?;
        if wanted.is_empty() {
            return Err(Failure::about(Kind::BodyInvalid, "it names no user"));
        }
        let grants = wanted.into_iter().map(|one| {
            let user = if one.user_id.is_empty() { &one.user_name } else { &one.user_id };
            Ok((self.grantee(place.organisation, user)?, one.auth.0))
        });
        grants.collect()
    }

    /// What the one who asks may do there.
    fn own_auth(&self, actor: &Actor, resource: &Resource) -> Option<UserAuthView> {
        let Actor::User(id) = *actor else { return None };
        let level = self.0.organisations.level(actor, resource)?;
        let user_name = self.0.access.directory().user(id)?.name.clone();
        Some(UserAuthView { user_id: id.to_string(), user_name, auth: Auth(level) })
    }
}

/// Who may do what there: oneself, and others who were granted something.
pub async fn show(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let place = Place::of(&call)?;
    let granted = swr.0.organisations.grants(&call.permit, place.on)?;
    let others = granted.into_iter().filter(|grant| *call.actor() != Actor::User(grant.user));
    let others: Vec<UserAuthView> = others
        .map(|grant| UserAuthView {
            user_id: grant.user.to_string(),
            user_name: grant.name,
            auth: Auth(grant.level),
        })
        .collect();
    let own = swr.own_auth(call.actor(), place.resource);
    let value = match place.resource {
        Resource::Repository(name) => {
            let facts = swr.facts(&call, name)?;
            json!({"id": facts.id, "name": super::rest(name), "self_auth": own, "others_auths": others})
        }
        _ => {
            let permit = swr.permit(&call, Action::ShowOrganisation, place.resource.clone())?;
            let of = swr.namespace_view(swr.0.organisations.show(&permit)?);
            json!({
                "id": of.id, "name": of.name, "creator_name": of.creator_name,
                "self_auth": own, "others_auths": others,
            })
        }
    };
    Ok(Reply::ok(&value))
}

async fn grant(swr: &Swr, call: &Call<'_>) -> Result<(), Failure> {
    let place = Place::of(call)?;
    let wanted = swr.wanted(call, &place)?;
    let granted = swr.0.organisations.grant(&call.permit, place.on, wanted).await;
    granted.map_err(|error| place.failed(error))
}

/// Lets users do something in an organisation; 200, as its manual has it.
pub async fn grant_in(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    grant(swr, &call).await.map(|()| Reply::done())
}

/// Lets users do something with an image.
pub async fn grant_on(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    grant(swr, &call).await.map(|()| Reply::created())
}

/// Changes what users may do there.
pub async fn update(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let place = Place::of(&call)?;
    let wanted = swr.wanted(&call, &place)?;
    let changed = swr.0.organisations.regrant(&call.permit, place.on, wanted).await;
    changed.map_err(|error| place.failed(error))?;
    Ok(Reply::created())
}

/// Takes what users were granted there away.
pub async fn revoke(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let place = Place::of(&call)?;
    let users: Vec<String> = call.body()?;
    if users.is_empty() {
        return Err(Failure::about(Kind::BodyInvalid, "it names no user"));
    }
    let mut ids = Vec::new();
    for user in &users {
        // Who is not there was granted nothing.
        ids.push(swr.grantee(place.organisation, user).map_err(|failure| match failure.kind() {
            Kind::UserUnknown => place.failed(Error::Missing(Thing::Grant(user.clone()))),
            _ => failure,
        })?);
    }
    let revoked = swr.0.organisations.revoke(&call.permit, place.on, ids).await;
    revoked.map_err(|error| place.failed(error))?;
    Ok(Reply::nothing())
}
