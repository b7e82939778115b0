//! What an earlier run left under `uploads/` and nobody goes on with: a blob that was published but
//! never got its record is nobody's. Whether it has one is asked of an index all of whose rows were
//! checked: a blob whose row is merely missing there must not be unlinked.

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::BlobKey;

use crate::services::error::Error;
use crate::stores::blobs::{Blobs, Leftover, Replayed};
use crate::stores::meta::Meta;

/// Goes through the log of small blobs that an earlier run left, before anything else uses the stores.
/// While the rows of the index are still being checked, a blob without a row is kept, so that nobody
/// waits for the check: a file too many is what `fsck` names and takes little space. Blocks.
pub fn replay_small_blobs(meta: &Meta, blobs: &Blobs) -> Result<(), Error> {
    let recorded = |digest: &Digest| {
        // Asked first: an index that is found wrong is exchanged before its check is over.
        let checking = meta.status().checking;
        Ok(meta.get(&BlobKey { digest: *digest })?.is_some() || checking)
    };
    let replayed = blobs.replay(recorded, Error::Store)?;
    if replayed != Replayed::default() {
        let Replayed { blobs, rewritten, removed, kept } = replayed;
        tracing::info!(blobs, rewritten, removed, kept, "went through the log of small blobs");
    }
    Ok(())
}

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
