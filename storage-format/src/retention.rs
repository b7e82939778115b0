//! Which versions of a repository go by themselves, and which went. A policy's selectors are in `text` rows
//! ([`crate::identity::keys::TextOwner::Retention`]), since a hundred of them do not fit a record.

use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record};
use crate::digest::Digest;
use crate::keys::{Table, TableKey, number, numbered_key};

/// Log rows kept of a repository: the newest.
pub const LOG_ROWS: u64 = 1000;

/// Bytes of [`RetentionLogRecord::rule`] at most.
pub const RULE: usize = 2048;

/// Bytes of [`RetentionStateRecord::problem`] at most.
pub const PROBLEM: usize = 255;

numbered_key!(
    /// The policy of a repository: one at most.
    RetentionKey, Retention, RetentionRecord, repository, "[`crate::records::RepositoryRecord::id`]."
);
numbered_key!(
    /// What the last run of a repository's policy did.
    RetentionStateKey, RetentionState, RetentionStateRecord, repository, "[`crate::records::RepositoryRecord::id`]."
);

/// What a policy keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionKind {
    /// Versions pushed within so many days.
    Days,
    /// So many versions.
    Versions,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionRecord {
    /// Its number, never used again.
    pub number: u64,
    /// The repository's whole name.
    pub name: String,
    /// What of.
    pub kind: RetentionKind,
    /// How many days or versions.
    pub amount: u64,
    /// When it was made, UTC milliseconds since 1970.
    pub created_at: u64,
    /// When it was last changed.
    pub updated_at: u64,
}

impl Record for RetentionRecord {
    const VERSION: u8 = 1;
}

/// A version that a policy removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetentionLogKey {
    /// [`crate::records::RepositoryRecord::id`].
    pub repository: u64,
    /// From 1, without a gap.
    pub number: u64,
}

impl RetentionLogKey {
    /// What every row of a repository starts with.
    pub fn prefix(repository: u64) -> Vec<u8> {
        repository.to_be_bytes().to_vec()
    }
}

impl TableKey for RetentionLogKey {
    const TABLE: Table = Table::RetentionLog;
    type Record = RetentionLogRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(self.repository);
        key.extend_from_slice(&self.number.to_be_bytes());
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (repository, rest) = number(key)?;
        match number(rest)? {
            (number, []) => Ok(Self { repository, number }),
            _ => Err(FormatError::Key),
        }
    }
}

/// What was removed, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionLogRecord {
    /// The policy's number.
    pub retention: u64,
    /// The tag; at most 128 bytes.
    pub tag: String,
    /// What it named.
    pub digest: Digest,
    /// When it had been pushed last.
    pub pushed_at: u64,
    /// When it was removed.
    pub removed_at: u64,
    /// The rule as SWR spells it, JSON; at most [`RULE`] bytes, selectors that do not fit left out.
    pub rule: String,
}

impl Record for RetentionLogRecord {
    const VERSION: u8 = 1;
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionStateRecord {
    /// The policy's number; 0 before a run.
    pub retention: u64,
    /// When the last run that came to its end began; 0 before one did.
    pub started_at: u64,
    /// When it ended.
    pub ended_at: u64,
    /// Versions it removed.
    pub removed: u64,
    /// Versions it left.
    pub kept: u64,
    /// Versions of those that are exempt.
    pub exempt: u64,
    /// Why it could not do all of it; at most [`PROBLEM`] bytes.
    pub problem: Option<String>,
    /// The number of the next row of the log.
    pub next: u64,
}

impl Record for RetentionStateRecord {
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::MAX_RECORD;
    use crate::digest::Algorithm;
    use crate::keys::MAX_TEXT;

    #[test]
    fn the_longest_records_fit() {
        let digest = Digest::new(Algorithm::Sha512, &[0xff; 64]).expect("length matches");
        let log = RetentionLogRecord {
            retention: u64::MAX,
            tag: "t".repeat(MAX_TEXT),
            digest,
            pushed_at: u64::MAX,
            removed_at: u64::MAX,
            rule: "r".repeat(RULE),
        };
        let state = RetentionStateRecord { problem: Some("p".repeat(PROBLEM)), ..Default::default() };
        let policy = RetentionRecord {
            number: u64::MAX,
            name: "n".repeat(MAX_TEXT),
            kind: RetentionKind::Versions,
            amount: u64::MAX,
            created_at: u64::MAX,
            updated_at: u64::MAX,
        };
        let sizes = [log.encode(), state.encode(), policy.encode()];
        assert!(sizes.iter().all(|bytes| bytes.as_ref().is_ok_and(|bytes| bytes.len() < MAX_RECORD)));
    }
}
