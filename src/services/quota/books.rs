//! What an organisation holds, inside a transaction (Q1, Q2): rows R40 to R42 of `FORMAT.md`, changed in the change set
//! that changes what they count. A digest costs a read and a write; the sums are written once, at the end, where the
//! quotas are looked at, if the sums grew.

use pierhead_storage_format::Digest;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::AccountKey;
use pierhead_storage_format::keys::{CounterKey, OrganisationKey};
use pierhead_storage_format::quota::{
    AccountQuotaKey, OrganisationBlobKey, OrganisationBlobRecord, OrganisationQuotaKey, OrganisationUsageKey,
    OrganisationUsageRecord,
};
use pierhead_storage_format::records::{CounterRecord, OrganisationRecord};

use super::full::{Full, Whose};
use crate::services::error::Error;
use crate::stores::meta::Tx;

/// What the counter of what an account's organisations hold starts with, before its id.
pub const HELD: &str = "bytes of ";

/// An organisation inside one transaction. [`Books::settle`] writes its sums.
pub struct Books {
    name: String,
    record: Option<OrganisationRecord>,
    /// Digests and bytes that came, and that went.
    came: OrganisationUsageRecord,
    went: OrganisationUsageRecord,
}

/// The counter of what the organisations of an account hold.
pub fn held_by(account: Id) -> CounterKey {
    CounterKey { name: format!("{HELD}{account}") }
}

impl Books {
    /// Those of the organisation of this name.
    pub fn of(name: &str) -> Self {
        let nothing = OrganisationUsageRecord::default();
        Self { name: name.to_owned(), record: None, came: nothing, went: nothing }
    }

    /// A repository of it holds this once more.
    pub fn keep(&mut self, tx: &mut Tx<'_>, digest: &Digest, size: u64) -> Result<(), Error> {
        let key = self.key(tx, digest)?;
        let record = match tx.get(&key)? {
            Some(record) => OrganisationBlobRecord { references: record.references + 1, ..record },
            None => {
                self.came.bytes += size;
                self.came.blobs += 1;
                OrganisationBlobRecord { size, references: 1 }
            }
        };
        Ok(tx.put(&key, &record)?)
    }

    /// A repository of it holds this once less.
    pub fn release(&mut self, tx: &mut Tx<'_>, digest: &Digest) -> Result<(), Error> {
        let key = self.key(tx, digest)?;
        let Some(record) = tx.get(&key)? else { return Ok(()) };
        if record.references > 1 {
            let references = record.references - 1;
            return Ok(tx.put(&key, &OrganisationBlobRecord { references, ..record })?);
        }
        self.went.bytes += record.size;
        self.went.blobs += 1;
        Ok(tx.delete(&key)?)
    }

    /// Writes the sums, unless they pass a quota.
    pub fn settle(self, tx: &mut Tx<'_>) -> Result<(), Error> {
        self.sum(tx, true)
    }

    /// Writes the sums, whatever the quotas say: what was there before is not refused.
    pub fn count(self, tx: &mut Tx<'_>) -> Result<(), Error> {
        self.sum(tx, false)
    }

    fn sum(self, tx: &mut Tx<'_>, guarded: bool) -> Result<(), Error> {
        let Self { name, record: Some(record), came, went } = self else { return Ok(()) };
        if came == went {
            return Ok(());
        }
        let key = OrganisationUsageKey { organisation: record.number };
        let before = tx.get(&key)?.unwrap_or_default();
        let bytes = (before.bytes + came.bytes).saturating_sub(went.bytes);
        let blobs = (before.blobs + came.blobs).saturating_sub(went.blobs);
        if guarded && bytes > before.bytes {
            let quota = tx.get(&OrganisationQuotaKey { organisation: record.number })?;
            within(Whose::Organisation(name), quota.map(|quota| quota.bytes), before.bytes, bytes)?;
        }
        if blobs == 0 {
            tx.delete(&key)?;
        } else {
            tx.put(&key, &OrganisationUsageRecord { bytes, blobs })?;
        }
        record.owner.map_or(Ok(()), |owner| sum_of_account(tx, owner, (before.bytes, bytes), guarded))
    }

    fn key(&mut self, tx: &mut Tx<'_>, digest: &Digest) -> Result<OrganisationBlobKey, Error> {
        let organisation = match &self.record {
            Some(record) => record.number,
            None => {
                let record = tx.get(&OrganisationKey { name: self.name.clone() })?;
                let record = record.ok_or(Error::Bug("a repository without its organisation"))?;
                self.record.insert(record).number
            }
        };
        Ok(OrganisationBlobKey { organisation, digest: *digest })
    }
}

fn within(whose: Whose, quota: Option<u64>, used: u64, wanted: u64) -> Result<(), Error> {
    match quota {
        Some(quota) if wanted > quota => {
            let needed = wanted - used;
            Err(Error::Quota(Box::new(Full { whose, quota, used, reserved: 0, needed })))
        }
        _ => Ok(()),
    }
}

/// An organisation of the account held so much `before`, and holds so much `now`.
fn sum_of_account(tx: &mut Tx<'_>, owner: Id, (before, now): (u64, u64), guarded: bool) -> Result<(), Error> {
    if before == now {
        return Ok(());
    }
    let key = held_by(owner);
    let used = tx.get(&key)?.map_or(0, |record| record.next);
    let wanted = (used + now).saturating_sub(before);
    if guarded && wanted > used {
        let quota = tx.get(&AccountQuotaKey { account: owner })?.map(|quota| quota.bytes);
        if quota.is_some_and(|quota| wanted > quota) {
            let name = tx.get(&AccountKey { id: owner })?.map_or_else(|| owner.to_string(), |a| a.name);
            within(Whose::Account(name), quota, used, wanted)?;
        }
    }
    Ok(tx.put(&key, &CounterRecord { next: wanted })?)
}

/// Takes out what is said of an organisation that goes, in which nothing is left.
pub fn forget_organisation(tx: &mut Tx<'_>, organisation: u64) -> Result<(), Error> {
    tx.delete(&OrganisationUsageKey { organisation })?;
    Ok(tx.delete(&OrganisationQuotaKey { organisation })?)
}

/// Takes out what is said of an account that goes, which owns no organisation.
pub fn forget_account(tx: &mut Tx<'_>, account: Id) -> Result<(), Error> {
    tx.delete(&held_by(account))?;
    Ok(tx.delete(&AccountQuotaKey { account })?)
}

/// An account that is new gets an organisation that may hold something.
pub fn set_held(tx: &mut Tx<'_>, account: Id, organisation: u64) -> Result<(), Error> {
    match tx.get(&OrganisationUsageKey { organisation })? {
        Some(usage) => Ok(tx.put(&held_by(account), &CounterRecord { next: usage.bytes })?),
        None => Ok(()),
    }
}
