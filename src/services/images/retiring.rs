//! Taking versions away for work of the appliance: as a delete of each tag does, many in one change set.

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::TagKey;

use super::Images;
use super::rows::Rows;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::names::{RepositoryName, Tag};
use crate::stores::meta::Tx;

/// A version as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The tag.
    pub tag: Tag,
    /// What it named.
    pub digest: Digest,
    /// When it had been pushed last: UTC milliseconds.
    pub pushed_at: u64,
}

impl Images {
    /// A page of a repository's versions in the order of their tags, after that one. Blocks.
    pub fn tagged(&self, repository: u64, after: Option<&Tag>, limit: usize) -> Result<Vec<Tagged>, Error> {
        let key = |tag: &Tag| TagKey { repository, tag: tag.as_str().to_owned() };
        let after = after.map(|tag| pierhead_storage_format::keys::TableKey::encode(&key(tag)));
        let rows = self.shelves.meta.page::<TagKey>(&TagKey::prefix(repository), after.as_deref(), limit)?;
        let tagged = rows.into_iter().map(|(key, record)| {
            let tag = key.tag.parse().map_err(|_| Error::Bug("a tag that is none"))?;
            Ok(Tagged { tag, digest: record.digest, pushed_at: record.pushed_at })
        });
        tagged.collect()
    }

    /// Takes away those of `versions` that are still as they were seen, in one change set, if `may` says yes in it;
    /// `gone` is called in it with them, and says what is answered. Nothing is done to another repository that took the
    /// name, nor where tags are immutable. `None` if `may` said no, or so.
    pub async fn retire<T: Send + 'static>(
        &self,
        permit: &Permit,
        (name, id): (RepositoryName, u64),
        versions: Vec<Tagged>,
        may: impl FnOnce(&mut Tx<'_>) -> Result<bool, Error> + Send + 'static,
        gone: impl FnOnce(&mut Tx<'_>, &[Tagged]) -> Result<T, Error> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        if !permit.covers_registry(Action::MaintainStore) {
            return Err(Error::Bug("a permit for something else"));
        }
        let now = self.shelves.clock.now_ms();
        self.shelves
            .access
            .commit(&self.shelves.meta, permit, move |tx| {
                if !may(tx)? {
                    return Ok(None);
                }
                let mut rows = Rows::existing(tx, name, now)?;
                if rows.id() != id || rows.has_immutable_tags()? {
                    return Ok(None);
                }
                let mut went = Vec::with_capacity(versions.len());
                for version in versions {
                    if rows.is_as_seen(&version)? {
                        rows.untag(&version.tag)?;
                        went.push(version);
                    }
                }
                rows.finish()?;
                gone(tx, &went).map(Some)
            })
            .await
    }
}

impl Rows<'_, '_> {
    /// Whether a tag names what it named, and was not pushed since.
    fn is_as_seen(&mut self, version: &Tagged) -> Result<bool, Error> {
        let record = self.tag_record(&version.tag)?;
        Ok(record.is_some_and(|now| (now.digest, now.pushed_at) == (version.digest, version.pushed_at)))
    }
}
