//! `fsck`: the metadata's own checks (journal, snapshots, index), every invariant of rows and blobs, uploads, and
//! the audit trail's, as `FORMAT.md` numbers them. Changes nothing.

use std::cell::Cell;
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
const ROWS: u32 = 1024;

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
    #[error(
        "the check was ended before its end: the server stops, or it was paused for long (then none begins before \
         `pierhead jobs resume check`)"
    )]
    Stopped,
}

/// Checks a store that nobody serves. `deep` hashes every blob. `progress` is told what is being
/// looked at and how many of it are done. Takes about 70 bytes of memory a row, and up to 128 MiB more for what was changed
/// since the last snapshot, while rows are read.
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
    let options = Options { deep, fixes: true };
    let mut report = check_rows(disk, (DiskBlobs::open, &|| true), options, progress)?.unwrap_or_default();
    for finding in found {
        report.add_metadata(finding.id, format!("{}: {}", finding.what, finding.detail));
    }
    check_uploads(disk.as_ref(), deep, &mut report)?;
    let mut add = |id, file, why| report.add_metadata(id, format!("{file}: {why}"));
    trail::check(disk.as_ref(), &|| true, &mut add).map_err(CheckError::Trail)?;
    Ok(report)
}

/// Rows of the moment it is called at, and what `blobs` has; `None` if not all rows can be had: then nothing can be said
/// of the blobs. As long as `goes_on` says so, which is asked now and then.
pub(super) fn check_rows<B: Blobs>(
    disk: &Arc<dyn Disk>,
    (blobs, goes_on): (impl FnOnce(Arc<dyn Disk>) -> Result<B, Unreadable>, &dyn Fn() -> bool),
    options: Options,
    progress: &mut dyn FnMut(Stage, u64),
) -> Result<Option<Report>, CheckError> {
    match rows(disk.as_ref(), goes_on) {
        Ok(rows) => Ok(Some(fsck::check(&rows, &blobs(Arc::clone(disk))?, options, progress)?)),
        Err(TruthError::Damaged { .. }) => Ok(None),
        Err(error) => Err(metadata(error)),
    }
}

/// Why the metadata was not checked.
pub(super) fn metadata(error: TruthError) -> CheckError {
    match error {
        TruthError::Stopped => CheckError::Stopped,
        error => CheckError::Metadata(error),
    }
}

fn rows(disk: &dyn Disk, goes_on: &dyn Fn() -> bool) -> Result<Packed, TruthError> {
    let mut rows = Packed::default();
    meta::read_truth(disk, &now_and_then(goes_on), &mut |table, key, value| {
        rows.push(table, key, value).map_err(|error| TruthError::Receiver(Box::new(error)))
    })?;
    Ok(rows)
}

/// The question, asked the first time and every [`ROWS`] times: it may be dearer than what is between two of them.
pub(super) fn now_and_then(goes_on: &dyn Fn() -> bool) -> impl Fn() -> bool + '_ {
    let asked = Cell::new(0_u32);
    move || {
        let before = asked.replace(asked.get().wrapping_add(1));
        !before.is_multiple_of(ROWS) || goes_on()
    }
}
