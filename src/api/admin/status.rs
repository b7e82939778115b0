//! `/api/v1/status`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::Failure;
use super::reply::{Reply, time};
use super::text::Time;
use super::{Admin, Call};

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
    }))
}
