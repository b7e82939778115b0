//! `/api/v1/gc` and below: the collector.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::{Reply, time};
use super::text::Time;
use super::{Admin, Call};
use crate::services::collector::{Done, Outlook, Status};

/// What runs of the collector did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CollectedView {
    /// Untagged manifests removed.
    pub untagged: u64,
    /// Deleted manifests that cannot be restored any more.
    pub forgotten: u64,
    /// Blobs taken off repositories none of whose manifests named them.
    pub unlinked: u64,
    /// Blobs removed from the store.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files unlinked from quarantine: only then their space is free.
    pub files: u64,
    /// Blobs that were old enough, and that a client was told of lately.
    pub left: u64,
}

impl From<Done> for CollectedView {
    fn from(done: Done) -> Self {
        let Done { untagged, forgotten, unlinked, removed, bytes, files, left } = done;
        Self { untagged, forgotten, unlinked, removed, bytes, files, left }
    }
}

/// How the collector is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectorView {
    /// Whether a run is under way, or about to begin.
    pub running: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Why nothing is removed now; `null` if it could be.
    pub waits: Option<String>,
    /// When the last run began, or the one under way; `null` for none since the start.
    #[schemars(with = "Option<Time>")]
    pub began_at: Option<String>,
    /// When the last run ended; `null` for none since the start.
    #[schemars(with = "Option<Time>")]
    pub ended_at: Option<String>,
    /// What the last run did, or the one under way until now.
    pub last: CollectedView,
    /// What all runs did since the start.
    pub total: CollectedView,
    /// Why the last run ended early; `null` if it did not.
    pub trouble: Option<String>,
}

impl From<Status> for CollectorView {
    fn from(status: Status) -> Self {
        let at = |ms: u64| (ms > 0).then(|| time(ms));
        Self {
            running: status.running,
            paused: status.paused,
            waits: status.waits.map(str::to_owned),
            began_at: at(status.began_at),
            ended_at: at(status.ended_at),
            last: status.last.into(),
            total: status.total.into(),
            trouble: status.trouble,
        }
    }
}

/// What a run would do now.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutlookView {
    /// Blobs that would be removed from the store.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that would be taken off repositories.
    pub unlinked: u64,
    /// Bytes of those that nothing else keeps: they go a grace period later.
    pub later_bytes: u64,
    /// Blobs that are old enough, and that a client was told of lately.
    pub left: u64,
}

impl From<Outlook> for OutlookView {
    fn from(found: Outlook) -> Self {
        let Outlook { blobs, bytes, unlinked, later, left } = found;
        Self { blobs, bytes, unlinked, later_bytes: later, left }
    }
}

/// How a run is asked for.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunBody {
    /// Believe the clock, whatever it did.
    accept_clock: bool,
}

/// How it is.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&CollectorView::from(admin.0.services.collector.status(&call.permit)?)))
}

/// What a run would do.
pub async fn outlook(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&OutlookView::from(admin.0.services.collector.outlook(&call.permit).await?)))
}

/// Has a run begin.
pub async fn run(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let RunBody { accept_clock } = call.body()?;
    Ok(Reply::ok(&CollectorView::from(admin.0.services.collector.ask(&call.permit, accept_clock)?)))
}

/// Pauses it.
pub async fn pause(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&CollectorView::from(admin.0.services.collector.pause(&call.permit, true).await?)))
}

/// Lets it go on.
pub async fn resume(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&CollectorView::from(admin.0.services.collector.pause(&call.permit, false).await?)))
}
