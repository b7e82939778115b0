//! Files of blobs whose rows are gone: moved again where a stop came before, and unlinked when their time is over.

use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::CollectedKey;
use pierhead_storage_format::keys::{BlobKey, TableKey};

use super::{BATCH, Collector, Done};
use crate::services::access::Permit;
use crate::services::error::Error;
use crate::services::leases::Going;

impl Collector {
    /// Step 3 for what an earlier process left; where the file is moved already, nothing happens. False if it was
    /// halted.
    pub(super) async fn move_files_again(&self) -> Result<bool, Error> {
        let shelves = &self.0.shelves;
        let mut after = None::<Vec<u8>>;
        while !self.is_halted() {
            let Some(_leave) = self.leave().await else { return Ok(false) };
            let page = shelves.meta.page::<CollectedKey>(&[], after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { return Ok(true) };
            after = Some(last.encode());
            let going = shelves.leases.take(page.iter().map(|(key, _)| key.digest));
            let without = self.without_rows(&going, page.iter().map(|(key, _)| key.digest))?;
            shelves.blobs.set_collected(without).await.map_err(Error::Store)?;
        }
        Ok(false)
    }

    /// Step 4 for everything that was collected at `cutoff` or before.
    pub(super) async fn unlink_files(&self, permit: &Permit, cutoff: u64) -> Result<(), Error> {
        while !self.is_halted() {
            let Some(leave) = self.leave().await else { return Ok(()) };
            let since = self.0.shelves.clock.monotonic_ms();
            let mut page = self.0.shelves.meta.page::<CollectedKey>(&[], None, BATCH)?;
            page.truncate(page.partition_point(|(key, _)| key.at <= cutoff));
            let (files, bytes) = (page.len() as u64, page.iter().map(|(_, record)| record.size).sum());
            if page.is_empty() {
                return Ok(());
            }
            self.unlink_batch(permit, page.into_iter().map(|(key, _)| key).collect()).await?;
            drop(leave);
            self.did(Done { files, ..Done::default() });
            self.keep_pace(since, files, bytes).await;
        }
        Ok(())
    }

    async fn unlink_batch(&self, permit: &Permit, keys: Vec<CollectedKey>) -> Result<(), Error> {
        let shelves = &self.0.shelves;
        let digests: Vec<Digest> = keys.iter().map(|key| key.digest).collect();
        let going = shelves.leases.take(digests.iter().copied());
        let without = self.without_rows(&going, digests.iter().copied())?;
        shelves.blobs.unlink_collected(digests, without).await.map_err(Error::Store)?;
        drop(going);
        let forget = shelves.access.commit(&shelves.meta, permit, move |tx| {
            keys.iter().try_for_each(|key| tx.delete(key))?;
            Ok(())
        });
        forget.await
    }

    /// Those that were not pushed again meanwhile, nor are being pushed.
    fn without_rows(
        &self,
        going: &Going,
        digests: impl Iterator<Item = Digest>,
    ) -> Result<Vec<Digest>, Error> {
        let mut without = Vec::new();
        for digest in digests.filter(|digest| going.has(digest)) {
            if self.0.shelves.meta.get(&BlobKey { digest })?.is_none() {
                without.push(digest);
            }
        }
        Ok(without)
    }
}
