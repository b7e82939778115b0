//! The table of actions, from which the rules, the route tables, the audit names and
//! `docs/permissions.md` come.
//!
//! SWR's names where it has one; `iam:` as its identity service has them; `pierhead:` for the rest.

use pierhead_storage_format::identity::records::Level;

/// What an action needs, beside that no policy denies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To be signed in.
    SignedIn,
    /// This level in the repository or organisation.
    Level(Level),
    /// This level in the organisation; one on the repository alone is not enough.
    OrganisationLevel(Level),
    /// To be an administrator of the account, or a developer where the settings let those.
    Developer,
    /// To be an administrator of the account, or of its images.
    Administrator,
    /// To be an administrator of the account as a whole by a role, not of its images alone. No policy
    /// gives it, but a Deny takes it away; so with what follows.
    TenantAdministrator,
    /// To be such an administrator of the account that runs the appliance.
    Operator,
    /// To be the host's administrator, or work of the appliance itself.
    Host,
}

/// Whether an action changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does not.
    Read,
    /// It does.
    Write,
}

/// What a share with another account allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// Public images and shared ones let others do this.
    ToOthers,
    /// Only the account that owns the image.
    No,
}

macro_rules! actions {
    ($($(#[doc = $says:literal])* $variant:ident = $name:literal, $need:expr, $effect:ident, $open:ident;)*) => {
        /// What can be done. Policies name actions whose surface is not there yet, too.
        #[cfg_attr(not(test), expect(dead_code, reason = "some are in policies alone until there is their surface"))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[doc = $says])* $variant,)*
        }

        impl Action {
            /// Every action.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name policies and the audit trail use.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it needs.
            pub const fn need(self) -> Need {
                match self {
                    $(Self::$variant => $need,)*
                }
            }

            /// Whether it changes something.
            pub const fn effect(self) -> Effect {
                match self {
                    $(Self::$variant => Effect::$effect,)*
                }
            }

            /// What it is, in the words of its doc comment.
            #[cfg(test)]
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($says),*),)*
                }
            }

            const fn open(self) -> Open {
                match self {
                    $(Self::$variant => Open::$open,)*
                }
            }
        }
    };
}

use Level::{Edit, Manage, Read};
use Need::{Administrator, Developer, Host, Operator, OrganisationLevel, SignedIn, TenantAdministrator};

