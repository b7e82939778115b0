//! Versions of a repository as management lists them: each tag with what the manifest under it is; naming a manifest
//! anew.
//!
//! T1: a list that goes on after a marker skips nothing and tells nothing twice that was there all the time.
//! T2: memory: manifests that a page tells take [`MAX_TEXT`] bytes together, those after that are told without; where a
//!     page is not in the order of tags, a name and a number for each item before it. [`MAX_ROWS`] rows are read for the
//!     sizes of one page: an index that names more is told smaller than it is. A manifest is looked at once a page, however
//!     many tags name it, and [`MAX_READ`] bytes of manifests are read; of those after that their bytes say nothing.
//! T3: a new tag is a push: it counts as one for everything that goes by the time of a push.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::keys::{
    ManifestKey, ManifestReferenceKey, RepositoryBlobKey, RepositoryCountersKey, TableKey, TagKey,
};
use pierhead_storage_format::records::{ManifestKind, ManifestRecord, ReferenceRole, TagRecord};
use pierhead_storage_format::{Algorithm, Digest};

use super::document::{self, About};
use super::{Images, permitted};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::services::names::{Reference, RepositoryName, Tag};
use crate::stores::blobs::digest_of;

/// Rows looked at in one go.
const BATCH: usize = 1000;
/// Bytes of the manifests that a page tells.
const MAX_TEXT: usize = 16 << 20;
/// Bytes of manifests that are read for a page.
const MAX_READ: u64 = 64 << 20;
/// Rows that are read for the sizes of a page.
const MAX_ROWS: usize = 200_000;

/// A tag and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// A number that the repository and the tag always give; below 2^53.
    pub id: u64,
    /// The repository's number.
    pub repository: u64,
    /// The account that owns it.
    pub owner: Option<Id>,
    /// The tag.
    pub tag: Tag,
    /// What it names.
    pub digest: Digest,
    /// Whether that names other manifests.
    pub is_index: bool,
    /// The manifest's `schemaVersion`.
    pub schema: u64,
    /// The config that an image manifest names.
    pub config: Option<Digest>,
    /// The manifest as pushed; empty if it was not asked for, is no text, cannot be read or is one too many (T2).
    pub manifest: String,
    /// Bytes of manifest, config and layers that are here, each digest once; of an index with its children's.
    pub size: u64,
    /// When the tag was last pushed: UTC milliseconds.
    pub pushed_at: u64,
}

/// What versions are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderVersions {
    /// The tag, in the order of bytes.
    #[default]
    Tag,
    /// When the tag was last pushed, then the tag.
    PushedAt,
}

/// Where a list goes on: after this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of the last version told.
    pub pushed_at: u64,
    /// Of the last version told.
    pub tag: String,
}

/// What is asked of a list.
#[derive(Clone, Debug, Default)]
pub struct WantedVersions {
    /// This tag alone.
    pub tag: Option<String>,
    /// The order, and whether it is the other way round.
    pub order: (OrderVersions, bool),
    /// Only what comes after this.
    pub after: Option<Mark>,
    /// Items before the page, of those.
    pub offset: usize,
    /// Items of the page at most.
    pub limit: usize,
    /// Whether manifests are told.
    pub manifests: bool,
}

/// A page.
#[derive(Debug)]
pub struct Versions {
    /// In the order asked for.
    pub items: Vec<Version>,
    /// With those on other pages.
    pub total: usize,
    /// Where the next page goes on, if there is one.
    pub next: Option<Mark>,
}

/// Where a tag stands in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Up(u64, String),
    Down(Reverse<(u64, String)>),
}

impl Place {
    fn new((order, reversed): (OrderVersions, bool), pushed_at: u64, tag: String) -> Self {
        let number = if order == OrderVersions::PushedAt { pushed_at } else { 0 };
        if reversed { Self::Down(Reverse((number, tag))) } else { Self::Up(number, tag) }
    }

    fn tag(&self) -> &str {
        match self {
            Self::Up(_, tag) | Self::Down(Reverse((_, tag))) => tag,
        }
    }
}

