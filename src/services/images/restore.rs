//! Deleted manifests: listed, restored, and forgotten when their time is over. A restore goes the way of a push: the
//! repository is made if it went, blobs are linked, the manifest is put, and its tags as far as they are free.

use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{DeletedManifestKey, DeletedManifestRecord};
use pierhead_storage_format::keys::TableKey;

use super::course::{Course, Unhindered};
use super::{Images, Shelves, document, permitted, trash};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::services::names::{MediaType, RepositoryName, Tag};

/// Deleted manifests that are forgotten in one change set.
const BATCH: usize = 32;
/// Rows a page of the list looks at.
const LOOKED: usize = 1000;

/// A deleted manifest.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// Its number, ascending as they were deleted.
    pub number: u64,
    /// What is known of it.
    pub record: DeletedManifestRecord,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Whole name of the repository.
    pub repository: String,
    /// The manifest.
    pub digest: Digest,
    /// Tags that name it again.
    pub tags: Vec<String>,
    /// Tags that name something else by now.
    pub taken: Vec<String>,
}

impl Images {
    /// Deleted manifests by number, those of one repository or all, after a number.
    pub async fn deleted(
        &self,
        permit: &Permit,
        of: Option<RepositoryName>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Deleted>, bool), Error> {
        if !permit.covers_registry(Action::ListDeleted) {
            return Err(Error::Bug("a permit for something else"));
        }
        let shelves = std::sync::Arc::clone(&self.shelves);
        tasks::blocking(move || shelves.list_deleted(of.as_ref(), after, limit)).await?
    }

    /// Brings a deleted manifest of the permit's repository back.
    pub async fn restore(&self, permit: &Permit, number: u64) -> Result<Restored, Error> {
        let name = permitted(permit, Action::RestoreVersion)?.clone();
        let (shelves, permit) = (std::sync::Arc::clone(&self.shelves), self.shelves.access.again(permit)?);
        tasks::to_the_end(async move { shelves.restore(&permit, name, number).await }).await?
    }

    /// Forgets every deleted manifest, or those of one repository; how many.
    pub async fn empty_trash(&self, permit: &Permit, of: Option<RepositoryName>) -> Result<u64, Error> {
        if !permit.covers_registry(Action::EmptyTrash) {
            return Err(Error::Bug("a permit for something else"));
        }
        let (shelves, permit) = (std::sync::Arc::clone(&self.shelves), self.shelves.access.again(permit)?);
        let goes = move |record: &DeletedManifestRecord| {
            of.as_ref().is_none_or(|name| name.as_str() == record.repository)
        };
        tasks::to_the_end(async move { shelves.forget_deleted(&permit, u64::MAX, goes, &Unhindered).await })
            .await?
    }
}

impl Shelves {
    fn list_deleted(
        &self,
        of: Option<&RepositoryName>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Deleted>, bool), Error> {
        let mut found = Vec::new();
        let mut after = after.map(|number| DeletedManifestKey { number }.encode());
        loop {
            let page = self.meta.page::<DeletedManifestKey>(&[], after.as_deref(), LOOKED)?;
            after = page.last().map(|(key, _)| key.encode());
            let is_last = page.len() < LOOKED;
            for (DeletedManifestKey { number }, record) in page {
                if of.is_none_or(|name| name.as_str() == record.repository) {
                    if found.len() == limit {
                        return Ok((found, true));
                    }
                    found.push(Deleted { number, record });
                }
            }
            if is_last {
                return Ok((found, false));
            }
        }
    }

    async fn restore(&self, permit: &Permit, name: RepositoryName, number: u64) -> Result<Restored, Error> {
        let missing = || Error::Missing(Thing::Deleted(number));
        let key = DeletedManifestKey { number };
        let record =
            self.meta.get(&key)?.filter(|record| record.repository == name.as_str()).ok_or_else(missing)?;
        let bytes = match self.blobs.read_whole(&record.digest, record.size).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.failed(error).await),
        };
        let media_type: Option<MediaType> = record.media_type.parse().ok();
        let length = bytes.len();
        let document = tasks::over(length, move || document::read(media_type.as_ref(), &bytes)).await??;
        let now = self.clock.now_ms();
        permit.tell("digest", record.digest.to_string());
        let restored = self.push_into(permit, name, move |rows| {
            if rows.transaction().get(&key)?.is_none() {
                return Err(Error::Missing(Thing::Deleted(number)));
            }
            for (digest, size) in trash::kept_by(rows.transaction(), number, &record.digest)? {
                rows.link_blob(&digest, size)?;
            }
            // What was absent when it was pushed may be absent still.
            rows.put_manifest(&record.digest, record.size, &document, true)?;
            let (mut tags, mut taken) = (Vec::new(), Vec::new());
            for tag in record.tags {
                let parsed: Tag =
                    tag.parse().map_err(|_| Error::Bug("a deleted manifest had no such tag"))?;
                if rows.named(&parsed)?.is_some_and(|named| named != record.digest) {
                    taken.push(tag);
                } else {
                    rows.tag(&parsed, &record.digest)?;
                    tags.push(tag);
                }
            }
            trash::forget(rows.transaction(), number, now)?;
            Ok(Restored { repository: record.repository, digest: record.digest, tags, taken })
        });
        restored.await
    }

    /// Forgets what was deleted at `cutoff` or before and `goes`, as far as `course` lets it; how many.
    pub async fn forget_deleted(
        &self,
        permit: &Permit,
        cutoff: u64,
        goes: impl Fn(&DeletedManifestRecord) -> bool + Send,
        course: &impl Course,
    ) -> Result<u64, Error> {
        let (mut forgotten, mut after) = (0, None::<Vec<u8>>);
        while !course.is_halted() {
            let since = self.clock.monotonic_ms();
            let mut page = self.meta.page::<DeletedManifestKey>(&[], after.as_deref(), BATCH)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.encode());
            page.retain(|(_, record)| record.deleted_at <= cutoff && goes(record));
            let numbers: Vec<u64> = page.into_iter().map(|(key, _)| key.number).collect();
            let gone = match self.forget_batch(permit, numbers.clone()).await {
                Err(Error::TooMuch) => self.forget_each(permit, numbers, course).await?,
                done => done?,
            };
            forgotten += gone;
            course.rest(since, gone).await;
        }
        Ok(forgotten)
    }

    async fn forget_each(
        &self,
        permit: &Permit,
        numbers: Vec<u64>,
        course: &impl Course,
    ) -> Result<u64, Error> {
        let mut forgotten = 0;
        for number in numbers {
            if course.is_halted() {
                break;
            }
            forgotten += self.forget_batch(permit, vec![number]).await?;
        }
        Ok(forgotten)
    }

    async fn forget_batch(&self, permit: &Permit, numbers: Vec<u64>) -> Result<u64, Error> {
        if numbers.is_empty() {
            return Ok(0);
        }
        let now = self.clock.now_ms();
        let forget = self.access.commit(&self.meta, permit, move |tx| {
            numbers
                .into_iter()
                .try_fold(0, |count, number| Ok(count + u64::from(trash::forget(tx, number, now)?)))
        });
        forget.await
    }
}
