//! `fsck`: the metadata's own checks (journal, snapshots, index), every invariant of rows and blobs, uploads, and
//! the audit trail's, as `FORMAT.md` numbers them. Changes nothing.

use std::sync::Arc;

use super::permitted;
use crate::services::access::Permit;
use crate::services::error::Error;
use crate::services::fsck::{
    self, Blobs, DiskBlobs, Options, Packed, Report, Stage, Unreadable, check_uploads,
};
use crate::stores::disk::Disk;
use crate::stores::meta::{self, CheckOptions, TruthError};
use crate::stores::trail::{self, TrailError};

/// Rows that are read between two questions whether the check goes on.
const ROWS: u64 = 1024;

/// Why the check could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Not allowed.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The metadata cannot be read.
    #[error("the metadata cannot be read")]
    Metadata(#[source] TruthError),
    /// The audit trail cannot be read.
    #[error("the audit trail cannot be read")]
    Trail(#[source] TrailError),
    /// Rows or blobs cannot be read.
    #[error("the store cannot be read")]
    Unreadable(#[from] Unreadable),
    /// Not all rows could be had, though the metadata's own check finds nothing.
    #[error("not all rows could be read; check again, and keep the log if it happens again")]
    NoRows,
    /// It was told to stop, or paused for too long.
    #[error("the check was ended before its end: the server stops, or it was paused for long")]
    Stopped,
}

/// Checks a store that nobody serves. `deep` hashes every blob. `progress` is told what is being
/// looked at and how many of it are done. Takes about 70 bytes of memory a row.
pub fn check(
    permit: &Permit,
    disk: &Arc<dyn Disk>,
    metadata: &CheckOptions,
    deep: bool,
    progress: &mut dyn FnMut(Stage, u64),
) -> Result<Report, CheckError> {
    permitted(permit)?;
    let found = meta::check(disk.as_ref(), metadata).map_err(CheckError::Metadata)?;
    // Where not all rows can be had, the metadata's own check says so.
    let mut report = check_rows(disk, (DiskBlobs::open, &|| true), deep, progress)?.unwrap_or_default();
    for finding in found {
        report.add_metadata(finding.id, format!("{}: {}", finding.what, finding.detail));
    }
    check_uploads(disk.as_ref(), deep, &mut report)?;
    trail::check(disk.as_ref(), &mut |id, file, why| report.add_metadata(id, format!("{file}: {why}")))
        .map_err(CheckError::Trail)?;
    Ok(report)
}

/// Rows of the moment it is called at, and what `blobs` has; `None` if not all rows can be had: then nothing can be said
/// of the blobs. As long as `goes_on` says so, which is asked now and then.
pub(super) fn check_rows<B: Blobs>(
    disk: &Arc<dyn Disk>,
    (blobs, goes_on): (impl FnOnce(Arc<dyn Disk>) -> Result<B, Unreadable>, &dyn Fn() -> bool),
    deep: bool,
    progress: &mut dyn FnMut(Stage, u64),
) -> Result<Option<Report>, CheckError> {
    match rows(disk.as_ref(), goes_on) {
        Ok(rows) => Ok(Some(fsck::check(&rows, &blobs(Arc::clone(disk))?, Options { deep }, progress)?)),
        Err(TruthError::Damaged { .. }) => Ok(None),
        Err(error) => Err(CheckError::Metadata(error)),
    }
}

fn rows(disk: &dyn Disk, goes_on: &dyn Fn() -> bool) -> Result<Packed, TruthError> {
    let (mut rows, mut read) = (Packed::default(), 0_u64);
    meta::read_truth(disk, &mut |table, key, value| {
        read += 1;
        if read.is_multiple_of(ROWS) && !goes_on() {
            return Err(TruthError::Receiver("the check was told to stop".into()));
        }
        rows.push(table, key, value).map_err(|error| TruthError::Receiver(Box::new(error)))
    })?;
    Ok(rows)
}