/// Tags of a page in their order, how many there are in all, and whether more follow.
type Found = (Vec<(String, TagRecord)>, usize, bool);

/// What a page may still cost.
struct Budget {
    text: usize,
    rows: usize,
    bytes: u64,
    known: HashMap<Digest, Known>,
}

/// What was found out about a manifest.
#[derive(Clone)]
struct Known {
    size: u64,
    about: About,
    text: Option<Arc<str>>,
}

impl Budget {
    fn new(manifests: bool) -> Self {
        let text = if manifests { MAX_TEXT } else { 0 };
        Self { text, rows: MAX_ROWS, bytes: MAX_READ, known: HashMap::new() }
    }

    /// A manifest's text, if it is known and there is room for it.
    fn told(&mut self, text: Option<Arc<str>>) -> String {
        let text = text.filter(|text| text.len() <= self.text);
        self.text -= text.as_ref().map_or(0, |text| text.len());
        text.map_or_else(String::new, |text| text.as_ref().to_owned())
    }
}

impl Images {
    /// A page of the versions of a repository.
    pub async fn versions(&self, permit: &Permit, wanted: &WantedVersions) -> Result<Versions, Error> {
        let name = permitted(permit, Action::ListTags)?;
        let repository = self.there(name)?;
        let (found, total, more) = match &wanted.tag {
            Some(tag) => self.one(repository, tag, wanted)?,
            None => self.places(repository, wanted).await?,
        };
        let last = found.last().filter(|_| more);
        let next = last.map(|(tag, record)| Mark { pushed_at: record.pushed_at, tag: tag.clone() });
        let mut budget = Budget::new(wanted.manifests);
        let mut items = Vec::new();
        for (tag, record) in found {
            items.extend(self.version(name, repository, &tag, &record, &mut budget).await?);
            tokio::task::yield_now().await;
        }
        Ok(Versions { items, total, next })
    }

    /// One version, with its manifest.
    pub async fn show_version(&self, permit: &Permit, tag: &Tag) -> Result<Version, Error> {
        let name = permitted(permit, Action::ShowTag)?;
        let repository = self.there(name)?;
        let unknown = || Error::ManifestUnknown(Reference::Tag(tag.clone()));
        let key = TagKey { repository, tag: tag.as_str().to_owned() };
        let record = self.shelves.meta.get(&key)?.ok_or_else(unknown)?;
        let mut budget = Budget::new(true);
        let version = self.version(name, repository, tag.as_str(), &record, &mut budget).await?;
        version.ok_or_else(unknown)
    }

    /// Makes `destination` name what `source` names; one that is there is moved only with `overwrite`.
    pub async fn create_tag(
        &self,
        permit: &Permit,
        source: Tag,
        destination: Tag,
        overwrite: bool,
    ) -> Result<(), Error> {
        let name = permitted(permit, Action::CreateTag)?.clone();
        let counted = name.clone();
        self.shelves
            .change(permit, name, move |rows| {
                let digest = rows.named(&source)?;
                let digest = digest.ok_or(Error::ManifestUnknown(Reference::Tag(source)))?;
                if !overwrite && rows.named(&destination)?.is_some() {
                    return Err(Error::Exists(Thing::Tag(destination.as_str().to_owned())));
                }
                rows.tag(&destination, &digest)?;
                rows.was_pushed();
                Ok(())
            })
            .await?;
        self.shelves.counters.pushed(&counted);
        Ok(())
    }

    /// The number of a repository that has to be there.
    pub fn there(&self, name: &RepositoryName) -> Result<u64, Error> {
        self.shelves.repository(name)?.ok_or_else(|| Error::RepositoryUnknown(name.clone()))
    }

    /// The page of one tag by its name.
    fn one(&self, repository: u64, tag: &str, wanted: &WantedVersions) -> Result<Found, Error> {
        let parsed = tag.parse::<Tag>().ok();
        let key = parsed.map(|tag| TagKey { repository, tag: tag.as_str().to_owned() });
        let record = key.and_then(|key| self.shelves.meta.get(&key).transpose()).transpose()?;
        let total = usize::from(record.is_some());
        let is_told = wanted.offset == 0 && wanted.after.is_none();
        let found = record.filter(|_| is_told).map(|record| (tag.to_owned(), record));
        Ok((found.into_iter().collect(), total, false))
    }

