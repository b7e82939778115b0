//! What is to go, and what went and can come back: blobs that nothing names, files of blobs that were collected,
//! manifests that were deleted, and repositories whose removal is under way.

use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record};
use crate::digest::Digest;
use crate::keys::{Table, TableKey, digest_only, number, numbered_key};
use crate::records::Present;

/// Something that nothing names, by the time since when: what the collector looks at, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnreferencedKey {
    /// UTC milliseconds since 1970: `linked_at` of the repository's blob, `changed_at` of the store's.
    pub since: u64,
    /// The repository whose manifests do not name it; 0: no repository has it.
    pub repository: u64,
    /// The content.
    pub digest: Digest,
}

impl UnreferencedKey {
    /// What the store's blob that nothing keeps is listed under.
    pub const fn of_store(since: u64, digest: Digest) -> Self {
        Self { since, repository: 0, digest }
    }
}

impl TableKey for UnreferencedKey {
    const TABLE: Table = Table::Unreferenced;
    type Record = UnreferencedRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = self.since.to_be_bytes().to_vec();
        key.extend_from_slice(&self.repository.to_be_bytes());
        self.digest.write_key(&mut key);
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (since, rest) = number(key)?;
        let (repository, rest) = number(rest)?;
        Ok(Self { since, repository, digest: digest_only(rest)? })
    }
}

/// Whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreferencedRecord {
    /// Whole name of the repository; none for the store's.
    pub name: Option<String>,
}

impl Record for UnreferencedRecord {
    const VERSION: u8 = 1;
}

numbered_key!(
    /// A deleted manifest that can be restored, by its number: ascending as they were deleted.
    DeletedManifestKey, DeletedManifest, DeletedManifestRecord, number, "Never used again."
);
numbered_key!(
    /// A repository whose removal has begun.
    RemovalKey, Removal, RemovalRecord, repository, "[`crate::records::RepositoryRecord::id`]."
);

/// A deleted manifest. What it named is in [`DeletedReferenceKey`] rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedManifestRecord {
    /// Whole name of the repository it was in; that may be gone.
    pub repository: String,
    /// Its content.
    pub digest: Digest,
    /// As pushed; at most 255 bytes.
    pub media_type: String,
    /// Bytes of the manifest itself.
    pub size: u64,
    /// When it was deleted.
    pub deleted_at: u64,
    /// Who did; at most 255 bytes.
    pub deleted_by: String,
    /// Tags that named it then, at most [`MAX_TAGS`] bytes of them together.
    pub tags: Vec<String>,
    /// How many more there were.
    pub more_tags: u64,
}

/// Bytes of tags that a [`DeletedManifestRecord`] keeps, 8 for each beside its own.
pub const MAX_TAGS: usize = 2048;

impl Record for DeletedManifestRecord {
    const VERSION: u8 = 1;
}

/// A blob that is kept because a deleted manifest may come back: itself, its config, its layers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeletedReferenceKey {
    /// [`DeletedManifestKey::number`].
    pub number: u64,
    /// The content.
    pub digest: Digest,
}

impl DeletedReferenceKey {
    /// What every reference of a deleted manifest starts with.
    pub fn prefix(number: u64) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }
}

impl TableKey for DeletedReferenceKey {
    const TABLE: Table = Table::DeletedReference;
    type Record = Present;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(self.number);
        self.digest.write_key(&mut key);
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (number, rest) = number(key)?;
        Ok(Self { number, digest: digest_only(rest)? })
    }
}

/// A blob whose row went and whose file goes: to `quarantine/collected/`, and from there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CollectedKey {
    /// When its row went, UTC milliseconds since 1970.
    pub at: u64,
    /// The content.
    pub digest: Digest,
}

impl TableKey for CollectedKey {
    const TABLE: Table = Table::Collected;
    type Record = CollectedRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = self.at.to_be_bytes().to_vec();
        self.digest.write_key(&mut key);
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (at, rest) = number(key)?;
        Ok(Self { at, digest: digest_only(rest)? })
    }
}

/// How large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectedRecord {
    /// Bytes.
    pub size: u64,
}

impl Record for CollectedRecord {
    const VERSION: u8 = 1;
}

/// A removal that is to be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalRecord {
    /// Whole name of the repository.
    pub name: String,
    /// When it began.
    pub begun_at: u64,
    /// Who removes it; at most 255 bytes.
    pub by: String,
}

impl Record for RemovalRecord {
    const VERSION: u8 = 1;
}
