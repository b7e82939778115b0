//! Records of who there is. Times are UTC milliseconds since 1970. What grows with what people
//! write has a limit in [`limits`](super::limits), kept by the service that writes the record.

use serde::{Deserialize, Serialize};

use super::Id;
use crate::codec::{FormatError, Record, decode_body};

macro_rules! record {
    ($name:ident, $version:literal) => {
        impl Record for $name {
            const VERSION: u8 = $version;
        }
    };
}

/// An account: a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Unique; what SWR calls the domain name. At most 255 bytes, as every name that is in a key.
    pub name: String,
    /// Its one project.
    pub project: Id,
    /// When it was made.
    pub created_at: u64,
    /// Whether it runs the appliance: owns `library`, and its administrators manage accounts.
    pub operator: bool,
    /// Whether its users may do anything.
    pub enabled: bool,
}
record!(AccountRecord, 1);

/// A row that finds another by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedRecord {
    /// The account, user, … of that name.
    pub id: Id,
}
record!(NamedRecord, 1);

/// A system role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// `Tenant Administrator`.
    TenantAdministrator,
    /// `SWR Administrator`.
    SwrAdministrator,
    /// `SWR FullAccess`.
    SwrFullAccess,
    /// `SWR Developer`.
    SwrDeveloper,
    /// `SWR OperateAccess`.
    SwrOperateAccess,
    /// `ServiceStage Developer`.
    ServiceStageDeveloper,
    /// `SWR ReadOnlyAccess`.
    SwrReadOnlyAccess,
    /// `Tenant Guest`.
    TenantGuest,
}

/// A user: a person or a robot of one account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// Whose.
    pub account: Id,
    /// Unique in the account.
    pub name: String,
    /// At most [`limits::DESCRIPTION`](super::limits::DESCRIPTION) characters.
    pub description: String,
    /// An argon2id hash in PHC form, at most [`limits::PASSWORD`](super::limits::PASSWORD) bytes;
    /// without one, no password is right.
    pub password: Option<String>,
    /// When the password was set; tokens given before are void.
    pub password_at: u64,
    /// May use docker, the SDKs and every other program.
    pub programmatic: bool,
    /// May use the page.
    pub console: bool,
    /// May do anything at all.
    pub enabled: bool,
    /// Given to the user himself; at most [`limits::ROLES`](super::limits::ROLES).
    pub roles: Vec<Role>,
    /// Custom policies attached to the user himself; at most [`limits::POLICIES`](super::limits::POLICIES).
    pub policies: Vec<Id>,
    /// When it was made.
    pub created_at: u64,
}
record!(UserRecord, 1);

/// A group of users of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Whose.
    pub account: Id,
    /// Unique in the account.
    pub name: String,
    /// At most [`limits::DESCRIPTION`](super::limits::DESCRIPTION) characters.
    pub description: String,
    /// Given to its members; at most [`limits::ROLES`](super::limits::ROLES).
    pub roles: Vec<Role>,
    /// Custom policies attached to its members; at most [`limits::POLICIES`](super::limits::POLICIES).
    pub policies: Vec<Id>,
    /// When it was made.
    pub created_at: u64,
}
record!(GroupRecord, 1);

/// A custom policy; its document is in `text` rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// Whose.
    pub account: Id,
    /// Unique in the account.
    pub name: String,
    /// At most [`limits::DESCRIPTION`](super::limits::DESCRIPTION) characters.
    pub description: String,
    /// When it was made.
    pub created_at: u64,
    /// When the document was last changed.
    pub updated_at: u64,
}
record!(PolicyRecord, 1);

/// A part of a text too long for a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextRecord {
    /// At most [`limits::TEXT_PART`](super::limits::TEXT_PART) bytes, cut between characters.
    pub part: String,
}
record!(TextRecord, 1);

/// An access key (AK/SK) of a user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyRecord {
    /// Whose.
    pub user: Id,
    /// The SK, sealed under the key file (`FORMAT.md`, "The key file"); at most
    /// [`limits::SEALED`](super::limits::SEALED) bytes.
    pub sealed: Vec<u8>,
    /// Whether it may be used.
    pub enabled: bool,
    /// At most [`limits::DESCRIPTION`](super::limits::DESCRIPTION) characters.
    pub description: String,
    /// When it was made.
    pub created_at: u64,
}
record!(AccessKeyRecord, 1);