    /// Tags of the page. In their own order a walk ends with the page; else every tag is looked at.
    async fn places(&self, repository: u64, wanted: &WantedVersions) -> Result<Found, Error> {
        let meta = &self.shelves.meta;
        let is_key_order = wanted.order == (OrderVersions::Tag, false);
        let mark = wanted.after.as_ref();
        let begin = mark.map(|mark| Place::new(wanted.order, mark.pushed_at, mark.tag.clone()));
        let until = wanted.offset.saturating_add(wanted.limit);
        let mut after =
            mark.filter(|_| is_key_order).map(|mark| TagKey { repository, tag: mark.tag.clone() }.encode());
        let mut kept = BTreeMap::new();
        loop {
            let rows = meta.page::<TagKey>(&TagKey::prefix(repository), after.as_deref(), BATCH)?;
            let is_last = rows.len() < BATCH;
            after = rows.last().map(|(key, _)| key.encode());
            for (key, record) in rows {
                let place = Place::new(wanted.order, record.pushed_at, key.tag);
                if begin.as_ref().is_none_or(|begin| place > *begin) {
                    kept.insert(place, record);
                }
                // One more, to know whether more follow.
                if kept.len() > until.saturating_add(1) {
                    kept.pop_last();
                }
            }
            if is_last || (is_key_order && kept.len() > until) {
                break;
            }
            tokio::task::yield_now().await;
        }
        let more = kept.len() > until;
        let page = kept.into_iter().skip(wanted.offset).take(wanted.limit);
        let found = page.map(|(place, record)| (place.tag().to_owned(), record)).collect();
        let counters = meta.get(&RepositoryCountersKey { repository })?.unwrap_or_default();
        Ok((found, usize::try_from(counters.tags).unwrap_or(usize::MAX), more))
    }

    /// What a tag names; `None` if that went meanwhile.
    async fn version(
        &self,
        name: &RepositoryName,
        repository: u64,
        tag: &str,
        record: &TagRecord,
        budget: &mut Budget,
    ) -> Result<Option<Version>, Error> {
        let digest = record.digest;
        let manifest = self.shelves.meta.get(&ManifestKey { repository, digest })?;
        let (Some(manifest), Ok(tag)) = (manifest, tag.parse::<Tag>()) else { return Ok(None) };
        let known = match budget.known.get(&digest) {
            Some(known) => known.clone(),
            None => {
                let known = self.look(repository, digest, &manifest, budget).await?;
                budget.known.insert(digest, known.clone());
                known
            }
        };
        let Known { size, about, text } = known;
        Ok(Some(Version {
            id: number(repository, tag.as_str()),
            repository,
            owner: self.shelves.counters.owner(name),
            tag,
            digest,
            is_index: manifest.kind == ManifestKind::Index,
            schema: about.schema,
            config: about.config,
            manifest: budget.told(text),
            size,
            pushed_at: record.pushed_at,
        }))
    }

    /// Size and content of a manifest; what takes long is done off the async threads.
    async fn look(
        &self,
        repository: u64,
        digest: Digest,
        manifest: &ManifestRecord,
        budget: &mut Budget,
    ) -> Result<Known, Error> {
        let (images, own, mut rows) = (self.clone(), manifest.clone(), budget.rows);
        let (size, rows) = tasks::blocking(move || {
            let size = images.size_of(repository, digest, &own, &mut rows)?;
            Ok::<_, Error>((size, rows))
        })
        .await??;
        budget.rows = rows;
        let (about, text) = self.read_about(&digest, manifest, budget).await?;
        Ok(Known { size, about, text })
    }

