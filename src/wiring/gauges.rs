//! What the stores and services count, for `/metrics`; brought up to date by a job.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::store::Store;
use crate::services::uploads::Uploads;

/// The gauges. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Gauges {
    uploads: Gauge,
    free: Gauge,
    rows: Gauge,
    change_sets: Gauge,
    read_only: Gauge,
    rebuilds: Gauge,
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
    }

    /// Brings them up to date. Blocks for a look at the disk.
    pub fn update(&self, store: &Store, uploads: &Uploads) {
        let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let status = store.meta.status();
        self.uploads.set(clamp(uploads.open_sessions() as u64));
        self.rows.set(clamp(status.rows));
        self.change_sets.set(clamp(status.sequence));
        self.read_only.set(i64::from(status.read_only.is_some()));
        self.rebuilds.set(clamp(status.rebuilds));
        if let Ok(free) = store.reserve.free() {
            self.free.set(clamp(free));
        }
    }
}
