//! Work on a data directory that nobody serves.

use std::io::{Read, Write};
use std::path::Path;

use serde::Serialize;

use super::StartError;
use crate::stores::lock::DataLock;

/// What a check of a data directory found.
#[derive(Debug, Default, Serialize)]
pub struct FsckReport {
    /// What is wrong, one sentence each; none in a sound store.
    pub findings: Vec<String>,
    /// How many of each kind were looked at.
    pub checked: Vec<(String, u64)>,
}

/// Checks the data directory, which no other process may be using. `deep` reads every byte.
pub fn fsck(data: &Path, deep: bool) -> Result<FsckReport, StartError> {
    let _lock = DataLock::existing(data)?;
    let _ = deep;
    Err(StartError::NotBuilt("fsck"))
}

/// Writes the metadata, engine-neutral, to `output`; gives the number of rows.
pub fn export(data: &Path, output: &mut dyn Write) -> Result<u64, StartError> {
    let _lock = DataLock::existing(data)?;
    let _ = output;
    Err(StartError::NotBuilt("export-metadata"))
}

/// Puts exported metadata into a data directory that has none; gives the number of rows.
pub fn import(data: &Path, input: &mut dyn Read) -> Result<u64, StartError> {
    let _lock = DataLock::create(data)?;
    let _ = input;
    Err(StartError::NotBuilt("import-metadata"))
}
