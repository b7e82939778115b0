//! A disk that is really full: a small tmpfs, which needs root to mount.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::super::{BlobError, pool::BLOCK};
use super::{Algorithm, Reading, noise, open, pull, push, sha256};
use crate::stores::disk::RealDisk;
use crate::stores::space::Reserve;

struct Mounted(tempfile::TempDir);

impl Mounted {
    /// A filesystem of 16 MiB; `None`, said loudly, where mounting is not allowed.
    #[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "pierhead-test"])
            .arg(folder.path())
            .output();
        if mount.is_ok_and(|mount| mount.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: a full disk needs root to mount a tmpfs");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_uploads_wait_pulls_go_on_and_all_works_when_space_returns() {
    let Some(mounted) = Mounted::new() else { return };
    let (blobs, _) = open(Arc::new(RealDisk::new(mounted.path())));
    let (old, new) = (noise(1, 9 * BLOCK), noise(2, 10 * BLOCK));
    let old_digest = push(&blobs, &old, 400 << 10).await;

    let mut upload = blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    let refused = upload.allocate(new.len() as u64).await;
    assert!(matches!(refused, Err(BlobError::NoSpace)), "a full disk shows before the transfer");
    let appended = upload.append(new.clone()).await;
    let settled = upload.settle().await;
    assert!(matches!((appended, settled), (Err(BlobError::NoSpace), _) | (_, Err(BlobError::NoSpace))));
    let offset = usize::try_from(upload.resume().await.expect("the offset is known")).expect("small");
    assert!(offset > 0 && offset < new.len());
    assert_eq!(offset as u64, upload.offset());

    assert!(pull(&blobs, &old_digest, old.len() as u64, Reading::Mapped).await == old);
    blobs.remove(&old_digest).await.expect("deletes work");

    upload.append(new.slice(offset..)).await.expect("goes on where it was");
    let digest = sha256(&new);
    upload.publish(&digest).await.expect("publishes").settled().await;
    assert!(pull(&blobs, &digest, new.len() as u64, Reading::Buffered).await == new);
}

#[tokio::test]
async fn the_ballast_takes_real_space_and_gives_it_back() {
    let Some(mounted) = Mounted::new() else { return };
    let disk = Arc::new(RealDisk::new(mounted.path()));
    let reserve = Reserve::open(disk, 4 << 20, 1 << 20).expect("opens");
    let filler = mounted.path().join("filler");
    let full = std::fs::write(&filler, noise(3, 14 << 20));
    assert_eq!(full.expect_err("12 MiB are free").kind(), std::io::ErrorKind::StorageFull);
    assert!(reserve.admits(1).is_err());
    assert!(reserve.release());
    std::fs::write(mounted.path().join("journal"), noise(4, 2 << 20)).expect("there is space again");
    assert!(!reserve.release(), "nothing is left to give up");
    assert!(!reserve.restore().expect("looks"), "no room for it yet");
    std::fs::remove_file(&filler).expect("removes");
    assert!(reserve.restore().expect("makes it again"));
}
