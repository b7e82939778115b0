//! Who makes something by pushing, as the books want to know it.

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::records::Creator;

use super::{Access, Action, Actor, Rules};
use crate::services::names::RepositoryName;

/// A user who makes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// His account.
    pub account: Id,
    /// Himself.
    pub creator: Creator,
    /// He needs no grant to manage it.
    pub manages: bool,
}

impl Access {
    /// The author of what `actor` makes by pushing to `name`; none in a lab, where nobody owns anything.
    pub fn author(&self, actor: &Actor, name: &RepositoryName) -> Option<Author> {
        let (Actor::User(id), Rules::Closed(_)) = (actor, self.0.rules) else { return None };
        let resource = super::Resource::Repository(name.clone());
        let manages = self.authorise(actor, Action::DeleteVersion, resource).is_ok();
        let directory = self.directory();
        let user = directory.user(*id)?;
        let creator = Creator { id: *id, name: user.name.clone() };
        Some(Author { account: user.account, creator, manages })
    }

    /// How an actor is called in what is kept: a user by account and name, 255 bytes at most.
    pub fn called(&self, actor: &Actor) -> String {
        let Actor::User(id) = actor else { return actor.to_string() };
        let directory = self.directory();
        let Some(user) = directory.user(*id) else { return actor.to_string() };
        let account = directory.account(user.account).map_or("", |account| account.name.as_str());
        let mut name = format!("{account}/{}", user.name);
        name.truncate(name.floor_char_boundary(255));
        name
    }

    /// Whether what keeps somebody from pushing is that the organisation is not there, and that
    /// nothing but making it first helps.
    pub fn lacks_organisation(&self, actor: &Actor, name: &RepositoryName) -> bool {
        match (self.0.rules, actor) {
            (Rules::Closed(options), Actor::User(_)) => {
                let is_there = self.directory().organisation(name.organisation()).is_some();
                !options.pushes_create_organisations && !is_there
            }
            _ => false,
        }
    }
}
