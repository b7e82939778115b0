//! Which errors of reading uploads and the log of small blobs are findings.
//!
//! E1: a finding is what the disk cannot give of a file, whoever asks; at rest, also what is no file, or may not be
//!     read. Any other error, such as a want of descriptors, says nothing of the file, and ends the check: what was not
//!     read is neither damaged nor missing.

use std::io::{self, ErrorKind};

use crate::stores::disk::is_of_the_medium;

/// How the store stands while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody serves it.
    AtRest,
    /// Files come and go, and others use what this process has, too.
    Served,
}

impl Standing {
    /// Whether an error is a finding (E1).
    pub(super) fn finds(self, error: &io::Error) -> bool {
        let is_no_file = matches!(error.kind(), ErrorKind::IsADirectory | ErrorKind::PermissionDenied);
        is_of_the_medium(error) || (self == Self::AtRest && is_no_file)
    }
}
