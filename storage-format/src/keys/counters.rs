//! The key of what a repository holds.

use serde::{Deserialize, Serialize};

use super::{Table, TableKey, number};
use crate::codec::FormatError;
use crate::records::RepositoryCounters;

/// The counters of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RepositoryCountersKey {
    /// [`crate::records::RepositoryRecord::id`].
    pub repository: u64,
}

impl TableKey for RepositoryCountersKey {
    const TABLE: Table = Table::RepositoryCounters;
    type Record = RepositoryCounters;

    fn encode(&self) -> Vec<u8> {
        self.repository.to_be_bytes().to_vec()
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        match number(key)? {
            (repository, []) => Ok(Self { repository }),
            _ => Err(FormatError::Key),
        }
    }
}
