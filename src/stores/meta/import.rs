//! A new store from rows: what import needs. One snapshot holds them all; an empty segment goes
//! on from it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pierhead_storage_format::journal::{Position, Tag};
use pierhead_storage_format::keys::Table;
use pierhead_storage_format::paths;

use super::chain::{self, Chain};
use super::error::TruthError;
use super::journal::Journal;
use super::snapshots;
use crate::stores::disk::Disk;

const SEGMENT_BYTES: u64 = 16 << 20;

/// A row to import: table, key in the table, record.
pub type ImportRow = (Table, Vec<u8>, Vec<u8>);

/// Makes the metadata of a store that has none, at change set `sequence` (that of the dump; at
/// least 1), from rows in the order of table and key, none twice. Durable when it returns; how
/// many rows. An error of `rows` ends it; what was written then is removed by [`super::Meta::open`].
/// Rows are not decoded: check them first.
pub fn write_store(
    disk: &Arc<dyn Disk>,
    sequence: u64,
    rows: impl IntoIterator<Item = Result<ImportRow, TruthError>>,
) -> Result<u64, TruthError> {
    for folder in [paths::JOURNAL, paths::SNAPSHOT].map(Path::new) {
        disk.create_dir(folder).map_err(TruthError::io("making", folder))?;
    }
    let index = Path::new(paths::INDEX);
    let has_index = !disk.list(index).map_err(TruthError::io("listing", index))?.is_empty();
    if has_index || !chain::names(disk.as_ref())?.is_empty() || !snapshots::names(disk.as_ref())?.is_empty() {
        return Err(TruthError::NotEmpty);
    }
    let never = AtomicBool::new(false);
    let mut rows = rows.into_iter();
    let position = Position { sequence: sequence.max(1), tag: Tag::default() };
    // The segment comes second: a snapshot without one is reported as damage, so that an import
    // that was cut short is never taken for a store.
    let sums = snapshots::write(disk.as_ref(), position, &never, &mut |each| {
        rows.by_ref().try_for_each(|row| row.and_then(|(table, key, value)| each(table, &key, &value)))
    })?;
    let none = Chain { segments: Vec::new() };
    let mut journal = Journal::new(Arc::clone(disk), SEGMENT_BYTES, position, &none, None)?;
    let journal_folder = Path::new(paths::JOURNAL);
    journal.ready().map_err(TruthError::io("starting", journal_folder))?;
    Ok(sums.total())
}
