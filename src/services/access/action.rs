//! The table of actions, from which the rules, the route tables and the audit names come.

use crate::services::names::RepositoryName;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What can be done. Names are those of SWR's policies where it has one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $variant,)*
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
        }
    };
}

actions! {
    /// Ask whether this is a registry.
    Ping = "pierhead:registry:ping";
    /// List the repositories one may see.
    ListRepositories = "swr:repo:listRepositories";
    /// Read manifests, tags, referrers and blobs.
    Pull = "swr:repo:download";
    /// Write blobs, manifests and tags.
    Push = "swr:repo:upload";
    /// Remove tags, manifests and blobs.
    DeleteVersion = "swr:repo:deleteRepoTag";
    /// Check, export and import the store.
    MaintainStore = "pierhead:store:maintain";
    /// See how the appliance is.
    ReadStatus = "pierhead:appliance:status";
    /// Read again what can be read again while it runs.
    Reload = "pierhead:appliance:reload";
    /// See everybody's uploads.
    ListUploads = "pierhead:upload:list";
    /// End anybody's upload.
    AbortUpload = "pierhead:upload:abort";
}

impl Action {
    /// Whether it is the host's business, never a tenant's.
    pub const fn is_maintenance(self) -> bool {
        matches!(
            self,
            Self::MaintainStore | Self::ReadStatus | Self::Reload | Self::ListUploads | Self::AbortUpload
        )
    }
}

/// What an action is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The registry as a whole.
    Registry,
    /// One repository, present or not.
    Repository(RepositoryName),
}
