//! What was used: pulls of repositories, and what accounts pulled, pushed and stored on each day. Rows lag what they
//! count by seconds, and lose those in a crash: nothing else depends on them.

use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record};
use crate::identity::Id;
use crate::keys::{Table, TableKey, number, numbered_key};

numbered_key!(
    /// Pulls of a repository.
    RepositoryPullsKey, RepositoryPulls, RepositoryPullsRecord, repository, "[`crate::records::RepositoryRecord::id`]."
);

/// How often a repository was pulled from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryPullsRecord {
    /// Images pulled.
    pub pulls: u64,
    /// The last time, UTC milliseconds since 1970.
    pub pulled_at: u64,
}

impl Record for RepositoryPullsRecord {
    const VERSION: u8 = 1;
}

/// A day of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AccountDayKey {
    /// The account.
    pub account: Id,
    /// Days since 1970-01-01, UTC.
    pub day: u64,
}

impl AccountDayKey {
    /// What every day of an account starts with.
    pub fn prefix(account: Id) -> Vec<u8> {
        account.as_bytes().to_vec()
    }
}

impl TableKey for AccountDayKey {
    const TABLE: Table = Table::AccountDay;
    type Record = AccountDayRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(self.account);
        key.extend_from_slice(&self.day.to_be_bytes());
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (account, rest) = Id::read_key(key)?;
        match number(rest)? {
            (day, []) => Ok(Self { account, day }),
            _ => Err(FormatError::Key),
        }
    }
}

/// What was done on that day with the repositories of that account, by whomever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountDayRecord {
    /// Images pulled.
    pub pulls: u64,
    /// Bytes of manifests and blobs that were sent.
    pub pulled: u64,
    /// Manifests pushed.
    pub pushes: u64,
    /// Bytes its repositories held when they were last looked at on that day, each digest once a repository.
    pub stored: Option<u64>,
}

impl Record for AccountDayRecord {
    const VERSION: u8 = 1;
}
