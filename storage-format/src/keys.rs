//! The tables and their keys. Numbers are big-endian, so that order of bytes is order of numbers;
//! a digest delimits itself; a text part is always last, so that nothing need be escaped.
//! Text parts are held to [`MAX_TEXT`] bytes.

mod counters;
mod numbered;
mod references;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record};
use crate::digest::Digest;
use crate::records::{
    BlobRecord, CounterRecord, ManifestRecord, OrganisationRecord, Present, RepositoryBlobRecord,
    RepositoryRecord, TagRecord,
};

pub use counters::RepositoryCountersKey;
pub(crate) use numbered::numbered_key;
pub use references::{ManifestReferenceKey, ReferrerKey};

/// The longest text part of a key, in bytes.
pub const MAX_TEXT: usize = 255;

/// A table. The number is on disk: numbers are added, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// [`OrganisationKey`].
    Organisation = 1,
    /// [`RepositoryKey`].
    Repository = 2,
    /// [`RepositoryCountersKey`].
    RepositoryCounters = 3,
    /// [`TagKey`].
    Tag = 4,
    /// [`ManifestKey`].
    Manifest = 5,
    /// [`ManifestTagKey`].
    ManifestTag = 6,
    /// [`ReferrerKey`].
    Referrer = 7,
    /// [`RepositoryBlobKey`].
    RepositoryBlob = 8,
    /// [`BlobKey`].
    Blob = 9,
    /// [`BlobRepositoryKey`].
    BlobRepository = 10,
    /// [`CounterKey`].
    Counter = 11,
    /// [`ManifestReferenceKey`].
    ManifestReference = 12,
    /// [`crate::identity::keys::AccountKey`].
    Account = 13,
    /// [`crate::identity::keys::AccountNameKey`].
    AccountName = 14,
    /// [`crate::identity::keys::UserKey`].
    User = 15,
    /// [`crate::identity::keys::UserNameKey`].
    UserName = 16,
    /// [`crate::identity::keys::GroupKey`].
    Group = 17,
    /// [`crate::identity::keys::GroupMemberKey`].
    GroupMember = 18,
    /// [`crate::identity::keys::PolicyKey`].
    Policy = 19,
    /// [`crate::identity::keys::TextKey`].
    Text = 20,
    /// [`crate::identity::keys::AccessKeyKey`].
    AccessKey = 21,
    /// [`crate::identity::keys::AccessKeyUseKey`].
    AccessKeyUse = 22,
    /// [`crate::identity::keys::LoginKey`].
    Login = 23,
    /// [`crate::identity::keys::GrantKey`].
    Grant = 24,
    /// [`crate::identity::keys::ShareKey`].
    Share = 25,
    /// [`crate::identity::keys::FavouriteKey`].
    Favourite = 26,
    /// [`crate::identity::keys::RepositorySettingsKey`].
    RepositorySettings = 27,
    /// [`crate::audit::EventKey`].
    AuditOutbox = 28,
    /// [`crate::usage::RepositoryPullsKey`].
    RepositoryPulls = 29,
    /// [`crate::usage::AccountDayKey`].
    AccountDay = 30,
    /// [`crate::protection::BanKey`].
    Ban = 31,
    /// [`crate::protection::BanExemptionKey`].
    BanExemption = 32,
    /// [`crate::quota::OrganisationBlobKey`].
    OrganisationBlob = 33,
    /// [`crate::quota::OrganisationUsageKey`].
    OrganisationUsage = 34,
    /// [`crate::quota::OrganisationQuotaKey`].
    OrganisationQuota = 35,
    /// [`crate::quota::AccountQuotaKey`].
    AccountQuota = 36,
    /// [`crate::housekeeping::UnreferencedKey`].
    Unreferenced = 37,
    /// [`crate::housekeeping::DeletedManifestKey`].
    DeletedManifest = 38,
    /// [`crate::housekeeping::CollectedKey`].
    Collected = 39,
    /// [`crate::housekeeping::DeletedReferenceKey`].
    DeletedReference = 40,
    /// [`crate::housekeeping::RemovalKey`].
    Removal = 41,
    /// [`crate::retention::RetentionKey`].
    Retention = 42,
    /// [`crate::retention::RetentionLogKey`].
    RetentionLog = 43,
    /// [`crate::retention::RetentionStateKey`].
    RetentionState = 44,
    /// [`crate::scrub::ScrubStateKey`].
    ScrubState = 46,
    /// [`crate::scrub::DamageKey`].
    Damage = 47,
}

