//! What the tables hold. Times are UTC milliseconds since 1970; sizes are bytes. A field is never
//! added to a released record: a new version is, with a step from the old one (F1).

use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record, decode_body};
use crate::digest::Digest;
use crate::identity::Id;
use crate::identity::records::Creator;

macro_rules! record {
    ($name:ident, $version:literal) => {
        impl Record for $name {
            const VERSION: u8 = $version;
        }
    };
}

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganisationRecord {
    /// Never used again; 0 for one made before organisations had numbers.
    pub number: u64,
    /// When it was made.
    pub created_at: u64,
    /// The account that owns it; nobody's without.
    pub owner: Option<Id>,
    /// Who made it, if a user did; his name at most 255 bytes.
    pub creator: Option<Creator>,
}

impl Record for OrganisationRecord {
    const VERSION: u8 = 2;

    fn from_version(version: u8, body: &[u8]) -> Result<Self, FormatError> {
        match version {
            1 => decode_body::<OrganisationV1>(body).map(Self::from),
            2 => decode_body(body),
            _ => Err(FormatError::Version(version)),
        }
    }
}

/// As it was before organisations belonged to accounts.
#[derive(Serialize, Deserialize)]
pub(crate) struct OrganisationV1 {
    created_at: u64,
}

impl From<OrganisationV1> for OrganisationRecord {
    fn from(old: OrganisationV1) -> Self {
        Self { number: 0, created_at: old.created_at, owner: None, creator: None }
    }
}

/// A repository under its present name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRecord {
    /// Never used again after the repository is deleted; rows about its content are under it.
    pub id: u64,
    /// When it was made.
    pub created_at: u64,
}
record!(RepositoryRecord, 1);

/// What a repository holds, exact: changed in the change set that changes what is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryCounters {
    /// Tags.
    pub tags: u64,
    /// Manifests, tagged or not.
    pub manifests: u64,
    /// Blobs linked by upload or mount.
    pub blobs: u64,
    /// Bytes of those manifests and blobs, each digest once.
    pub bytes: u64,
    /// Last push of a manifest; 0 before the first.
    pub pushed_at: u64,
}
record!(RepositoryCounters, 1);

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRecord {
    /// The manifest it names, always present in the same repository.
    pub digest: Digest,
    /// When it was last pushed.
    pub pushed_at: u64,
}
record!(TagRecord, 1);

/// What a manifest is to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManifestKind {
    /// Has a config and layers, which are present in the repository.
    Image,
    /// Names other manifests, which may be absent.
    Index,
    /// A type this registry does not read; refers to nothing.
    Opaque,
}

/// A manifest in a repository. Its bytes are the blob of the same digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRecord {
    /// As pushed; at most 255 bytes.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// How its references were read.
    pub kind: ManifestKind,
    /// When it was last pushed.
    pub pushed_at: u64,
    /// The manifest it is about, present or not.
    pub subject: Option<Digest>,
    /// The type referrers are filtered by: its `artifactType`, else its config's media type; at
    /// most 255 bytes.
    pub artifact_type: Option<String>,
}
record!(ManifestRecord, 1);

/// A row whose key says everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {}
record!(Present, 1);

/// A referrer of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferrerRecord {
    /// As in [`ManifestRecord::artifact_type`], so that a filtered page reads nothing else.
    pub artifact_type: Option<String>,
}
record!(ReferrerRecord, 1);

/// A blob in a repository, by upload or mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryBlobRecord {
    /// Bytes.
    pub size: u64,
    /// When it was linked.
    pub linked_at: u64,
    /// Manifests of this repository that name it as config or layer.
    pub references: u64,
}
record!(RepositoryBlobRecord, 1);

/// A blob of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Bytes.
    pub size: u64,
    /// Rows that keep it: repository blobs and manifests of this digest.
    pub references: u64,
    /// When `references` last changed; a blob without references is collected some time after.
    pub changed_at: u64,
}
record!(BlobRecord, 1);

/// A number handed out next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRecord {
    /// The next value.
    pub next: u64,
}
record!(CounterRecord, 1);

/// How a manifest names other content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReferenceRole {
    /// A config or layer: present in the repository, and kept by this reference.
    Blob,
    /// A layer that may be fetched elsewhere (non-distributable): present or not, not kept.
    Foreign,
    /// A manifest of an index: present or not.
    Child,
    /// A config or layer that was absent when the manifest was pushed, where the settings allow
    /// that; not kept.
    Absent,
}

/// Something a manifest names. Named twice, the strongest role counts: blob, then foreign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceRecord {
    /// Its role.
    pub role: ReferenceRole,
}
record!(ReferenceRecord, 1);
