//! The key of what a repository holds.

use super::numbered_key;
use crate::records::RepositoryCounters;

numbered_key!(
    /// The counters of a repository.
    RepositoryCountersKey, RepositoryCounters, RepositoryCounters, repository, "[`crate::records::RepositoryRecord::id`]."
);
