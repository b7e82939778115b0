//! `fsck --repair`: does what is safe about findings, of a store that is open and that nobody else uses.
//!
//! Words: a *fix* is what a check says can be done; a *pass* is a check of rows and files and the fixes it has; a *step*
//! is a fix that was done.
//!
//! - P1: derived rows are made of what they are derived from; rows that say nothing go; files are moved, never
//!   unlinked. Nothing is done where it is not known what all rows are, and what would lose something if rows were
//!   missing is not done while a finding says that some are.
//! - P2: no blob is condemned, and no outboard made, before the blob's bytes were hashed by its digest. What cannot be
//!   read stays where it is.
//! - P3: each step is whole or not begun, and the next pass is a check: a repair that was killed is done by the same
//!   command, run again.
//!
//! Steps: a wait until every row of the index was checked; rows, some thousands a change set (durable when it is answered); the recount of what organisations
//! hold, which a start finishes (`FORMAT.md` §8.15); then files: a rename and the `fsync` of both folders, after it
//! the change set with the `damage` row. A stop between the two leaves a blob without a file and without that row: the
//! next repair writes it. Passes go on until one finds nothing that was not tried.
//!
//! Must not open the store: that is `wiring`'s, as a start does it, with what that clears.

use std::sync::Arc;

use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{UnreferencedKey, UnreferencedRecord};
use pierhead_storage_format::keys::{BlobKey, RepositoryBlobKey};
use pierhead_storage_format::records::BlobRecord;
use pierhead_storage_format::scrub::{DamageKey, DamageKind, DamageRecord};

use super::check::{CheckError, check_rows};
use super::permitted;
use super::steps::{Held, Steps};
use crate::causes;
use crate::seams::{Clock, tasks};
use crate::services::access::{Access, Permit};
use crate::services::error::Error;
use crate::services::fsck::{DiskBlobs, Fix, How, Options, Plan, Report, Stage};
use crate::services::quota::Quotas;
use crate::stores::blobs::{BlobError, Blobs, Looked};
use crate::stores::disk::Disk;
use crate::stores::meta::{Meta, MetaError, Tx};

/// Passes at most; the fixes of each are bounded (`fsck`, X3).
const PASSES: usize = 64;
/// Rows of one change set, unless one fix alone has more: most are some 100 bytes long.
const BATCH: usize = 2000;

