//! From upload to blob. Small blobs go by the log (`small`), which spares them syncs of their own; all
//! others, and small ones when the log does not take them, go by these steps. What a crash (or power
//! cut) after each leaves:
//!
//! 1. the data is synced: an upload folder, which start-up removes;
//! 2. `publish-<algorithm>-<hex>` is made in the upload's folder: the same;
//! 3. `data` is renamed onto the blob's path: a whole blob, perhaps without a record; start-up reads
//!    its digest from step 2, and has it unlinked if no record names it, then removes the folder;
//! 4. the blob's folder is synced: the same; its outboard is put beside it, unsynced (`outboard`).
//!    Now the caller may commit the record;
//! 5. after that commit, [`Published::settled`] removes the upload's folder.
//!
//! Step 2 is not synced by itself: filesystems with an ordered journal keep it before step 3, and
//! where one does not, the worst is a blob without a record, which `fsck` reports.
//!
//! The rename replaces a file already there. What it brings has just been hashed and made durable,
//! while what is there may have been damaged since: this is how a push heals a damaged blob. Readers
//! of the old file keep it.
//!
//! A sync that failed is never tried again on that file (the kernel may have dropped what it could
//! not write and call the next one a success): the upload is given up.

use std::sync::Arc;

use bytes::Bytes;
use pierhead_storage_format::{Digest, paths};

use super::error::{BlobError, io};
use super::hash::Hasher;
use super::pipe::{Pipe, Settled};
use super::pool::BLOCK;
use super::small::{Claim, SMALL};
use super::{Store, outboard, read};
use crate::seams::tasks;
use crate::stores::disk::DiskFile;

/// A blob that is durable under its digest. Keep it until the record is committed.
#[must_use = "call settled after the metadata commit"]
pub struct Published {
    /// Bytes of the blob.
    pub size: u64,
    intent: Intent,
}

/// What start-up would look at.
enum Intent {
    /// The blob was there and sound.
    None,
    /// The upload's folder with the intent in it.
    Folder(Arc<Store>, String),
    /// A record in the log of small blobs.
    Record(Claim),
}

impl Published {
    /// Removes what start-up would look at. To be called when the record is committed; if that
    /// failed, drop this instead: the blob stays, and the next start clears it away.
    pub async fn settled(self) {
        match self.intent {
            Intent::None => {}
            Intent::Folder(store, id) => {
                // A panic in there has been logged; the next start clears the folder.
                let _ = tasks::blocking(move || store.drop_upload(&id)).await;
            }
            Intent::Record(claim) => claim.recorded(),
        }
    }
}

/// Publishes `bytes`, which hash to `digest`, by the log. `None` if they are too many for it, or it
/// takes nothing now: nothing was done.
pub(super) async fn small(
    store: &Store,
    digest: &Digest,
    bytes: Bytes,
) -> Result<Option<Published>, BlobError> {
    if bytes.len() > SMALL {
        return Ok(None);
    }
    let size = bytes.len() as u64;
    let claim = store.small.publish(digest, bytes).await?;
    Ok(claim.map(|claim| Published { size, intent: Intent::Record(claim) }))
}

/// Publishes a settled upload. Blocks.
pub(super) fn upload(
    store: &Arc<Store>,
    id: &str,
    pipe: &Pipe,
    digest: &Digest,
) -> Result<Published, BlobError> {
    let mut slot = pipe.slot();
    let file = slot.as_mut().ok_or(BlobError::Lost)?;
    let Settled { size, hasher, chunks, allocated } = pipe.settled()?;
    let actual = if hasher.algorithm() == digest.algorithm() {
        hasher.digest()
    } else {
        rehash(file.as_ref(), size, digest)?
    };
    if actual != *digest {
        return Err(BlobError::DigestMismatch { actual });
    }
    // Longer than what is known written: the rest of a failed write, or space allocated ahead.
    if allocated || file.len().map_err(io("looking at an upload"))? != size {
        file.set_len(size).map_err(io("cutting an upload"))?;
    }
    if let Err(error) = file.sync_data() {
        *slot = None;
        pipe.end();
        store.drop_upload(id);
        return Err(io("syncing an upload")(error));
    }
    store.rename_into_place(id, digest)?;
    *slot = None;
    pipe.end();
    store.sync_folder_of(digest)?;
    outboard::publish(store, id, digest, size, chunks);
    Ok(Published { size, intent: Intent::Folder(Arc::clone(store), id.to_owned()) })
}

/// Publishes `bytes`, which hash to `digest`. Blocks.
pub(super) fn bytes(store: &Arc<Store>, digest: &Digest, bytes: &[u8]) -> Result<Published, BlobError> {
    let published = |intent| Published { size: bytes.len() as u64, intent };
    // Pushed before and not damaged, as most manifests are: it was durable before it had its name
    // (C1); only the name may still be on its way to the disk.
    if read::whole(store, digest, bytes.len() as u64).is_ok_and(|there| there == bytes) {
        store.sync_folder_of(digest)?;
        return Ok(published(Intent::None));
    }
    let (id, mut file) = store.new_upload()?;
    let placed = file
        .write_at(bytes, 0)
        .and_then(|()| file.sync_data())
        .map_err(io("writing a small blob"))
        .and_then(|()| store.rename_into_place(&id, digest));
    if let Err(error) = placed {
        store.drop_upload(&id);
        return Err(error);
    }
    store.sync_folder_of(digest)?;
    Ok(published(Intent::Folder(Arc::clone(store), id)))
}

impl Store {
    /// Steps 2 and 3. An intent of an earlier attempt serves as well.
    fn rename_into_place(&self, id: &str, digest: &Digest) -> Result<(), BlobError> {
        match self.disk.create(&paths::upload_intent(id, digest)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(io("making a publish intent")(error));
            }
            _ => {}
        }
        let _place = self.places.lock(digest);
        self.disk
            .rename(&paths::upload_data(id), &paths::blob(digest))
            .map_err(io("renaming an upload into place"))
    }
}

/// The digest of the file by the algorithm of `wanted`, which is not the one it was received with.
fn rehash(file: &dyn DiskFile, size: u64, wanted: &Digest) -> Result<Digest, BlobError> {
    let mut hasher = Hasher::new(wanted.algorithm());
    let mut buffer = vec![0; BLOCK];
    let mut at = 0;
    while at < size {
        let read = file.read_at(&mut buffer, at).map_err(io("reading an upload"))?;
        if read == 0 {
            return Err(io("reading an upload")(std::io::ErrorKind::UnexpectedEof.into()));
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
    Ok(hasher.digest())
}
