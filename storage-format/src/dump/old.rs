//! Rows as older dumps spell them. A version of the dump that is no longer written has here what
//! differed from the one after it.

use serde::{Deserialize, Serialize};

use super::{NOT_A_ROW, Row};
use crate::codec::{FormatError, Record};
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
        _ => None,
    }
}

/// Version 1: organisations had neither number nor owner.
fn organisation(line: &str) -> Result<Row, FormatError> {
    #[derive(Serialize, Deserialize)]
    struct Line {
        table: String,
        key: OrganisationKey,
        record: OrganisationV1,
    }
    let read: Line = serde_json::from_str(line).map_err(|_| NOT_A_ROW)?;
    if serde_json::to_string(&read).ok().as_deref() != Some(line) {
        return Err(NOT_A_ROW);
    }
    let key = read.key.encode();
    OrganisationKey::decode(&key)?;
    let value = OrganisationRecord::from(read.record).encode()?;
    Ok(Row { table: Table::Organisation, key, value })
}
