//! What keeps a blob of the store, and what nothing keeps or names: the rows the collector goes by change here, in the
//! change set that makes them so.
//!
//! G1: a blob's `references` is the number of rows that keep it: links of repositories, manifests, and what deleted
//!     manifests name.
//! G2: what nothing keeps, and what a repository has and none of its manifests names, has exactly one row among the
//!     unreferenced, under the time since when.

use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{UnreferencedKey, UnreferencedRecord};
use pierhead_storage_format::keys::BlobKey;
use pierhead_storage_format::records::BlobRecord;

use crate::services::error::Error;
use crate::stores::meta::Tx;

/// One row more keeps a blob, which is made one if it was none.
pub fn keep(tx: &mut Tx<'_>, digest: &Digest, size: u64, now: u64) -> Result<(), Error> {
    let key = BlobKey { digest: *digest };
    let before = tx.get(&key)?;
    if let Some(before) = before.as_ref().filter(|before| before.references == 0) {
        tx.delete(&UnreferencedKey::of_store(before.changed_at, *digest))?;
    }
    let references = before.map_or(0, |record| record.references) + 1;
    Ok(tx.put(&key, &BlobRecord { size, references, changed_at: now })?)
}

/// One row less keeps a blob.
pub fn release(tx: &mut Tx<'_>, digest: &Digest, now: u64) -> Result<(), Error> {
    let key = BlobKey { digest: *digest };
    let Some(record) = tx.get(&key)?.filter(|record| record.references > 0) else { return Ok(()) };
    let references = record.references - 1;
    if references == 0 {
        tx.put(&UnreferencedKey::of_store(now, *digest), &UnreferencedRecord::default())?;
    }
    Ok(tx.put(&key, &BlobRecord { references, changed_at: now, ..record })?)
}
