//! What an earlier run left under `uploads/` and nobody goes on with: a blob that was published but
//! never got its record is nobody's. Whether it has one is asked of an index all of whose rows were
//! checked: a blob whose row is merely missing there must not be unlinked.

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::BlobKey;

use crate::services::error::Error;
use crate::stores::blobs::{Blobs, Leftover};
use crate::stores::meta::Meta;

/// Clears them, before anything else uses the stores. Blocks.
pub fn clear_leftovers(meta: &Meta, blobs: &Blobs, leftovers: &[Leftover]) -> Result<(), Error> {
    for leftover in leftovers {
        let mut unrecorded = without_record(meta, &leftover.published)?;
        if !unrecorded.is_empty() {
            meta.wait_until_checked()?;
            unrecorded = without_record(meta, &unrecorded)?;
        }
        blobs.clear_leftover(leftover, &unrecorded).map_err(Error::Store)?;
    }
    if !leftovers.is_empty() {
        tracing::info!(
            uploads = leftovers.len(),
            "cleared uploads that the last run did not finish and that cannot be gone on with"
        );
    }
    Ok(())
}

fn without_record(meta: &Meta, digests: &[Digest]) -> Result<Vec<Digest>, Error> {
    let mut found = Vec::new();
    for digest in digests {
        if meta.get(&BlobKey { digest: *digest })?.is_none() {
            found.push(*digest);
        }
    }
    Ok(found)
}
