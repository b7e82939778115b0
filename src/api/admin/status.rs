//! `/api/v1/status`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bans::BanView;
use super::errors::Failure;
use super::reply::{Reply, time};
use super::scrub::ScrubView;
use super::text::Time;
use super::{Admin, Call};
use crate::server::CrowdFacts;
use crate::services::appliance::{Busy, Facts, SpaceFacts};
use crate::services::audit;
use crate::services::guard::{self, Ban, Class, slots};
use crate::services::quota::{Near, Overview};

/// Bans that are named.
const NEWEST: usize = 5;

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
    /// Connections to the registry.
    pub connections: ConnectionsView,
    /// Upload slots.
    pub slots: SlotsView,
    /// The audit trail.
    pub audit: AuditView,
    /// Storage quotas.
    pub quotas: QuotasView,
    /// The reading of every blob.
    pub scrub: ScrubView,
    /// Rates and bans.
    pub guard: GuardView,
}

/// Who is banned, and how many requests were refused.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct GuardView {
    /// Addresses and users banned now.
    pub banned: u64,
    /// Of these who was banned last, the newest first, five at most.
    pub newest: Vec<BanView>,
    /// Networks and users that are exempt, those of the settings left out.
    pub exemptions: u64,
    /// Since the start: requests over a rate (429), by what they do.
    pub limited: LimitedView,
    /// Since the start: requests of who was banned.
    pub turned_away: u64,
    /// Since the start: bans made by the appliance itself.
    pub bans: u64,
    /// Since the start: bans that were not made, because there were too many.
    pub lost: u64,
    /// Bans that are in memory alone for now, as on a full disk; writing them is tried each minute.
    pub unwritten: u64,
    /// Addresses, users and accounts that are kept in mind.
    pub keys: u64,
}

/// Requests over a rate.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LimitedView {
    /// For a token.
    pub sign_in: u64,
    /// Reads of images.
    pub read: u64,
    /// Writes of images.
    pub write: u64,
    /// Of the management API.
    pub manage: u64,
    /// Of any kind, over the ceiling of all together.
    pub ceiling: u64,
}

impl GuardView {
    fn new(facts: guard::Facts, newest: Vec<Ban>) -> Self {
        let guard::Facts { banned, exemptions, limited, ceiling, turned_away, bans, lost, unwritten, keys } =
            facts;
        let of = |class: Class| limited[class as usize];
        let limited = LimitedView {
            sign_in: of(Class::SignIn),
            read: of(Class::Read),
            write: of(Class::Write),
            manage: of(Class::Manage),
            ceiling,
        };
        let newest = newest.into_iter().map(BanView::from).collect();
        Self { banned, newest, exemptions, limited, turned_away, bans, lost, unwritten, keys }
    }
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
    /// Bytes of the whole disk.
    pub total: u64,
    /// Bytes that uploads under way have yet to bring.
    pub promised: u64,
    /// Who was promised most of them (`who`) and how many (`bytes`), or `null`.
    pub promised_most: Option<PromisedView>,
    /// Bytes below which stale uploads are removed.
    pub soft_mark: u64,
    /// Bytes below which uploads are refused.
    pub reserve: u64,
    /// `well`; `low`, below the soft mark; `full`, below the reserve.
    pub state: String,
    /// Whether uploads are refused.
    pub uploads_refused: bool,
    /// Since the start: stale uploads that were removed.
    pub reclaimed: u64,
    /// Since the start: their bytes.
    pub reclaimed_bytes: u64,
}

/// Who was promised room on the disk.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PromisedView {
    /// An account by name or, in a lab, an address.
    pub who: String,
    /// Bytes that his uploads have yet to bring.
    pub bytes: u64,
}

/// Who is connected.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionsView {
    /// Open.
    pub open: usize,
    /// There may be so many.
    pub limit: u32,
    /// One address may have so many; 0 for no limit.
    pub per_address: u32,
    /// Since the start: idle ones that were closed to make room.
    pub shed: u64,
    /// Since the start: those closed at once, their address having too many.
    pub refused: u64,
}

