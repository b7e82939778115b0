//! What an action is done to.

use pierhead_storage_format::identity::Id;

use crate::services::names::{OrganisationName, RepositoryName};

/// What an action is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The registry as a whole.
    Registry,
    /// One account, with its users, groups and policies.
    Account(Id),
    /// One organisation, present or not.
    Organisation(OrganisationName),
    /// One repository, present or not.
    Repository(RepositoryName),
}

impl Resource {
    /// The organisation it is, or is in.
    pub fn organisation(&self) -> Option<&str> {
        match self {
            Self::Registry | Self::Account(_) => None,
            Self::Organisation(name) => Some(name.as_str()),
            Self::Repository(name) => Some(name.organisation()),
        }
    }
}
