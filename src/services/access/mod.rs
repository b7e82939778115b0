//! Who asks, and whether he may: the only place where yes and no are decided, for every surface.
//!
//! A surface turns credentials into a [`Caller`] (`signin` checks them), and [`Access::admit`] turns
//! caller, [`Action`] and [`Resource`] into a [`Permit`] or a [`Refusal`]. A permit's fields are
//! private and only this room makes one; services ask for it as an argument, so that code which
//! skipped the question does not compile.
//!
//! A1: a permit binds one actor, one action and one resource. A mount takes two permits.
//! A2: background work acts as a named system actor.
//! A3: what is not allowed by a rule here is refused.
//! A4: every question is answered from what is so now (`directory`), whatever a token says: a token
//!     narrows what its bearer may do and never widens it.
//! A5: a change is made only if its permit still holds in the moment it is made (`commit`), in the same
//!     organisation it was given for, not in a later one of that name.
//! A6: only a system role lets anybody manage users, groups, policies and keys, or the appliance: no
//!     policy's Allow does. A Deny takes it away as anything else.
//!
//! Reading order: `action` (the table), `directory` (what is known), `policy`, `decide`, `commit`.

mod action;
mod author;
mod caller;
mod commit;
mod decide;
mod directory;
mod policy;
mod resource;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use pierhead_storage_format::keys::Table;

pub use action::Action;
#[cfg(test)]
pub use action::Effect;
use action::Need;
pub use author::Author;
pub use caller::{Actor, Caller, Scopes};
pub use decide::Options;
use directory::TABLES;
pub use directory::{Directory, LoadError};
pub use policy::Policy;
pub use resource::Resource;

use super::audit::Trace;
use super::names::RepositoryName;
use crate::seams::{Clock, SystemClock};
use crate::stores::meta::{Attach, Attached, ChangedRow, Follow, Meta};
use decide::Question;

/// A yes: this actor may do this action to this resource, now.
#[derive(Debug)]
pub struct Permit {
    actor: Actor,
    action: Action,
    resource: Resource,
    /// The number of the organisation it is in; none if that was not there.
    organisation: Option<u64>,
    trace: Option<Trace>,
}

impl Permit {
    /// The same once more, for this room: a permit is given on, not multiplied.
    fn copied(&self) -> Self {
        let (actor, action, resource) = (self.actor.clone(), self.action, self.resource.clone());
        Self { actor, action, resource, organisation: self.organisation, trace: self.trace.clone() }
    }

    /// Who was allowed.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The same, for a request that the audit trail follows.
    pub fn traced(mut self, trace: Option<&Trace>) -> Self {
        if let (Some(trace), Resource::Organisation(_), Some(number)) =
            (trace, &self.resource, self.organisation)
        {
            trace.with_id(number.to_string());
        }
        self.trace = trace.cloned();
        self
    }

    /// A fact for the audit trail that only whoever does it knows; never a secret.
    pub fn tell(&self, name: &'static str, value: impl Into<serde_json::Value>) {
        if let Some(trace) = &self.trace {
            trace.answered(name, value);
        }
    }

    /// What is to be committed with the change this permit is for: its event.
    pub fn event(&self) -> Attached {
        self.trace.clone().map(|trace| Arc::new(trace) as Arc<dyn Attach>)
    }

    /// The repository this permit is for, if it is for `action` on one; anything else is a fault
    /// of ours, which the caller answers as such.
    pub fn repository(&self, action: Action) -> Option<&RepositoryName> {
        match &self.resource {
            Resource::Repository(name) if self.action == action => Some(name),
            _ => None,
        }
    }

    /// What this permit is for, if it is for `action`.
    pub fn resource(&self, action: Action) -> Option<&Resource> {
        (self.action == action).then_some(&self.resource)
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
    /// Allowed, but not by this token: one for this scope helps.
    #[error("the token is not for this")]
    Scope,
    /// Allowed, but the token has ended: a new one helps.
    #[error("the token has expired")]
    Expired,
}

/// The rules in force.
#[derive(Clone, Copy, Debug)]
pub enum Rules {
    /// A lab: anybody who reaches the registry may pull, push and delete.
    Lab,
    /// What the directory says.
    Closed(Options),
}

/// Decides. Clones share everything.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    rules: Rules,
    clock: Arc<dyn Clock>,
    directory: RwLock<Directory>,
    /// Who there is could not be read again: the directory stays empty, whatever changes, until it can.
    lost: AtomicBool,
}

impl Access {
    /// Decides by `rules` and `directory`.
    pub fn new(rules: Rules, clock: Arc<dyn Clock>, directory: Directory) -> Self {
        Self(Arc::new(Inner {
            rules,
            clock,
            directory: RwLock::new(directory),
            lost: AtomicBool::new(false),
        }))
    }

