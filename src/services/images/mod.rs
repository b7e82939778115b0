//! Manifests, tags, referrers and blobs of repositories.
//!
//! Every call takes a permit for the repository; what it is not for is a fault of ours. Reads come
//! from the metadata index and the blob store; a change is one transaction, and is answered when
//! it is durable. From its first durable step a change runs to its end though the client leaves.
//!
//! I1: a manifest's config and layers are linked to its repository as long as it is there, but
//!     those that were absent when it was pushed, where the settings allow that.
//! I2: a tag names a manifest that is there.
//! I3: a blob is in a repository by upload or mount; knowing a digest never gives its bytes.
//!
//! `manifests` gets, puts and deletes; `blobs` reads, mounts and unlinks; `listing` pages, `catalogue` lists
//! repositories for their management, `versions` and `accessories` what is in one, `usage` what was pulled and pushed; `rows` keeps the books, `making` what a push makes first, `removal` ends a
//! repository; `immutable` says which tags stay; `document` reads a manifest's JSON.

mod accessories;
mod blobs;
mod catalogue;
mod course;
mod document;
mod frees;
mod immutable;
mod kept;
mod listing;
mod making;
mod manifests;
mod removal;
mod restore;
mod retiring;
mod rows;
mod trash;
mod untagged;
mod usage;
mod versions;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

pub use accessories::{About, Accessory};
pub use blobs::{Reading, Sources};
pub use catalogue::{OrderBy, RepositoryFacts, Wanted};
pub use course::Course;
pub use frees::Frees;
pub use immutable::Immutable;
pub use listing::{Page, Referrer};
use making::Making;
pub use manifests::{ManifestFacts, PutManifest};
use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{OrganisationKey, RepositoryKey};
pub use restore::Deleted;
#[cfg(test)]
pub use restore::Restored;
pub use retiring::Tagged;
pub use rows::Rows;
pub use versions::{Mark, OrderVersions, Version, WantedVersions};

use super::access::{Access, Action, Permit, Resource};
use super::counters::Counters;
use super::error::Error;
use super::leases::Leases;
use super::names::RepositoryName;
use super::quota::Quotas;
use crate::seams::{Clock, tasks};
use crate::stores::blobs::{BlobError, Blobs};
use crate::stores::meta::Meta;
use crate::stores::space::Reserve;

/// What a push may do beside storing.
#[derive(Clone, Copy, Debug)]
pub struct PushRules {
    /// Whether a push makes the organisation it goes to.
    pub create_organisations: bool,
    /// Organisations an account may own.
    pub organisations: u64,
    /// Whether a manifest is taken though its config or layers are absent.
    pub sparse_manifests: bool,
}

/// The stores and seams that images and uploads work on.
pub struct Shelves {
    /// Rows.
    pub meta: Meta,
    /// Bytes.
    pub blobs: Blobs,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Space kept back from uploads.
    pub reserve: Arc<Reserve>,
    /// What a push may do.
    pub rules: PushRules,
    /// Who may push, asked again before what took long is kept.
    pub access: Access,
    /// What is pulled and pushed.
    pub counters: Counters,
    /// How much may be held.
    pub quotas: Quotas,
    /// How long deleted manifests can come back, milliseconds; 0 for not at all.
    pub undo_ms: u64,
    /// What clients count on, which the collector leaves.
    pub leases: Arc<Leases>,
    /// Blobs whose files are being looked into; empty at first.
    pub suspects: Mutex<BTreeSet<Digest>>,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Images {
    shelves: Arc<Shelves>,
}

impl Images {
    /// On these stores.
    pub fn new(shelves: Arc<Shelves>) -> Self {
        Self { shelves }
    }

    /// The wall clock, as everything here reads it: UTC milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.shelves.clock.now_ms()
    }
}

/// The repository a permit is for.
pub fn permitted(permit: &Permit, action: Action) -> Result<&RepositoryName, Error> {
    permit.repository(action).ok_or(Error::Bug("a permit for something else"))
}

impl Shelves {
    /// The id of a repository, if it is there.
    pub fn repository(&self, name: &RepositoryName) -> Result<Option<u64>, Error> {
        let record = self.meta.get(&RepositoryKey { name: name.as_str().to_owned() })?;
        Ok(record.map(|record| record.id))
    }

