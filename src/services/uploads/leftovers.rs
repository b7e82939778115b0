//! What an earlier run left under `uploads/` and nobody goes on with: a blob that was published but
//! never got its record is nobody's.

use pierhead_storage_format::keys::BlobKey;

use crate::services::error::Error;
use crate::stores::blobs::{Blobs, Leftover};
use crate::stores::meta::Meta;

/// Clears them, before anything else uses the stores. Blocks.
pub fn clear_leftovers(meta: &Meta, blobs: &Blobs, leftovers: &[Leftover]) -> Result<(), Error> {
    for leftover in leftovers {
        let mut unrecorded = Vec::new();
        for digest in &leftover.published {
            if meta.get(&BlobKey { digest: *digest })?.is_none() {
                unrecorded.push(*digest);
            }
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
