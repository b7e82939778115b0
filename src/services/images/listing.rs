//! Lists, paged by key: a page costs what it holds, whatever the repository holds.

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{ManifestKey, ReferrerKey, RepositoryKey, TableKey, TagKey};
use pierhead_storage_format::records::ReferrerRecord;
use serde_json::value::RawValue;

use super::{Images, document, permitted};
use crate::seams::tasks;
use crate::services::access::{Action, Permit, Resource};
use crate::services::error::Error;
use crate::services::names::{RepositoryName, Tag};

/// Repositories looked at in one go.
const BATCH: usize = 500;

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// In key order.
    pub items: Vec<T>,
    /// Whether more follow.
    pub more: bool,
}

/// A manifest that is about a subject, as OCI distribution-spec "Listing Referrers" shows it.
#[derive(Debug)]
pub struct Referrer {
    /// The manifest.
    pub digest: Digest,
    /// As pushed.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// Its `artifactType`, else its config's media type.
    pub artifact_type: Option<String>,
    /// Its annotations, as JSON.
    pub annotations: Option<Box<RawValue>>,
}

impl Images {
    /// Tags of a repository after `after` in byte order.
    pub fn tags(&self, permit: &Permit, after: Option<&str>, limit: usize) -> Result<Page<Tag>, Error> {
        let name = permitted(permit, Action::Pull)?;
        let repository =
            self.shelves.repository(name)?.ok_or_else(|| Error::RepositoryUnknown(name.clone()))?;
        let after = after.map(|tag| TagKey { repository, tag: tag.to_owned() }.encode());
        let rows =
            self.shelves.meta.page::<TagKey>(&TagKey::prefix(repository), after.as_deref(), limit + 1)?;
        Ok(page(rows, limit, |(key, _)| key.tag.parse().ok()))
    }

    /// Repositories after `after` in byte order: those the one who asks may pull from.
    pub async fn repositories(
        &self,
        permit: &Permit,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>, Error> {
        if !permit.covers_registry(Action::ListRepositories) {
            return Err(Error::Bug("a permit for something else"));
        }
        let may_pull = |name: &RepositoryName| {
            let resource = Resource::Repository(name.clone());
            self.shelves.access.authorise(permit.actor(), Action::Pull, resource).is_ok()
        };
        let mut after = after.map(|name| name.as_bytes().to_vec());
        let mut seen = Vec::new();
        // Whoever may see few of many repositories does not keep the others waiting.
        loop {
            let rows = self.shelves.meta.page::<RepositoryKey>(&[], after.as_deref(), BATCH)?;
            let last = rows.len() < BATCH;
            after = rows.last().map(|(key, _)| key.encode());
            let names = rows.into_iter().filter_map(|(key, _)| key.name.parse().ok());
            seen.extend(names.filter(may_pull).take(limit + 1 - seen.len()));
            if last || seen.len() > limit {
                return Ok(page(seen, limit, Some));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Manifests about a subject, present or not; none for a repository that is not there, as the
    /// specification wants ("an empty index, never 404").
    pub async fn referrers(
        &self,
        permit: &Permit,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Referrer>, Error> {
        let Some(repository) = self.shelves.repository(permitted(permit, Action::Pull)?)? else {
            return Ok(Page { items: Vec::new(), more: false });
        };
        let mut after = after.copied();
        // A batch whose manifests were all deleted since is not the end of the list.
        loop {
            let mut found =
                self.referrer_keys(repository, subject, artifact_type, after.as_ref(), limit + 1)?;
            let more = found.len() > limit;
            found.truncate(limit);
            after = found.last().copied();
            let mut items = Vec::new();
            for digest in found {
                items.extend(self.describe(repository, digest).await?);
            }
            if !(more && items.is_empty()) {
                return Ok(Page { items, more });
            }
        }
    }

    fn referrer_keys(
        &self,
        repository: u64,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, Error> {
        let prefix = ReferrerKey::prefix(repository, subject);
        let mut after =
            after.map(|digest| ReferrerKey { repository, subject: *subject, digest: *digest }.encode());
        let wanted = |record: &ReferrerRecord| {
            // An empty filter asks for those without a type.
            artifact_type.is_none_or(|t| record.artifact_type.as_deref().unwrap_or_default() == t)
        };
        let mut found = Vec::new();
        loop {
            let rows = self.shelves.meta.page::<ReferrerKey>(&prefix, after.as_deref(), limit)?;
            let last = rows.len() < limit;
            after = rows.last().map(|(key, _)| key.encode());
            found.extend(rows.into_iter().filter(|(_, r)| wanted(r)).map(|(key, _)| key.digest));
            if last || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }

    /// A manifest deleted since its key was read is left out; one that cannot be read loses its
    /// annotations, not its place.
    async fn describe(&self, repository: u64, digest: Digest) -> Result<Option<Referrer>, Error> {
        let Some(record) = self.shelves.meta.get(&ManifestKey { repository, digest })? else {
            return Ok(None);
        };
        let annotations = match self.shelves.blobs.read_whole(&digest, record.size).await {
            Ok(bytes) => tasks::over(bytes.len(), move || document::annotations(&bytes)).await?,
            Err(error) => {
                tracing::error!(%digest, %error, "a referrer's manifest cannot be read");
                None
            }
        };
        Ok(Some(Referrer {
            digest,
            media_type: record.media_type,
            size: record.size,
            artifact_type: record.artifact_type,
            annotations,
        }))
    }
}

fn page<R, T>(rows: Vec<R>, limit: usize, item: impl Fn(R) -> Option<T>) -> Page<T> {
    let more = rows.len() > limit;
    Page { items: rows.into_iter().take(limit).filter_map(item).collect(), more }
}
