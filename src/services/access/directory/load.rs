//! Reading the view from the store, and keeping it in step.

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::{Table, TableKey};
use pierhead_storage_format::rows::{ForTable, for_table};

use super::{Directory, FollowError, TABLES};
use crate::stores::meta::{Meta, MetaError};

/// Rows read at a time.
const BATCH: usize = 4096;

/// Why who there is cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The metadata cannot be read.
    #[error("cannot read who there is: {0}")]
    Read(#[from] MetaError),
    /// A row that does not parse.
    #[error(transparent)]
    Row(#[from] FollowError),
}

impl Directory {
    /// Reads all of it. Blocks.
    pub fn load(meta: &Meta) -> Result<Self, LoadError> {
        let mut directory = Self::default();
        for table in TABLES {
            for_table(table, Rows { meta, table, directory: &mut directory })?;
        }
        Ok(directory)
    }
}

struct Rows<'a> {
    meta: &'a Meta,
    table: Table,
    directory: &'a mut Directory,
}

impl ForTable for Rows<'_> {
    type Output = Result<(), LoadError>;

    fn call<K: TableKey>(self) -> Self::Output {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.meta.page::<K>(&[], after.as_deref(), BATCH)?;
            for (key, record) in &page {
                let key = key.encode();
                // It came from there, so it fits.
                let value = record.encode().unwrap_or_default();
                self.directory.apply(self.table, &key, Some(&value))?;
                after = Some(key);
            }
            if page.len() < BATCH {
                return Ok(());
            }
        }
    }
}
