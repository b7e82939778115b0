//! Synchronisation: copies of images in other regions. This version has the rules, no region and no engine: what is asked
//! for is checked whole and refused as not offered, and nothing was ever copied.
//!
//! `rules` is what one may say; whoever asks has a permit.

mod rules;

use rules::Target;

use super::access::{Action, Permit};
use super::error::{Error, Thing};
use super::images::{Images, permitted};

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Synchronisation {
    images: Images,
}

impl Synchronisation {
    /// For the repositories of these images.
    pub const fn new(images: Images) -> Self {
        Self { images }
    }

    /// Checks where a repository is to be copied from now on, and says that it cannot be.
    pub fn create_automatic(&self, permit: &Permit, region: &str, organisation: &str) -> Result<(), Error> {
        Target::read(region, organisation)?;
        self.images.there(permitted(permit, Action::CreateAutoSync)?)?;
        Err(Error::NotOffered("synchronization to other regions"))
    }

    /// Where a repository is copied: nowhere.
    pub fn list_automatic(&self, permit: &Permit) -> Result<(), Error> {
        self.images.there(permitted(permit, Action::ListAutoSyncs)?).map(drop)
    }

    /// Ends copying: there is none.
    pub fn delete_automatic(&self, permit: &Permit, region: &str, organisation: &str) -> Result<(), Error> {
        let target = Target::read(region, organisation)?;
        self.images.there(permitted(permit, Action::DeleteAutoSync)?)?;
        Err(Error::Missing(Thing::Synchronisation(format!("{}/{}", target.region, target.organisation))))
    }

    /// Checks which versions are to be copied where, and says that they cannot be.
    pub fn copy(
        &self,
        permit: &Permit,
        tags: &[String],
        region: &str,
        organisation: &str,
    ) -> Result<(), Error> {
        rules::tags(tags)?;
        Target::read(region, organisation)?;
        self.images.there(permitted(permit, Action::CreateManualSync)?)?;
        Err(Error::NotOffered("synchronization to other regions"))
    }

    /// What was copied: nothing.
    pub fn jobs(&self, permit: &Permit) -> Result<(), Error> {
        self.images.there(permitted(permit, Action::ShowSyncJobs)?).map(drop)
    }
}
