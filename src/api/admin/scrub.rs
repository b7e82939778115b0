//! `/api/v1/scrub` and below: how far the scrub is, what it found, and what it should do.

use pierhead_storage_format::Digest;
use pierhead_storage_format::scrub::DamageKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::{Failure, Kind};
use super::query::Limit;
use super::reply::{Page, Reply, time};
use super::text::Time;
use super::{Admin, Call};
use crate::services::scrub::{Facts, Finding};

/// How far the scrub is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScrubView {
    /// `running`, `paused` or `waiting`.
    #[schemars(extend("enum" = ["running", "paused", "waiting"]))]
    pub state: String,
    /// Whether cycles begin by themselves.
    pub on: bool,
    /// Bytes read a second; a cycle at full rate does not heed it.
    pub rate: u64,
    /// Whether the cycle under way is at full rate.
    pub full: bool,
    /// When the cycle under way, or the last one, was begun: RFC 3339, or `null`.
    #[schemars(with = "Option<Time>")]
    pub began_at: Option<String>,
    /// When the last whole cycle ended, or `null`.
    #[schemars(with = "Option<Time>")]
    pub ended_at: Option<String>,
    /// When the next one begins by itself, or `null`.
    #[schemars(with = "Option<Time>")]
    pub next_at: Option<String>,
    /// Blobs read in the cycle under way, or the last one.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Of them, damaged or missing.
    pub damaged: u64,
    /// Blobs that are damaged or missing now.
    pub findings: u64,
}

impl From<Facts> for ScrubView {
    fn from(facts: Facts) -> Self {
        let Facts { on, rate, state, next_at, findings } = facts;
        let at = |ms: u64| (ms > 0).then(|| time(ms));
        let name = match (state.paused, state.running) {
            (true, _) => "paused",
            (false, true) => "running",
            (false, false) => "waiting",
        };
        Self {
            state: name.to_owned(),
            on,
            rate,
            full: state.full,
            began_at: at(state.began_at),
            ended_at: at(state.ended_at),
            next_at: next_at.map(time),
            blobs: state.blobs,
            bytes: state.bytes,
            damaged: state.damaged,
            findings,
        }
    }
}

/// A part of a blob.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PartView {
    /// Its first byte.
    pub start: u64,
    /// The one after its last.
    pub end: u64,
}

/// A blob that is damaged or missing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FindingView {
    /// Which.
    pub digest: String,
    /// `missing`, or `damaged` and set aside.
    #[schemars(extend("enum" = ["missing", "damaged"]))]
    pub kind: String,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub found_at: String,
    /// Bytes it should have.
    pub size: u64,
    /// The first damaged parts; none if that is not known.
    pub parts: Vec<PartView>,
    /// The first images that need it, as `repository:tag` or `repository@digest`.
    pub images: Vec<String>,
    /// Whether there may be more.
    pub more_images: bool,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        let Finding { digest, record, affected } = finding;
        let kind = match record.kind {
            DamageKind::Missing => "missing",
            DamageKind::Damaged => "damaged",
        };
        Self {
            digest: digest.to_string(),
            kind: kind.to_owned(),
            found_at: time(record.found_at),
            size: record.size,
            parts: record.parts.into_iter().map(|(start, end)| PartView { start, end }).collect(),
            images: affected.images,
            more_images: affected.more,
        }
    }
}

/// How far it is.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&ScrubView::from(admin.0.services.scrub.status(&call.permit)?)))
}

/// Which cycle is begun.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunBody {
    /// At full rate, which whoever pulls may feel.
    full: bool,
}

/// Begins a cycle.
pub async fn run(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let RunBody { full } = call.body()?;
    Ok(Reply::ok(&ScrubView::from(admin.0.services.scrub.begin(&call.permit, full).await?)))
}

/// Stops reading.
pub async fn pause(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&ScrubView::from(admin.0.services.scrub.pause(&call.permit).await?)))
}

/// Goes on.
pub async fn resume(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&ScrubView::from(admin.0.services.scrub.resume(&call.permit).await?)))
}

/// Which findings are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FindingsQuery {
    /// Items at most, 1 to 1,000.
    limit: Limit,
    /// The `next` of the page before.
    after: Option<String>,
}

/// A page of findings.
pub async fn findings(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let query: FindingsQuery = call.query()?;
    let wrong = |text: &String| Failure::about(Kind::QueryInvalid, format!("after: {text:?} is no digest"));
    let after =
        query.after.as_ref().map(|text| text.parse::<Digest>().map_err(|_| wrong(text))).transpose()?;
    let (found, more) = admin.0.services.scrub.findings(&call.permit, after, query.limit.0).await?;
    let items: Vec<FindingView> = found.into_iter().map(FindingView::from).collect();
    let next = items.last().filter(|_| more).map(|last| last.digest.clone());
    Ok(Reply::ok(&Page { items, next }))
}
