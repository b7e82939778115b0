//! What can go wrong with blobs, as a caller can act on it.

use std::io;

use pierhead_storage_format::Digest;
use rustix::io::Errno;

use crate::seams::tasks;
use crate::stores::disk::{is_full, is_of_the_medium};

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

impl BlobError {
    /// Whether the disk cannot read the blob, or its file is not what it says. What else may fail says nothing of it.
    pub fn condemns(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Io { source, .. } => is_of_the_medium(source),
            _ => false,
        }
    }

    /// Whether something is lacking that every other blob needs, too: descriptors, memory, room, a disk that is written.
    pub fn is_everyones(&self) -> bool {
        const OF_ALL: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::ROFS];
        match self {
            Self::NoSpace => true,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::OutOfMemory => true,
            _ => self.is_one_of(&OF_ALL),
        }
    }

    fn is_one_of(&self, errors: &[Errno]) -> bool {
        let Self::Io { source, .. } = self else { return false };
        source.raw_os_error().is_some_and(|code| errors.iter().any(|errno| errno.raw_os_error() == code))
    }
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

#[cfg(test)]
mod tests {
    use pierhead_storage_format::Algorithm;

    use super::*;

    #[test]
    fn what_condemns_a_blob_is_told_from_what_is_lacking_and_from_what_says_nothing() {
        let digest = Digest::new(Algorithm::Sha256, &[7; 32]).expect("fits");
        let failed = |errno| io("reading")(io::Error::from_raw_os_error(errno));
        // Whether it condemns the blob, and whether it is everyone's.
        let cases = [
            ("an unreadable sector", failed(5), (true, false)),
            ("a medium's error", failed(61), (true, false)),
            ("a checksum of the file system", failed(74), (true, false)),
            ("a file system that needs cleaning", failed(117), (true, false)),
            ("a file that is not what it says", BlobError::Damaged { digest }, (true, false)),
            ("too many open files", failed(24), (false, true)),
            ("too many open files of the host", failed(23), (false, true)),
            ("no memory", failed(12), (false, true)),
            ("no space", failed(28), (false, true)),
            ("a disk that is not written any more", failed(30), (false, true)),
            ("no right to read", failed(13), (false, false)),
            ("a link to itself", failed(40), (false, false)),
            ("a worker that panicked", worker_died(tasks::Panicked), (false, false)),
            ("none", BlobError::NotFound, (false, false)),
        ];
        for (name, error, expected) in cases {
            assert_eq!((error.condemns(), error.is_everyones()), expected, "{name}");
        }
    }
}