    /// What a manifest's bytes say, and the bytes if there is room for them. One that cannot be read says nothing, and
    /// the list goes on.
    async fn read_about(
        &self,
        digest: &Digest,
        manifest: &ManifestRecord,
        budget: &mut Budget,
    ) -> Result<(About, Option<Arc<str>>), Error> {
        if manifest.size > budget.bytes {
            return Ok((About::default(), None));
        }
        budget.bytes -= manifest.size;
        let bytes = match self.shelves.blobs.read_whole(digest, manifest.size).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let error = self.shelves.failed(error).await;
                tracing::error!(%digest, %error, "a version's manifest cannot be read");
                return Ok((About::default(), None));
            }
        };
        let is_told = bytes.len() <= budget.text;
        let is_read = manifest.kind != ManifestKind::Opaque;
        Ok(tasks::over(bytes.len(), move || {
            let about = document::about(&bytes, is_read);
            let text = std::str::from_utf8(&bytes).ok().filter(|_| is_told).map(Arc::from);
            (about, text)
        })
        .await?)
    }

    /// Bytes of a manifest and of what it names that is here.
    fn size_of(
        &self,
        repository: u64,
        digest: Digest,
        manifest: &ManifestRecord,
        rows: &mut usize,
    ) -> Result<u64, Error> {
        let (mut size, mut seen) = (manifest.size, HashSet::from([digest]));
        let mut manifests = vec![digest];
        while let Some(manifest) = manifests.pop() {
            let prefix = ManifestReferenceKey::prefix(repository, &manifest);
            let mut after: Option<Vec<u8>> = None;
            loop {
                let most = BATCH.min(*rows);
                let page = self.shelves.meta.page::<ManifestReferenceKey>(&prefix, after.as_deref(), most)?;
                *rows -= page.len();
                after = page.last().map(|(key, _)| key.encode());
                for (key, record) in &page {
                    if !seen.insert(key.digest) {
                        continue;
                    }
                    let (bytes, is_manifest) = self.bytes_of(repository, key.digest, record.role)?;
                    size = size.saturating_add(bytes);
                    manifests.extend(is_manifest.then_some(key.digest));
                }
                if page.len() < most || most == 0 {
                    break;
                }
            }
        }
        Ok(size)
    }

    fn bytes_of(&self, repository: u64, digest: Digest, role: ReferenceRole) -> Result<(u64, bool), Error> {
        let meta = &self.shelves.meta;
        Ok(match role {
            ReferenceRole::Child => match meta.get(&ManifestKey { repository, digest })? {
                Some(child) => (child.size, true),
                None => (0, false),
            },
            _ => (meta.get(&RepositoryBlobKey { repository, digest })?.map_or(0, |blob| blob.size), false),
        })
    }
}

/// A number that a repository and a name in it always give.
pub(super) fn number(repository: u64, name: &str) -> u64 {
    let digest = digest_of(Algorithm::Sha256, format!("{repository}/{name}").as_bytes());
    let head = digest.raw().first_chunk::<8>().map_or(0, |head| u64::from_be_bytes(*head));
    head >> 11
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_puts_tags_in_their_places() {
        let order = |order| {
            let tags = [("b", 1), ("a", 2), ("c", 2)];
            let mut places: Vec<Place> =
                tags.iter().map(|(tag, at)| Place::new(order, *at, (*tag).to_owned())).collect();
            places.sort();
            places.iter().map(|place| place.tag().to_owned()).collect::<String>()
        };
        let cases = [
            ((OrderVersions::Tag, false), "abc"),
            ((OrderVersions::Tag, true), "cba"),
            ((OrderVersions::PushedAt, false), "bac"),
            ((OrderVersions::PushedAt, true), "cab"),
        ];
        for (asked, expected) in cases {
            assert_eq!(order(asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn the_number_of_a_name_is_always_the_same_and_fits_what_clients_have() {
        assert_eq!(number(7, "v1"), number(7, "v1"));
        assert_ne!(number(7, "v1"), number(8, "v1"));
        assert_ne!(number(7, "v1"), number(7, "v2"));
        assert!(number(7, "v1") < 1 << 53);
    }
}