    /// Changes the books of a repository that is there, in one transaction, if the permit, which is for
    /// `name`, still holds then.
    pub async fn change<T: Send + 'static>(
        &self,
        permit: &Permit,
        name: RepositoryName,
        work: impl FnOnce(&mut Rows<'_, '_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let now = self.clock.now_ms();
        let undo = self.undo_by(permit);
        self.access
            .commit(&self.meta, permit, move |tx| {
                let mut rows = Rows::existing(tx, name, now)?.with_undo(undo);
                let done = work(&mut rows)?;
                rows.finish()?;
                Ok(done)
            })
            .await
    }

    /// The same for a push, which makes the repository if it is not there.
    pub async fn push<T: Send + 'static>(
        &self,
        permit: &Permit,
        work: impl FnOnce(&mut Rows<'_, '_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let name = permitted(permit, Action::Push)?.clone();
        self.push_into(permit, name, work).await
    }

    /// Who deletes by this permit, where what is deleted can come back.
    fn undo_by(&self, permit: &Permit) -> trash::Undo {
        (self.undo_ms > 0).then(|| self.access.called(permit.actor()))
    }

    /// The same by another permit for `name`.
    async fn push_into<T: Send + 'static>(
        &self,
        permit: &Permit,
        name: RepositoryName,
        work: impl FnOnce(&mut Rows<'_, '_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (access, actor) = (self.access.clone(), permit.actor().clone());
        let making = Making { rules: self.rules, access, actor, now: self.clock.now_ms() };
        self.access
            .commit(&self.meta, permit, move |tx| {
                let mut rows = Rows::existing_or_new(tx, name, making)?;
                let done = work(&mut rows)?;
                rows.finish()?;
                Ok(done)
            })
            .await
    }

    /// Says no while metadata cannot be written: what is published then could not be recorded.
    pub fn writable(&self) -> Result<(), Error> {
        Ok(self.meta.writable()?)
    }

    /// Says no to a push that would have to make a repository its actor may not make, before any of it
    /// is taken. The change asks again.
    pub fn may_make(&self, permit: &Permit, name: &RepositoryName) -> Result<(), Error> {
        if self.repository(name)?.is_none() {
            let resource = Resource::Repository(name.clone());
            self.access.authorise(permit.actor(), Action::CreateRepository, resource)?;
        }
        Ok(())
    }

    /// Whether the organisation of a repository exists.
    pub fn organisation_exists(&self, name: &RepositoryName) -> Result<bool, Error> {
        Ok(self.meta.get(&OrganisationKey { name: name.organisation().to_owned() })?.is_some())
    }

    /// Turns an error of the blob store into ours. Damaged bytes are set aside first, so that the
    /// next push of them heals the blob.
    pub async fn failed(&self, error: BlobError) -> Error {
        match error {
            BlobError::Damaged { digest } => {
                self.set_aside(&digest).await;
                Error::Damaged(digest)
            }
            BlobError::NoSpace => Error::NoSpace,
            error => Error::Store(error),
        }
    }

    /// The length of a blob's file, if it is `size` as it should be; anything else is damage, is
    /// set aside, and counts as absent.
    pub async fn is_whole(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        match self.blobs.size_on_disk(digest).await.map_err(Error::Store)? {
            Some(found) if found == size => Ok(true),
            Some(_) => {
                self.set_aside(digest).await;
                Ok(false)
            }
            None => {
                tracing::error!(%digest, "a blob's file is missing; pushing it again heals it");
                Ok(false)
            }
        }
    }

    /// Has a blob's file looked into, and set aside if it is damaged, after `error` of reading it: not
    /// waited for, since that reads all of it. One look at a time is enough for a blob.
    pub fn suspect(self: &Arc<Self>, digest: Digest, error: &BlobError) {
        if !matches!(error, BlobError::Damaged { .. } | BlobError::Io { .. }) {
            return;
        }
        if !self.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(digest) {
            return;
        }
        let shelves = Arc::clone(self);
        tasks::aside(async move {
            shelves.set_aside(&digest).await;
            shelves.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        });
    }

    async fn set_aside(&self, digest: &Digest) {
        match self.blobs.quarantine(digest).await {
            Ok(true) => {
                tracing::error!(%digest, "damaged blob set aside in quarantine; pushing it again heals it");
            }
            Ok(false) => tracing::warn!(%digest, "a blob that could not be read whole is whole now"),
            Err(error) => tracing::error!(%digest, %error, "damaged blob could not be set aside"),
        }
    }
}
