//! Blob rows against the rows that keep them (R5, R6), against their files (B1, B3), and files
//! against blob rows (B2). What outboards say is in `outboards`.

use std::collections::BTreeSet;

use pierhead_storage_format::housekeeping::DeletedReferenceKey;
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, ManifestKey, RepositoryBlobKey, RepositoryKey,
};
use pierhead_storage_format::outboard::CHUNK;
use pierhead_storage_format::scrub::DamageKey;
use pierhead_storage_format::{Digest, paths};

use super::fix::How;
use super::report::{B1, B2, B3, B5, BN, Invariant, ORPHAN, R5, R6, R13};
use super::rows::{each, get};
use super::tally::Tally;
use super::{BlobFile, Check, Content, Fate, Stage, Unreadable};

/// Files without rows that are looked into together.
const BATCH: usize = 4096;

impl Check<'_> {
    pub(super) fn blob_rows(&mut self) -> Result<(), Unreadable> {
        self.blob_references()?;
        self.lost_blob_rows()?;
        self.blob_repositories()
    }

    /// R5, for a bounded number of blobs at a time.
    fn blob_references(&mut self) -> Result<(), Unreadable> {
        let mut after = None;
        loop {
            let mut tally = self.tally_of_blobs(after)?;
            self.count_keepers(&mut tally)?;
            for count in tally.wrong() {
                let what = format!(
                    "blob {}: {} rows keep it, its own says {}",
                    count.digest, count.counted, count.recorded
                );
                self.report.find(&R5, what);
                let (digest, to) = (count.digest, count.counted);
                self.is_miscounted(0, count);
                let does = format!("set the references of blob {digest} to {to}");
                let how = How::BlobReferences { digest, to };
                match to < count.recorded {
                    true => self.report.fix_that_loses(&R5, does, how),
                    false => self.report.fix(&R5, does, how),
                }
            }
            if tally.len() < self.tally {
                return Ok(());
            }
            after = tally.last();
        }
    }

    fn count_keepers(&self, tally: &mut Tally) -> Result<(), Unreadable> {
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
        })
    }

    /// What rows name is made a row of, if its file is whole: R13 is found where they are.
    fn lost_blob_rows(&mut self) -> Result<(), Unreadable> {
        let mut tally = Tally::default();
        self.without_rows.iter().for_each(|digest| tally.push(*digest, 0));
        if tally.len() == 0 {
            return Ok(());
        }
        self.count_keepers(&mut tally)?;
        for count in tally.wrong() {
            let (digest, references) = (count.digest, count.counted);
            if self.blobs.size(&digest)?.is_some() {
                let does = format!("make the row of blob {digest} anew, if its bytes are right");
                self.report.fix(&R13, does, How::BlobRow { digest, references });
            }
        }
        Ok(())
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
                self.report.find_orphan(&R6, ORPHAN, what);
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
            Some(found) if found == size => self.blob_content(digest, size),
            Some(found) => {
                let what = format!("blob {digest}: {size} bytes on record, its file has {found}");
                self.sick_blob(&B1, digest, size, what)
            }
            None if self.is_missed(digest)? => {
                self.sick_blob(&B1, digest, size, format!("blob {digest}: its file is missing"))
            }
            None => Ok(()),
        }
    }

    /// Of a file that is not there. A blob's row goes before its file, and comes after it: so one is missed if its file
    /// is not there while its row is, which a blob that went, or came again, since it was looked at is not.
    fn is_missed(&self, digest: &Digest) -> Result<bool, Unreadable> {
        let blobs = self.blobs;
        Ok(blobs.is_still_needed(digest)?
            && blobs.size(digest)?.is_none()
            && blobs.is_still_needed(digest)?)
    }

    fn blob_content(&mut self, digest: &Digest, size: u64) -> Result<(), Unreadable> {
        let lacks_outboard = size > CHUNK && self.blobs.outboard(digest)? == Content::Missing;
        if lacks_outboard && self.blobs.is_still_needed(digest)? {
            self.report.find(&B5, format!("blob {digest}, {size} bytes, has no outboard"));
            let does = format!("make the outboard of blob {digest} from its bytes");
            self.report.fix(&B5, does, How::Outboard { digest: *digest, size });
        }
        if !self.options.deep {
            return Ok(());
        }
        self.report.counts.hashed += 1;
        match self.blobs.verify(digest)? {
            Content::Good(()) => Ok(()),
            Content::Missing if !self.is_missed(digest)? => Ok(()),
            Content::Damaged if !self.blobs.is_still_needed(digest)? => Ok(()),
            Content::Missing | Content::Damaged => {
                let parts = self.damaged_parts(digest)?;
                self.damaged(digest, size, format!("blob {digest} is damaged{parts}"))
            }
        }
    }

    /// B3.
    pub(super) fn damaged(&mut self, digest: &Digest, size: u64, what: String) -> Result<(), Unreadable> {
        self.sick_blob(&B3, digest, size, what)
    }

    /// A blob whose bytes are not there, with the images that need it. What is noted as the scrub notes it needs
    /// no more than a push; but a file that is there still has to be moved out of the way.
    fn sick_blob(
        &mut self,
        invariant: &Invariant,
        digest: &Digest,
        size: u64,
        what: String,
    ) -> Result<(), Unreadable> {
        let images = if self.report.keeps(invariant) { self.images_of(digest)? } else { Vec::new() };
        self.report.find_of(invariant, what, images);
        let is_noted = get(self.rows, &DamageKey { digest: *digest })?.is_some();
        if !is_noted || self.blobs.size(digest)?.is_some() {
            let does =
                format!("note blob {digest} as missing, and move a file with wrong bytes to quarantine");
            self.report.fix(invariant, does, How::Blob { digest: *digest, size });
        }
        Ok(())
    }

    pub(super) fn files_have_rows(&mut self) -> Result<(), Unreadable> {
        let (blobs, collected) = (self.blobs, self.collected()?);
        let mut without = Vec::new();
        blobs.files(&mut |file| {
            self.report.counts.files += 1;
            (self.progress)(Stage::Files, self.report.counts.files);
            self.file_has_a_row(file, &mut without)?;
            if without.len() == BATCH { self.without_rows(&mut without, &collected) } else { Ok(()) }
        })?;
        self.without_rows(&mut without, &collected)?;
        // The log may have a blob whose file a power cut took; a start drops both alike where there is no row.
        blobs.each_logged(&mut |digest| {
            let is_wanted = get(self.rows, &BlobKey { digest: *digest })?.is_some();
            if !is_wanted && !collected.contains(digest) {
                self.report.is_cleared();
            }
            Ok(())
        })
    }

    /// B2, of files that had no row at the moment of the rows. Asked together: while the store is served, it takes
    /// some looking whether they came since.
    fn without_rows(
        &mut self,
        files: &mut Vec<Stray>,
        collected: &BTreeSet<Digest>,
    ) -> Result<(), Unreadable> {
        let digests: Vec<Digest> = files.iter().map(|file| file.digest).collect();
        let fates = self.blobs.fates(&digests)?;
        for (Stray { path, size, digest, outboard }, fate) in files.drain(..).zip(fates) {
            let what = format!("{path} ({size} bytes) has no blob row");
            match fate {
                Fate::Wanted => {}
                Fate::Cleared => {
                    self.report.is_cleared();
                    self.report.find(&BN, what);
                }
                Fate::Extra if self.without_rows.contains(&digest) => {} // R13 says so
                Fate::Extra if collected.contains(&digest) => self.report.find(&BN, what),
                Fate::Extra => {
                    self.report.find(&B2, what);
                    let does = format!("move {path} to {}/", paths::QUARANTINE);
                    self.report.fix_that_loses(&B2, does, How::SetAside { digest, outboard });
                }
            }
        }
        Ok(())
    }

    fn file_has_a_row(
        &mut self,
        BlobFile { path, size }: BlobFile<'_>,
        without: &mut Vec<Stray>,
    ) -> Result<(), Unreadable> {
        let outboard = paths::parse_outboard(path);
        let Some(digest) = outboard.or_else(|| paths::parse_blob(path)) else {
            self.report.find(&B2, format!("{path} ({size} bytes) is not named like a blob"));
            return Ok(());
        };
        if let Some(row) = get(self.rows, &BlobKey { digest })? {
            return if outboard.is_some() { self.outboard(path, &digest, row.size) } else { Ok(()) };
        }
        without.push(Stray { path: path.to_owned(), size, digest, outboard: outboard.is_some() });
        Ok(())
    }
}

/// A file named like a blob, or an outboard, that has no row.
struct Stray {
    path: String,
    size: u64,
    digest: Digest,
    outboard: bool,
}
