//! Who a request comes from, and how far its credential reaches.

use std::fmt;

use pierhead_storage_format::identity::Id;

use super::Refusal;
use super::action::Action;
use super::resource::Resource;

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody signed in.
    Anonymous,
    /// A user of an account.
    User(Id),
    /// Whoever runs our command line on the host with rights to the data directory.
    LocalAdministrator,
    /// Work of the appliance itself, by name.
    System(&'static str),
}

/// As it is shown to administrators.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::User(id) => write!(f, "user {id}"),
            Self::LocalAdministrator => f.write_str("local administrator"),
            Self::System(name) => write!(f, "system: {name}"),
        }
    }
}

/// What a token was made for: actions on repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<(String, Vec<Action>)>);

impl Scopes {
    /// These actions on these repositories (whole names).
    pub const fn new(scopes: Vec<(String, Vec<Action>)>) -> Self {
        Self(scopes)
    }

    fn cover(&self, name: &str, action: Action) -> bool {
        self.0.iter().any(|(repository, actions)| repository == name && actions.contains(&action))
    }
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// What the token is for; `None` for a credential that is the user's own.
    pub scopes: Option<Scopes>,
    /// The token has ended. It still says who finishes an upload that was begun with it.
    pub expired: bool,
}

impl Caller {
    /// Somebody with a credential of his own, or nobody in particular.
    pub const fn plain(actor: Actor) -> Self {
        Self { actor, scopes: None, expired: false }
    }

    /// Whether the credential reaches that far. A token says nothing of the registry as a whole.
    pub(super) fn covers(&self, resource: &Resource, action: Action) -> Result<(), Refusal> {
        if self.expired {
            return Err(Refusal::Expired);
        }
        match (&self.scopes, resource) {
            (Some(scopes), Resource::Repository(name)) if !scopes.cover(name.as_str(), action) => {
                Err(Refusal::Scope)
            }
            _ => Ok(()),
        }
    }
}
