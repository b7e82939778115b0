//! `/v2/manage/namespaces`: organisations.

use serde::Serialize;
use serde_json::json;

use super::errors::Failure;
use super::reply::Reply;
use super::words::Auth;
use super::{Call, Swr};
use crate::services::organisations::Organisation;

/// An organisation.
#[derive(Serialize)]
pub struct NamespaceView {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Who made it, else the account that owns it.
    pub creator_name: String,
    /// 0 for somebody who was only granted something in some of its images.
    auth: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_user_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repo_count: Option<u64>,
}

impl Swr {
    /// As clients see it.
    pub(super) fn namespace_view(&self, organisation: Organisation) -> NamespaceView {
        let owner = || organisation.owner.and_then(|owner| self.account_name(owner));
        let creator_name = organisation.creator.map(|creator| creator.name).or_else(owner);
        NamespaceView {
            id: organisation.number,
            name: organisation.name.to_string(),
            creator_name: creator_name.unwrap_or_default(),
            auth: organisation.level.map_or(0, |level| Auth(level).number()),
            access_user_count: None,
            repo_count: None,
        }
    }
}

/// Those one may look at; with `mode::visible` those too in which one may only see some image.
pub async fn list(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let asked = call.asked(&["namespace", "mode"])?;
    let organisations = &swr.0.organisations;
    let mut seen = organisations.list(&call.permit, asked.get("mode") == Some("visible"))?;
    seen.retain(|organisation| asked.get("namespace").is_none_or(|name| organisation.name.as_str() == name));
    let names: Vec<&str> = seen.iter().map(|organisation| organisation.name.as_str()).collect();
    let counts = swr.0.images.counts(&call.permit, &names).await?;
    let mut namespaces = Vec::new();
    for (organisation, count) in seen.into_iter().zip(counts) {
        let users = swr.users_of(&call, &organisation.name);
        let view = swr.namespace_view(organisation);
        namespaces.push(NamespaceView { access_user_count: Some(users), repo_count: Some(count), ..view });
    }
    Ok(Reply::ok(&json!({"namespaces": namespaces})))
}

/// Makes one, of the account of the one who asks.
pub async fn create(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.organisations.create(&call.permit, None).await?;
    Ok(Reply::created())
}

/// One of them.
pub async fn show(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&swr.namespace_view(swr.0.organisations.show(&call.permit)?)))
}

/// Removes one without images.
pub async fn delete(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.organisations.delete(&call.permit).await?;
    Ok(Reply::nothing())
}
