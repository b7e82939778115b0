//! Organisations made before organisations had numbers get one at the start, before anybody is
//! served: rights are bound to numbers (G1), and those without one would share theirs.

use pierhead_storage_format::keys::{OrganisationKey, TableKey};
use pierhead_storage_format::records::OrganisationRecord;

use super::Organisations;
use super::lifecycle::next_number;
use crate::services::error::Error;
use crate::stores::meta::Tx;

/// Organisations looked at together, and numbered in one change.
const BATCH: usize = 500;

impl Organisations {
    /// Gives every organisation without a number one; how many there were. A stop in between leaves
    /// the rest for the next start. Where there are none, nothing is written.
    pub async fn number_old_ones(&self) -> Result<u64, Error> {
        let (mut numbered, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.meta.page::<OrganisationKey>(&[], after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            let is_last = page.len() < BATCH;
            let old: Vec<OrganisationKey> =
                page.into_iter().filter(|(_, record)| record.number == 0).map(|(key, _)| key).collect();
            if !old.is_empty() {
                numbered += self.meta.commit(move |tx| number(tx, old)).await?;
            }
            if is_last {
                return Ok(numbered);
            }
        }
    }
}

fn number(tx: &mut Tx<'_>, keys: Vec<OrganisationKey>) -> Result<u64, Error> {
    let mut numbered = 0;
    for key in keys {
        let Some(record) = tx.get(&key)?.filter(|record| record.number == 0) else { continue };
        let number = next_number(tx)?;
        tx.put(&key, &OrganisationRecord { number, ..record })?;
        numbered += 1;
    }
    Ok(numbered)
}
