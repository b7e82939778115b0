//! What the stores and services count, for `/metrics`; brought up to date by a job.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::store::Store;
use crate::services::audit::Audit;
use crate::services::scrub::Scrub;
use crate::services::uploads::Uploads;

/// How often the scrub is asked.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// The gauges. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Gauges {
    uploads: Gauge,
    free: Gauge,
    rows: Gauge,
    change_sets: Gauge,
    read_only: Gauge,
    rebuilds: Gauge,
    audit_events: Gauge,
    audit_bytes: Gauge,
    audit_waiting: Gauge,
    audit_dropped: Gauge,
    audit_lost: Gauge,
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
        if let Ok(free) = store.reserve.free() {
            self.free.set(clamp(free));
        }
    }
}
