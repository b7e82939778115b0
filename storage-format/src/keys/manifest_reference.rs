//! What manifests name.

use serde::{Deserialize, Serialize};

use super::{Table, TableKey, digest_only, number, under_digest};
use crate::codec::FormatError;
use crate::digest::Digest;
use crate::records::ReferenceRecord;

/// What a manifest names, so that a delete needs no look into the manifest's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ManifestReferenceKey {
    /// [`RepositoryRecord::id`].
    pub repository: u64,
    /// The manifest that names it.
    pub manifest: Digest,
    /// The content named.
    pub digest: Digest,
}

impl ManifestReferenceKey {
    /// What every reference of a manifest starts with.
    pub fn prefix(repository: u64, manifest: &Digest) -> Vec<u8> {
        under_digest(repository, manifest)
    }
}

impl TableKey for ManifestReferenceKey {
    const TABLE: Table = Table::ManifestReference;
    type Record = ReferenceRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(self.repository, &self.manifest);
        self.digest.write_key(&mut key);
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (repository, rest) = number(key)?;
        let (manifest, rest) = Digest::read_key(rest)?;
        Ok(Self { repository, manifest, digest: digest_only(rest)? })
    }
}
