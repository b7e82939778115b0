//! What organisations hold, recounted from their repositories (R40 to R42), and quotas (R43). A store of an older version
//! has none of it before its next start, and then is not judged by it.

use std::collections::HashMap;

use pierhead_storage_format::Digest;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::AccountKey;
use pierhead_storage_format::keys::{
    CounterKey, ManifestKey, OrganisationKey, RepositoryBlobKey, RepositoryKey,
};
use pierhead_storage_format::quota::{
    AccountQuotaKey, OrganisationBlobKey, OrganisationQuotaKey, OrganisationUsageKey, OrganisationUsageRecord,
};

use super::fix::How;
use super::report::{Invariant, R40, R41, R42, R43};
use super::rows::{each, get};
use super::tally::Tally;
use super::{Check, Unreadable};

/// The counter that says that all of it was counted.
const COUNTED: &str = "organisation usage";
/// What is done about any count of it that is wrong.
pub(super) const RECOUNT: &str = "count anew what every organisation and account holds";
/// What the counters of what accounts hold start with, before their ids.
const HELD: &str = "bytes of ";

/// An organisation whose holdings are recounted.
struct Holder<'a> {
    name: &'a str,
    number: u64,
}

impl Check<'_> {
    pub(super) fn holdings(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        let mut names = HashMap::new();
        each::<OrganisationKey>(rows, &[], |OrganisationKey { name }, record| {
            names.insert(record.number, name);
            Ok(())
        })?;
        self.quotas(&names)?;
        if get(rows, &CounterKey { name: COUNTED.to_owned() })?.is_none() {
            return Ok(());
        }
        let mut accounts: HashMap<Id, u64> = HashMap::new();
        each::<OrganisationKey>(rows, &[], |OrganisationKey { name }, record| {
            let held = self.holder(&Holder { name: &name, number: record.number })?;
            if let Some(owner) = record.owner.filter(|_| held > 0) {
                *accounts.entry(owner).or_default() += held;
            }
            Ok(())
        })?;
        self.counters_of(HELD, accounts, &R42)?;
        self.holders_are_there(&names)
    }

    /// R43.
    fn quotas(&mut self, names: &HashMap<u64, String>) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<OrganisationQuotaKey>(rows, &[], |OrganisationQuotaKey { organisation }, _| {
            if !names.contains_key(&organisation) {
                let what = format!("a quota of organisation number {organisation}, which is not there");
                let own = OrganisationQuotaKey { organisation };
                self.report.fix_by_removal(&R43, format!("remove {what}"), &own);
                self.report.find(&R43, what);
            }
            Ok(())
        })?;
        each::<AccountQuotaKey>(rows, &[], |own, _| {
            let what = || format!("a quota of account {}, which is not there", own.account);
            self.needs_or_goes(&AccountKey { id: own.account }, (&R43, &own), what).map(drop)
        })
    }

    /// R40 and R41 are put right together; not where rows may be missing: who held their content is known from these.
    fn miscounted(&mut self, invariant: &Invariant, what: String) {
        self.report.find(invariant, what);
        self.report.fix_that_loses(invariant, RECOUNT.to_owned(), How::Recount);
    }

    /// R40 and R41 of one organisation; the bytes its rows come to.
    fn holder(&mut self, at: &Holder<'_>) -> Result<u64, Unreadable> {
        self.held_has_rows(at)?;
        let (mut after, mut held) = (None, OrganisationUsageRecord::default());
        loop {
            let mut tally = self.tally_of_holder(at, after, &mut held)?;
            self.count_held(at, &mut tally)?;
            for count in tally.wrong() {
                let what = format!(
                    "{} of organisation {}: its repositories hold it {} times, its row says {}",
                    count.digest, at.name, count.counted, count.recorded
                );
                self.miscounted(&R40, what);
            }
            if tally.len() < self.tally {
                break;
            }
            after = tally.last();
        }
        let recorded = get(self.rows, &OrganisationUsageKey { organisation: at.number })?.unwrap_or_default();
        if recorded != held {
            let what = format!(
                "organisation {} holds {} bytes in {} digests, its row says {} in {}",
                at.name, held.bytes, held.blobs, recorded.bytes, recorded.blobs
            );
            self.miscounted(&R41, what);
        }
        Ok(held.bytes)
    }

    /// R40 from the side of the repositories.
    fn held_has_rows(&mut self, at: &Holder<'_>) -> Result<(), Unreadable> {
        let rows = self.rows;
        let mut lacking = |name: &str, digest: Digest, size: u64| -> Result<(), Unreadable> {
            let row = get(rows, &OrganisationBlobKey { organisation: at.number, digest })?;
            if row.is_none_or(|row| row.size != size) {
                let what =
                    format!("{digest} of {name}, {size} bytes, is not what organisation {} holds", at.name);
                self.miscounted(&R40, what);
            }
            Ok(())
        };
        each::<RepositoryKey>(rows, format!("{}/", at.name).as_bytes(), |RepositoryKey { name }, record| {
            let prefix = RepositoryBlobKey::prefix(record.id);
            each::<RepositoryBlobKey>(rows, &prefix, |key, row| lacking(&name, key.digest, row.size))?;
            each::<ManifestKey>(rows, &prefix, |key, row| lacking(&name, key.digest, row.size))
        })
    }

    /// The next digests the organisation holds by its rows, which are added to `held`.
    fn tally_of_holder(
        &self,
        at: &Holder<'_>,
        after: Option<Digest>,
        held: &mut OrganisationUsageRecord,
    ) -> Result<Tally, Unreadable> {
        let mut tally = Tally::default();
        each::<OrganisationBlobKey>(self.rows, &OrganisationBlobKey::prefix(at.number), |key, record| {
            if tally.len() < self.tally && after.is_none_or(|after| after < key.digest) {
                tally.push(key.digest, record.references);
                held.bytes = held.bytes.saturating_add(record.size);
                held.blobs += 1;
            }
            Ok(())
        })?;
        Ok(tally)
    }

    fn count_held(&self, at: &Holder<'_>, tally: &mut Tally) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<RepositoryKey>(rows, format!("{}/", at.name).as_bytes(), |_, record| {
            let prefix = RepositoryBlobKey::prefix(record.id);
            each::<RepositoryBlobKey>(rows, &prefix, |key, _| {
                tally.bump(&key.digest);
                Ok(())
            })?;
            each::<ManifestKey>(rows, &prefix, |key, _| {
                tally.bump(&key.digest);
                Ok(())
            })
        })
    }

    /// R40 and R41 of organisations that are not there: one finding each.
    fn holders_are_there(&mut self, names: &HashMap<u64, String>) -> Result<(), Unreadable> {
        let (rows, mut last) = (self.rows, None);
        each::<OrganisationBlobKey>(rows, &[], |OrganisationBlobKey { organisation, .. }, _| {
            if last.replace(organisation) != Some(organisation) && !names.contains_key(&organisation) {
                let what = format!("organisation number {organisation} holds something, and is not there");
                self.miscounted(&R40, what);
            }
            Ok(())
        })?;
        each::<OrganisationUsageKey>(rows, &[], |OrganisationUsageKey { organisation }, _| {
            if !names.contains_key(&organisation) {
                let what = format!("what organisation number {organisation} holds, which is not there");
                self.miscounted(&R41, what);
            }
            Ok(())
        })
    }
}
