//! The bookkeeping of one repository inside a transaction: every row that must change together
//! changes here, so that the invariants R1 to R10 of `FORMAT.md` hold after each change set.

use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{RemovalKey, UnreferencedKey, UnreferencedRecord};
use pierhead_storage_format::keys::{
    BlobRepositoryKey, CounterKey, ManifestKey, ManifestReferenceKey, ManifestTagKey, ReferrerKey,
    RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, TableKey, TagKey,
};
use pierhead_storage_format::records::{
    CounterRecord, ManifestRecord, Present, ReferenceRecord, ReferenceRole, ReferrerRecord,
    RepositoryBlobRecord, RepositoryCounters, TagRecord,
};

use pierhead_storage_format::usage::RepositoryPullsKey;

use super::document::Document;
use super::kept;
use super::making::Making;
use super::permitted;
use super::trash::Undo;
use crate::services::access::{Access, Action, Permit};
use crate::services::error::Error;
use crate::services::names::{RepositoryName, Tag};
use crate::services::quota::Books;
use crate::stores::meta::Tx;

/// Rows taken at a time when a change walks many.
const BATCH: usize = 1000;
/// Tags that a manifest with very many keeps until it is deleted: more than a deleted one remembers.
const KEPT_TAGS: usize = 256;

/// One repository inside one transaction. [`Rows::finish`] writes its counters.
pub struct Rows<'a, 'tx> {
    pub(super) tx: &'a mut Tx<'tx>,
    pub(super) name: RepositoryName,
    pub(super) id: u64,
    counters: RepositoryCounters,
    /// What the organisation holds.
    pub(super) books: Books,
    pub(super) now: u64,
    /// Who deletes, if what is deleted can come back.
    pub(super) undo: Undo,
}

/// What a change set took out of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emptied {
    /// Nothing is left in it.
    pub is_all: bool,
    /// Manifests, and blobs taken off it.
    pub removed: u64,
}

/// A number never handed out before for `what`.
pub fn next_number(tx: &mut Tx<'_>, what: &str) -> Result<u64, Error> {
    let counter = CounterKey { name: what.to_owned() };
    let number = tx.get(&counter)?.map_or(1, |record| record.next);
    tx.put(&counter, &CounterRecord { next: number + 1 })?;
    Ok(number)
}

impl<'a, 'tx> Rows<'a, 'tx> {
    /// An existing repository.
    pub fn existing(tx: &'a mut Tx<'tx>, name: RepositoryName, now: u64) -> Result<Self, Error> {
        match tx.get(&RepositoryKey { name: name.as_str().to_owned() })? {
            Some(record) => Self::of(tx, name, record.id, now),
            None => Err(Error::RepositoryUnknown(name)),
        }
    }

    /// A repository that something is pushed to, made if it is not there. A removal of it that was cut short is not
    /// gone on with then: what is pushed stays.
    pub fn existing_or_new(tx: &'a mut Tx<'tx>, name: RepositoryName, making: Making) -> Result<Self, Error> {
        let found = tx.get(&RepositoryKey { name: name.as_str().to_owned() })?;
        let id = match found {
            Some(record) => {
                let removal = RemovalKey { repository: record.id };
                if tx.get(&removal)?.is_some() {
                    tx.delete(&removal)?;
                }
                record.id
            }
            None => making.repository(tx, &name)?,
        };
        Self::of(tx, name, id, making.now)
    }

    fn of(tx: &'a mut Tx<'tx>, name: RepositoryName, id: u64, now: u64) -> Result<Self, Error> {
        let counters = tx.get(&RepositoryCountersKey { repository: id })?.unwrap_or_default();
        let books = Books::of(name.organisation());
        Ok(Self { tx, name, id, counters, books, now, undo: None })
    }

    /// What is deleted can come back, if somebody is named who deletes.
    pub fn with_undo(self, undo: Undo) -> Self {
        Self { undo, ..self }
    }

    /// Whether it is the repository of that number.
    pub const fn is(&self, id: u64) -> bool {
        self.id == id
    }

