//! What the store tells operators about itself.

use super::chain::TornTail;
use super::recovery::IndexOutcome;

/// What opening found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// There was no metadata, as [`super::is_absent`] says, before the store was made.
    pub fresh: bool,
    /// The last change set.
    pub sequence: u64,
    /// Bytes at the journal's end that were never acknowledged, and were cut.
    pub torn_tail: Option<TornTail>,
    /// How the index was brought up.
    pub index: IndexOutcome,
    /// Rows of the index that are to be checked while it serves; `None` if it was checked.
    pub unchecked: Option<u64>,
    /// Snapshots that do not hold; an older one and the journal stood in.
    pub damaged_snapshots: Vec<String>,
    /// Why nothing can be written for now.
    pub read_only: Option<String>,
}

/// The store's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The last change set that is durable.
    pub sequence: u64,
    /// Why nothing can be written for now; tried again about every second.
    pub read_only: Option<String>,
    /// Whether that is for want of space.
    pub no_space: bool,
    /// Whether reads are answered.
    pub readable: bool,
    /// Whether reads are answered from memory: [`IndexOutcome::InMemory`].
    pub in_memory: bool,
    /// Whether the index's rows are still being checked since the start.
    pub checking: bool,
    /// Times the index was rebuilt since the start, at the start included.
    pub rebuilds: u64,
    /// Rows in all tables.
    pub rows: u64,
    /// Groups made durable since the start.
    pub groups: u64,
    /// Change sets in them.
    pub change_sets: u64,
    /// The newest snapshot since the start, by its last change set.
    pub snapshot: Option<u64>,
    /// Why the last snapshot failed; the next segment tries again.
    pub snapshot_error: Option<String>,
}
