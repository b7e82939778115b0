//! `/api/v1/repositories/{repository}/shares`: other accounts that may pull it.

use pierhead_storage_format::identity::Id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::{Failure, Kind};
use super::reply::{Page, Removed, Reply, time};
use super::text::Time;
use super::{Admin, Call};
use crate::services::access::Action;
use crate::services::error::Error;
use crate::services::organisations::{Share, ShareTerms};

/// A share.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShareView {
    /// Whole name.
    pub repository: String,
    /// The account it is shared with, by name.
    pub account: String,
    /// RFC 3339; `null` for ever.
    #[schemars(with = "Option<Time>")]
    pub until: Option<String>,
    /// At most 1,000 characters.
    pub description: String,
    /// The user who shared it, if one did.
    pub creator: Option<String>,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub created_at: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub updated_at: String,
    /// It has not ended.
    pub valid: bool,
}

impl From<Share> for ShareView {
    fn from(share: Share) -> Self {
        Self {
            repository: share.repository,
            account: share.account_name,
            until: share.terms.until.map(time),
            description: share.terms.description,
            creator: share.creator.1,
            created_at: time(share.created_at),
            updated_at: time(share.updated_at),
            valid: share.valid,
        }
    }
}

/// The terms of a share.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TermsBody {
    /// RFC 3339, in the future; for ever if not given.
    #[schemars(with = "Option<Time>")]
    until: Option<String>,
    /// At most 1,000 characters.
    #[schemars(length(max = 1_000))]
    description: String,
}

impl TermsBody {
    fn terms(self) -> Result<ShareTerms, Failure> {
        let until = self.until.as_deref().map(moment).transpose()?;
        Ok(ShareTerms { until, description: self.description })
    }
}

/// RFC 3339 as UTC milliseconds.
fn moment(text: &str) -> Result<u64, Failure> {
    let moment: Option<jiff::Timestamp> = text.parse().ok();
    let ms = moment.and_then(|moment| u64::try_from(moment.as_millisecond()).ok());
    ms.ok_or_else(|| Failure::about(Kind::BodyInvalid, format!("until: {text:?} is not a time of RFC 3339")))
}

fn shown(admin: &Admin, call: &Call<'_>, action: Action, account: Id) -> Result<Reply, Failure> {
    let resource = call.permit.resource(action).cloned();
    let resource = resource.ok_or(Error::Bug("a permit for something else"))?;
    let permit = admin.permit(call, Action::ShowShare, resource)?;
    let share = admin.0.services.organisations.show_share(&permit, account)?.map(ShareView::from);
    let share = share.ok_or_else(|| Failure::about(Kind::Missing, "the share"))?;
    Ok(Reply::ok(&share))
}

/// The repository's shares.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let shares = admin.0.services.organisations.shares(&call.permit)?;
    Ok(Reply::ok(&Page::whole(shares.into_iter().map(ShareView::from))))
}

/// Shares it with an account.
pub async fn create(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let terms = call.body::<TermsBody>()?.terms()?;
    let account = admin.account(&call)?;
    admin.0.services.organisations.share(&call.permit, account, terms).await?;
    shown(admin, &call, Action::CreateShare, account)
}

/// Changes the terms: all of them.
pub async fn update(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let terms = call.body::<TermsBody>()?.terms()?;
    let account = admin.account(&call)?;
    admin.0.services.organisations.reshare(&call.permit, account, terms).await?;
    shown(admin, &call, Action::UpdateShare, account)
}

/// Ends one.
pub async fn delete(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let account = admin.account(&call)?;
    admin.0.services.organisations.unshare(&call.permit, account).await?;
    Ok(Reply::ok(&Removed { removed: admin.account_name(account) }))
}