    /// The transaction, for rows that are no repository's.
    pub fn transaction(&mut self) -> &mut Tx<'tx> {
        self.tx
    }

    /// Writes the counters; nothing of this repository is complete without it. [`Error::Quota`] if what came does not
    /// fit.
    pub fn finish(self) -> Result<(), Error> {
        self.books.settle(self.tx)?;
        Ok(self.tx.put(&RepositoryCountersKey { repository: self.id }, &self.counters)?)
    }

    /// Removes some of what is here: manifests with their tags, then blobs; whether nothing is left. Tags and blobs
    /// count one of `share`, manifests ten and one for each thing they name: only the last may pass it.
    pub fn empty(&mut self, share: usize) -> Result<Emptied, Error> {
        let (mut left, mut removed) = (share, 0);
        let manifests =
            self.tx.page::<ManifestKey>(&ManifestKey::prefix(self.id), None, left.div_ceil(10))?;
        for (ManifestKey { digest, .. }, _) in &manifests {
            // What it needs to come back knows its first tags; where there are more than fit here, some go before.
            let tags =
                self.tx.page::<ManifestTagKey>(&ManifestTagKey::prefix(self.id, digest), None, left + 1)?;
            if tags.len() > left {
                let some = if left == share { tags.get(KEPT_TAGS.min(share - 1)..) } else { None };
                for (key, _) in some.unwrap_or_default() {
                    self.untag(&key.tag.parse().map_err(|_| Error::Bug("a row names no tag"))?)?;
                }
                return Ok(Emptied { is_all: false, removed });
            }
            let names = self.take_manifest(digest)?.unwrap_or(0);
            removed += 1;
            left = left.saturating_sub(10 + tags.len() + names);
            if left == 0 {
                return Ok(Emptied { is_all: false, removed });
            }
        }
        for (key, record) in self.tx.page::<TagKey>(&TagKey::prefix(self.id), None, left)? {
            self.tx.delete(&self.manifest_tag(&record.digest, &key.tag))?; // of no manifest (R1)
            self.tx.delete(&key)?;
        }
        let blobs = self.tx.page::<RepositoryBlobKey>(&RepositoryBlobKey::prefix(self.id), None, left)?;
        for (key, _) in &blobs {
            self.unlink_blob(&key.digest)?;
        }
        Ok(Emptied { is_all: left > blobs.len(), removed: removed + blobs.len() as u64 })
    }

    /// Removes this repository, in which nothing is left, in the place of [`Rows::finish`].
    pub fn remove(self) -> Result<(), Error> {
        self.books.settle(self.tx)?;
        self.tx.delete(&RepositoryCountersKey { repository: self.id })?;
        self.tx.delete(&RepositoryPullsKey { repository: self.id })?;
        Ok(self.tx.delete(&RepositoryKey { name: self.name.as_str().to_owned() })?)
    }

    /// A blob linked to this repository.
    pub fn blob(&mut self, digest: &Digest) -> Result<Option<RepositoryBlobRecord>, Error> {
        Ok(self.tx.get(&RepositoryBlobKey { repository: self.id, digest: *digest })?)
    }

    /// A manifest of this repository.
    pub fn manifest(&mut self, digest: &Digest) -> Result<Option<ManifestRecord>, Error> {
        Ok(self.tx.get(&ManifestKey { repository: self.id, digest: *digest })?)
    }

    /// Whether the repository that `source` is for has the blob linked, and may still be pulled from.
    pub fn may_take(&mut self, access: &Access, source: &Permit, digest: &Digest) -> Result<bool, Error> {
        let name = permitted(source, Action::Pull)?;
        match access.holds(self.tx, source) {
            Ok(true) => {}
            Ok(false) | Err(Error::Refused(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        let key = BlobRepositoryKey { digest: *digest, name: name.as_str().to_owned() };
        Ok(self.tx.get(&key)?.is_some())
    }

    /// Links a blob, whose bytes are durable, to this repository. Once linked, nothing changes.
    pub fn link_blob(&mut self, digest: &Digest, size: u64) -> Result<(), Error> {
        if self.blob(digest)?.is_some() {
            return Ok(());
        }
        if self.manifest(digest)?.is_none() {
            self.counters.bytes += size;
        }
        self.counters.blobs += 1;
        let record = RepositoryBlobRecord { size, linked_at: self.now, references: 0 };
        self.list_unnamed(digest)?;
        self.tx.put(&RepositoryBlobKey { repository: self.id, digest: *digest }, &record)?;
        self.tx.put(&self.blob_repository(digest), &Present {})?;
        self.keep(digest, size)
    }

    /// Unlinks a blob that no manifest of this repository names.
    pub fn unlink_blob(&mut self, digest: &Digest) -> Result<(), Error> {
        let record = self.blob(digest)?.ok_or(Error::BlobUnknown(*digest))?;
        if record.references > 0 {
            return Err(Error::BlobInUse(*digest));
        }
        if self.manifest(digest)?.is_none() {
            self.counters.bytes = self.counters.bytes.saturating_sub(record.size);
        }
        self.counters.blobs = self.counters.blobs.saturating_sub(1);
        self.tx.delete(&self.unnamed(record.linked_at, digest))?;
        self.tx.delete(&RepositoryBlobKey { repository: self.id, digest: *digest })?;
        self.tx.delete(&self.blob_repository(digest))?;
        self.release(digest)
    }

    /// Unlinks a blob that no manifest of this repository has named since then; whether it did.
    pub fn unlink_unnamed(&mut self, key: &UnreferencedKey) -> Result<bool, Error> {
        if key.repository != self.id {
            return Ok(false);
        }
        let record = self.blob(&key.digest)?;
        if record.is_none_or(|record| record.references > 0 || record.linked_at != key.since) {
            return Ok(false);
        }
        self.unlink_blob(&key.digest)?;
        Ok(true)
    }

    /// Puts a manifest, whose bytes are durable: checks that what it names is here (or notes that
    /// it is not, if `sparse`), and keeps it.
    pub fn put_manifest(
        &mut self,
        digest: &Digest,
        size: u64,
        document: &Document,
        sparse: bool,
    ) -> Result<(), Error> {
        match self.manifest(digest)? {
            // The same bytes may name other things under another media type, and more of what they
            // name may be here now: forget, then name anew.
            Some(before) => drop(self.forget_names(digest, before.subject)?),
            None => {
                if self.blob(digest)?.is_none() {
                    self.counters.bytes += size;
                }
                self.counters.manifests += 1;
                self.keep(digest, size)?;
            }
        }
        self.name_all(digest, document, sparse)?;
        self.counters.pushed_at = self.now;
        let record = ManifestRecord {
            media_type: document.media_type.clone(),
            size,
            kind: document.kind,
            pushed_at: self.now,
            subject: document.subject,
            artifact_type: document.artifact_type.clone(),
        };
        Ok(self.tx.put(&ManifestKey { repository: self.id, digest: *digest }, &record)?)
    }

    /// Removes a manifest, its tags and what it names.
    pub fn delete_manifest(&mut self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.take_manifest(digest)?.is_some())
    }

    /// The same; how many things it named.
    fn take_manifest(&mut self, digest: &Digest) -> Result<Option<usize>, Error> {
        let Some(record) = self.manifest(digest)? else { return Ok(None) };
        self.keep_deleted(digest, &record)?;
        self.untag_all(digest)?;
        let named = self.forget_names(digest, record.subject)?;
        if self.blob(digest)?.is_none() {
            self.counters.bytes = self.counters.bytes.saturating_sub(record.size);
        }
        self.counters.manifests = self.counters.manifests.saturating_sub(1);
        self.tx.delete(&ManifestKey { repository: self.id, digest: *digest })?;
        self.release(digest)?;
        Ok(Some(named))
    }

    /// Makes a tag name a manifest of this repository, whatever it named before. [`Error::Immutable`] if it may not move.
    pub fn tag(&mut self, tag: &Tag, digest: &Digest) -> Result<(), Error> {
        let key = TagKey { repository: self.id, tag: tag.as_str().to_owned() };
        match self.tx.get(&key)? {
            Some(before) if before.digest != *digest => {
                self.may_move(tag)?;
                self.tx.delete(&self.manifest_tag(&before.digest, tag.as_str()))?
            }
            Some(_) => {}
            None => self.counters.tags += 1,
        }
        self.tx.put(&self.manifest_tag(digest, tag.as_str()), &Present {})?;
        Ok(self.tx.put(&key, &TagRecord { digest: *digest, pushed_at: self.now })?)
    }

    /// The repository's number.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// What is on record of a tag.
    pub fn tag_record(&mut self, tag: &Tag) -> Result<Option<TagRecord>, Error> {
        Ok(self.tx.get(&TagKey { repository: self.id, tag: tag.as_str().to_owned() })?)
    }

    /// What a tag names.
    pub fn named(&mut self, tag: &Tag) -> Result<Option<Digest>, Error> {
        let key = TagKey { repository: self.id, tag: tag.as_str().to_owned() };
        Ok(self.tx.get(&key)?.map(|record| record.digest))
    }

    /// Whether a tag names a manifest.
    pub fn is_tagged(&mut self, digest: &Digest) -> Result<bool, Error> {
        let prefix = ManifestTagKey::prefix(self.id, digest);
        Ok(!self.tx.page::<ManifestTagKey>(&prefix, None, 1)?.is_empty())
    }

    /// Something was pushed now.
    pub const fn was_pushed(&mut self) {
        self.counters.pushed_at = self.now;
    }

    /// Removes a tag; the manifest stays. False if there is no such tag.
    pub fn untag(&mut self, tag: &Tag) -> Result<bool, Error> {
        let key = TagKey { repository: self.id, tag: tag.as_str().to_owned() };
        let Some(record) = self.tx.get(&key)? else { return Ok(false) };
        self.counters.tags = self.counters.tags.saturating_sub(1);
        self.tx.delete(&self.manifest_tag(&record.digest, tag.as_str()))?;
        self.tx.delete(&key)?;
        Ok(true)
    }

    fn untag_all(&mut self, digest: &Digest) -> Result<(), Error> {
        let prefix = ManifestTagKey::prefix(self.id, digest);
        let mut after = None;
        loop {
            let rows = self.tx.page::<ManifestTagKey>(&prefix, after.as_deref(), BATCH)?;
            after = rows.last().map(|(key, _)| key.encode());
            for (key, _) in &rows {
                self.counters.tags = self.counters.tags.saturating_sub(1);
                self.tx.delete(&TagKey { repository: self.id, tag: key.tag.clone() })?;
                self.tx.delete(key)?;
            }
            if rows.len() < BATCH {
                return Ok(());
            }
        }
    }

    fn name_all(&mut self, digest: &Digest, document: &Document, sparse: bool) -> Result<(), Error> {
        let mut missing = Vec::new();
        for (named, &role) in &document.references {
            let role = if role == ReferenceRole::Blob { self.name_blob(named)? } else { role };
            if role == ReferenceRole::Absent {
                missing.push(*named);
            }
            let key = ManifestReferenceKey { repository: self.id, manifest: *digest, digest: *named };
            self.tx.put(&key, &ReferenceRecord { role })?;
        }
        if !missing.is_empty() && !sparse {
            return Err(Error::ReferencesMissing(missing));
        }
        if let Some(subject) = document.subject {
            let key = ReferrerKey { repository: self.id, subject, digest: *digest };
            self.tx.put(&key, &ReferrerRecord { artifact_type: document.artifact_type.clone() })?;
        }
        Ok(())
    }

    /// Counts a reference to a config or layer, if it is here.
    fn name_blob(&mut self, digest: &Digest) -> Result<ReferenceRole, Error> {
        let Some(blob) = self.blob(digest)? else { return Ok(ReferenceRole::Absent) };
        self.set_references(digest, blob.references + 1)?;
        Ok(ReferenceRole::Blob)
    }

    /// How many things it named.
    fn forget_names(&mut self, digest: &Digest, subject: Option<Digest>) -> Result<usize, Error> {
        if let Some(subject) = subject {
            self.tx.delete(&ReferrerKey { repository: self.id, subject, digest: *digest })?;
        }
        let prefix = ManifestReferenceKey::prefix(self.id, digest);
        let (mut after, mut named) = (None, 0);
        loop {
            let rows = self.tx.page::<ManifestReferenceKey>(&prefix, after.as_deref(), BATCH)?;
            after = rows.last().map(|(key, _)| key.encode());
            for (key, record) in &rows {
                if record.role == ReferenceRole::Blob
                    && let Some(blob) = self.blob(&key.digest)?
                {
                    self.set_references(&key.digest, blob.references.saturating_sub(1))?;
                }
                self.tx.delete(key)?;
            }
            named += rows.len();
            if rows.len() < BATCH {
                return Ok(named);
            }
        }
    }

    fn set_references(&mut self, digest: &Digest, references: u64) -> Result<(), Error> {
        let key = RepositoryBlobKey { repository: self.id, digest: *digest };
        let Some(mut record) = self.tx.get(&key)? else { return Ok(()) };
        match (record.references, references) {
            (0, 1..) => self.tx.delete(&self.unnamed(record.linked_at, digest))?,
            (1.., 0) => {
                record.linked_at = self.now;
                self.list_unnamed(digest)?;
            }
            _ => {}
        }
        Ok(self.tx.put(&key, &RepositoryBlobRecord { references, ..record })?)
    }

    /// No manifest of this repository names the blob, from now on.
    fn list_unnamed(&mut self, digest: &Digest) -> Result<(), Error> {
        let record = UnreferencedRecord { name: Some(self.name.as_str().to_owned()) };
        Ok(self.tx.put(&self.unnamed(self.now, digest), &record)?)
    }

    const fn unnamed(&self, since: u64, digest: &Digest) -> UnreferencedKey {
        UnreferencedKey { since, repository: self.id, digest: *digest }
    }

    fn keep(&mut self, digest: &Digest, size: u64) -> Result<(), Error> {
        kept::keep(self.tx, digest, size, self.now)?;
        self.books.keep(self.tx, digest, size)
    }

    fn release(&mut self, digest: &Digest) -> Result<(), Error> {
        kept::release(self.tx, digest, self.now)?;
        self.books.release(self.tx, digest)
    }

    fn blob_repository(&self, digest: &Digest) -> BlobRepositoryKey {
        BlobRepositoryKey { digest: *digest, name: self.name.as_str().to_owned() }
    }

    fn manifest_tag(&self, digest: &Digest, tag: &str) -> ManifestTagKey {
        ManifestTagKey { repository: self.id, digest: *digest, tag: tag.to_owned() }
    }
}
