//! Getting, putting and deleting manifests. A put: 1. the document is read and what it names is
//! looked for; 2. its bytes are published (durable); 3. one change set checks again and writes
//! manifest, references, tags and counters; 4. the upload folder goes. A crash between 2 and 3
//! leaves a blob without a record, which start-up removes.

use bytes::Bytes;
use pierhead_storage_format::keys::{ManifestKey, RepositoryBlobKey, TagKey};
use pierhead_storage_format::records::{ManifestRecord, ReferenceRole};
use pierhead_storage_format::{Algorithm, Digest};

use super::document::{self, Document};
use super::{Images, Shelves, permitted};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::names::{MediaType, Reference, RepositoryName, Tag};

/// What a HEAD of a manifest tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFacts {
    /// The number of the repository it is in.
    pub repository: u64,
    /// Its content address.
    pub digest: Digest,
    /// As pushed.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
}

/// A manifest to store.
#[derive(Debug)]
pub struct PutManifest {
    /// The tag or digest of the request's path.
    pub reference: Reference,
    /// Further tags (`?tag=`).
    pub tags: Vec<Tag>,
    /// The request's `Content-Type`; without it the JSON decides.
    pub media_type: Option<MediaType>,
    /// The document.
    pub bytes: Bytes,
}

/// What was stored.
#[derive(Debug)]
pub struct Stored {
    /// The manifest's address.
    pub digest: Digest,
    /// The subject it names.
    pub subject: Option<Digest>,
    /// The `?tag=` tags that name it now.
    pub tags: Vec<Tag>,
}

impl Images {
    /// What the books say of a manifest, by tag or digest.
    pub fn locate(&self, permit: &Permit, reference: &Reference) -> Result<ManifestFacts, Error> {
        let name = permitted(permit, Action::Pull)?;
        let (repository, digest, record) = self.shelves.find_manifest(name, reference)?;
        let ManifestRecord { media_type, size, .. } = record;
        Ok(ManifestFacts { repository, digest, media_type, size })
    }

    /// The bytes of a manifest that was located with the same permit, exactly as pushed; they are
    /// checked against the digest.
    pub async fn read_manifest(&self, permit: &Permit, facts: &ManifestFacts) -> Result<Bytes, Error> {
        let name = permitted(permit, Action::Pull)?;
        match self.shelves.blobs.read_whole(&facts.digest, facts.size).await {
            Ok(bytes) => {
                let is_image = !document::is_index(&facts.media_type);
                self.shelves.counters.manifest_sent(facts.repository, name, facts.size, is_image);
                Ok(bytes)
            }
            Err(error) => Err(self.shelves.failed(error).await),
        }
    }

    /// What a HEAD tells. A manifest whose file is missing or cut counts as absent, so that
    /// clients push it again.
    pub async fn manifest_facts(
        &self,
        permit: &Permit,
        reference: &Reference,
    ) -> Result<ManifestFacts, Error> {
        let facts = self.locate(permit, reference)?;
        if !self.shelves.is_whole(&facts.digest, facts.size).await? {
            return Err(Error::ManifestUnknown(reference.clone()));
        }
        if matches!(reference, Reference::Tag(_)) {
            return Ok(facts);
        }
        // Asked for by its digest it is about to be named: it stays for a while, or has gone.
        self.shelves.leases.see(&facts.digest).await;
        self.locate(permit, reference)
    }

    /// Stores a manifest and tags it. Accepted only if its config and layers are in the
    /// repository; non-distributable layers, children of an index and the subject may be absent.
    /// Where the settings allow sparse images, so may the rest.
    pub async fn put_manifest(&self, permit: Permit, put: PutManifest) -> Result<Stored, Error> {
        let name = permitted(&permit, Action::Push)?;
        let (media_type, bytes, reference) = (put.media_type, put.bytes.clone(), put.reference.clone());
        let (document, digest) = tasks::over(put.bytes.len(), move || {
            Ok::<_, Error>((document::read(media_type.as_ref(), &bytes)?, address(&reference, &bytes)?))
        })
        .await??;
        self.shelves.may_make(&permit, name)?;
        self.shelves.admit(name, &document, put.bytes.len() as u64)?;
        let mut tags = put.tags.clone();
        if let Reference::Tag(tag) = &put.reference {
            tags.push(tag.clone());
        }
        let stored = Stored { digest, subject: document.subject, tags: put.tags };
        let shelves = std::sync::Arc::clone(&self.shelves);
        tasks::to_the_end(
            async move { shelves.store_manifest(permit, digest, document, tags, put.bytes).await },
        )
        .await??;
        Ok(stored)
    }