impl Table {
    /// Every table, in the order of their numbers.
    pub const ALL: [Self; 46] = [
        Self::Organisation,
        Self::Repository,
        Self::RepositoryCounters,
        Self::Tag,
        Self::Manifest,
        Self::ManifestTag,
        Self::Referrer,
        Self::RepositoryBlob,
        Self::Blob,
        Self::BlobRepository,
        Self::Counter,
        Self::ManifestReference,
        Self::Account,
        Self::AccountName,
        Self::User,
        Self::UserName,
        Self::Group,
        Self::GroupMember,
        Self::Policy,
        Self::Text,
        Self::AccessKey,
        Self::AccessKeyUse,
        Self::Login,
        Self::Grant,
        Self::Share,
        Self::Favourite,
        Self::RepositorySettings,
        Self::AuditOutbox,
        Self::RepositoryPulls,
        Self::AccountDay,
        Self::Ban,
        Self::BanExemption,
        Self::OrganisationBlob,
        Self::OrganisationUsage,
        Self::OrganisationQuota,
        Self::AccountQuota,
        Self::Unreferenced,
        Self::DeletedManifest,
        Self::Collected,
        Self::DeletedReference,
        Self::Removal,
        Self::Retention,
        Self::RetentionLog,
        Self::RetentionState,
        Self::ScrubState,
        Self::Damage,
    ];

    /// The number on disk.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The inverse of [`Table::number`].
    pub fn from_number(number: u8) -> Result<Self, FormatError> {
        Self::ALL.into_iter().find(|t| t.number() == number).ok_or(FormatError::Table(number))
    }

    /// The name in dumps and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organisation => "organisation",
            Self::Repository => "repository",
            Self::RepositoryCounters => "repository-counters",
            Self::Tag => "tag",
            Self::Manifest => "manifest",
            Self::ManifestTag => "manifest-tag",
            Self::Referrer => "referrer",
            Self::RepositoryBlob => "repository-blob",
            Self::Blob => "blob",
            Self::BlobRepository => "blob-repository",
            Self::Counter => "counter",
            Self::ManifestReference => "manifest-reference",
            Self::Account => "account",
            Self::AccountName => "account-name",
            Self::User => "user",
            Self::UserName => "user-name",
            Self::Group => "group",
            Self::GroupMember => "group-member",
            Self::Policy => "policy",
            Self::Text => "text",
            Self::AccessKey => "access-key",
            Self::AccessKeyUse => "access-key-use",
            Self::Login => "login",
            Self::Grant => "grant",
            Self::Share => "share",
            Self::Favourite => "favourite",
            Self::RepositorySettings => "repository-settings",
            Self::AuditOutbox => "audit-outbox",
            Self::RepositoryPulls => "repository-pulls",
            Self::AccountDay => "account-day",
            Self::Ban => "ban",
            Self::BanExemption => "ban-exemption",
            Self::OrganisationBlob => "organisation-blob",
            Self::OrganisationUsage => "organisation-usage",
            Self::OrganisationQuota => "organisation-quota",
            Self::AccountQuota => "account-quota",
            Self::Unreferenced => "unreferenced",
            Self::DeletedManifest => "deleted-manifest",
            Self::Collected => "collected",
            Self::DeletedReference => "deleted-reference",
            Self::Removal => "removal",
            Self::Retention => "retention",
            Self::RetentionLog => "retention-log",
            Self::RetentionState => "retention-state",
            Self::ScrubState => "scrub-state",
            Self::Damage => "damage",
        }
    }
}

/// A key of one table. `decode(encode(k)) == k`, and no two keys encode alike.
pub trait TableKey: Sized + Serialize + DeserializeOwned {
    /// Its table.
    const TABLE: Table;
    /// What the table holds.
    type Record: Record;

    /// The bytes it is kept under.
    fn encode(&self) -> Vec<u8>;

    /// The inverse of [`TableKey::encode`]; anything else is an error.
    fn decode(key: &[u8]) -> Result<Self, FormatError>;
}

pub(crate) fn text(bytes: &[u8]) -> Result<String, FormatError> {
    if bytes.is_empty() || bytes.len() > MAX_TEXT {
        return Err(FormatError::Key);
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| FormatError::Key)
}

pub(crate) fn number(bytes: &[u8]) -> Result<(u64, &[u8]), FormatError> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or(FormatError::Key)?;
    Ok((u64::from_be_bytes(*head), rest))
}

pub(crate) fn digest_only(bytes: &[u8]) -> Result<Digest, FormatError> {
    match Digest::read_key(bytes)? {
        (digest, []) => Ok(digest),
        _ => Err(FormatError::Key),
    }
}