/// Why a repair ended before its end. What it did until then is done.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Not allowed, or the metadata cannot be changed.
    #[error("the repair was not finished")]
    Failed(#[from] Error),
    /// The store cannot be read.
    #[error("the repair was not finished")]
    Unchecked(#[from] CheckError),
}

/// The store, open.
pub struct Workshop {
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// Rows.
    pub meta: Meta,
    /// Files.
    pub blobs: Blobs,
    /// Who may.
    pub access: Access,
    /// Counts what organisations hold.
    pub quotas: Quotas,
    /// Tells when something was found.
    pub clock: Arc<dyn Clock>,
}

/// Repairs what `before` found, and what comes to light on the way. `before` may have hashed blobs; passes do not.
/// What was done is in `steps`, also of a repair that fails.
pub async fn repair(
    permit: &Permit,
    shop: &Workshop,
    (before, steps): (&Report, &mut Steps),
    progress: &mut dyn FnMut(Stage, u64),
) -> Result<(), RepairError> {
    permitted(permit)?;
    // An index that is found wrong is made anew first.
    let meta = shop.meta.clone();
    tasks::blocking(move || meta.wait_until_checked()).await.map_err(Error::from)?.map_err(Error::from)?;
    let (mut plan, options) = (Plan::default(), Options { deep: false, fixes: true });
    let hashed = |fix: &&Fix| matches!(fix.how, How::Blob { .. } | How::Outboard { .. });
    let mut fixes: Vec<Fix> = before.fixes.iter().filter(hashed).cloned().collect();
    plan.heed(before);
    for _ in 0..PASSES {
        let checked = check_rows(&shop.disk, (DiskBlobs::open, &|| true), options, progress)?;
        let Some(report) = checked.filter(|report| !report.has_unknown_rows()) else { break };
        plan.heed(&report);
        fixes.extend(report.fixes);
        let chosen = plan.choose(std::mem::take(&mut fixes));
        steps.held = Held::of(&plan);
        if chosen.is_empty() {
            break;
        }
        shop.pass(permit, chosen, steps).await?;
    }
    Ok(())
}

impl Workshop {
    /// Rows first: what is counted and listed is right before files are looked at.
    async fn pass(&self, permit: &Permit, fixes: Vec<Fix>, steps: &mut Steps) -> Result<(), Error> {
        let (rows, others): (Vec<Fix>, Vec<Fix>) = fixes.into_iter().partition(|fix| {
            matches!(fix.how, How::Rows(_) | How::RepositoryReferences { .. } | How::BlobReferences { .. })
        });
        for batch in batches(rows) {
            let (changes, now) = (batch.clone(), self.clock.now_ms());
            self.access
                .commit(&self.meta, permit, move |tx| {
                    changes.iter().try_for_each(|fix| set_rows(tx, &fix.how, now).map_err(Error::from))
                })
                .await?;
            batch.into_iter().for_each(|fix| steps.add(fix.id, fix.does));
        }
        for fix in others {
            match self.one(permit, &fix).await {
                Ok(Some(did)) => steps.add(fix.id, did),
                Ok(None) => {}
                Err(Error::Store(error)) => {
                    steps.fail(fix.id, format!("{}: {}", fix.does, causes::chain(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What was done, if anything was to be.
    async fn one(&self, permit: &Permit, fix: &Fix) -> Result<Option<String>, Error> {
        match fix.how {
            How::Recount => {
                self.quotas.count_again().await?;
                Ok(Some(fix.does.clone()))
            }
            How::BlobRow { digest, references } => {
                let made = self.blob_row(permit, digest, references).await?;
                Ok(made.then(|| fix.does.clone()))
            }
            How::Blob { digest, size } => self.blob(permit, digest, size).await,
            How::SetAside { digest, outboard } => {
                let moved = self.blocking(move |blobs| blobs.set_extra_aside(&digest, outboard)).await?;
                Ok(moved.map(|to| format!("{}: it is {to}", fix.does)))
            }
            How::Outboard { digest, size } => {
                let made = self.blocking(move |blobs| blobs.make_outboard(&digest, size)).await?;
                match made {
                    true => Ok(Some(fix.does.clone())),
                    false => self.blob(permit, digest, size).await,
                }
            }
            How::Rows(_) | How::RepositoryReferences { .. } | How::BlobReferences { .. } => Ok(None),
        }
    }

    /// Whether the row of a blob that had none was made. A file with wrong bytes is left: a push replaces it.
    async fn blob_row(&self, permit: &Permit, digest: Digest, references: u64) -> Result<bool, Error> {
        let is_sound = self.blocking(move |blobs| blobs.prove(&digest, &|| true)).await?;
        let size = self.blobs.size_on_disk(&digest).await.map_err(Error::Store)?;
        let (Some(true), Some(size)) = (is_sound, size) else { return Ok(false) };
        let changed_at = self.clock.now_ms();
        let change = move |tx: &mut Tx<'_>| {
            let key = BlobKey { digest };
            if tx.get(&key)?.is_some() {
                return Ok(false);
            }
            tx.put(&key, &BlobRecord { size, references, changed_at })?;
            Ok(true)
        };
        self.access.commit(&self.meta, permit, change).await
    }

    /// As the scrub does it: wrong bytes go to quarantine, then it is noted.
    async fn blob(&self, permit: &Permit, digest: Digest, size: u64) -> Result<Option<String>, Error> {
        let looked = self.blocking(move |blobs| look(blobs, &digest, size)).await?;
        let there = self.blobs.size_on_disk(&digest).await.map_err(Error::Store)?;
        let found_at = self.clock.now_ms();
        if there.is_some() && self.blobs.quarantine_wrong(&digest).await.map_err(Error::Store)? {
            let parts = match looked {
                Looked::Suspect(parts) => parts.into_iter().map(|part| (part.start, part.end)).collect(),
                _ => Vec::new(),
            };
            let damage = DamageRecord { found_at, kind: DamageKind::Damaged, size, parts };
            self.note(permit, digest, Some(damage)).await?;
            return Ok(Some(format!(
                "moved blob {digest}, whose bytes are wrong, to quarantine/, and noted it as damaged: push one of its \
                 images again"
            )));
        }
        if there.is_none() {
            let damage = DamageRecord { found_at, kind: DamageKind::Missing, size, parts: Vec::new() };
            self.note(permit, digest, Some(damage)).await?;
            return Ok(Some(format!("noted blob {digest} as missing: push one of its images again")));
        }
        let was_noted = self.meta.get(&DamageKey { digest })?.is_some();
        if was_noted && there == Some(size) {
            self.note(permit, digest, None).await?;
            return Ok(Some(format!("removed the note that blob {digest} is damaged: its bytes are right")));
        }
        Ok(None)
    }

    /// What the scrub lists of a blob; nothing if it is `None`, or if nobody misses the blob.
    async fn note(&self, permit: &Permit, digest: Digest, found: Option<DamageRecord>) -> Result<(), Error> {
        let change = move |tx: &mut Tx<'_>| {
            let key = DamageKey { digest };
            let is_missed = tx.get(&BlobKey { digest })?.is_some();
            match found.filter(|_| is_missed) {
                Some(damage) => Ok(tx.put(&key, &damage)?),
                None => Ok(tx.delete(&key)?),
            }
        };
        self.access.commit(&self.meta, permit, change).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Blobs) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, Error> {
        let blobs = self.blobs.clone();
        tasks::blocking(move || work(&blobs)).await?.map_err(Error::Store)
    }
}

/// Looks at all of a blob, for the parts that differ. Blocks.
fn look(blobs: &Blobs, digest: &Digest, size: u64) -> Result<Looked, BlobError> {
    let mut look = match blobs.look_at(digest, size)? {
        Ok(look) => look,
        Err(looked) => return Ok(looked),
    };
    loop {
        if let Some(looked) = look.go_on(u64::MAX, 1)? {
            return Ok(looked);
        }
    }
}

/// In change sets.
fn batches(fixes: Vec<Fix>) -> Vec<Vec<Fix>> {
    let (mut batches, mut rows) = (Vec::<Vec<Fix>>::new(), BATCH);
    for fix in fixes {
        let more = match &fix.how {
            How::Rows(rows) => rows.len(),
            _ => 3, // one, and its places in a list
        };
        rows += more;
        match batches.last_mut().filter(|_| rows <= BATCH) {
            Some(batch) => batch.push(fix),
            None => {
                rows = more;
                batches.push(vec![fix]);
            }
        }
    }
    batches
}

/// Changes rows as `how` says.
fn set_rows(tx: &mut Tx<'_>, how: &How, now: u64) -> Result<(), MetaError> {
    match how {
        How::Rows(rows) => rows.iter().try_for_each(|row| tx.set_row(row.table, &row.key, row.value.clone())),
        How::RepositoryReferences { repository, name, digest, to } => {
            let (repository, digest) = (*repository, *digest);
            let key = RepositoryBlobKey { repository, digest };
            let Some(mut row) = tx.get(&key)? else { return Ok(()) };
            tx.delete(&UnreferencedKey { since: row.linked_at, repository, digest })?;
            row.references = *to;
            if *to == 0 {
                // Its age counts from now: a wrong count is no reason to hurry.
                row.linked_at = now;
                let listed = UnreferencedRecord { name: Some(name.clone()) };
                tx.put(&UnreferencedKey { since: now, repository, digest }, &listed)?;
            }
            tx.put(&key, &row)
        }
        How::BlobReferences { digest, to } => {
            let key = BlobKey { digest: *digest };
            let Some(mut row) = tx.get(&key)? else { return Ok(()) };
            tx.delete(&UnreferencedKey::of_store(row.changed_at, *digest))?;
            (row.references, row.changed_at) = (*to, now);
            if *to == 0 {
                tx.put(&UnreferencedKey::of_store(now, *digest), &UnreferencedRecord { name: None })?;
            }
            tx.put(&key, &row)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use pierhead_storage_format::keys::{CounterKey, Table, TableKey};

    use super::*;
    use crate::seams::{OsRandom, TestClock};
    use crate::services::access::{self, Action, Actor, Resource, Rules};
    use crate::services::fsck::RowChange;
    use crate::stores::blobs::{self, CHECKPOINT_EVERY};
    use crate::stores::disk::RealDisk;

    pub fn shop(root: &std::path::Path) -> Workshop {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(root));
        let meta = Meta::for_tests(root);
        let options = blobs::Options {
            disk: Arc::clone(&disk),
            random: Arc::new(OsRandom),
            checkpoint_every: CHECKPOINT_EVERY,
        };
        let blobs = Blobs::open(options).expect("opened").0;
        let access = Access::without_accounts(Rules::Closed(access::Options::default()));
        let quotas = Quotas::new(meta.clone(), access.clone()).expect("readable");
        Workshop { disk, meta, blobs, access, quotas, clock: Arc::new(TestClock::default()) }
    }

    fn set(name: String, value: Vec<u8>) -> Fix {
        let key = CounterKey { name: name.clone() }.encode();
        let rows = vec![RowChange { table: Table::Counter, key, value: Some(value) }];
        Fix { id: "R8", does: name, how: How::Rows(rows), loses: false }
    }

    #[tokio::test]
    async fn a_repair_that_fails_midway_tells_what_it_did() {
        let folder = tempfile::tempdir().expect("a folder");
        let shop = shop(folder.path());
        let permit =
            shop.access.authorise(&Actor::LocalAdministrator, Action::MaintainStore, Resource::Registry);
        let mut fixes: Vec<Fix> = (0..BATCH).map(|n| set(n.to_string(), vec![1; 9])).collect();
        fixes.push(set("too large".to_owned(), vec![0; 64 << 20]));
        let mut steps = Steps::default();
        let done = shop.pass(&permit.expect("allowed"), fixes, &mut steps).await;
        assert!(done.is_err(), "{done:?}");
        assert_eq!(steps.by_id.get("R8"), Some(&(BATCH as u64)));
    }

    #[test]
    fn a_change_set_has_a_bounded_number_of_rows() {
        let many = |rows: usize| {
            let row = RowChange { table: Table::Counter, key: Vec::new(), value: None };
            Fix { id: "R15", does: String::new(), how: How::Rows(vec![row; rows]), loses: false }
        };
        let fixes = [1, BATCH - 1, 1, BATCH + 1, 1].map(many).to_vec();
        let fixes: Vec<usize> = batches(fixes).iter().map(Vec::len).collect();
        assert_eq!(fixes, [2, 1, 1, 1]);
        assert_eq!(batches(Vec::new()), Vec::<Vec<Fix>>::new());
    }
}
