//! What the stores and services count, for `/metrics`; brought up to date by a job.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::store::Store;
use crate::jobs::JobView;
use crate::services::audit::Audit;
use crate::services::scrub::Scrub;
use crate::services::uploads::Uploads;

/// How often the scrub is asked.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
}

/// The gauges. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Gauges {
    uploads: Gauge,
    free: Gauge,
    promised: Gauge,
    space: Gauge,
    reclaimed: Gauge,
    slots_held: Gauge,
    slots_waiting: Gauge,
    slots_refused: Gauge,
    slots_cut: Gauge,
    rows: Gauge,
    change_sets: Gauge,
    read_only: Gauge,
    rebuilds: Gauge,
    audit_events: Gauge,
    audit_bytes: Gauge,
    audit_waiting: Gauge,
    audit_dropped: Gauge,
    audit_lost: Gauge,
    quota_reserved: Gauge,
    quota_refused: Gauge,
    job_runs: Family<JobLabels, Counter>,
    job_failures: Family<JobLabels, Counter>,
    job_success_age: Family<JobLabels, Gauge>,
    scrub_running: Gauge,
    scrub_blobs: Gauge,
    scrub_bytes: Gauge,
    scrub_findings: Gauge,
}

impl Gauges {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("uploads", "Upload sessions open", self.uploads.clone());
        registry.register("disk_free_bytes", "Free space where the data directory is", self.free.clone());
        registry.register(
            "disk_promised_bytes",
            "What uploads under way have yet to bring",
            self.promised.clone(),
        );
        registry.register("disk_state", "0 well, 1 low, 2 full: uploads are refused", self.space.clone());
        let reclaimed = "Stale uploads removed since the start, space being low";
        registry.register("uploads_reclaimed", reclaimed, self.reclaimed.clone());
        registry.register("upload_slots_held", "Upload slots held", self.slots_held.clone());
        registry.register("upload_slots_waiting", "Requests that wait for one", self.slots_waiting.clone());
        let refused = "Requests refused since the start: no upload slot in time";
        registry.register("upload_slots_refused", refused, self.slots_refused.clone());
        let cut = "Slow uploads ended since the start while others waited";
        registry.register("upload_slots_cut", cut, self.slots_cut.clone());
        registry.register("metadata_rows", "Rows of metadata", self.rows.clone());
        registry.register("metadata_change_sets", "Last durable change set", self.change_sets.clone());
        registry.register("metadata_read_only", "1 while metadata cannot be written", self.read_only.clone());
        registry.register("metadata_index_rebuilds", "Index rebuilds since the start", self.rebuilds.clone());
        registry.register("audit_events", "Events in the audit trail", self.audit_events.clone());
        registry.register("audit_bytes", "Bytes of the audit trail", self.audit_bytes.clone());
        registry.register("audit_waiting", "Events that wait to be written", self.audit_waiting.clone());
        let dropped = "Reads and refusals not recorded since the start";
        registry.register("audit_dropped", dropped, self.audit_dropped.clone());
        registry.register("audit_lost", "Changes not recorded since the start", self.audit_lost.clone());
        let reserved = "Bytes that uploads under way reserve of storage quotas";
        registry.register("quota_reserved_bytes", reserved, self.quota_reserved.clone());
        let refused = "Pushes refused for want of storage quota since the start";
        registry.register("quota_refused", refused, self.quota_refused.clone());
        registry.register("job_runs", "Runs of background jobs that ended", self.job_runs.clone());
        registry.register("job_failures", "Runs of background jobs that failed", self.job_failures.clone());
        let age = "Since a background job last did what it is for; not there before it did";
        registry.register("job_last_success_age_seconds", age, self.job_success_age.clone());
        registry.register("scrub_running", "1 while blobs are read again", self.scrub_running.clone());
        registry.register("scrub_blobs", "Blobs read in this cycle, or the last", self.scrub_blobs.clone());
        registry.register("scrub_bytes", "Bytes of them", self.scrub_bytes.clone());
        let findings = "Blobs that are damaged or missing now";
        registry.register("scrub_findings", findings, self.scrub_findings.clone());
    }

    /// Follows the scrub until it is dropped.
    pub async fn follow(&self, scrub: &Scrub) {
        let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        loop {
            let facts = scrub.facts();
            self.scrub_running.set(i64::from(facts.state.running && !facts.state.paused));
            self.scrub_blobs.set(clamp(facts.state.blobs));
            self.scrub_bytes.set(clamp(facts.state.bytes));
            self.scrub_findings.set(clamp(facts.findings));
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }

    /// Brings them up to date. Blocks for a look at the disk.
    pub fn update(&self, store: &Store, uploads: &Uploads, audit: &Audit) {
        let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let status = store.meta.status();
        self.uploads.set(clamp(uploads.open_sessions() as u64));
        let slots = uploads.slots().facts();
        self.slots_held.set(clamp(slots.held as u64));
        self.slots_waiting.set(clamp(slots.waiting as u64));
        self.slots_refused.set(clamp(slots.refused));
        self.slots_cut.set(clamp(slots.cut));
        self.reclaimed.set(clamp(uploads.reclaimed().sessions));
        let standing = store.reserve.standing();
        self.promised.set(clamp(standing.promised));
        self.space.set(i64::from(standing.is_low()) + i64::from(standing.is_full()));
        self.rows.set(clamp(status.rows));
        self.change_sets.set(clamp(status.sequence));
        self.read_only.set(i64::from(status.read_only.is_some()));
        self.rebuilds.set(clamp(status.rebuilds));
        let audit = audit.facts();
        self.audit_events.set(clamp(audit.events));
        self.audit_bytes.set(clamp(audit.bytes));
        self.audit_waiting.set(clamp(audit.waiting.0 + audit.waiting.1));
        self.audit_dropped.set(clamp(audit.dropped));
        self.audit_lost.set(clamp(audit.lost));
        let (reserved, refused) = uploads.quota_counts();
        self.quota_reserved.set(clamp(reserved));
        self.quota_refused.set(clamp(refused));
        if let Ok(free) = store.reserve.free() {
            self.free.set(clamp(free));
        }
    }
    /// Brings what is said of jobs up to date, at `now`.
    pub fn jobs(&self, jobs: &[JobView], now: u64) {
        for job in jobs {
            let labels = JobLabels { job: job.name };
            for (counter, value) in [(&self.job_runs, job.runs), (&self.job_failures, job.failures)] {
                let counter = counter.get_or_create(&labels);
                counter.inc_by(value.saturating_sub(counter.get()));
            }
            if let Some(at) = job.succeeded_at {
                let seconds = now.saturating_sub(at) / 1000;
                self.job_success_age.get_or_create(&labels).set(i64::try_from(seconds).unwrap_or(i64::MAX));
            }
        }
    }
}