/// When an access key was last used; may lag by minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyUseRecord {
    /// When.
    pub used_at: u64,
}
record!(AccessKeyUseRecord, 1);

/// A temporary login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRecord {
    /// Who signs in with it.
    pub user: Id,
    /// SHA-256 of its key, which is 256 random bits.
    pub verifier: [u8; 32],
    /// When it was made.
    pub created_at: u64,
    /// It does not work from then on.
    pub expires_at: u64,
    /// The access key it was got with, if with one; it ends with that.
    pub access_key: Option<String>,
    /// [`UserRecord::password_at`] when it was made; it ends with that password.
    pub password_at: u64,
}
record!(LoginRecord, 1);

/// How much a grant allows; each level has what those before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Pull. On the wire 1.
    Read,
    /// Push, attributes, triggers. On the wire 3.
    Edit,
    /// Delete, grant, share. On the wire 7.
    Manage,
}

/// What a user may do in an organisation or repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// The number of the organisation it is in: for one made later under that name it says nothing.
    pub organisation: u64,
    /// How much.
    pub level: Level,
    /// When it was last changed.
    pub granted_at: u64,
}
record!(GrantRecord, 1);

/// A repository shared with another account, to be pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRecord {
    /// The number of the organisation it is in, as in [`GrantRecord::organisation`].
    pub organisation: u64,
    /// It ends then; for ever without.
    pub until: Option<u64>,
    /// At most [`limits::SHARE_DESCRIPTION`](super::limits::SHARE_DESCRIPTION) characters.
    pub description: String,
    /// Who shared it, if that user is still known.
    pub creator: Id,
    /// When.
    pub created_at: u64,
    /// When it was last changed.
    pub updated_at: u64,
}
record!(ShareRecord, 1);

/// A repository a user marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FavouriteRecord {
    /// When.
    pub marked_at: u64,
}
record!(FavouriteRecord, 1);

/// What kind of image a repository holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Category {
    /// `app_server`.
    AppServer,
    /// `linux`.
    Linux,
    /// `framework_app`.
    FrameworkApp,
    /// `database`.
    Database,
    /// `lang`.
    Lang,
    /// `other`.
    #[default]
    Other,
    /// `windows`.
    Windows,
    /// `arm`.
    Arm,
}

/// Who made something, by the name he had then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creator {
    /// The user.
    pub id: Id,
    /// His name.
    pub name: String,
}

/// A repository's attributes; without a row it is private, of category other and without a
/// description. The description is in `text` rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositorySettingsRecord {
    /// Anybody may pull.
    pub public: bool,
    /// Its kind.
    pub category: Category,
    /// Who made it, if a user did.
    pub creator: Option<Creator>,
    /// When an attribute last changed.
    pub updated_at: u64,
    /// Its tags neither move to another manifest nor go.
    pub immutable_tags: bool,
}

impl Record for RepositorySettingsRecord {
    const VERSION: u8 = 2;

    fn from_version(version: u8, body: &[u8]) -> Result<Self, FormatError> {
        match version {
            1 => decode_body::<RepositorySettingsV1>(body).map(Self::from),
            2 => decode_body(body),
            _ => Err(FormatError::Version(version)),
        }
    }
}

/// As it was while every tag could move.
#[derive(Serialize, Deserialize)]
pub(crate) struct RepositorySettingsV1 {
    public: bool,
    category: Category,
    creator: Option<Creator>,
    updated_at: u64,
}

impl From<RepositorySettingsV1> for RepositorySettingsRecord {
    fn from(old: RepositorySettingsV1) -> Self {
        let RepositorySettingsV1 { public, category, creator, updated_at } = old;
        Self { public, category, creator, updated_at, immutable_tags: false }
    }
}

/// Never printed: the hash could be tried offline.
impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord")
            .field("account", &self.account)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AccessKeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKeyRecord")
            .field("user", &self.user)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LoginRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRecord")
            .field("user", &self.user)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
