//! What a delete would free: bytes that nothing else keeps. Looked up, never guessed from sizes: a layer that another
//! manifest names, or another repository has, is not counted.

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{
    BlobKey, ManifestKey, ManifestReferenceKey, RepositoryBlobKey, RepositoryCountersKey, TableKey,
};
use pierhead_storage_format::records::ReferenceRole;

use super::{Images, Immutable, Shelves, permitted};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::names::Reference;

/// Rows looked at together.
const BATCH: usize = 1000;

/// What would go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frees {
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub manifests: u64,
    /// Blobs that nothing else keeps, manifests included.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The tag for which it would be refused now.
    pub refused: Option<Immutable>,
}

impl Frees {
    fn add(&mut self, size: u64) {
        self.blobs += 1;
        self.bytes = self.bytes.saturating_add(size);
    }
}

impl Images {
    /// What deleting a manifest, a tag (whose manifest stays) or, without a reference, the whole repository frees.
    pub async fn frees(&self, permit: &Permit, reference: Option<Reference>) -> Result<Frees, Error> {
        let name = permitted(permit, Action::ShowRepository)?.clone();
        let shelves = std::sync::Arc::clone(&self.shelves);
        tasks::blocking(move || {
            let id = shelves.repository(&name)?.ok_or_else(|| Error::RepositoryUnknown(name.clone()))?;
            let refused = shelves.kept_by_a_tag(&name, id, reference.as_ref())?;
            let frees = match reference {
                None => shelves.repository_frees(id)?,
                Some(reference) => {
                    let (_, digest, record) = shelves.find_manifest(&name, &reference)?;
                    match reference {
                        Reference::Tag(_) => Frees { tags: 1, ..Frees::default() },
                        Reference::Digest(_) => shelves.manifest_frees(id, digest, record.size)?,
                    }
                }
            };
            Ok(Frees { refused, ..frees })
        })
        .await?
    }
}

impl Shelves {
    /// How many rows keep a blob of the store.
    fn keeps(&self, digest: &Digest) -> Result<u64, Error> {
        Ok(self.meta.get(&BlobKey { digest: *digest })?.map_or(0, |blob| blob.references))
    }

    fn manifest_frees(&self, repository: u64, digest: Digest, size: u64) -> Result<Frees, Error> {
        let tags = self.tags_of(repository, &digest)?;
        let mut frees = Frees { tags, manifests: 1, ..Frees::default() };
        if self.keeps(&digest)? == 1 {
            frees.add(size);
        }
        let prefix = ManifestReferenceKey::prefix(repository, &digest);
        let mut after = None::<Vec<u8>>;
        loop {
            let page = self.meta.page::<ManifestReferenceKey>(&prefix, after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            for (key, _) in page.iter().filter(|(_, reference)| reference.role == ReferenceRole::Blob) {
                let blob = self.meta.get(&RepositoryBlobKey { repository, digest: key.digest })?;
                let Some(blob) = blob.filter(|blob| blob.references == 1) else { continue };
                if self.keeps(&key.digest)? == 1 {
                    frees.add(blob.size);
                }
            }
            if page.len() < BATCH {
                return Ok(frees);
            }
        }
    }

    fn tags_of(&self, repository: u64, digest: &Digest) -> Result<u64, Error> {
        use pierhead_storage_format::keys::ManifestTagKey;
        let prefix = ManifestTagKey::prefix(repository, digest);
        let (mut tags, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.meta.page::<ManifestTagKey>(&prefix, after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            tags += page.len() as u64;
            if page.len() < BATCH {
                return Ok(tags);
            }
        }
    }

    fn repository_frees(&self, repository: u64) -> Result<Frees, Error> {
        let counters = self.meta.get(&RepositoryCountersKey { repository })?.unwrap_or_default();
        let mut frees = Frees { tags: counters.tags, manifests: counters.manifests, ..Frees::default() };
        let mut after = None::<Vec<u8>>;
        loop {
            let prefix = RepositoryBlobKey::prefix(repository);
            let page = self.meta.page::<RepositoryBlobKey>(&prefix, after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            for (key, blob) in &page {
                let as_manifest = self.meta.get(&ManifestKey { repository, digest: key.digest })?.is_some();
                if self.keeps(&key.digest)? == 1 + u64::from(as_manifest) {
                    frees.add(blob.size);
                }
            }
            if page.len() < BATCH {
                break;
            }
        }
        let mut after = None::<Vec<u8>>;
        loop {
            let page =
                self.meta.page::<ManifestKey>(&ManifestKey::prefix(repository), after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            for (key, manifest) in &page {
                // One that is linked, too, was counted above.
                if self.keeps(&key.digest)? == 1 {
                    frees.add(manifest.size);
                }
            }
            if page.len() < BATCH {
                return Ok(frees);
            }
        }
    }
}
