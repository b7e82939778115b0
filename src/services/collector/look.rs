//! What a run would do, without doing it.

use pierhead_storage_format::keys::{BlobKey, TableKey};

use super::{BATCH, Collector};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;

/// What a run would take now, and what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Blobs that would be removed from the store.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that would be taken off repositories.
    pub unlinked: u64,
    /// Bytes of those that no other repository has: free a grace period later.
    pub later: u64,
    /// What is old enough, and somebody counts on.
    pub left: u64,
}

impl Collector {
    /// What a run would do now, if it did not wait for anything.
    pub async fn outlook(&self, permit: &Permit) -> Result<Outlook, Error> {
        self.covers(permit, Action::ShowCollection)?;
        let service = self.clone();
        tasks::blocking(move || service.look()).await?
    }

    fn look(&self) -> Result<Outlook, Error> {
        let shelves = &self.0.shelves;
        let cutoff = shelves.clock.now_ms().saturating_sub(self.0.options.grace);
        let (mut found, mut after) = (Outlook::default(), None::<Vec<u8>>);
        loop {
            let due = self.due(cutoff, after.as_deref())?;
            let Some((last, _)) = due.last() else { return Ok(found) };
            after = Some(last.encode());
            for (key, record) in &due {
                let Some(blob) = shelves.meta.get(&BlobKey { digest: key.digest })? else { continue };
                if shelves.leases.is_seen(&key.digest) {
                    found.left += 1;
                } else if record.name.is_some() {
                    found.unlinked += 1;
                    found.later += if blob.references == 1 { blob.size } else { 0 };
                } else {
                    found.blobs += 1;
                    found.bytes = found.bytes.saturating_add(blob.size);
                }
            }
            if due.len() < BATCH {
                return Ok(found);
            }
        }
    }
}
