//! `/api/v1/status`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::{Reply, time};
use super::scrub::ScrubView;
use super::text::Time;
use super::{Admin, Call};
use crate::services::audit;

/// How the appliance is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct StatusView {
    /// Of the program.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub started_at: String,
    /// Milliseconds.
    pub uptime_ms: u64,
    /// The data directory.
    pub data: String,
    /// Where it listens.
    pub listening: ListeningView,
    /// The rows.
    pub metadata: MetadataView,
    /// The disk.
    pub space: SpaceView,
    /// Upload sessions.
    pub uploads: UploadsView,
    /// The audit trail.
    pub audit: AuditView,
    /// The reading of every blob.
    pub scrub: ScrubView,
}

/// Where the appliance listens.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListeningView {
    /// The registry, as `address:port`.
    pub addresses: Vec<String>,
    /// Whether these speak TLS.
    pub tls: bool,
    /// Monitoring.
    pub metrics: Vec<String>,
    /// The path of the admin socket.
    pub admin: String,
}

/// How the metadata is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct MetadataView {
    /// The last durable change set.
    pub sequence: u64,
    /// Rows in all tables.
    pub rows: u64,
    /// Whether reads are answered.
    pub readable: bool,
    /// Whether they are answered from memory, the index being unusable.
    pub in_memory: bool,
    /// Why nothing can be written for now, or `null`.
    pub read_only: Option<String>,
    /// Times the index was rebuilt since the start.
    pub index_rebuilds: u64,
}

/// How full the disk is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpaceView {
    /// Bytes free where the data is; `null` if the disk does not say.
    pub free: Option<u64>,
    /// Bytes below which uploads are refused.
    pub reserve: u64,
    /// Whether they are.
    pub uploads_refused: bool,
}

/// How many upload sessions there are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct UploadsView {
    /// Open.
    pub open: usize,
    /// Of these, with a request writing.
    pub receiving: usize,
    /// There may be so many.
    pub limit: usize,
}

/// How the audit trail is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditView {
    /// Events there are.
    pub events: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// Bytes from which on only changes are recorded.
    pub limit: u64,
    /// Milliseconds events are kept.
    pub keep_ms: u64,
    /// The earliest, RFC 3339, or `null`.
    #[schemars(with = "Option<Time>")]
    pub from: Option<String>,
    /// Reads and refusals that wait to be written.
    pub waiting: u64,
    /// Changes that do.
    pub waiting_changes: u64,
    /// Since the start: events recorded.
    pub recorded: u64,
    /// Since the start: reads and refusals that were not.
    pub dropped: u64,
    /// Since the start: changes that were not.
    pub lost: u64,
    /// Files that cannot be read.
    pub damaged: usize,
    /// Why not everything is recorded now, or `null`.
    pub trouble: Option<String>,
}

impl From<audit::Facts> for AuditView {
    fn from(facts: audit::Facts) -> Self {
        Self {
            events: facts.events,
            bytes: facts.bytes,
            limit: facts.limit,
            keep_ms: facts.keep_ms,
            from: facts.from.map(time),
            waiting: facts.waiting.0,
            waiting_changes: facts.waiting.1,
            recorded: facts.recorded,
            dropped: facts.dropped,
            lost: facts.lost,
            damaged: facts.damaged,
            trouble: facts.trouble,
        }
    }
}

/// How it is.
pub async fn show(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let facts = admin.0.services.appliance.status(&call.permit).await?;
    let about = &admin.0.about;
    let metadata = facts.metadata;
    Ok(Reply::ok(&StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
        started_at: time(facts.started_at),
        uptime_ms: facts.uptime_ms,
        data: about.data.display().to_string(),
        listening: about.listening.clone(),
        metadata: MetadataView {
            sequence: metadata.sequence,
            rows: metadata.rows,
            readable: metadata.readable,
            in_memory: metadata.in_memory,
            read_only: metadata.read_only,
            index_rebuilds: metadata.index_rebuilds,
        },
        space: SpaceView { free: facts.free, reserve: about.reserve, uploads_refused: facts.uploads_refused },
        uploads: UploadsView {
            open: facts.uploads_open,
            receiving: facts.uploads_receiving,
            limit: facts.uploads_limit,
        },
        audit: admin.0.services.audit.facts().into(),
        scrub: admin.0.services.scrub.facts().into(),
    }))
}
