//! What a deleted manifest leaves so that it can come back: a row of its own, and rows that keep its bytes, its config
//! and its layers. They are made in the change set that deletes it, and go in the one that restores or forgets it.

use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{
    DeletedManifestKey, DeletedManifestRecord, DeletedReferenceKey, MAX_TAGS,
};
use pierhead_storage_format::keys::{BlobKey, ManifestReferenceKey, ManifestTagKey, TableKey};
use pierhead_storage_format::records::{ManifestRecord, Present, ReferenceRole};

use super::kept;
use super::rows::{Rows, next_number};
use crate::services::error::Error;
use crate::stores::meta::Tx;

/// Rows taken at a time when a change walks many.
const BATCH: usize = 1000;
/// What numbers deleted manifests.
const COUNTER: &str = "deleted manifest";

/// Who deletes, where what is deleted can come back.
pub type Undo = Option<String>;

impl Rows<'_, '_> {
    /// Keeps what a manifest that is about to be deleted needs to come back.
    pub(super) fn keep_deleted(&mut self, digest: &Digest, record: &ManifestRecord) -> Result<(), Error> {
        let Some(by) = self.undo.clone() else { return Ok(()) };
        let number = next_number(self.tx, COUNTER)?;
        self.keep_for(number, digest, record.size)?;
        let prefix = ManifestReferenceKey::prefix(self.id, digest);
        let mut after = None;
        loop {
            let page = self.tx.page::<ManifestReferenceKey>(&prefix, after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            for (key, _) in page.iter().filter(|(_, reference)| reference.role == ReferenceRole::Blob) {
                if let Some(blob) = self.blob(&key.digest)? {
                    self.keep_for(number, &key.digest, blob.size)?;
                }
            }
            if page.len() < BATCH {
                break;
            }
        }
        let (tags, more_tags) = self.some_tags(digest)?;
        let deleted = DeletedManifestRecord {
            repository: self.name.as_str().to_owned(),
            digest: *digest,
            media_type: record.media_type.clone(),
            size: record.size,
            deleted_at: self.now,
            deleted_by: by,
            tags,
            more_tags,
        };
        Ok(self.tx.put(&DeletedManifestKey { number }, &deleted)?)
    }

    fn keep_for(&mut self, number: u64, digest: &Digest, size: u64) -> Result<(), Error> {
        self.tx.put(&DeletedReferenceKey { number, digest: *digest }, &Present {})?;
        kept::keep(self.tx, digest, size, self.now)
    }

    /// As many tags as a record holds, and how many more there are.
    fn some_tags(&mut self, digest: &Digest) -> Result<(Vec<String>, u64), Error> {
        let prefix = ManifestTagKey::prefix(self.id, digest);
        let (mut tags, mut bytes, mut more, mut after) = (Vec::new(), 0, 0, None);
        loop {
            let page = self.tx.page::<ManifestTagKey>(&prefix, after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            let is_last = page.len() < BATCH;
            for (key, _) in page {
                bytes += key.tag.len() + 8;
                if bytes <= MAX_TAGS { tags.push(key.tag) } else { more += 1 }
            }
            if is_last {
                return Ok((tags, more));
            }
        }
    }
}

/// What a deleted manifest keeps beside itself, with sizes.
pub fn kept_by(tx: &mut Tx<'_>, number: u64, own: &Digest) -> Result<Vec<(Digest, u64)>, Error> {
    let prefix = DeletedReferenceKey::prefix(number);
    let (mut kept, mut after) = (Vec::new(), None);
    loop {
        let page = tx.page::<DeletedReferenceKey>(&prefix, after.as_deref(), BATCH)?;
        after = page.last().map(|(key, _)| key.encode());
        let is_last = page.len() < BATCH;
        for (DeletedReferenceKey { digest, .. }, _) in page {
            if let Some(blob) = tx.get(&BlobKey { digest })?.filter(|_| digest != *own) {
                kept.push((digest, blob.size));
            }
        }
        if is_last {
            return Ok(kept);
        }
    }
}

/// Forgets a deleted manifest; false if it is not there.
pub fn forget(tx: &mut Tx<'_>, number: u64, now: u64) -> Result<bool, Error> {
    let key = DeletedManifestKey { number };
    if tx.get(&key)?.is_none() {
        return Ok(false);
    }
    let prefix = DeletedReferenceKey::prefix(number);
    loop {
        let page = tx.page::<DeletedReferenceKey>(&prefix, None, BATCH)?;
        for (reference, _) in &page {
            kept::release(tx, &reference.digest, now)?;
            tx.delete(reference)?;
        }
        if page.len() < BATCH {
            break;
        }
    }
    tx.delete(&key)?;
    Ok(true)
}
