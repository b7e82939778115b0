//! Stores of versions that did not collect have blobs that nothing names and no row that says so. They are listed
//! once, while everything is served; what changes meanwhile lists itself. A stop in between begins it again, and
//! nothing is listed twice.

use pierhead_storage_format::housekeeping::{UnreferencedKey, UnreferencedRecord};
use pierhead_storage_format::keys::{BlobKey, CounterKey, RepositoryBlobKey, RepositoryKey, TableKey};
use pierhead_storage_format::records::CounterRecord;

use super::Collector;
use crate::services::access::Permit;
use crate::services::error::Error;
use crate::services::images::Course as _;
use crate::stores::meta::Tx;

/// Rows looked at together.
const BATCH: usize = 1000;
/// Says that it is done.
const LISTED: &str = "unreferenced blobs listed";

/// A blob, of a repository with this name or of the store.
type Found = (Option<(String, u64)>, BlobKey);

impl Collector {
    /// Lists what is not listed; does nothing once it was done. False if it was halted.
    pub(super) async fn list_old_ones(&self, permit: &Permit) -> Result<bool, Error> {
        let (shelves, done) = (&self.0.shelves, CounterKey { name: LISTED.to_owned() });
        if shelves.meta.get(&done)?.is_some() {
            return Ok(true);
        }
        let Some(mut listed) = self.list_blobs(permit).await? else { return Ok(false) };
        let mut after = None::<Vec<u8>>;
        loop {
            let page = shelves.meta.page::<RepositoryKey>(&[], after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.encode());
            for (key, record) in page {
                // Begun again by the next run.
                let Some(more) = self.list_repository(permit, key.name, record.id).await? else {
                    return Ok(false);
                };
                listed += more;
            }
        }
        if listed > 0 {
            tracing::info!(listed, "listed what nothing names in a store of an earlier version");
        }
        let put = move |tx: &mut Tx<'_>| Ok(tx.put(&done, &CounterRecord { next: 1 })?);
        shelves.access.commit(&shelves.meta, permit, put).await?;
        Ok(true)
    }

    /// None if it was halted.
    async fn list_blobs(&self, permit: &Permit) -> Result<Option<u64>, Error> {
        let (mut listed, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.0.shelves.meta.page::<BlobKey>(&[], after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { return Ok(Some(listed)) };
            after = Some(last.encode());
            if self.is_halted() {
                return Ok(None);
            }
            let since = self.0.shelves.clock.monotonic_ms();
            let unkept = page.into_iter().filter(|(_, record)| record.references == 0);
            let put = self.list(permit, unkept.map(|(key, _)| (None, key)).collect()).await?;
            listed += put;
            self.rest(since, put).await;
        }
    }

    /// None if it was halted. That is not to be asked again afterwards: a pause may be over by then.
    async fn list_repository(&self, permit: &Permit, name: String, id: u64) -> Result<Option<u64>, Error> {
        let (mut listed, mut after) = (0, None::<Vec<u8>>);
        let prefix = RepositoryBlobKey::prefix(id);
        while !self.is_halted() {
            let since = self.0.shelves.clock.monotonic_ms();
            let page = self.0.shelves.meta.page::<RepositoryBlobKey>(&prefix, after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { return Ok(Some(listed)) };
            after = Some(last.encode());
            let unnamed = page.into_iter().filter(|(_, record)| record.references == 0);
            let found = unnamed.map(|(key, _)| (Some((name.clone(), id)), BlobKey { digest: key.digest }));
            let put = self.list(permit, found.collect()).await?;
            listed += put;
            self.rest(since, put).await;
        }
        Ok(None)
    }

    async fn list(&self, permit: &Permit, found: Vec<Found>) -> Result<u64, Error> {
        if found.is_empty() {
            return Ok(0);
        }
        let shelves = &self.0.shelves;
        let put = move |tx: &mut Tx<'_>| {
            found.into_iter().try_fold(0, |listed, found| Ok(listed + u64::from(put(tx, found)?)))
        };
        shelves.access.commit(&shelves.meta, permit, put).await
    }
}

/// As its row says now; whether there still is something to list.
fn put(tx: &mut Tx<'_>, (of, BlobKey { digest }): Found) -> Result<bool, Error> {
    let (key, record) = match of {
        None => {
            let blob = tx.get(&BlobKey { digest })?.filter(|blob| blob.references == 0);
            let Some(blob) = blob else { return Ok(false) };
            (UnreferencedKey::of_store(blob.changed_at, digest), UnreferencedRecord::default())
        }
        Some((name, repository)) => {
            let blob = tx.get(&RepositoryBlobKey { repository, digest })?.filter(|blob| blob.references == 0);
            let Some(blob) = blob else { return Ok(false) };
            let key = UnreferencedKey { since: blob.linked_at, repository, digest };
            (key, UnreferencedRecord { name: Some(name) })
        }
    };
    if tx.get(&key)?.is_some() {
        return Ok(false);
    }
    tx.put(&key, &record)?;
    Ok(true)
}
