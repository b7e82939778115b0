//! Repositories whose tags are immutable: one that is there neither moves to another manifest nor goes, and what it
//! names stays. New tags come, and pushing what a tag names already is no change.
//!
//! U1: every change that is asked for looks at the attribute in its own change set, so that none slips in beside the one
//!     that sets it. A removal of a repository that has begun goes on.
//! U2: the attribute is read only where a tag that is there would move or go: no other push pays for it.
//!
//! The attribute is kept by `services::organisations`; the books are in `rows`.

use std::fmt;

use pierhead_storage_format::Digest;
use pierhead_storage_format::identity::keys::RepositorySettingsKey;
use pierhead_storage_format::keys::{ManifestTagKey, TagKey};

use super::rows::Rows;
use super::{Images, Shelves};
use crate::services::error::Error;
use crate::services::names::{Reference, RepositoryName, Tag};

/// What was refused because of an immutable tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Would {
    /// It would name another manifest.
    Move,
    /// It would go.
    Untag,
    /// The manifest it names would go.
    DeleteManifest,
    /// The repository would go.
    DeleteRepository,
}

/// An immutable tag in the way of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Immutable {
    /// What would become of it.
    pub would: Would,
    /// The tag, the first of several.
    pub tag: String,
}

impl fmt::Display for Immutable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { would, tag } = self;
        match would {
            Would::Move => {
                write!(f, "tag {tag} is immutable and names another manifest already: push under another tag")
            }
            Would::Untag => write!(f, "tag {tag} is immutable and cannot be deleted: {LIFT}"),
            Would::DeleteManifest => {
                write!(f, "the manifest cannot be deleted: its tag {tag} is immutable; {LIFT}")
            }
            Would::DeleteRepository => {
                write!(f, "the repository cannot be deleted: its tag {tag} is immutable; {LIFT}")
            }
        }
    }
}

/// What to do.
const LIFT: &str = "the administrator of the registry can make the repository's tags mutable first";

fn refused(would: Would, tag: &str) -> Error {
    Error::Immutable(Box::new(Immutable { would, tag: tag.to_owned() }))
}

fn settings(name: &RepositoryName) -> RepositorySettingsKey {
    RepositorySettingsKey { name: name.as_str().to_owned() }
}

impl Rows<'_, '_> {
    /// Whether tags of this repository neither move nor go.
    pub fn has_immutable_tags(&mut self) -> Result<bool, Error> {
        let settings = self.tx.get(&settings(&self.name))?;
        Ok(settings.is_some_and(|settings| settings.immutable_tags))
    }

    /// Says no if a tag that names something else may not move.
    pub(super) fn may_move(&mut self, tag: &Tag) -> Result<(), Error> {
        if self.has_immutable_tags()? { Err(refused(Would::Move, tag.as_str())) } else { Ok(()) }
    }

    /// Says no if a tag is there and has to stay.
    pub(super) fn may_untag(&mut self, tag: &Tag) -> Result<(), Error> {
        if self.named(tag)?.is_some() && self.has_immutable_tags()? {
            return Err(refused(Would::Untag, tag.as_str()));
        }
        Ok(())
    }

    /// Says no if a manifest has a tag that has to stay.
    pub(super) fn may_delete(&mut self, digest: &Digest) -> Result<(), Error> {
        let prefix = ManifestTagKey::prefix(self.id, digest);
        match self.tx.page::<ManifestTagKey>(&prefix, None, 1)?.pop() {
            Some((key, _)) if self.has_immutable_tags()? => Err(refused(Would::DeleteManifest, &key.tag)),
            _ => Ok(()),
        }
    }

    /// Says no if the repository has a tag that has to stay.
    pub(super) fn may_empty(&mut self) -> Result<(), Error> {
        match self.tx.page::<TagKey>(&TagKey::prefix(self.id), None, 1)?.pop() {
            Some((key, _)) if self.has_immutable_tags()? => Err(refused(Would::DeleteRepository, &key.tag)),
            _ => Ok(()),
        }
    }
}

impl Images {
    /// Whether tags of a repository neither move nor go. A change looks again.
    pub fn has_immutable_tags(&self, name: &RepositoryName) -> Result<bool, Error> {
        self.shelves.has_immutable_tags(name)
    }
}

impl Shelves {
    fn has_immutable_tags(&self, name: &RepositoryName) -> Result<bool, Error> {
        Ok(self.meta.get(&settings(name))?.is_some_and(|settings| settings.immutable_tags))
    }

    /// Why deleting it would be refused now: a manifest with an immutable tag, such a tag, or the repository with one.
    pub(super) fn kept_by_a_tag(
        &self,
        name: &RepositoryName,
        repository: u64,
        reference: Option<&Reference>,
    ) -> Result<Option<Immutable>, Error> {
        if !self.has_immutable_tags(name)? {
            return Ok(None);
        }
        let (would, tag) = match reference {
            Some(Reference::Tag(tag)) => (Would::Untag, Some(tag.as_str().to_owned())),
            Some(Reference::Digest(digest)) => {
                let prefix = ManifestTagKey::prefix(repository, digest);
                let row = self.meta.page::<ManifestTagKey>(&prefix, None, 1)?.pop();
                (Would::DeleteManifest, row.map(|(key, _)| key.tag))
            }
            None => {
                let row = self.meta.page::<TagKey>(&TagKey::prefix(repository), None, 1)?.pop();
                (Would::DeleteRepository, row.map(|(key, _)| key.tag))
            }
        };
        Ok(tag.map(|tag| Immutable { would, tag }))
    }
}
