//! Proves that metadata and blobs agree: recounts from the manifests and the files, and names every
//! invariant of `FORMAT.md` that does not hold. Reads only; changes nothing.
//!
//! Words: a *finding* is one breach of one invariant, named by its id (`R4`, `B1`); the rows come
//! from a [`Rows`], the blob files from a [`Blobs`], so that this room knows no store.
//!
//! Rules that always hold:
//! - K1: one sickness is named by one id: a check that would only repeat another's finding is silent.
//! - K2: of its own this room needs 8 bytes a repository, the names and numbers of organisations, and 24 bytes an
//!   account that owns one and a user with access keys; references are recounted [`TALLY`] digests at a time. The rows
//!   come on top: a [`Packed`] holds all of them, so that memory grows with the store, about 70 bytes a row.
//! - K3: findings are all counted, and the first [`MAX_FINDINGS`] of each id are kept.
//! - K4: what can be done about a finding is said where it is found, as a [`Fix`], if somebody asked for it
//!   ([`Options::fixes`]), and done elsewhere.
//!
//! Start at [`check`]; the list of invariants is in `report`.

mod blobs;
mod damage;
mod disk;
mod fix;
mod holdings;
mod housekeeping;
mod identity;
mod images;
mod names;
mod outboards;
mod references;
mod report;
mod repositories;
mod retention;
mod rights;
mod rows;
mod tally;
#[cfg(test)]
mod tests;
mod unread;
mod uploads;
mod usage;

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::Range;

use pierhead_storage_format::Digest;
use pierhead_storage_format::outboard::Outboard;

pub use disk::DiskBlobs;
#[cfg(test)]
pub use fix::RowChange;
pub use fix::{Fix, How, Plan};
pub use report::{Counts, Finding, Report, Severity};
pub use rows::{Packed, Rows};
pub use unread::Standing;
pub use uploads::{check_uploads, strange_files, upload_ids};

/// Digests whose references are recounted in one pass; about 100 bytes each.
pub const TALLY: usize = 1 << 18;

/// The largest manifest that is read, in bytes.
pub const MAX_MANIFEST: u64 = 64 << 20;

/// Damaged parts of a blob that are named.
pub const MAX_PARTS: usize = 8;

/// The store could not be read; what was found until then is not a report.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read")]
pub struct Unreadable {
    /// Which part of the store, with the path if there is one.
    pub what: String,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// A file below `blobs/`.
#[derive(Clone, Copy, Debug)]
pub struct BlobFile<'a> {
    /// Its path below the data directory, with `/` between parts.
    pub path: &'a str,
    /// Bytes.
    pub size: u64,
}

/// What reading a blob's content gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<T> {
    /// The content, or what it hashes to.
    Good(T),
    /// There is no file.
    Missing,
    /// The bytes are not those of the digest, or the disk cannot read them.
    Damaged,
}

/// What becomes of a file that has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on its way to a row, or has got one since the moment of the rows.
    Wanted,
    /// Start-up will clear it.
    Cleared,
    /// Nobody wants it.
    Extra,
}

/// The blob files of a store: one that nobody else changes ([`DiskBlobs`]), or one that is served, and whose
/// files come and go.
pub trait Blobs {
    /// Gives every file below `blobs/`, in any order.
    fn files(&self, visit: &mut dyn FnMut(BlobFile<'_>) -> Result<(), Unreadable>) -> Result<(), Unreadable>;
    /// Bytes of the blob's file, which for one that the log of small blobs has is as start-up will make
    /// it; `None` if there is none.
    fn size(&self, digest: &Digest) -> Result<Option<u64>, Unreadable>;
    /// The whole of a small blob, checked against its digest.
    fn read(&self, digest: &Digest) -> Result<Content<Vec<u8>>, Unreadable>;
    /// Hashes the whole blob, in bounded memory.
    fn verify(&self, digest: &Digest) -> Result<Content<()>, Unreadable>;
    /// What the outboard beside the blob says.
    fn outboard(&self, digest: &Digest) -> Result<Content<Outboard>, Unreadable>;
    /// The first parts of the blob that are not what its outboard says, in order; at most
    /// [`MAX_PARTS`].
    fn damaged_parts(&self, digest: &Digest, outboard: &Outboard) -> Result<Vec<Range<u64>>, Unreadable>;
    /// Whether an intent file below `uploads/`, or the log of small blobs, names the blob: start-up will
    /// clear it.
    fn is_intended(&self, digest: &Digest) -> Result<bool, Unreadable>;
    /// Gives every blob that the log of small blobs has, with or without a file: start-up will clear those that have no
    /// row. None while the store is served.
    fn each_logged(&self, _: &mut dyn FnMut(&Digest) -> Result<(), Unreadable>) -> Result<(), Unreadable> {
        Ok(())
    }
    /// What becomes of files that had no rows, in their order.
    fn fates(&self, digests: &[Digest]) -> Result<Vec<Fate>, Unreadable> {
        let fate = |intended| if intended { Fate::Cleared } else { Fate::Extra };
        digests.iter().map(|digest| self.is_intended(digest).map(fate)).collect()
    }
    /// All files of the moment were listed, and all manifests read: from here on each blob is asked after that is not as
    /// it should be ([`Blobs::is_still_needed`]), so that they may go.
    fn may_go(&self) {}
    /// Whether the blob still has its row: a file that is missing is not missed otherwise.
    fn is_still_needed(&self, _: &Digest) -> Result<bool, Unreadable> {
        Ok(true)
    }
}

/// How thorough to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Hash every blob (B3), not only the manifests.
    pub deep: bool,
    /// Say what can be done about findings, for somebody who does it.
    pub fixes: bool,
}

/// What is being checked, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Every row decodes; names and numbers.
    Rows,
    /// Tags, manifests, referrers and counters, a repository at a time.
    Repositories,
    /// Blob rows against what refers to them and against the files.
    Blobs,
    /// Files against blob rows.
    Files,
}

/// Everything the passes share.
struct Check<'a> {
    rows: &'a dyn Rows,
    blobs: &'a dyn Blobs,
    options: Options,
    /// [`TALLY`], or less in tests.
    tally: usize,
    progress: &'a mut dyn FnMut(Stage, u64),
    report: Report,
    /// Blobs that rows name and that have no row of their own (R13); the first [`TALLY`].
    without_rows: BTreeSet<Digest>,
    /// Blobs on record as unreferenced, of the store (0) or of a repository, whose count is being put right; the first
    /// [`TALLY`].
    miscounted: BTreeSet<(u64, Digest)>,
}

/// Checks every R and B invariant. `progress` is told the stage and how many things of it are done.
pub fn check(
    rows: &dyn Rows,
    blobs: &dyn Blobs,
    options: Options,
    progress: &mut dyn FnMut(Stage, u64),
) -> Result<Report, Unreadable> {
    Check {
        rows,
        blobs,
        options,
        tally: TALLY,
        progress,
        report: Report::of(options),
        without_rows: BTreeSet::new(),
        miscounted: BTreeSet::new(),
    }
    .run()
}

impl Check<'_> {
    /// Where a row does not decode (R12), what it said is unknown, and nothing that needs all rows
    /// would mean anything: only the blobs that still have rows are looked at (K1).
    fn run(mut self) -> Result<Report, Unreadable> {
        if self.every_row_decodes()? {
            self.names()?;
            self.repositories()?;
            self.blob_rows()?;
            self.housekeeping()?;
            self.files_have_rows()?;
        }
        self.blobs.may_go();
        self.blob_files()?;
        Ok(self.report)
    }
}