    /// Removes a tag; the manifest stays. Whoever may remove versions may, and in the registry whoever may push.
    pub async fn delete_tag(&self, permit: Permit, tag: Tag) -> Result<(), Error> {
        let name =
            permit.repository(Action::Untag).map_or_else(|| permitted(&permit, Action::DeleteVersion), Ok);
        let name = name?.clone();
        self.shelves
            .change(&permit, name, move |rows| {
                rows.may_untag(&tag)?;
                match rows.untag(&tag)? {
                    true => Ok(()),
                    false => Err(Error::ManifestUnknown(Reference::Tag(tag))),
                }
            })
            .await
    }

    /// Removes a manifest and every tag that names it; [`Error::Immutable`] if one of them stays.
    pub async fn delete_manifest(&self, permit: Permit, digest: Digest) -> Result<(), Error> {
        let name = permitted(&permit, Action::DeleteVersion)?.clone();
        self.shelves
            .change(&permit, name, move |rows| {
                rows.may_delete(&digest)?;
                match rows.delete_manifest(&digest)? {
                    true => Ok(()),
                    false => Err(Error::ManifestUnknown(Reference::Digest(digest))),
                }
            })
            .await
    }
}

impl Shelves {
    pub(super) fn find_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<(u64, Digest, ManifestRecord), Error> {
        let repository = self.repository(name)?.ok_or_else(|| Error::RepositoryUnknown(name.clone()))?;
        let unknown = || Error::ManifestUnknown(reference.clone());
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => {
                let key = TagKey { repository, tag: tag.as_str().to_owned() };
                self.meta.get(&key)?.ok_or_else(unknown)?.digest
            }
        };
        let record = self.meta.get(&ManifestKey { repository, digest })?.ok_or_else(unknown)?;
        Ok((repository, digest, record))
    }

    /// Says no before anything is written: no space, or blobs that are not there. The transaction
    /// looks again.
    fn admit(&self, name: &RepositoryName, document: &Document, size: u64) -> Result<(), Error> {
        self.reserve.admits(size).map_err(|_| Error::NoSpace)?;
        if self.rules.sparse_manifests {
            return Ok(());
        }
        let repository = self.repository(name)?;
        let mut missing = Vec::new();
        for (digest, _) in document.references.iter().filter(|(_, role)| **role == ReferenceRole::Blob) {
            let here = match repository {
                Some(repository) => {
                    self.meta.get(&RepositoryBlobKey { repository, digest: *digest })?.is_some()
                }
                None => false,
            };
            if !here {
                missing.push(*digest);
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(Error::ReferencesMissing(missing)) }
    }

    /// What the manifest names and is here stays for a while, whatever becomes of the manifest.
    async fn see_references(&self, permit: &Permit, document: &Document) -> Result<(), Error> {
        let Some(repository) = self.repository(permitted(permit, Action::Push)?)? else { return Ok(()) };
        for (digest, role) in &document.references {
            let digest = *digest;
            let is_here = match role {
                ReferenceRole::Blob => self.meta.get(&RepositoryBlobKey { repository, digest })?.is_some(),
                ReferenceRole::Child => self.meta.get(&ManifestKey { repository, digest })?.is_some(),
                ReferenceRole::Foreign | ReferenceRole::Absent => false,
            };
            if is_here {
                self.leases.see(&digest).await;
            }
        }
        Ok(())
    }

    async fn store_manifest(
        &self,
        permit: Permit,
        digest: Digest,
        document: Document,
        tags: Vec<Tag>,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.access.again(&permit)?;
        let room = self.quotas.reservation(permitted(&permit, Action::Push)?, Some(digest));
        room.grow_to(size).await?;
        let _hold = self.leases.hold(&digest).await;
        self.see_references(&permit, &document).await?;
        let published = match self.blobs.publish_bytes(&digest, bytes).await {
            Ok(published) => published,
            Err(error) => return Err(self.failed(error).await),
        };
        let sparse = self.rules.sparse_manifests;
        permit.tell("digest", digest.to_string());
        let settling = room.settle();
        self.push(&permit, move |rows| {
            rows.put_manifest(&digest, size, &document, sparse)?;
            tags.iter().try_for_each(|tag| rows.tag(tag, &digest))
        })
        .await?;
        settling.done(&digest);
        if let Some(name) = permit.repository(Action::Push) {
            self.counters.pushed(name);
        }
        published.settled().await;
        Ok(())
    }
}

/// The address of the bytes: by the digest of the path, which must be theirs, else by SHA-256.
fn address(reference: &Reference, bytes: &[u8]) -> Result<Digest, Error> {
    let algorithm = match reference {
        Reference::Digest(expected) => expected.algorithm(),
        Reference::Tag(_) => Algorithm::Sha256,
    };
    let actual = crate::stores::blobs::digest_of(algorithm, bytes);
    match reference {
        Reference::Digest(expected) if *expected != actual => Err(Error::DigestMismatch(actual)),
        _ => Ok(actual),
    }
}
