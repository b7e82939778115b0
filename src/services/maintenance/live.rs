//! The blob files of a store that is served, against the rows of a moment: files come meanwhile, and none goes before
//! all were listed, since removals are held back until then. What goes later is asked after: the collector removes the
//! row of a blob first, and its file afterwards.
//!
//! A file that no row of the moment names is looked into in this order: has it got its row since; is it on its way
//! (an intent, the log of small blobs); and, since it may have arrived between the two questions, has it got its row
//! by now. An intent is there before the file and until after the row, so a file that is none of it is nobody's.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::BlobKey;
use pierhead_storage_format::outboard::Outboard;

use crate::services::fsck::{BlobFile, Blobs, Content, DiskBlobs, Fate, Unreadable};
use crate::stores::blobs::{self, BlobError, Hold};
use crate::stores::disk::Disk;
use crate::stores::meta::{Meta, MetaError};

/// Whether work goes on; may wait, as while a job is paused. Asked often.
pub type GoesOn = Arc<dyn Fn() -> bool + Send + Sync>;

/// Files of a store that is served.
pub(super) struct LiveBlobs {
    disk: Arc<dyn Disk>,
    files: DiskBlobs,
    meta: Meta,
    blobs: blobs::Blobs,
    goes_on: GoesOn,
    /// Until files may go.
    hold: Mutex<Option<Hold>>,
}

impl LiveBlobs {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        (meta, blobs): (Meta, blobs::Blobs),
        hold: Hold,
        goes_on: GoesOn,
    ) -> Self {
        let (files, hold) = (DiskBlobs::of_files(Arc::clone(&disk)), Mutex::new(Some(hold)));
        Self { disk, files, meta, blobs, goes_on, hold }
    }

    fn look(&self) -> Result<(), Unreadable> {
        if (self.goes_on)() { Ok(()) } else { Err(stopped()) }
    }

    fn has_row(&self, digest: &Digest) -> Result<bool, Unreadable> {
        let what = || "the row of a blob".to_owned();
        let row = self.meta.get(&BlobKey { digest: *digest });
        row.map(|row| row.is_some())
            .map_err(|source: MetaError| Unreadable { what: what(), source: source.into() })
    }
}

fn stopped() -> Unreadable {
    Unreadable { what: "the rest".to_owned(), source: "the check was told to stop".into() }
}

/// What the disk cannot read is damaged; any other failure says nothing of the blob.
fn unproved(digest: &Digest, error: BlobError) -> Result<Content<()>, Unreadable> {
    match error.condemns() {
        true => Ok(Content::Damaged),
        false => Err(Unreadable { what: format!("blob {digest}"), source: error.into() }),
    }
}

