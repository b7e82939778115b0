//! Blobs of a repository: reading, mounting, unlinking.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pierhead_storage_format::Digest;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::keys::{BlobKey, BlobRepositoryKey, RepositoryBlobKey};

use super::{Images, Shelves, permitted};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::names::RepositoryName;
pub use crate::stores::blobs::Reading;
use crate::stores::blobs::{BlobError, BlobReader};

/// Repositories looked at for a mount that names no source. More than these hold the blob only
/// where it is common, and then one of the first is public or the caller's own.
const CANDIDATES: usize = 100;

/// Asks whether the caller may pull from a repository.
pub type MayPull = dyn Fn(&RepositoryName) -> Option<Permit> + Send + Sync;

/// Where a mount may take a blob from. Knowing a digest is not enough: the caller must be allowed
/// to pull from a repository that has it.
pub enum Sources {
    /// From this repository.
    From(Permit),
    /// From any repository that has it and of which this says yes.
    Any(Arc<MayPull>),
}

/// A range of a blob on its way to a client. An error of the disk has the file looked into, and so
/// has a download that is given up before its end: what was mapped when the file was cut fails on
/// its way into the socket, which looks as if the client had gone.
pub struct Download {
    shelves: Arc<Shelves>,
    reader: BlobReader,
    digest: Digest,
    size: u64,
    left: u64,
    sent: u64,
    /// Whose figures it counts for.
    account: Option<Id>,
}

impl Download {
    /// The next piece; `None` after the last one and after an error. May be dropped while waiting.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        match self.reader.next().await? {
            Ok(piece) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                self.sent += piece.len() as u64;
                Some(Ok(piece))
            }
            Err(error) => {
                self.left = 0;
                self.shelves.suspect(self.digest, &error);
                Some(Err(match error {
                    BlobError::Damaged { digest } => Error::Damaged(digest),
                    error => Error::Store(error),
                }))
            }
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.shelves.counters.blob_sent(self.account, self.sent);
        if self.left > 0 {
            let (shelves, digest, size) = (Arc::clone(&self.shelves), self.digest, self.size);
            tasks::aside(async move {
                // Sets the file aside, and says so, if it is not whole.
                let _ = shelves.is_whole(&digest, size).await;
            });
        }
    }
}

impl Images {
    /// Bytes of a blob of the repository. A file that is missing or cut counts as absent, so that
    /// clients push it again.
    pub async fn blob_facts(&self, permit: &Permit, digest: &Digest) -> Result<u64, Error> {
        let name = permitted(permit, Action::Pull)?;
        let unknown = || Error::BlobUnknown(*digest);
        let size = self.linked_size(name, digest)?.ok_or_else(unknown)?;
        if !self.shelves.is_whole(digest, size).await? {
            return Err(unknown());
        }
        // From here on the collector leaves it; what it took before is seen to be gone. Asked for only of what is
        // there, so that a stranger's digests fill nothing.
        self.shelves.leases.see(digest).await;
        self.linked_size(name, digest)?.ok_or_else(unknown)
    }

    /// Opens a range of a blob, which the caller has checked against [`Images::blob_facts`].
    pub async fn read_blob(
        &self,
        permit: &Permit,
        digest: &Digest,
        range: Range<u64>,
        reading: Reading,
    ) -> Result<Download, Error> {
        let name = permitted(permit, Action::Pull)?;
        let size = self.linked_size(name, digest)?.ok_or(Error::BlobUnknown(*digest))?;
        let left = range.end - range.start;
        match self.shelves.blobs.read(digest, size, range, reading).await {
            Ok(reader) => {
                let (shelves, digest) = (Arc::clone(&self.shelves), *digest);
                let account = self.shelves.counters.owner(name);
                Ok(Download { shelves, reader, digest, size, left, sent: 0, account })
            }
            Err(error) => {
                if let BlobError::Io { .. } = error {
                    self.shelves.suspect(*digest, &error);
                }
                Err(self.shelves.failed(error).await)
            }
        }
    }

    /// Takes a blob out of the repository, unless a manifest of it names the blob.
    pub async fn delete_blob(&self, permit: Permit, digest: Digest) -> Result<(), Error> {
        let name = permitted(&permit, Action::DeleteVersion)?.clone();
        self.shelves.change(&permit, name, move |rows| rows.unlink_blob(&digest)).await
    }

    /// Links a blob that another repository has; false if there is none to take it from.
    pub async fn mount(&self, permit: Permit, digest: Digest, sources: Sources) -> Result<bool, Error> {
        let Some(source) = self.source(&digest, sources)? else { return Ok(false) };
        let _hold = self.shelves.leases.hold(&digest).await;
        let Some(record) = self.shelves.meta.get(&BlobKey { digest })? else { return Ok(false) };
        if !self.shelves.is_whole(&digest, record.size).await? {
            return Ok(false);
        }
        let room = self.shelves.quotas.reservation(permitted(&permit, Action::Push)?, Some(digest));
        room.grow_to(record.size).await?;
        let settling = room.settle();
        let access = self.shelves.access.clone();
        let mounted = self.shelves.push(&permit, move |rows| {
            if !rows.may_take(&access, &source, &digest)? {
                return Err(Error::BlobUnknown(digest)); // gone or taken away since; nothing is made for it
            }
            rows.link_blob(&digest, record.size)
        });
        match mounted.await {
            Ok(()) => {
                settling.done(&digest);
                Ok(true)
            }
            Err(Error::BlobUnknown(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn linked_size(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>, Error> {
        let Some(repository) = self.shelves.repository(name)? else { return Ok(None) };
        let record = self.shelves.meta.get(&RepositoryBlobKey { repository, digest: *digest })?;
        Ok(record.map(|record| record.size))
    }

    fn source(&self, digest: &Digest, sources: Sources) -> Result<Option<Permit>, Error> {
        match sources {
            Sources::From(permit) => {
                let name = permitted(&permit, Action::Pull)?;
                let key = BlobRepositoryKey { digest: *digest, name: name.as_str().to_owned() };
                Ok(self.shelves.meta.get(&key)?.map(|_| permit))
            }
            Sources::Any(may_pull) => {
                let prefix = BlobRepositoryKey::prefix(digest);
                let rows = self.shelves.meta.page::<BlobRepositoryKey>(&prefix, None, CANDIDATES)?;
                let names = rows.iter().filter_map(|(key, _)| key.name.parse::<RepositoryName>().ok());
                let mut permits = names.filter_map(|name| may_pull(&name).map(|permit| (name, permit)));
                let found = permits.find(|(name, permit)| permit.repository(Action::Pull) == Some(name));
                Ok(found.map(|(_, permit)| permit))
            }
        }
    }
}
