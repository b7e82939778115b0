//! Rows as older dumps spell them. A version of the dump that is no longer written has here what
//! differed from the one after it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{NOT_A_ROW, Row};
use crate::codec::{FormatError, Record};
use crate::identity::keys::RepositorySettingsKey;
use crate::identity::records::{RepositorySettingsRecord, RepositorySettingsV1};
use crate::keys::{OrganisationKey, Table, TableKey};
use crate::records::{OrganisationRecord, OrganisationV1};

/// Dumps of version 1 know the tables up to `manifest-reference`.
pub(super) const TABLES_OF_1: usize = 12;
/// Dumps of version 2 know the tables up to `repository-settings`.
pub(super) const TABLES_OF_2: usize = 27;
/// Dumps of version 3 know the tables up to `account-day`.
pub(super) const TABLES_OF_3: usize = 30;

/// The row of a line, if dumps of `version` spell rows of `table` in another way than today's.
pub(super) fn row(version: u32, table: Table, line: &str) -> Option<Result<Row, FormatError>> {
    match (version, table) {
        (1, Table::Organisation) => Some(organisation(line)),
        (2 | 3, Table::RepositorySettings) => Some(settings(line)),
        _ => None,
    }
}

/// Version 1: organisations had neither number nor owner.
fn organisation(line: &str) -> Result<Row, FormatError> {
    let (key, record) = read::<OrganisationKey, OrganisationV1>(line)?;
    OrganisationKey::decode(&key)?;
    Ok(Row { table: Table::Organisation, key, value: OrganisationRecord::from(record).encode()? })
}

/// Versions 2 and 3: every tag could move.
fn settings(line: &str) -> Result<Row, FormatError> {
    let (key, record) = read::<RepositorySettingsKey, RepositorySettingsV1>(line)?;
    RepositorySettingsKey::decode(&key)?;
    Ok(Row { table: Table::RepositorySettings, key, value: RepositorySettingsRecord::from(record).encode()? })
}

/// Encoded key and record of a line that is spelled exactly so.
fn read<K, R>(line: &str) -> Result<(Vec<u8>, R), FormatError>
where
    K: TableKey + Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    #[derive(Serialize, Deserialize)]
    struct Line<K, R> {
        table: String,
        key: K,
        record: R,
    }
    let read: Line<K, R> = serde_json::from_str(line).map_err(|_| NOT_A_ROW)?;
    if serde_json::to_string(&read).ok().as_deref() != Some(line) {
        return Err(NOT_A_ROW);
    }
    Ok((read.key.encode(), read.record))
}
