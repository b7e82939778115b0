//! What can go wrong in `images` and `uploads`, as facts a surface can act on. Surfaces turn a
//! kind into status, code and text; causes are kept for the log and never shown.

use pierhead_storage_format::Digest;

use super::access::Refusal;
use super::images::Immutable;
use super::names::{Reference, RepositoryName};
use super::quota::Full;
use super::signin::password::PasswordError;
use crate::seams::tasks::Panicked;
use crate::stores::blobs::BlobError;
use crate::stores::meta::MetaError;
use crate::stores::secrets::SecretsError;
use crate::stores::space;

/// Why a request's body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No byte came for the configured time.
    #[error("the client sent nothing for too long")]
    TimedOut,
    /// It was slower than it may be while another upload of the account waited.
    #[error("the body came too slowly while another upload waited")]
    TooSlow,
    /// The client went away, or sent a body that does not parse.
    #[error("the body ended before its end")]
    Disconnected,
}

/// Something that is named in a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// An account by name.
    Account(String),
    /// A user by name or id.
    User(String),
    /// A group by name or id.
    Group(String),
    /// A policy by name or id.
    Policy(String),
    /// An access key by its AK.
    AccessKey(String),
    /// An organisation by name.
    Organisation(String),
    /// A repository by whole name.
    Repository(String),
    /// A grant, by who has it on what.
    Grant(String),
    /// A share, by account and repository.
    Share(String),
    /// A tag by its name.
    Tag(String),
    /// A deleted manifest by its number.
    Deleted(u64),
    /// A retention policy by its number.
    Retention(String),
    /// A trigger by its name.
    Trigger(String),
    /// Where a repository is copied: region and organisation.
    Synchronisation(String),
    /// A ban, by its subject.
    Ban(String),
    /// An exemption from bans, by its subject.
    Exemption(String),
    /// A hold of removals by its id.
    Hold(String),
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, name) = match self {
            Self::Deleted(number) => return write!(f, "deleted manifest {number}"),
            Self::Account(name) => ("account", name),
            Self::User(name) => ("user", name),
            Self::Group(name) => ("group", name),
            Self::Policy(name) => ("policy", name),
            Self::AccessKey(name) => ("access key", name),
            Self::Organisation(name) => ("organisation", name),
            Self::Repository(name) => ("repository", name),
            Self::Grant(name) => ("grant", name),
            Self::Share(name) => ("share", name),
            Self::Tag(name) => ("tag", name),
            Self::Retention(name) => ("retention policy", name),
            Self::Trigger(name) => ("trigger", name),
            Self::Synchronisation(name) => ("synchronisation", name),
            Self::Ban(name) => ("the ban of", name),
            Self::Exemption(name) => ("the exemption of", name),
            Self::Hold(name) => ("hold of removals", name),
        };
        write!(f, "{kind} {name:?}")
    }
}

/// Why a service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such repository.
    #[error("repository {0} is not known")]
    RepositoryUnknown(RepositoryName),
    /// The organisation does not exist, and pushes do not make one.
    #[error("the organisation of {0} does not exist")]
    OrganisationUnknown(RepositoryName),
    /// No such manifest in the repository.
    #[error("manifest {0} is not known")]
    ManifestUnknown(Reference),
    /// No such blob in the repository.
    #[error("blob {0} is not known")]
    BlobUnknown(Digest),
    /// No such upload session in the repository.
    #[error("the upload is not known")]
    UploadUnknown,
    /// A manifest names blobs that are not in the repository.
    #[error("{} of the manifest's blobs are not in the repository", .0.len())]
    ReferencesMissing(Vec<Digest>),
    /// A manifest that cannot be read as its type says.
    #[error("the manifest is invalid: {0}")]
    ManifestInvalid(String),
    /// The bytes are not those of the digest given; their own is this.
    #[error("the digest of the content is {0}")]
    DigestMismatch(Digest),
    /// A blob that a manifest of the repository names.
    #[error("blob {0} is used by a manifest")]
    BlobInUse(Digest),
    /// A chunk that does not start where the session ends; the session stays.
    #[error("the chunk does not start at byte {offset}")]
    WrongOffset {
        /// The session.
        id: String,
        /// Bytes it has.
        offset: u64,
    },
    /// A chunk longer or shorter than it said; the session stays, with what came of it.
    #[error("the chunk has not the length its headers say")]
    LengthMismatch,
    /// A blob over the limit; its session is gone.
    #[error("a blob is at most {limit} bytes")]
    LayerTooLarge {
        /// Bytes.
        limit: u64,
    },
    /// As many sessions as there may be are open.
    #[error("too many uploads are open")]
    TooManyUploads,
    /// No upload slot became free in time.
    #[error("the account has {limit} uploads under way, and none ended in time")]
    SlotsTaken {
        /// Slots of an account.
        limit: usize,
    },
    /// Another request is writing this session.
    #[error("another request is writing this upload")]
    Busy,
    /// More rows than one change can hold, such as a manifest with hundreds of thousands of tags.
    #[error("the change is too large to be made at once")]
    TooMuch,
    /// The disk is full, or nearly.
    #[error("no space left for uploads")]
    NoSpace,
    /// Stored bytes are damaged; they were set aside, so that a new push heals them.
    #[error("the stored bytes of {0} are damaged")]
    Damaged(Digest),
    /// The body ended early.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Not allowed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such thing.
    #[error("{0} does not exist")]
    Missing(Thing),
    /// There is one already.
    #[error("{0} exists already")]
    Exists(Thing),
    /// It cannot go while something needs it.
    #[error("{0} is in use: {1}")]
    InUse(Thing, &'static str),
    /// A value that breaks a rule.
    #[error("{field}: {why}")]
    Invalid {
        /// The field, as the administration names it.
        field: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// Something that this version does not do.
    #[error("this version does not do this yet: {0}")]
    NotOffered(&'static str),
    /// As many as there may be.
    #[error("there are {limit} {what} already, which is the limit")]
    Limit {
        /// What of, in the plural.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// A storage quota has no room for it.
    #[error("{0}")]
    Quota(Box<Full>),
    /// An immutable tag would move or go.
    #[error("{0}")]
    Immutable(Box<Immutable>),
    /// Passwords cannot be made or checked now.
    #[error("passwords cannot be checked now")]
    Passwords(#[source] PasswordError),
    /// Secrets cannot be sealed or read.
    #[error("the key file does not serve")]
    Secrets(#[source] SecretsError),
    /// Cannot be done now; later it can.
    #[error("temporarily unavailable")]
    Unavailable(#[source] MetaError),
    /// The disk failed.
    #[error("the store failed")]
    Store(#[source] BlobError),
    /// A fault of ours.
    #[error("internal error: {0}")]
    Bug(&'static str),
}

impl From<MetaError> for Error {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::NoSpace => Self::NoSpace,
            MetaError::TooLarge => Self::TooMuch,
            error => Self::Unavailable(error),
        }
    }
}

impl From<space::Full> for Error {
    fn from(_: space::Full) -> Self {
        Self::NoSpace
    }
}

impl From<Panicked> for Error {
    fn from(_: Panicked) -> Self {
        Self::Bug("a task ended in a panic")
    }
}
