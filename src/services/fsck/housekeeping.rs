//! What is to go, and what can come back: unreferenced blobs (R50), deleted manifests (R51, R52) and removals (R53).

use std::collections::BTreeSet;

use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{
    CollectedKey, DeletedManifestKey, DeletedReferenceKey, RemovalKey, UnreferencedKey, UnreferencedRecord,
};
use pierhead_storage_format::keys::{BlobKey, CounterKey, RepositoryBlobKey, RepositoryKey};
use pierhead_storage_format::records::RepositoryRecord;

use super::fix::{How, RowChange};
use super::report::{ORPHAN_KEPT, R50, R51, R52, R53};
use super::rows::{each, get};
use super::tally::Count;
use super::{Check, TALLY, Unreadable};

/// Says that every blob that belongs there is among the unreferenced.
const LISTED: &str = "unreferenced blobs listed";
/// The counter that numbers deleted manifests.
const DELETED: &str = "deleted manifest";

impl Check<'_> {
    pub(super) fn housekeeping(&mut self) -> Result<(), Unreadable> {
        self.unreferenced_are_so()?;
        if get(self.rows, &CounterKey { name: LISTED.to_owned() })?.is_some() {
            self.every_unreferenced_blob_is_listed()?;
        }
        self.deleted_manifests()?;
        self.deleted_references()?;
        self.removals()
    }

    /// R50 from the side of the list.
    fn unreferenced_are_so(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<UnreferencedKey>(rows, &[], |own, record| {
            let UnreferencedKey { since, repository, digest } = own;
            let found = match &record.name {
                None => get(rows, &BlobKey { digest })?.map(|blob| (blob.references, blob.changed_at)),
                Some(name) => {
                    let there = get(rows, &RepositoryKey { name: name.clone() })?;
                    let blob = get(rows, &RepositoryBlobKey { repository, digest })?;
                    let is_its = there.is_some_and(|there| there.id == repository);
                    blob.filter(|_| is_its).map(|blob| (blob.references, blob.linked_at))
                }
            };
            if found != Some((0, since)) || record.name.is_some() != (repository > 0) {
                let of = record.name.as_deref().unwrap_or("the store");
                let what =
                    format!("blob {digest} of {of} is listed as unreferenced since {since}, which it is not");
                self.report.find(&R50, what);
                let does =
                    format!("take blob {digest} of {of}, since {since}, off the list of unreferenced blobs");
                self.report.fix(&R50, does, How::Rows(vec![RowChange::remove(&own)]));
            }
            Ok(())
        })
    }

    /// R50 from the side of the blobs.
    fn every_unreferenced_blob_is_listed(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<BlobKey>(rows, &[], |BlobKey { digest }, blob| {
            let key = UnreferencedKey::of_store(blob.changed_at, digest);
            if blob.references == 0 && get(rows, &key)?.is_none() {
                let what = format!("blob {digest}: nothing keeps it, and it is not listed to be collected");
                self.unlisted(what, &key, None);
            }
            Ok(())
        })?;
        each::<RepositoryKey>(rows, &[], |RepositoryKey { name }, RepositoryRecord { id: repository, .. }| {
            let prefix = RepositoryBlobKey::prefix(repository);
            each::<RepositoryBlobKey>(rows, &prefix, |RepositoryBlobKey { digest, .. }, blob| {
                let key = UnreferencedKey { since: blob.linked_at, repository, digest };
                if blob.references == 0 && get(rows, &key)?.is_none() {
                    let what =
                        format!("blob {digest} of {name}: no manifest of it names it, and it is not listed");
                    self.unlisted(what, &key, Some(name.clone()));
                }
                Ok(())
            })
        })
    }

    fn unlisted(&mut self, what: String, key: &UnreferencedKey, name: Option<String>) {
        let of = name.as_deref().unwrap_or("the store");
        let does = format!("list blob {} of {of} as unreferenced", key.digest);
        self.report.find(&R50, what);
        // Where the count is wrong, something may keep it, and what puts the count right sees to the list.
        if self.miscounted.len() < TALLY && !self.miscounted.contains(&(key.repository, key.digest)) {
            self.report.fix_by_row(&R50, does, key, &UnreferencedRecord { name });
        }
    }

    /// A count of a blob of the store (0) or of a repository is put right; the next pass lists what is to be listed
    /// then.
    pub(super) fn is_miscounted(&mut self, repository: u64, count: &Count) {
        if count.recorded == 0 && self.miscounted.len() < TALLY {
            self.miscounted.insert((repository, count.digest));
        }
    }

    fn deleted_manifests(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        let next = get(rows, &CounterKey { name: DELETED.to_owned() })?.map_or(0, |counter| counter.next);
        let mut highest = 0;
        each::<DeletedManifestKey>(rows, &[], |DeletedManifestKey { number }, record| {
            highest = highest.max(number);
            let digest = record.digest;
            if get(rows, &DeletedReferenceKey { number, digest })?.is_none() {
                self.report.find(&R51, format!("deleted manifest {number} ({digest}) does not keep itself"));
            }
            if number >= next {
                self.report.find(&R52, format!("deleted manifest {number}: the counter is {next}"));
            }
            Ok(())
        })?;
        each::<DeletedReferenceKey>(rows, &[], |key, _| {
            highest = highest.max(key.number);
            Ok(())
        })?;
        self.raise(DELETED, &R52, next, highest);
        Ok(())
    }

    fn deleted_references(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<DeletedReferenceKey>(rows, &[], |DeletedReferenceKey { number, digest }, _| {
            if get(rows, &DeletedManifestKey { number })?.is_none() {
                let what = format!("deleted manifest {number}, which is not there, keeps {digest}");
                self.report.find_orphan(&R51, ORPHAN_KEPT, what);
            }
            if get(rows, &BlobKey { digest })?.is_none() {
                self.report
                    .find(&R51, format!("deleted manifest {number} keeps {digest}, which has no blob row"));
            }
            Ok(())
        })
    }

    fn removals(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<RemovalKey>(rows, &[], |RemovalKey { repository }, record| {
            let there = get(rows, &RepositoryKey { name: record.name.clone() })?;
            if there.is_none_or(|there| there.id != repository) {
                let what = format!("removal of {}, which is not there", record.name);
                let does = format!("remove what is left: {what}");
                self.report.fix_by_removal(&R53, does, &RemovalKey { repository });
                self.report.find(&R53, what);
            }
            Ok(())
        })
    }

    /// Blobs whose files are known to go; those beyond [`TALLY`] are not told.
    pub(super) fn collected(&self) -> Result<BTreeSet<Digest>, Unreadable> {
        let mut collected = BTreeSet::new();
        each::<CollectedKey>(self.rows, &[], |key, _| {
            if collected.len() < TALLY {
                collected.insert(key.digest);
            }
            Ok(())
        })?;
        Ok(collected)
    }
}