impl Blobs for LiveBlobs {
    fn files(&self, visit: &mut dyn FnMut(BlobFile<'_>) -> Result<(), Unreadable>) -> Result<(), Unreadable> {
        self.files.files(&mut |file| {
            self.look()?;
            visit(file)
        })
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>, Unreadable> {
        self.look()?;
        self.files.size(digest)
    }

    fn read(&self, digest: &Digest) -> Result<Content<Vec<u8>>, Unreadable> {
        self.look()?;
        self.files.read(digest)
    }

    fn verify(&self, digest: &Digest) -> Result<Content<()>, Unreadable> {
        match self.blobs.prove(digest, self.goes_on.as_ref()) {
            Ok(None) => Ok(Content::Missing),
            Ok(Some(true)) => Ok(Content::Good(())),
            Ok(Some(false)) => Ok(Content::Damaged),
            Err(error) => {
                self.look()?;
                unproved(digest, error)
            }
        }
    }

    fn outboard(&self, digest: &Digest) -> Result<Content<Outboard>, Unreadable> {
        self.look()?;
        self.files.outboard(digest)
    }

    fn damaged_parts(&self, digest: &Digest, outboard: &Outboard) -> Result<Vec<Range<u64>>, Unreadable> {
        self.look()?;
        self.files.damaged_parts(digest, outboard)
    }

    fn is_intended(&self, digest: &Digest) -> Result<bool, Unreadable> {
        DiskBlobs::under_way(Arc::clone(&self.disk))?.is_intended(digest)
    }

    fn fates(&self, digests: &[Digest]) -> Result<Vec<Fate>, Unreadable> {
        self.look()?;
        let mut fates = Vec::with_capacity(digests.len());
        for digest in digests {
            fates.push(if self.has_row(digest)? { Fate::Wanted } else { Fate::Extra });
        }
        if fates.iter().all(|fate| *fate == Fate::Wanted) {
            return Ok(fates);
        }
        let under_way = DiskBlobs::under_way(Arc::clone(&self.disk))?;
        for (digest, fate) in digests.iter().zip(&mut fates).filter(|(_, fate)| **fate == Fate::Extra) {
            if under_way.is_intended(digest)? || self.has_row(digest)? {
                *fate = Fate::Wanted;
            }
        }
        Ok(fates)
    }

    fn may_go(&self) {
        drop(self.hold.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn is_still_needed(&self, digest: &Digest) -> Result<bool, Unreadable> {
        self.has_row(digest)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use pierhead_storage_format::{Algorithm, paths};

    use super::super::repair::tests::shop;
    use super::*;
    use crate::stores::disk::faulty::FaultyDisk;

    #[tokio::test]
    async fn removals_are_held_back_until_files_may_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let shop = shop(folder.path());
        let (store, hold) = (shop.blobs.clone(), shop.blobs.hold_removals().await);
        let blobs = LiveBlobs::new(shop.disk, (shop.meta, shop.blobs), hold, Arc::new(|| true));
        assert!(store.begin_removing().is_none());
        blobs.may_go();
        assert!(store.begin_removing().is_some());
    }

    #[tokio::test]
    async fn a_file_is_not_nobodys_because_what_is_on_its_way_cannot_be_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let shop = shop(folder.path());
        let digest = Digest::new(Algorithm::Sha256, &[7; 32]).expect("fits");
        let intent = folder.path().join(paths::upload_intent("00", &digest));
        fs::create_dir_all(intent.parent().expect("a folder")).expect("made");
        fs::write(intent, b"").expect("written");
        fs::create_dir_all(folder.path().join(paths::SMALL)).expect("made");
        fs::write(folder.path().join(paths::small_segment(7)), b"").expect("written");
        let (disk, faults) = FaultyDisk::new(folder.path());
        let hold = shop.blobs.hold_removals().await;
        let blobs = LiveBlobs::new(Arc::new(disk), (shop.meta, shop.blobs), hold, Arc::new(|| true));
        assert_eq!(blobs.fates(&[digest]).expect("readable"), [Fate::Wanted]);
        for path in [paths::upload_dir("00"), paths::small_segment(7)] {
            for errno in [24, 23, 12] {
                faults.shut(&path, errno);
                assert!(blobs.fates(&[digest]).is_err(), "{}: {errno}", path.display());
            }
        }
    }

    #[test]
    fn only_what_the_disk_cannot_read_is_damaged() {
        let digest = Digest::new(Algorithm::Sha256, &[7; 32]).expect("fits");
        let failed = |errno| BlobError::Io { what: "reading", source: io::Error::from_raw_os_error(errno) };
        let cases = [
            ("an unreadable sector", failed(5), true),
            ("a file that is not what it says", BlobError::Damaged { digest }, true),
            ("too many open files", failed(24), false),
            ("no right to read", failed(13), false),
            ("no space", BlobError::NoSpace, false),
        ];
        for (name, error, is_damaged) in cases {
            let found = unproved(&digest, error);
            assert_eq!(found.is_ok_and(|found| found == Content::Damaged), is_damaged, "{name}");
        }
    }
}
