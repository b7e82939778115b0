//! Retention: which versions of a repository go by themselves. This version has the rules and no engine: what is asked for
//! is checked whole and refused as not offered, and there is never a policy or a record of one.
//!
//! Words: a *policy* is what is set on a repository, one at most; what is *exempt* is never removed. `rules` is what one may
//! say; whoever asks has a permit.

mod rules;

pub use rules::{Draft, DraftRule};

use super::access::{Action, Permit};
use super::error::{Error, Thing};
use super::images::{Images, permitted};

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Retention {
    images: Images,
}

impl Retention {
    /// For the repositories of these images.
    pub const fn new(images: Images) -> Self {
        Self { images }
    }

    /// Checks a policy, and says that none can be set.
    pub fn create(&self, permit: &Permit, draft: Draft) -> Result<u64, Error> {
        draft.read()?;
        self.images.there(permitted(permit, Action::CreateRetention)?)?;
        Err(Error::NotOffered("retention policies"))
    }

    /// The policies of a repository: none.
    pub fn list(&self, permit: &Permit) -> Result<(), Error> {
        self.images.there(permitted(permit, Action::ListRetentions)?).map(drop)
    }

    /// What policies of a repository removed: nothing.
    pub fn histories(&self, permit: &Permit) -> Result<(), Error> {
        self.images.there(permitted(permit, Action::ListRetentionHistories)?).map(drop)
    }

    /// A policy by its number: there is none.
    pub fn show(&self, permit: &Permit, number: &str) -> Result<(), Error> {
        self.images.there(permitted(permit, Action::ShowRetention)?)?;
        Err(missing(number))
    }

    /// Checks what a policy is to be; there is none to become that.
    pub fn update(&self, permit: &Permit, number: &str, draft: Draft) -> Result<(), Error> {
        draft.read()?;
        self.images.there(permitted(permit, Action::UpdateRetention)?)?;
        Err(missing(number))
    }

    /// Removes a policy: there is none.
    pub fn delete(&self, permit: &Permit, number: &str) -> Result<(), Error> {
        self.images.there(permitted(permit, Action::DeleteRetention)?)?;
        Err(missing(number))
    }
}

fn missing(number: &str) -> Error {
    Error::Missing(Thing::Retention(number.to_owned()))
}
