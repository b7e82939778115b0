//! Who asks, and whether he may: the only place where yes and no are decided, for every surface.
//!
//! [`Access::authenticate`] turns credentials into an [`Actor`]; [`Access::authorise`] turns actor,
//! [`Action`] and [`Resource`] into a [`Permit`] or a [`Refusal`]. A permit's fields are private
//! and only this room makes one; services ask for it as an argument, so that code which skipped
//! the question does not compile.
//!
//! A1: a permit binds one actor, one action and one resource. A mount takes two permits.
//! A2: background work acts as a named system actor.
//! A3: what is not allowed by a rule here is refused.
//!
//! Today's actors are the anonymous user of a lab and the local administrator; accounts, users and
//! policies come into this room without moving its walls.

mod action;

use std::fmt;

pub use action::{Action, Resource};

use super::names::RepositoryName;

/// What a request says about who sends it. Never printed.
#[derive(Default)]
pub struct Credentials {
    /// The `Authorization` header, if any.
    pub authorization: Option<String>,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody signed in.
    Anonymous,
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
            Self::LocalAdministrator => f.write_str("local administrator"),
            Self::System(name) => write!(f, "system: {name}"),
        }
    }
}

/// A yes: this actor may do this action to this resource, now.
#[derive(Debug)]
pub struct Permit {
    actor: Actor,
    action: Action,
    resource: Resource,
}

impl Permit {
    /// Who was allowed.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The repository this permit is for, if it is for `action` on one; anything else is a fault
    /// of ours, which the caller answers as such.
    pub fn repository(&self, action: Action) -> Option<&RepositoryName> {
        match &self.resource {
            Resource::Repository(name) if self.action == action => Some(name),
            _ => None,
        }
    }

    /// Whether this permit is for `action` on the registry as a whole.
    pub fn covers_registry(&self, action: Action) -> bool {
        self.action == action && self.resource == Resource::Registry
    }
}

/// A no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Signing in may help.
    #[error("authentication required")]
    Unauthenticated,
    /// Signed in, and not allowed.
    #[error("you do not have the permission")]
    Denied,
}

/// The rules in force.
#[derive(Clone, Copy, Debug)]
pub enum Rules {
    /// A lab: anybody who reaches the registry may pull, push and delete.
    Lab,
    /// Nobody but the local administrator may do anything.
    Closed,
}

/// Decides.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    rules: Rules,
}

impl Access {
    /// Decides by `rules`.
    pub const fn new(rules: Rules) -> Self {
        Self { rules }
    }

    /// Who a request comes from. In a lab everybody is anonymous, whatever he says of himself:
    /// clients keep old credentials and send them unasked.
    pub fn authenticate(&self, credentials: &Credentials) -> Result<Actor, Refusal> {
        match self.rules {
            Rules::Lab => Ok(Actor::Anonymous),
            Rules::Closed if credentials.authorization.is_none() => Ok(Actor::Anonymous),
            Rules::Closed => Err(Refusal::Unauthenticated),
        }
    }

    /// Who a process of this host is that asks on the admin socket: `uid` is its user as the kernel
    /// tells it, `own` the service's. Root and that user are the local administrator; others are nobody.
    pub fn authenticate_local(&self, uid: u32, own: u32) -> Result<Actor, Refusal> {
        if uid == 0 || uid == own { Ok(Actor::LocalAdministrator) } else { Err(Refusal::Denied) }
    }

    /// Whether `actor` may do `action` to `resource`.
    pub fn authorise(&self, actor: &Actor, action: Action, resource: Resource) -> Result<Permit, Refusal> {
        let allowed = match actor {
            Actor::LocalAdministrator => true,
            Actor::System(_) => action == Action::MaintainStore,
            Actor::Anonymous => matches!(self.rules, Rules::Lab) && !action.is_maintenance(),
        };
        if !allowed {
            tracing::debug!(?actor, action = action.name(), "refused");
        }
        match (allowed, actor) {
            (true, _) => Ok(Permit { actor: actor.clone(), action, resource }),
            (false, Actor::Anonymous) => Err(Refusal::Unauthenticated),
            (false, _) => Err(Refusal::Denied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_of_actors_and_actions_is_the_reviewed_one() {
        let mut matrix = String::new();
        for rules in [Rules::Lab, Rules::Closed] {
            for actor in [Actor::Anonymous, Actor::LocalAdministrator, Actor::System("sweep")] {
                for &action in Action::ALL {
                    let answer = match Access::new(rules).authorise(&actor, action, Resource::Registry) {
                        Ok(_) => "yes".to_owned(),
                        Err(refusal) => format!("no: {refusal}"),
                    };
                    matrix.push_str(&format!("{rules:?} {actor:?} {} {answer}\n", action.name()));
                }
            }
        }
        assert_eq!(
            matrix,
            include_str!("matrix.golden.txt"),
            "review the change, then update matrix.golden.txt"
        );
    }

    #[test]
    fn a_permit_is_for_its_own_action_only() {
        let access = Access::new(Rules::Lab);
        let name: RepositoryName = "acme/web".parse().expect("a name");
        let permit = access
            .authorise(&Actor::Anonymous, Action::Pull, Resource::Repository(name.clone()))
            .expect("a lab lets anybody pull");
        assert_eq!(permit.repository(Action::Pull), Some(&name));
        assert_eq!(permit.repository(Action::Push), None);
        assert!(!permit.covers_registry(Action::Pull));
    }
}
