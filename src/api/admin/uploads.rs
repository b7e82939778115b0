//! `/api/v1/uploads` and below: everybody's upload sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::query::{Limit, parsed};
use super::reply::{Page, Reply, time};
use super::text::{IdText, Repository, Time};
use super::{Admin, Call};
use crate::services::names::RepositoryName;
use crate::services::uploads::{UploadFacts, Wanted};

/// An upload session.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UploadView {
    /// 32 lower-case hex digits, as in the protocol's `Location`.
    #[schemars(with = "IdText")]
    pub id: String,
    /// Where its blob goes.
    pub repository: String,
    /// Who opened it.
    pub actor: String,
    /// `receiving` while a request writes it, else `waiting`.
    #[schemars(extend("enum" = ["receiving", "waiting"]))]
    pub state: String,
    /// Bytes received.
    pub offset: u64,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub opened_at: String,
    /// Milliseconds since.
    pub age_ms: u64,
    /// Milliseconds without use.
    pub idle_ms: u64,
}

impl From<UploadFacts> for UploadView {
    fn from(facts: UploadFacts) -> Self {
        Self {
            id: facts.id,
            repository: facts.repository.to_string(),
            actor: facts.actor.to_string(),
            state: if facts.is_receiving { "receiving" } else { "waiting" }.to_owned(),
            offset: facts.offset,
            opened_at: time(facts.opened_at),
            age_ms: facts.age_ms,
            idle_ms: facts.idle_ms,
        }
    }
}

/// Which sessions were ended, or would be.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Aborted {
    /// By id.
    pub items: Vec<UploadView>,
    /// Whether they were only looked at.
    pub dry_run: bool,
}

/// Which sessions are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UploadsQuery {
    /// Items at most, 1 to 1,000.
    limit: Limit,
    /// The `next` of the page before.
    after: Option<String>,
    /// Only those of this repository.
    #[serde(deserialize_with = "parsed")]
    #[schemars(with = "Option<Repository>")]
    repository: Option<RepositoryName>,
}

/// A page of them.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let query: UploadsQuery = call.query()?;
    let wanted = Wanted { repository: query.repository, ..Wanted::default() };
    let page = admin.0.services.uploads.list(&call.permit, &wanted, query.after.as_deref(), query.limit.0)?;
    let items: Vec<UploadView> = page.items.into_iter().map(UploadView::from).collect();
    let next = items.last().filter(|_| page.more).map(|last| last.id.clone());
    Ok(Reply::ok(&Page { items, next }))
}

/// One of them.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let facts = admin.0.services.uploads.show(&call.permit, call.param("id"))?;
    Ok(Reply::ok(&UploadView::from(facts)))
}

/// Ends one.
pub async fn abort(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let facts = admin.0.services.uploads.abort(&call.permit, call.param("id")).await?;
    Ok(Reply::ok(&UploadView::from(facts)))
}

/// Which sessions are to end: those that fit all that is given, so `{}` means every one.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AbortBody {
    /// Only those of this repository.
    #[serde(deserialize_with = "parsed")]
    #[schemars(with = "Option<Repository>")]
    repository: Option<RepositoryName>,
    /// Only those opened so many milliseconds ago, or before.
    older_than_ms: u64,
    /// Only those without use for so many milliseconds.
    idle_for_ms: u64,
    /// Only say which these are.
    dry_run: bool,
}

/// Ends those that fit.
pub async fn abort_all(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let AbortBody { repository, older_than_ms, idle_for_ms, dry_run } = call.body()?;
    let wanted = Wanted { repository, older_than_ms, idle_for_ms };
    let uploads = &admin.0.services.uploads;
    let ended = match dry_run {
        true => uploads.would_abort(&call.permit, &wanted)?,
        false => uploads.abort_all(&call.permit, &wanted).await?,
    };
    Ok(Reply::ok(&Aborted { items: ended.into_iter().map(UploadView::from).collect(), dry_run }))
}
