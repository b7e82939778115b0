//! What can go wrong, by what a caller can do about it.

use std::io;

use pierhead_storage_format::FormatError;

/// Why a read or commit was not done. Nothing of a refused commit is applied.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MetaError {
    /// Not now; says why. Trying again later can help.
    #[error("metadata is unavailable: {why}")]
    Unavailable {
        /// In words for an operator.
        why: String,
    },
    /// The disk is full; reads go on.
    #[error("no space on the disk for metadata")]
    NoSpace,
    /// A row that does not decode: written by a newer program, or damage that checksums missed.
    #[error("a damaged row in table {table}")]
    Damaged {
        /// The table's name.
        table: &'static str,
        /// What does not decode.
        #[source]
        source: FormatError,
    },
    /// A key, record or change set over its limit.
    #[error("a metadata change is too large")]
    TooLarge,
    /// The transaction panicked; nothing of it was applied.
    #[error("a transaction panicked")]
    Panicked,
    /// The store was closed.
    #[error("the metadata store is closed")]
    Closed,
}

/// Why the store did not open. Nothing was cut or changed (T3).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Journal or snapshot are not what was once durable.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// Relative to the data directory.
        file: String,
        /// In the file.
        offset: u64,
        /// In words for an operator.
        what: String,
    },
    /// The index has applied change sets that the journal does not have: acknowledged changes are
    /// missing from the end of the journal.
    #[error(
        "the journal ends at change set {journal}, but the index has applied {index}: the end of the journal is lost"
    )]
    LostTail {
        /// Applied by the index.
        index: u64,
        /// Last of the journal.
        journal: u64,
    },
    /// The disk failed.
    #[error("{what}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The index could neither be opened nor rebuilt.
    #[error("the metadata index could not be rebuilt")]
    Index(#[source] EngineError),
}

/// Why the index engine did not do something.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The disk is full.
    #[error("the disk is full: {0}")]
    Full(String),
    /// It fails, lies or panicked; it is to be rebuilt.
    #[error("{0}")]
    Broken(String),
    /// It was closed.
    #[error("the index is closed")]
    Closed,
}

/// Why journal and snapshots could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// The bytes are wrong.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// Relative to the data directory.
        file: String,
        /// In the file.
        offset: u64,
        /// In words for an operator.
        what: String,
    },
    /// The disk failed.
    #[error("{what}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The receiver of the rows gave up.
    #[error("the rows could not be taken")]
    Receiver(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store is being closed.
    #[error("stopped")]
    Stopped,
    /// There is a store already.
    #[error("there is metadata here already")]
    NotEmpty,
}

impl TruthError {
    pub(super) fn io(what: impl std::fmt::Display, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::Io { what, source }
    }

    pub(super) fn damaged(file: &std::path::Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.display().to_string(), offset, what: what.into() }
    }

    /// A file that another process's snapshot removed while this one was looking.
    pub(super) fn vanished(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl From<TruthError> for OpenError {
    fn from(error: TruthError) -> Self {
        match error {
            TruthError::Damaged { file, offset, what } => Self::Damaged { file, offset, what },
            TruthError::Io { what, source } => Self::Io { what, source },
            TruthError::Receiver(source) => Self::Index(EngineError::Broken(source.to_string())),
            TruthError::Stopped | TruthError::NotEmpty => Self::Index(EngineError::Closed),
        }
    }
}