#[rustfmt::skip]
actions! {
    /// Ask whether this is a registry.
    Ping = "pierhead:registry:ping", SignedIn, Read, No;
    /// List the repositories one may see.
    ListRepositories = "swr:repo:listRepos", SignedIn, Read, No;
    /// Read manifests, tags, referrers and blobs.
    Pull = "swr:repo:download", Need::Level(Read), Read, ToOthers;
    /// Write blobs, manifests and tags.
    Push = "swr:repo:upload", Need::Level(Edit), Write, No;

    /// Make an organisation.
    CreateOrganisation = "swr:namespace:createNamespace", Developer, Write, No;
    /// List the organisations one may see.
    ListOrganisations = "swr:namespace:listNamespaces", SignedIn, Read, No;
    /// Look at an organisation.
    ShowOrganisation = "swr:namespace:getNamespace", Need::Level(Read), Read, No;
    /// Remove an organisation without repositories.
    DeleteOrganisation = "swr:namespace:deleteNamespace", Need::Level(Manage), Write, No;
    /// Grant rights in an organisation.
    CreateOrganisationGrant = "swr:namespace:createNamespaceAccess", Need::Level(Manage), Write, No;
    /// See who has which right in an organisation.
    ShowOrganisationGrants = "swr:namespace:getNamespaceAccess", Need::Level(Read), Read, No;
    /// Change rights in an organisation.
    UpdateOrganisationGrant = "swr:namespace:updateNamespaceAccess", Need::Level(Manage), Write, No;
    /// Take rights in an organisation away.
    DeleteOrganisationGrant = "swr:namespace:deleteNamespaceAccess", Need::Level(Manage), Write, No;
    /// See an organisation's storage quota.
    ShowStorageQuota = "swr:namespace:getNamespaceStorageQuota", Need::Level(Read), Read, No;
    /// Set an organisation's storage quota.
    UpdateStorageQuota = "swr:namespace:updateNamespaceStorageQuota", Need::Level(Manage), Write, No;

    /// Make an empty repository.
    CreateRepository = "swr:repo:createRepo", OrganisationLevel(Edit), Write, No;
    /// Look at a repository.
    ShowRepository = "swr:repo:getRepo", Need::Level(Read), Read, ToOthers;
    /// Change a repository's attributes.
    UpdateRepository = "swr:repo:updateRepo", Need::Level(Edit), Write, No;
    /// Remove a repository with all in it.
    DeleteRepository = "swr:repo:deleteRepo", Need::Level(Manage), Write, No;
    /// List a repository's tags.
    ListTags = "swr:repo:listRepoTags", Need::Level(Read), Read, ToOthers;
    /// Look at a tag.
    ShowTag = "swr:repo:getRepoTag", Need::Level(Read), Read, ToOthers;
    /// Give a manifest another tag.
    CreateTag = "swr:repo:createRepoTag", Need::Level(Edit), Write, No;
    /// Remove tags, manifests and blobs.
    DeleteVersion = "swr:repo:deleteRepoTag", Need::Level(Manage), Write, No;
    /// Bring a deleted version back.
    RestoreVersion = "pierhead:repo:restoreVersion", Need::Level(Manage), Write, No;
    /// Take a tag off a manifest in the registry: who may push or remove versions may, unless removing versions is denied.
    Untag = "pierhead:repo:untag", Need::Level(Edit), Write, No;
    /// Upload an image through the page.
    UploadPackage = "swr:repo:uploadPackage", OrganisationLevel(Edit), Write, No;
    /// Grant rights in a repository.
    CreateRepositoryGrant = "swr:repo:createRepoAccess", Need::Level(Manage), Write, No;
    /// See who has which right in a repository.
    ShowRepositoryGrants = "swr:repo:getRepoAccess", Need::Level(Read), Read, No;
    /// Change rights in a repository.
    UpdateRepositoryGrant = "swr:repo:updateRepoAccess", Need::Level(Manage), Write, No;
    /// Take rights in a repository away.
    DeleteRepositoryGrant = "swr:repo:deleteRepoAccess", Need::Level(Manage), Write, No;
    /// Share a repository with another account.
    CreateShare = "swr:repo:createRepoDomain", Need::Level(Manage), Write, No;
    /// List the accounts a repository is shared with.
    ListShares = "swr:repo:listRepoDomains", Need::Level(Read), Read, No;
    /// Look at a share.
    ShowShare = "swr:repo:getRepoDomain", Need::Level(Read), Read, No;
    /// Change a share.
    UpdateShare = "swr:repo:updateRepoDomain", Need::Level(Manage), Write, No;
    /// End a share.
    DeleteShare = "swr:repo:deleteRepoDomain", Need::Level(Manage), Write, No;
    /// Mark a repository, or no longer.
    MarkFavourite = "pierhead:repo:markFavourite", Need::Level(Read), Write, ToOthers;
    /// Add a trigger.
    CreateTrigger = "swr:repo:createTrigger", Need::Level(Edit), Write, No;
    /// List triggers.
    ListTriggers = "swr:repo:listTriggers", Need::Level(Read), Read, No;
    /// Look at a trigger.
    ShowTrigger = "swr:repo:getTrigger", Need::Level(Read), Read, No;
    /// Change a trigger.
    UpdateTrigger = "swr:repo:updateTrigger", Need::Level(Edit), Write, No;
    /// Remove a trigger.
    DeleteTrigger = "swr:repo:deleteTrigger", Need::Level(Edit), Write, No;
    /// Add a retention rule.
    CreateRetention = "swr:repo:createRetention", Need::Level(Manage), Write, No;
    /// List retention rules.
    ListRetentions = "swr:repo:listRetentions", Need::Level(Read), Read, No;
    /// Look at a retention rule.
    ShowRetention = "swr:repo:getRetention", Need::Level(Read), Read, No;
    /// Change a retention rule.
    UpdateRetention = "swr:repo:updateRetention", Need::Level(Manage), Write, No;
    /// Remove a retention rule.
    DeleteRetention = "swr:repo:deleteRetention", Need::Level(Manage), Write, No;
    /// See what retention removed.
    ListRetentionHistories = "swr:repo:listRetentionHistories", Need::Level(Read), Read, No;
    /// Have a repository copied to another region from now on.
    CreateAutoSync = "swr:repo:createAutoSyncRepoJob", Administrator, Write, No;
    /// List the regions a repository is copied to.
    ListAutoSyncs = "swr:repo:listAutoSyncRepoJobs", Need::Level(Read), Read, No;
    /// No longer copy a repository.
    DeleteAutoSync = "swr:repo:deleteAutoSyncRepoJob", Administrator, Write, No;
    /// Copy versions to another region now.
    CreateManualSync = "swr:repo:createManualSyncRepoJob", Administrator, Write, No;
    /// See what was copied.
    ShowSyncJobs = "swr:repo:getSyncRepoJobInfo", Need::Level(Read), Read, No;

    /// Get a temporary login command for oneself.
    CreateLoginSecret = "swr:system:createLoginSecret", SignedIn, Read, No;
    /// Get a login token for oneself.
    CreateLoginToken = "swr::createAuthorizationToken", SignedIn, Read, No;
    /// See the account's numbers.
    ShowOverview = "swr:system:getDomainOverview", SignedIn, Read, No;
    /// See the account's numbers over time.
    ShowReports = "swr:system:getDomainResourceReports", SignedIn, Read, No;
    /// See the account's quotas.
    ListQuotas = "swr:system:listQuotas", SignedIn, Read, No;
    /// See what this edition can do.
    ShowFeatures = "swr:system:getFeatureGates", SignedIn, Read, No;
    /// List the regions images can be copied to.
    ListRegions = "swr:system:listSyncRegions", SignedIn, Read, No;
    /// See whether the service may act for the account.
    CheckAgency = "swr:system:checkAgency", SignedIn, Read, No;
    /// Let the service act for the account.
    CreateAgency = "swr:system:createAgency", TenantAdministrator, Write, No;

    /// See one's own user, account and projects.
    ShowSelf = "iam:users:showSelf", SignedIn, Read, No;
    /// Change one's own password and access keys.
    ManageSelf = "iam:credentials:manageSelf", SignedIn, Write, No;
    /// See the account's users, groups, policies and keys.
    ListUsers = "iam:users:listUsers", TenantAdministrator, Read, No;
    /// Make, change and remove the account's users.
    ManageUsers = "iam:users:manageUsers", TenantAdministrator, Write, No;
    /// Make, change and remove the account's groups.
    ManageGroups = "iam:groups:manageGroups", TenantAdministrator, Write, No;
    /// Make, change and remove the account's policies.
    ManagePolicies = "iam:policies:managePolicies", TenantAdministrator, Write, No;
    /// Make, change and remove access keys of the account's users.
    ManageKeys = "iam:credentials:manageCredentials", TenantAdministrator, Write, No;
    /// See all accounts.
    ListAccounts = "pierhead:account:listAccounts", Operator, Read, No;
    /// Make, change and remove accounts.
    ManageAccounts = "pierhead:account:manageAccounts", Operator, Write, No;
    /// See how the appliance is.
    ReadStatus = "pierhead:appliance:status", Operator, Read, No;
    /// Read again what can be read again while it runs.
    Reload = "pierhead:appliance:reload", Operator, Write, No;
    /// Run, pause and resume the work in the background.
    ManageJobs = "pierhead:appliance:manageJobs", Operator, Write, No;
    /// See everybody's uploads.
    ListUploads = "pierhead:upload:list", Operator, Read, No;
    /// End anybody's upload.
    AbortUpload = "pierhead:upload:abort", Operator, Write, No;
    /// See what was done in the account.
    ListAccountEvents = "pierhead:audit:listAccountEvents", TenantAdministrator, Read, No;
    /// See what was done, by whomever.
    ListEvents = "pierhead:audit:listEvents", Operator, Read, No;
    /// See who is banned, and who is exempt from that.
    ListBans = "pierhead:protection:listBans", Operator, Read, No;
    /// Ban, lift bans, and exempt from them.
    ManageBans = "pierhead:protection:manageBans", Operator, Write, No;
    /// See what nothing needs any more, and what became of it.
    ShowCollection = "pierhead:collection:show", Operator, Read, No;
    /// Have what nothing needs any more removed, or pause that.
    ManageCollection = "pierhead:collection:manage", Operator, Write, No;
    /// See deleted versions of everybody.
    ListDeleted = "pierhead:trash:list", Operator, Read, No;
    /// Give up deleted versions, so that their space is free.
    EmptyTrash = "pierhead:trash:empty", Operator, Write, No;
    /// Check, export and import the store.
    MaintainStore = "pierhead:store:maintain", Host, Write, No;
}

impl Action {
    /// An action that this one is a part of: what policies say of that, they say of this.
    pub const fn part_of(self) -> Option<Self> {
        match self {
            Self::Untag => Some(Self::DeleteVersion),
            _ => None,
        }
    }

    /// Whether it is the host's business, never a tenant's.
    pub const fn is_maintenance(self) -> bool {
        matches!(self.need(), Host)
    }

    /// Whether a public image lets anybody do it, and a shared one the account it is shared with.
    pub const fn is_open_to_others(self) -> bool {
        matches!(self.open(), Open::ToOthers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_action_has_a_name_of_its_own_of_three_parts() {
        let names: BTreeSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(names.len(), Action::ALL.len());
        for name in names {
            assert_eq!(name.split(':').count(), 3, "{name}");
        }
    }

    #[test]
    fn only_reading_is_open_to_other_accounts() {
        for action in Action::ALL.iter().filter(|action| action.is_open_to_others()) {
            assert_eq!(action.need(), Need::Level(Level::Read), "{}", action.name());
        }
    }
}
