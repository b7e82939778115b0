//! Blob rows against the rows that keep them (R5, R6), against their files (B1, B3), and files
//! against blob rows (B2). What outboards say is in `outboards`.

use std::collections::BTreeSet;

use pierhead_storage_format::housekeeping::DeletedReferenceKey;
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, ManifestKey, RepositoryBlobKey, RepositoryKey,
};
use pierhead_storage_format::{Digest, paths};

use super::report::{B1, B2, B3, BN, R5, R6};
use super::rows::{each, get};
use super::tally::Tally;
use super::{BlobFile, Check, Content, Stage, Unreadable};

impl Check<'_> {
    pub(super) fn blob_rows(&mut self) -> Result<(), Unreadable> {
        self.blob_references()?;
        self.blob_repositories()
    }

    /// R5, for a bounded number of blobs at a time.
    fn blob_references(&mut self) -> Result<(), Unreadable> {
        let mut after = None;
        loop {
            let mut tally = self.tally_of_blobs(after)?;
            each::<ManifestKey>(self.rows, &[], |key, _| {
                tally.bump(&key.digest);
                Ok(())
            })?;
            each::<RepositoryBlobKey>(self.rows, &[], |key, _| {
                tally.bump(&key.digest);
                Ok(())
            })?;
            each::<DeletedReferenceKey>(self.rows, &[], |key, _| {
                tally.bump(&key.digest);
                Ok(())
            })?;
            for count in tally.wrong() {
                let what = format!(
                    "blob {}: {} rows keep it, its own says {}",
                    count.digest, count.counted, count.recorded
                );
                self.report.find(&R5, what);
            }
            if tally.len() < self.tally {
                return Ok(());
            }
            after = tally.last();
        }
    }

    fn tally_of_blobs(&self, after: Option<Digest>) -> Result<Tally, Unreadable> {
        let mut tally = Tally::default();
        each::<BlobKey>(self.rows, &[], |key, record| {
            if tally.len() < self.tally && after.is_none_or(|after| after < key.digest) {
                tally.push(key.digest, record.references);
            }
            Ok(())
        })?;
        Ok(tally)
    }

    /// R6 from the side of the mirror; the other side is seen with the repository.
    fn blob_repositories(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<BlobRepositoryKey>(rows, &[], |key, _| {
            let repository = get(rows, &RepositoryKey { name: key.name.clone() })?.map(|record| record.id);
            let linked = match repository {
                Some(repository) => {
                    get(rows, &RepositoryBlobKey { repository, digest: key.digest })?.is_some()
                }
                None => false,
            };
            if !linked {
                let what = format!("blob {}: a row for {}, which does not hold it", key.digest, key.name);
                self.report.find(&R6, what);
            }
            Ok(())
        })
    }

    pub(super) fn blob_files(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<BlobKey>(rows, &[], |key, record| {
            self.report.counts.blobs += 1;
            self.report.counts.bytes = self.report.counts.bytes.saturating_add(record.size);
            (self.progress)(Stage::Blobs, self.report.counts.blobs);
            self.blob_file(&key.digest, record.size)
        })
    }

    fn blob_file(&mut self, digest: &Digest, size: u64) -> Result<(), Unreadable> {
        match self.blobs.size(digest)? {
            Some(found) if found == size => self.blob_content(digest),
            Some(found) => {
                self.report.find(&B1, format!("blob {digest}: {size} bytes on record, its file has {found}"));
                Ok(())
            }
            None => {
                self.report.find(&B1, format!("blob {digest}: its file is missing"));
                Ok(())
            }
        }
    }

    fn blob_content(&mut self, digest: &Digest) -> Result<(), Unreadable> {
        if !self.options.deep {
            return Ok(());
        }
        self.report.counts.hashed += 1;
        if self.blobs.verify(digest)? != Content::Good(()) {
            let parts = self.damaged_parts(digest)?;
            self.report.find(&B3, format!("blob {digest} is damaged{parts}"));
        }
        Ok(())
    }

    pub(super) fn files_have_rows(&mut self) -> Result<(), Unreadable> {
        let (blobs, collected) = (self.blobs, self.collected()?);
        blobs.files(&mut |file| {
            self.report.counts.files += 1;
            (self.progress)(Stage::Files, self.report.counts.files);
            self.file_has_a_row(file, &collected)
        })
    }

    fn file_has_a_row(
        &mut self,
        BlobFile { path, size }: BlobFile<'_>,
        collected: &BTreeSet<Digest>,
    ) -> Result<(), Unreadable> {
        let outboard = paths::parse_outboard(path);
        let Some(digest) = outboard.or_else(|| paths::parse_blob(path)) else {
            self.report.find(&B2, format!("{path} ({size} bytes) is not named like a blob"));
            return Ok(());
        };
        if let Some(row) = get(self.rows, &BlobKey { digest })? {
            return if outboard.is_some() { self.outboard(path, &digest, row.size) } else { Ok(()) };
        }
        let what = format!("{path} ({size} bytes) has no blob row");
        let goes = collected.contains(&digest) || self.blobs.is_intended(&digest)?;
        let invariant = if goes { &BN } else { &B2 };
        self.report.find(invariant, what);
        Ok(())
    }
}
