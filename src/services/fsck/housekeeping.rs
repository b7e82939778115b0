//! What is to go, and what can come back: unreferenced blobs (R50), deleted manifests (R51, R52) and removals (R53).

use std::collections::BTreeSet;

use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{
    CollectedKey, DeletedManifestKey, DeletedReferenceKey, RemovalKey, UnreferencedKey,
};
use pierhead_storage_format::keys::{BlobKey, CounterKey, RepositoryBlobKey, RepositoryKey};

use super::report::{R50, R51, R52, R53};
use super::rows::{each, get};
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
        each::<UnreferencedKey>(rows, &[], |UnreferencedKey { since, repository, digest }, record| {
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
                self.report.find(&R50, what);
            }
            Ok(())
        })?;
        each::<RepositoryBlobKey>(rows, &[], |RepositoryBlobKey { repository, digest }, blob| {
            let key = UnreferencedKey { since: blob.linked_at, repository, digest };
            if blob.references == 0 && get(rows, &key)?.is_none() {
                let what =
                    format!("blob {digest} of repository number {repository}: unnamed, and not listed");
                self.report.find(&R50, what);
            }
            Ok(())
        })
    }

    fn deleted_manifests(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        let next = get(rows, &CounterKey { name: DELETED.to_owned() })?.map_or(0, |counter| counter.next);
        each::<DeletedManifestKey>(rows, &[], |DeletedManifestKey { number }, record| {
            let digest = record.digest;
            if get(rows, &DeletedReferenceKey { number, digest })?.is_none() {
                self.report.find(&R51, format!("deleted manifest {number} ({digest}) does not keep itself"));
            }
            if number >= next {
                self.report.find(&R52, format!("deleted manifest {number}: the counter is {next}"));
            }
            Ok(())
        })
    }

    fn deleted_references(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<DeletedReferenceKey>(rows, &[], |DeletedReferenceKey { number, digest }, _| {
            if get(rows, &DeletedManifestKey { number })?.is_none() {
                self.report
                    .find(&R51, format!("deleted manifest {number}, which is not there, keeps {digest}"));
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
                self.report.find(&R53, format!("removal of {}, which is not there", record.name));
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