    /// Decides by `rules` alone: there are no accounts.
    pub fn without_accounts(rules: Rules) -> Self {
        Self::new(rules, Arc::new(SystemClock), Directory::default())
    }

    /// Whether this is a lab, where nobody need sign in.
    pub fn is_lab(&self) -> bool {
        matches!(self.0.rules, Rules::Lab)
    }

    /// What is known now. Short: whoever changes something waits.
    pub fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.0.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides by `rules` and what the store says, from now on. Blocks. To be called once a store,
    /// before anything is changed in it.
    pub fn open(rules: Rules, clock: Arc<dyn Clock>, meta: &Meta) -> Result<Self, LoadError> {
        let access = Self::new(rules, clock, Directory::load(meta)?);
        meta.follow(access.clone());
        Ok(access)
    }

    /// Who a process of this host is that asks on the admin socket: `uid` is its user as the kernel
    /// tells it, `own` the service's. Root and that user are the local administrator; others are nobody.
    pub fn authenticate_local(&self, uid: u32, own: u32) -> Result<Actor, Refusal> {
        if uid == 0 || uid == own { Ok(Actor::LocalAdministrator) } else { Err(Refusal::Denied) }
    }

    /// Whether `caller` may do `action` to `resource`.
    pub fn admit(&self, caller: &Caller, action: Action, resource: Resource) -> Result<Permit, Refusal> {
        let permit = self.authorise(&caller.actor, action, resource)?;
        caller.covers(&permit.resource, action)?;
        Ok(permit)
    }

    /// Asks again for what a permit is for: whether its actor still may, and it is not in another
    /// organisation by now that took the name. For work that took long since.
    pub fn again(&self, permit: &Permit) -> Result<Permit, Refusal> {
        let now = self.authorise(&permit.actor, permit.action, permit.resource.clone())?;
        match (permit.organisation, now.organisation) {
            (Some(then), Some(now)) if then != now => Err(Refusal::Denied),
            _ => Ok(now.traced(permit.trace.as_ref())),
        }
    }

    /// Whether `actor`, who acts without a token, may do `action` to `resource`.
    pub fn authorise(&self, actor: &Actor, action: Action, resource: Resource) -> Result<Permit, Refusal> {
        let directory = self.directory();
        let organisation = resource.organisation().and_then(|name| directory.organisation(name));
        let organisation = organisation.map(|record| record.number);
        let allowed = match (self.0.rules, actor) {
            (_, Actor::LocalAdministrator) => true,
            (_, Actor::System(_)) => action.is_maintenance(),
            (Rules::Lab, Actor::Anonymous) => is_open_in_a_lab(action),
            (Rules::Lab, Actor::User(_)) => false,
            (Rules::Closed(options), Actor::Anonymous | Actor::User(_)) => {
                let now = self.0.clock.now_ms();
                let question = Question { directory: &directory, options, now, action, resource: &resource };
                match actor {
                    Actor::User(id) => question.allows(*id),
                    _ => question.allows_anybody(),
                }
            }
        };
        drop(directory);
        if !allowed {
            tracing::debug!(?actor, action = action.name(), "refused");
        }
        match (allowed, actor) {
            (true, _) => Ok(Permit { actor: actor.clone(), action, resource, organisation, trace: None }),
            (false, Actor::Anonymous) => Err(Refusal::Unauthenticated),
            (false, _) => Err(Refusal::Denied),
        }
    }
}

impl Follow for Access {
    fn tables(&self) -> &'static [Table] {
        &TABLES
    }

    fn changed(&self, rows: &[ChangedRow<'_>]) {
        let mut directory = self.0.directory.write().unwrap_or_else(PoisonError::into_inner);
        if self.0.lost.load(Ordering::SeqCst) {
            return;
        }
        for (table, key, value) in rows {
            if let Err(error) = directory.apply(*table, key, *value) {
                tracing::error!(%error, "a change of rights could not be followed");
            }
        }
    }

    fn rebuilt(&self, meta: &Meta) {
        let anew = Directory::load(meta);
        if let Err(error) = &anew {
            tracing::error!(%error, "who there is cannot be read from the rebuilt index; nobody is let in");
        }
        let mut directory = self.0.directory.write().unwrap_or_else(PoisonError::into_inner);
        // What cannot be read gives nobody anything, and part of it may lack what denies.
        self.0.lost.store(anew.is_err(), Ordering::SeqCst);
        *directory = anew.unwrap_or_default();
    }
}

/// In a lab everybody is anonymous and does what is done to images; there is nobody to manage.
fn is_open_in_a_lab(action: Action) -> bool {
    let is_asking = matches!(action, Action::Ping | Action::ListRepositories | Action::ListOrganisations);
    is_asking || matches!(action.need(), Need::Level(_) | Need::OrganisationLevel(_) | Need::Developer)
}

#[cfg(test)]
mod permissions_page;
#[cfg(test)]
mod tests;
