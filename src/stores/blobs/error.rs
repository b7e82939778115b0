//! What can go wrong with blobs, as a caller can act on it.

use std::io;

use pierhead_storage_format::Digest;

use crate::seams::tasks;
use crate::stores::disk::is_full;

/// Why a blob operation failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No such blob.
    #[error("the blob is not stored")]
    NotFound,
    /// The stored file is not what its name says: quarantine it, or push it again, which heals it.
    #[error("the stored file of {digest} is damaged")]
    Damaged {
        /// Whose file.
        digest: Digest,
    },
    /// The bytes are not what the caller said; an upload is as it was.
    #[error("the bytes have digest {actual}")]
    DigestMismatch {
        /// What they are.
        actual: Digest,
    },
    /// The disk is full. An upload goes on from its offset once there is space.
    #[error("no space is left for blobs")]
    NoSpace,
    /// The upload was published or given up; it has to be begun again.
    #[error("the upload is no more")]
    Lost,
    /// The disk, or the process, failed.
    #[error("{what} failed")]
    Io {
        /// Doing what.
        what: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Says what was being done; a full disk (or quota) is told apart.
pub(super) fn io(what: &'static str) -> impl Fn(io::Error) -> BlobError {
    move |source| if is_full(&source) { BlobError::NoSpace } else { BlobError::Io { what, source } }
}

/// Runs blocking `work` to its end and waits for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tasks::blocking(work).await.unwrap_or_else(|panicked| Err(worker_died(panicked)))
}

/// The error for work that ended in a panic or with the runtime.
pub(super) fn worker_died(cause: impl std::error::Error + Send + Sync + 'static) -> BlobError {
    BlobError::Io { what: "a disk worker", source: io::Error::other(cause) }
}