/// How the upload slots are used.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SlotsView {
    /// Each account has so many.
    pub limit: usize,
    /// Held now, of all accounts.
    pub held: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Since the start: requests that were refused, none having become free in time.
    pub refused: u64,
    /// Since the start: slow uploads that were ended while others waited.
    pub cut: u64,
    /// Who has the most requests waiting, then the most slots.
    pub busiest: Vec<BusyView>,
}

/// Who has upload slots.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BusyView {
    /// An account by name or, in a lab, an address.
    pub who: String,
    /// Slots held.
    pub held: usize,
    /// Requests that wait.
    pub waiting: usize,
}

impl From<Busy> for BusyView {
    fn from(busy: Busy) -> Self {
        Self { who: busy.who, held: busy.held, waiting: busy.waiting }
    }
}

impl From<CrowdFacts> for ConnectionsView {
    fn from(facts: CrowdFacts) -> Self {
        let CrowdFacts { open, limit, per_address, shed, refused } = facts;
        Self { open, limit, per_address, shed, refused }
    }
}

fn space(facts: &Facts) -> SpaceView {
    let SpaceFacts { free, total, promised, ref most, soft, hard, low, full } = facts.space;
    let state = match (full, low) {
        (true, _) => "full",
        (false, true) => "low",
        (false, false) => "well",
    };
    SpaceView {
        free,
        total,
        promised,
        promised_most: most.clone().map(|(who, bytes)| PromisedView { who, bytes }),
        soft_mark: soft,
        reserve: hard,
        state: state.to_owned(),
        uploads_refused: full,
        reclaimed: facts.uploads_reclaimed.0,
        reclaimed_bytes: facts.uploads_reclaimed.1,
    }
}

fn slots(facts: slots::Facts, busiest: Vec<Busy>) -> SlotsView {
    let slots::Facts { limit, held, waiting, refused, cut } = facts;
    let busiest = busiest.into_iter().map(BusyView::from).collect();
    SlotsView { limit, held, waiting, refused, cut, busiest }
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

/// What organisations hold, and which of them are near their quota. Bytes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct QuotasView {
    /// Held by all organisations, each digest once in each of them.
    pub used: u64,
    /// Reserved by uploads under way.
    pub reserved: u64,
    /// Organisations with a quota.
    pub quotas: u64,
    /// Since the start: pushes refused for want of quota.
    pub refused: u64,
    /// Organisations of whose quota nine tenths or more are used, the fullest first, ten at most.
    pub near: Vec<NearView>,
}

/// An organisation that is near its quota, or beyond one that was set lower.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NearView {
    /// Its name.
    pub organisation: String,
    /// Bytes held.
    pub used: u64,
    /// Bytes that may be.
    pub quota: u64,
}

impl From<Overview> for QuotasView {
    fn from(overview: Overview) -> Self {
        let Overview { used, reserved, quotas, refused, near } = overview;
        let view = |Near { organisation, used, quota }| NearView { organisation, used, quota };
        Self { used, reserved, quotas, refused, near: near.into_iter().map(view).collect() }
    }
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
    let (standing, banned) = admin.0.services.guard.standing(&call.permit, NEWEST)?;
    let space = space(&facts);
    let metadata = facts.metadata;
    Ok(Reply::ok(&StatusView {
        version: crate::version::VERSION.to_owned(),
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
        space,
        uploads: UploadsView {
            open: facts.uploads_open,
            receiving: facts.uploads_receiving,
            limit: facts.uploads_limit,
        },
        connections: (about.crowd)().into(),
        slots: slots(facts.slots, facts.slots_busiest),
        audit: admin.0.services.audit.facts().into(),
        quotas: facts.quotas.into(),
        scrub: admin.0.services.scrub.facts().into(),
        guard: GuardView::new(standing, banned),
    }))
}
