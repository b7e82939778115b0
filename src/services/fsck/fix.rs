//! What `fsck --repair` may do about findings. A fix is written down where the finding is, so that the two cannot
//! disagree; who applies it is `maintenance::repair`.
//!
//! - X1: a fix makes derived rows agree with what they are derived from, drops rows that say nothing any more, or
//!   moves a file; none of them changes what clients see of something that is whole.
//! - X2: a fix that would give up a row or a count because another row is missing *loses* if that other row was lost:
//!   it is held back once [`Report::has_losses`] said that rows may be missing, until the end: a pass may remove what
//!   said so ([`Plan`]), or mend it, which the next repair sees. What mirrors a row that is not there at all says so itself, and has no fix.
//! - X3: memory is bounded: fixes are kept until they change [`MAX_ROWS`] rows, of which the last may have as many as one
//!   manifest names; the next pass finds the rest.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use pierhead_storage_format::Digest;
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::{Table, TableKey};

use super::Report;
use super::report::R13;

/// Rows that the fixes of one pass change, those that lose something and the others: then no more are kept.
pub const MAX_ROWS: usize = 100_000;

/// Something that can be done about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// The invariant that holds again then.
    pub id: &'static str,
    /// In words: `set the counters of acme/web to …`.
    pub does: String,
    /// How.
    pub how: How,
    /// Whether it loses something if rows are missing (X2).
    pub loses: bool,
}

impl Fix {
    /// About how many rows it changes, 1 at least.
    pub(super) fn rows(&self) -> usize {
        match &self.how {
            How::Rows(rows) => rows.len().max(1),
            _ => 1,
        }
    }
}

/// How something is put right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// These rows are set or removed, in one change set.
    Rows(Vec<RowChange>),
    /// The references of a blob of a repository, which is listed as unreferenced with 0.
    RepositoryReferences {
        /// The repository's number.
        repository: u64,
        /// Its whole name.
        name: String,
        /// The blob.
        digest: Digest,
        /// So many.
        to: u64,
    },
    /// The same of a blob of the store.
    BlobReferences {
        /// The blob.
        digest: Digest,
        /// So many.
        to: u64,
    },
    /// The row of a blob is made anew, if the bytes of its file are its own.
    BlobRow {
        /// The blob.
        digest: Digest,
        /// So many rows keep it.
        references: u64,
    },
    /// What organisations hold is counted anew, all of it.
    Recount,
    /// A blob's file is read: wrong bytes go to quarantine, and are noted as the scrub notes them; a missing file is.
    Blob {
        /// The blob.
        digest: Digest,
        /// Bytes it should have.
        size: u64,
    },
    /// A file that no row names goes to quarantine.
    SetAside {
        /// The blob it would be, or be the outboard of.
        digest: Digest,
        /// Whether it is an outboard.
        outboard: bool,
    },
    /// The outboard of a blob is made anew, if the blob's bytes are right.
    Outboard {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
}

/// A row as it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowChange {
    /// Its table.
    pub table: Table,
    /// Its key in the table.
    pub key: Vec<u8>,
    /// Its record; it is removed if `None`.
    pub value: Option<Vec<u8>>,
}

impl RowChange {
    /// Sets a row. `None` if the record is longer than a row can be, which none of ours is.
    pub fn put<K: TableKey>(key: &K, record: &K::Record) -> Option<Self> {
        Some(Self { table: K::TABLE, key: key.encode(), value: Some(record.encode().ok()?) })
    }

    /// Removes a row.
    pub fn remove<K: TableKey>(key: &K) -> Self {
        Self { table: K::TABLE, key: key.encode(), value: None }
    }
}

/// Chooses what the passes of one repair do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Whether any report said that rows may be missing.
    has_losses: bool,
    /// What the last report said of them, but for what was chosen to mend it: id and words.
    losses: Vec<(&'static str, String)>,
    /// Fixes that were chosen, as hashes.
    tried: HashSet<u64>,
    /// What the last pass might have done, and was not chosen for that.
    held_back: Vec<Fix>,
}

impl Plan {
    /// Takes note of what a report says of lost rows.
    pub fn heed(&mut self, report: &Report) {
        self.has_losses |= report.has_losses();
        self.losses = report.all_losses().map(|(id, what)| (id, what.to_owned())).collect();
    }

    /// Those that may be done, each once.
    pub fn choose(&mut self, fixes: Vec<Fix>) -> Vec<Fix> {
        let (held_back, mut chosen): (Vec<Fix>, Vec<Fix>) =
            fixes.into_iter().partition(|fix| fix.loses && self.has_losses);
        self.held_back = held_back;
        chosen.retain(|fix| self.tried.insert(name(fix)));
        let made: HashSet<String> = chosen.iter().filter_map(row_made).collect();
        self.losses.retain(|(id, what)| *id != R13.id || !what.split(' ').any(|word| made.contains(word)));
        chosen
    }

    /// What was not chosen last since rows may be missing.
    pub fn held_back(&self) -> &[Fix] {
        &self.held_back
    }

    /// The findings that say so still, beside what was chosen last: the first of each id.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let mut told = HashSet::new();
        let losses = self.losses.iter().map(|(id, what)| (*id, what.as_str()));
        losses.filter(move |(id, _)| told.insert(*id))
    }
}

/// The blob whose lost row a fix makes anew, as findings name it.
fn row_made(fix: &Fix) -> Option<String> {
    match fix.how {
        How::BlobRow { digest, .. } => Some(digest.to_string()),
        _ => None,
    }
}

/// Tells fixes apart in a few bytes, by what they do: in words two of them may be the same.
fn name(fix: &Fix) -> u64 {
    let mut hasher = DefaultHasher::new();
    (fix.id, &fix.how).hash(&mut hasher);
    hasher.finish()
}
