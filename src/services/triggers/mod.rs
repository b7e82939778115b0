//! Triggers: what a push sets off. This version has the rules and no engine: what is asked for is checked whole and refused as
//! not offered, and there is never a trigger.
//!
//! `rules` is what one may say; whoever asks has a permit.

mod rules;

pub use rules::Draft;

use super::access::{Action, Permit};
use super::error::{Error, Thing};
use super::images::{Images, permitted};

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Triggers {
    images: Images,
}

impl Triggers {
    /// For the repositories of these images.
    pub const fn new(images: Images) -> Self {
        Self { images }
    }

    /// Checks a trigger, and says that none can be made.
    pub fn create(&self, permit: &Permit, draft: Draft) -> Result<(), Error> {
        draft.read()?;
        self.images.there(permitted(permit, Action::CreateTrigger)?)?;
        Err(Error::NotOffered("triggers"))
    }

    /// The triggers of a repository: none.
    pub fn list(&self, permit: &Permit) -> Result<(), Error> {
        self.images.there(permitted(permit, Action::ListTriggers)?).map(drop)
    }

    /// A trigger by its name: there is none.
    pub fn show(&self, permit: &Permit, name: &str) -> Result<(), Error> {
        self.images.there(permitted(permit, Action::ShowTrigger)?)?;
        Err(missing(name))
    }

    /// Switches one on or off: there is none.
    pub fn update(&self, permit: &Permit, name: &str, enable: &str) -> Result<(), Error> {
        rules::enabled(enable)?;
        self.images.there(permitted(permit, Action::UpdateTrigger)?)?;
        Err(missing(name))
    }

    /// Removes one: there is none.
    pub fn delete(&self, permit: &Permit, name: &str) -> Result<(), Error> {
        self.images.there(permitted(permit, Action::DeleteTrigger)?)?;
        Err(missing(name))
    }
}

fn missing(name: &str) -> Error {
    Error::Missing(Thing::Trigger(name.to_owned()))
}
