//! Yes or no for a user: what the directory says of him and of what he wants to touch.
//!
//! In this order: who may do nothing at all; what a policy denies; what needs nothing more than
//! signing in; what roles, policies, grants, public images and shares allow. Nothing else does (A3).
//! A policy's Allow gives what is done to images and organisations; what is done to people, keys,
//! policies and the appliance comes from roles alone (A5).

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::records::{Level, Role, UserRecord};

use super::action::{Action, Effect, Need};
use super::directory::Directory;
use super::policy::Verdict;
use super::resource::Resource;
use crate::services::names::{LIBRARY, OrganisationName};

/// What the settings decide.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether developers make organisations.
    pub developers_create_organisations: bool,
    /// Whether a push makes the organisation it goes to.
    pub pushes_create_organisations: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { developers_create_organisations: true, pushes_create_organisations: false }
    }
}

/// One question.
pub struct Question<'a> {
    pub directory: &'a Directory,
    pub options: Options,
    /// UTC milliseconds.
    pub now: u64,
    pub action: Action,
    pub resource: &'a Resource,
}

impl Question<'_> {
    /// Whether nobody in particular may.
    pub fn allows_anybody(&self) -> bool {
        self.action.effect() == Effect::Read && self.is_open_to_all()
    }

    /// Whether this user may.
    pub fn allows(&self, id: Id) -> bool {
        let Some(user) = self.directory.user(id).filter(|user| user.enabled) else { return false };
        let account = self.directory.account(user.account);
        let Some(account) = account.filter(|account| account.enabled) else { return false };
        let verdict = self.verdict(id, user);
        if verdict.denied {
            return false;
        }
        // Who may push can make a tag name something else, and who removes versions removes their names.
        if self.action == Action::Untag {
            let may = |action| Question { action, ..*self }.allows(id);
            return may(Action::Push) || may(Action::DeleteVersion);
        }
        let roles = self.roles(id, user);
        match self.action.need() {
            Need::SignedIn => true,
            Need::Host => false,
            Need::Operator => account.operator && roles.tenant,
            Need::Level(level) => {
                self.is_open_to_all()
                    || self.is_shared_with(user.account)
                    || self.has_level(id, user.account, level, roles, verdict)
                    || self.may_come_to_be(id)
            }
            Need::OrganisationLevel(level) => {
                self.has_level(id, user.account, level, roles, verdict) || self.may_come_to_be(id)
            }
            // Never by a policy: who could write himself an Allow would have everything.
            Need::TenantAdministrator => self.is_own(user.account) && roles.tenant,
            Need::Administrator => self.is_own(user.account) && (roles.administrator || verdict.allowed),
            Need::Developer => {
                let developer = roles.developer && self.options.developers_create_organisations;
                roles.administrator || developer || verdict.allowed
            }
        }
    }

    /// Whether a push by this user would make the organisation: then he also sees that nothing is there.
    fn may_come_to_be(&self, id: Id) -> bool {
        let Resource::Repository(name) = self.resource else { return false };
        let is_push = matches!(self.action, Action::Push | Action::Pull | Action::CreateRepository);
        let name = name.organisation();
        if !is_push
            || !self.options.pushes_create_organisations
            || self.directory.organisation(name).is_some()
        {
            return false;
        }
        let Ok(name) = name.parse::<OrganisationName>() else { return false };
        let resource = Resource::Organisation(name);
        let making = Question { action: Action::CreateOrganisation, resource: &resource, ..*self };
        resource.organisation() != Some(LIBRARY) && making.allows(id)
    }

    /// What the user's own policies and those of his groups say.
    fn verdict(&self, id: Id, user: &UserRecord) -> Verdict {
        let groups = self.directory.groups_of(id).flat_map(|(_, group)| &group.policies);
        let policies = user.policies.iter().chain(groups);
        policies.fold(Verdict::default(), |verdict, policy| {
            let says = self.directory.document(*policy).map(|read| {
                let whole = self.action.part_of().map(|action| read.verdict(action, self.resource));
                read.verdict(self.action, self.resource).and(whole.unwrap_or_default())
            });
            // A document that is missing or cannot be read may have had a Deny in it.
            verdict.and(says.unwrap_or(Verdict { allowed: false, denied: true }))
        })
    }

    fn roles(&self, id: Id, user: &UserRecord) -> Roles {
        let groups = self.directory.groups_of(id).flat_map(|(_, group)| &group.roles);
        user.roles.iter().chain(groups).fold(Roles::default(), |roles, role| roles.with(*role))
    }

    fn has_level(&self, id: Id, account: Id, level: Level, roles: Roles, verdict: Verdict) -> bool {
        let own = self.is_own(account);
        let by_role = roles.administrator || (roles.reader && level == Level::Read);
        (own && (by_role || verdict.allowed)) || self.granted(id).is_some_and(|granted| granted >= level)
    }

    /// The highest level that counts for this action.
    fn granted(&self, id: Id) -> Option<Level> {
        let in_organisation = self.directory.grant(id, self.resource.organisation()?);
        match (self.resource, self.action.need()) {
            (Resource::Repository(name), Need::Level(_)) => {
                in_organisation.max(self.directory.grant(id, name.as_str()))
            }
            _ => in_organisation,
        }
    }

    /// Whether the account owns what is touched.
    fn is_own(&self, account: Id) -> bool {
        match self.resource {
            Resource::Registry => true,
            Resource::Account(id) => *id == account,
            Resource::Organisation(_) | Resource::Repository(_) => {
                let organisation =
                    self.resource.organisation().and_then(|name| self.directory.organisation(name));
                organisation.and_then(|organisation| organisation.owner) == Some(account)
            }
        }
    }

    fn is_open_to_all(&self) -> bool {
        matches!(self.resource, Resource::Repository(name)
            if self.action.is_open_to_others() && self.directory.is_public(name.as_str()))
    }

    fn is_shared_with(&self, account: Id) -> bool {
        let Resource::Repository(name) = self.resource else { return false };
        let share = self.directory.share(name.as_str(), account);
        self.action.is_open_to_others()
            && share.is_some_and(|share| share.until.is_none_or(|until| self.now < until))
    }
}

/// What a user's system roles come to, inside his own account.
#[derive(Clone, Copy, Debug, Default)]
struct Roles {
    /// Everything, users and their rights too.
    tenant: bool,
    /// Everything that is done to organisations and images.
    administrator: bool,
    /// What developers may, beside what they are granted.
    developer: bool,
    /// To read everything.
    reader: bool,
}

impl Roles {
    fn with(self, role: Role) -> Self {
        match role {
            Role::TenantAdministrator => Self { tenant: true, administrator: true, ..self },
            Role::SwrAdministrator | Role::SwrFullAccess => Self { administrator: true, ..self },
            Role::SwrDeveloper | Role::SwrOperateAccess | Role::ServiceStageDeveloper => {
                Self { developer: true, ..self }
            }
            Role::SwrReadOnlyAccess | Role::TenantGuest => Self { reader: true, ..self },
        }
    }
}