pub(crate) fn under_digest(repository: u64, digest: &Digest) -> Vec<u8> {
    let mut key = repository.to_be_bytes().to_vec();
    digest.write_key(&mut key);
    key
}

macro_rules! text_key {
    ($(#[$doc:meta])* $name:ident, $table:ident, $record:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name {
            /// The name.
            pub name: String,
        }

        impl TableKey for $name {
            const TABLE: Table = Table::$table;
            type Record = $record;

            fn encode(&self) -> Vec<u8> {
                self.name.clone().into_bytes()
            }

            fn decode(key: &[u8]) -> Result<Self, FormatError> {
                Ok(Self { name: text(key)? })
            }
        }
    };
}

text_key!(
    /// An organisation by name.
    OrganisationKey, Organisation, OrganisationRecord
);
text_key!(
    /// A repository by its whole name, `organisation/name`: the order of `_catalog`.
    RepositoryKey, Repository, RepositoryRecord
);
text_key!(
    /// A number handed out next, by what it numbers (`repository`).
    CounterKey, Counter, CounterRecord
);

/// A tag of a repository, in the order of `tags/list`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TagKey {
    /// [`RepositoryRecord::id`].
    pub repository: u64,
    /// The tag.
    pub tag: String,
}

impl TagKey {
    /// What every tag of a repository starts with.
    pub fn prefix(repository: u64) -> Vec<u8> {
        repository.to_be_bytes().to_vec()
    }
}

impl TableKey for TagKey {
    const TABLE: Table = Table::Tag;
    type Record = TagRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(self.repository);
        key.extend_from_slice(self.tag.as_bytes());
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (repository, tag) = number(key)?;
        Ok(Self { repository, tag: text(tag)? })
    }
}

macro_rules! repository_digest_key {
    ($(#[$doc:meta])* $name:ident, $table:ident, $record:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name {
            /// [`RepositoryRecord::id`].
            pub repository: u64,
            /// The content.
            pub digest: Digest,
        }

        impl $name {
            /// What every such key of a repository starts with.
            pub fn prefix(repository: u64) -> Vec<u8> {
                repository.to_be_bytes().to_vec()
            }
        }

        impl TableKey for $name {
            const TABLE: Table = Table::$table;
            type Record = $record;

            fn encode(&self) -> Vec<u8> {
                under_digest(self.repository, &self.digest)
            }

            fn decode(key: &[u8]) -> Result<Self, FormatError> {
                let (repository, rest) = number(key)?;
                Ok(Self { repository, digest: digest_only(rest)? })
            }
        }
    };
}

repository_digest_key!(
    /// A manifest of a repository.
    ManifestKey, Manifest, ManifestRecord
);
repository_digest_key!(
    /// A blob linked to a repository.
    RepositoryBlobKey, RepositoryBlob, RepositoryBlobRecord
);

/// A tag by the manifest it names: what a delete by digest takes with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ManifestTagKey {
    /// [`RepositoryRecord::id`].
    pub repository: u64,
    /// The manifest.
    pub digest: Digest,
    /// The tag.
    pub tag: String,
}

impl ManifestTagKey {
    /// What every tag of a manifest starts with.
    pub fn prefix(repository: u64, digest: &Digest) -> Vec<u8> {
        under_digest(repository, digest)
    }
}

impl TableKey for ManifestTagKey {
    const TABLE: Table = Table::ManifestTag;
    type Record = Present;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(self.repository, &self.digest);
        key.extend_from_slice(self.tag.as_bytes());
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (repository, rest) = number(key)?;
        let (digest, tag) = Digest::read_key(rest)?;
        Ok(Self { repository, digest, tag: text(tag)? })
    }
}

/// A blob of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobKey {
    /// The content.
    pub digest: Digest,
}

impl TableKey for BlobKey {
    const TABLE: Table = Table::Blob;
    type Record = BlobRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(65);
        self.digest.write_key(&mut key);
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        Ok(Self { digest: digest_only(key)? })
    }
}

/// A repository by a blob linked to it: whom a mount without `from` may mount from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobRepositoryKey {
    /// The content.
    pub digest: Digest,
    /// The repository's whole name.
    pub name: String,
}

impl BlobRepositoryKey {
    /// What every repository of a blob starts with.
    pub fn prefix(digest: &Digest) -> Vec<u8> {
        BlobKey { digest: *digest }.encode()
    }
}

impl TableKey for BlobRepositoryKey {
    const TABLE: Table = Table::BlobRepository;
    type Record = Present;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(&self.digest);
        key.extend_from_slice(self.name.as_bytes());
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (digest, name) = Digest::read_key(key)?;
        Ok(Self { digest, name: text(name)? })
    }
}
