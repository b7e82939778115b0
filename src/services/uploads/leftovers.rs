//! What an earlier run left under `uploads/` and nobody goes on with: a blob that was published but
//! never got its record is nobody's. Whether it has one is asked of an index all of whose rows were
//! checked: a blob whose row is merely missing there must not be unlinked. Beside the serving a blob is asked
//! about, and unlinked, while nobody can publish it ([`Leases`](crate::services::leases::Leases)).

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::BlobKey;

use super::Uploads;
use crate::seams::tasks;
use crate::services::error::Error;
use crate::services::images::Shelves;
use crate::stores::blobs::{Blobs, Leftover, Named, Replayed};
use crate::stores::meta::Meta;

/// Goes through the log of small blobs that an earlier run left, before anything else uses the stores.
/// While the rows of the index are still being checked, a blob without a row is kept, so that nobody
/// waits for the check: those are given back, to be cleared when it is over. Blocks.
pub fn replay_small_blobs(meta: &Meta, blobs: &Blobs) -> Result<Option<Leftover>, Error> {
    let replayed = blobs.replay(|digest| named(meta, digest), Error::Store)?;
    if replayed != Replayed::default() {
        let Replayed { blobs, rewritten, removed, kept, unsure } = &replayed;
        let unsure = unsure.as_ref().map_or(0, |left| left.published.len());
        tracing::info!(blobs, rewritten, removed, kept, unsure, "went through the log of small blobs");
    }
    Ok(replayed.unsure)
}

/// Clears them, before anything else uses the stores. Those with blobs of which that is unsure while the rows of the
/// index are still being checked are given back, to be cleared when it is over. Blocks.
pub fn clear_leftovers(meta: &Meta, blobs: &Blobs, leftovers: Vec<Leftover>) -> Result<Vec<Leftover>, Error> {
    clear_named(blobs, leftovers, |digest| named(meta, digest))
}

fn clear_named(
    blobs: &Blobs,
    leftovers: Vec<Leftover>,
    named: impl Fn(&Digest) -> Result<Named, Error>,
) -> Result<Vec<Leftover>, Error> {
    let (mut cleared, mut unsure) = (0, Vec::new());
    for leftover in leftovers {
        let (mut unrecorded, mut is_unsure) = (Vec::new(), false);
        for digest in &leftover.published {
            match named(digest)? {
                Named::Yes => {}
                Named::No => unrecorded.push(*digest),
                Named::Unsure => is_unsure = true,
            }
        }
        if is_unsure {
            unsure.push(leftover);
            continue;
        }
        blobs.clear_leftover(&leftover, &unrecorded).map_err(Error::Store)?;
        cleared += 1;
    }
    if cleared > 0 || !unsure.is_empty() {
        tracing::info!(
            uploads = cleared,
            unsure = unsure.len(),
            "cleared uploads that the last run did not finish and that cannot be gone on with"
        );
    }
    Ok(unsure)
}

/// Whether a blob has its row; nobody can tell that it has none while rows are still being checked.
fn named(meta: &Meta, digest: &Digest) -> Result<Named, Error> {
    // Asked first: an index that is found wrong is exchanged before its check is over.
    let checking = meta.status().checking;
    Ok(match (meta.get(&BlobKey { digest: *digest })?, checking) {
        (Some(_), _) => Named::Yes,
        (None, false) => Named::No,
        (None, true) => Named::Unsure,
    })
}

impl Uploads {
    /// Clears them beside the serving. What somebody pushes, or was told of, meanwhile stays for the next start.
    pub async fn clear_leftovers(&self, leftovers: Vec<Leftover>) -> Result<(), Error> {
        let shelves = std::sync::Arc::clone(&self.shelves);
        tasks::blocking(move || leftovers.iter().try_for_each(|leftover| clear_beside(&shelves, leftover)))
            .await?
    }
}

/// The rows are asked when nobody can publish the blobs any more.
fn clear_beside(shelves: &Shelves, leftover: &Leftover) -> Result<(), Error> {
    let published = &leftover.published;
    if !without_record(&shelves.meta, published)?.is_empty() {
        shelves.meta.wait_until_checked()?;
    }
    let going = shelves.leases.take(published.iter().copied());
    let unrecorded = without_record(&shelves.meta, published)?;
    if !unrecorded.iter().all(|digest| going.has(digest)) {
        tracing::info!(
            upload = leftover.id,
            "a blob of the last run is in use again: that stays until the next start"
        );
        return Ok(());
    }
    shelves.blobs.clear_leftover(leftover, &unrecorded).map_err(Error::Store)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pierhead_storage_format::{Algorithm, paths};

    use super::*;
    use crate::seams::OsRandom;
    use crate::stores::blobs::{CHECKPOINT_EVERY, Options, digest_of};
    use crate::stores::disk::RealDisk;

    #[test]
    fn an_upload_is_left_while_it_is_unsure_whether_one_of_its_blobs_has_a_row() {
        for (case, other, stays) in [("no row", Named::No, false), ("unsure", Named::Unsure, true)] {
            let folder = tempfile::tempdir().expect("a scratch folder");
            let (disk, random) = (Arc::new(RealDisk::new(folder.path())), Arc::new(OsRandom));
            let options = Options { disk, random, checkpoint_every: CHECKPOINT_EVERY };
            let (blobs, _) = Blobs::open(options).expect("a store");
            let [with, without] =
                ["with", "without"].map(|text| digest_of(Algorithm::Sha256, text.as_bytes()));
            let id = "0".repeat(32);
            std::fs::create_dir(folder.path().join(paths::upload_dir(&id))).expect("made");
            for digest in [&with, &without] {
                std::fs::write(folder.path().join(paths::blob(digest)), b"bytes").expect("written");
                std::fs::write(folder.path().join(paths::upload_intent(&id, digest)), b"").expect("written");
            }
            let left = vec![Leftover { id: id.clone(), published: vec![without, with] }];
            let row = |digest: &Digest| Ok(if *digest == with { Named::Yes } else { other });
            let unsure = clear_named(&blobs, left.clone(), row).expect("cleared");
            assert_eq!(unsure, if stays { left } else { Vec::new() }, "{case}");
            let is_there = |path| folder.path().join(path).exists();
            let found = [paths::blob(&with), paths::blob(&without), paths::upload_dir(&id)].map(is_there);
            assert_eq!(found, [true, stays, stays], "{case}");
        }
    }
}
