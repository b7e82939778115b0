//! Every step of an upload and publish fails once, or from then on, with EIO and with ENOSPC.

use std::sync::Arc;

use super::super::{BlobError, Blobs, pool::BLOCK};
use super::{Algorithm, Bytes, Digest, Leftover, hash, noise, open, push, sha256};
use crate::stores::disk::faulty::{Faults, FaultyDisk};

const EIO: u64 = 5;
const ENOSPC: u64 = 28;
/// More than a small blob has.
const LEN: usize = 70_000;

struct Sick {
    blobs: Blobs,
    faults: Arc<Faults>,
    folder: tempfile::TempDir,
}

impl Sick {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (disk, faults) = FaultyDisk::new(folder.path());
        Self { blobs: open(Arc::new(disk)).0, faults, folder }
    }

    /// Fails the step after the next `skipped`; only it, or all from then on.
    fn fail_after(&self, skipped: u64, for_good: bool, errno: u64) -> u64 {
        let step = self.faults.steps() + skipped;
        self.faults.fail(step, if for_good { u64::MAX } else { step + 1 }, errno);
        step
    }

    async fn assert_absent_or_whole(&self, digest: &Digest, bytes: &Bytes, case: &str) {
        match self.blobs.read_whole(digest, bytes.len() as u64).await {
            Ok(there) => assert!(there == *bytes, "{case}"),
            Err(BlobError::NotFound) => {}
            Err(error) => panic!("{case}: {error}"),
        }
    }

    /// What a restart finds can be cleared, and afterwards nothing is left but whole blobs.
    async fn assert_restart_is_clean(&self, digest: &Digest, bytes: &Bytes, case: &str) {
        let (blobs, leftovers) = open(Arc::new(crate::stores::disk::RealDisk::new(self.folder.path())));
        for Leftover { published, .. } in &leftovers {
            assert!(published.iter().all(|named| named == digest), "{case}");
        }
        let there = blobs.size_on_disk(digest).await.expect("looks").is_some();
        for leftover in &leftovers {
            blobs.clear_leftover(leftover, &[*digest]).expect("clears");
        }
        let unrecorded = leftovers.iter().any(|leftover| leftover.published.contains(digest));
        let stays = blobs.size_on_disk(digest).await.expect("looks");
        assert_eq!(stays.is_some(), there && !unrecorded, "{case}");
        self.assert_absent_or_whole(digest, bytes, case).await;
    }
}

fn matches_errno(error: &BlobError, errno: u64) -> bool {
    matches!((error, errno), (BlobError::NoSpace, ENOSPC) | (BlobError::Io { .. }, EIO))
}

/// Uploads in two appends and publishes, trying again wherever the upload lives on.
async fn upload(
    sick: &Sick,
    bytes: &Bytes,
    digest: &Digest,
    errno: u64,
    case: &str,
) -> Result<(), BlobError> {
    let mut upload = sick.blobs.begin(digest.algorithm(), None).await?;
    upload.allocate(bytes.len() as u64).await.or_else(|error| heal(sick, error, errno, case))?;
    let mut tries = 0;
    loop {
        let offset = usize::try_from(upload.offset()).expect("small");
        let mut done = Ok(());
        for frame in bytes[offset..].chunks(700_000) {
            done = upload.append(Bytes::copy_from_slice(frame)).await;
            if done.is_err() {
                break;
            }
        }
        let settled = match done {
            Ok(()) => upload.settle().await.map(drop),
            error => error,
        };
        let Err(error) = settled else { break };
        assert!(matches_errno(&error, errno), "{case}: {error}");
        sick.faults.heal();
        let offset = upload.resume().await.expect("goes on when the disk is well");
        let file = sick.folder.path().join(super::paths::upload_data(upload.id()));
        let written = std::fs::read(file).expect("the upload's file");
        let offset = usize::try_from(offset).expect("small");
        assert!(
            written.len() >= offset && written[..offset] == bytes[..offset],
            "{case}: the offset is true"
        );
        tries += 1;
        assert!(tries < 3, "{case}: {error}");
    }
    loop {
        match upload.publish(digest).await {
            Ok(published) => {
                published.settled().await;
                return Ok(());
            }
            Err(error) if upload.is_over() => return Err(error),
            Err(error) => {
                sick.assert_absent_or_whole(digest, bytes, case).await;
                assert_eq!(upload.offset(), bytes.len() as u64, "{case}");
                heal(sick, error, errno, case)?;
            }
        }
    }
}

fn heal(sick: &Sick, error: BlobError, errno: u64, case: &str) -> Result<(), BlobError> {
    assert!(matches_errno(&error, errno), "{case}: {error}");
    sick.faults.heal();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_survives_a_fault_at_every_step_or_leaves_nothing_and_works_when_pushed_again() {
    let bytes = noise(1, 6 * BLOCK + 77);
    for algorithm in Algorithm::ALL {
        let digest = hash::of(algorithm, &bytes);
        for (errno, for_good) in [(EIO, false), (EIO, true), (ENOSPC, false), (ENOSPC, true)] {
            let sick = Sick::new();
            for step in 0.. {
                let case = format!("{algorithm:?}, errno {errno} at step {step}, for good: {for_good}");
                sick.blobs.remove(&digest).await.expect("starts without the blob");
                let at = sick.fail_after(step, for_good, errno);
                let ended = upload(&sick, &bytes, &digest, errno, &case).await;
                let reached = sick.faults.steps() > at;
                sick.faults.heal();
                sick.assert_absent_or_whole(&digest, &bytes, &case).await;
                if let Err(error) = ended {
                    assert!(matches_errno(&error, errno), "{case}: {error}");
                    sick.assert_restart_is_clean(&digest, &bytes, &case).await;
                    let pushed = upload(&sick, &bytes, &digest, errno, &case).await;
                    pushed.expect("a new push works when the disk is well");
                }
                let whole = sick.blobs.read_whole(&digest, bytes.len() as u64).await;
                assert!(whole.expect("stored") == bytes, "{case}");
                if !reached {
                    assert!(step > 8, "{case}: the steps were not reached");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn bytes_the_log_does_not_take_are_absent_or_whole_after_a_fault_at_every_step() {
    let bytes = noise(2, LEN);
    let digest = sha256(&bytes);
    for (errno, for_good) in [(EIO, false), (EIO, true), (ENOSPC, false), (ENOSPC, true)] {
        let sick = Sick::new();
        for step in 0.. {
            let case = format!("errno {errno} at step {step}, for good: {for_good}");
            sick.blobs.remove(&digest).await.expect("starts without the blob");
            let at = sick.fail_after(step, for_good, errno);
            let published = sick.blobs.publish_bytes(&digest, bytes.clone()).await;
            let reached = sick.faults.steps() > at;
            sick.faults.heal();
            sick.assert_absent_or_whole(&digest, &bytes, &case).await;
            if !reached {
                assert!(step >= 7, "{case}: the steps were not reached");
                published.expect("nothing failed").settled().await;
                break;
            }
            let error = published.err().expect("a failed step fails the publish");
            assert!(matches_errno(&error, errno), "{case}: {error}");
            sick.assert_restart_is_clean(&digest, &bytes, &case).await;
            let again = sick.blobs.publish_bytes(&digest, bytes.clone()).await;
            again.expect("works when the disk is well").settled().await;
            assert_eq!(sick.blobs.read_whole(&digest, LEN as u64).await.expect("reads"), bytes);
        }
    }
}

#[tokio::test]
async fn a_failed_sync_gives_the_upload_up_and_is_never_tried_again() {
    let sick = Sick::new();
    let bytes = noise(3, 1000);
    let mut upload = sick.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    upload.append(bytes.clone()).await.expect("appends");
    upload.settle().await.expect("settles");
    sick.fail_after(0, false, EIO); // the next step is the sync of the data
    assert!(matches!(upload.publish(&sha256(&bytes)).await, Err(BlobError::Io { .. })));
    assert!(upload.is_over());
    assert!(matches!(upload.publish(&sha256(&bytes)).await, Err(BlobError::Lost)));
    assert!(matches!(upload.settle().await, Err(BlobError::Lost)));
    assert_eq!(sick.blobs.size_on_disk(&sha256(&bytes)).await.expect("looks"), None);
    push(&sick.blobs, &bytes, 1000).await;
}

#[tokio::test]
async fn the_store_opens_after_a_fault_at_any_step_of_making_its_folders() {
    for step in [0, 1, 2, 100, 257, 258, 259, 514, 515, 516, 517, 518, 519] {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (disk, faults) = FaultyDisk::new(folder.path());
        let disk = Arc::new(disk);
        faults.fail(step, u64::MAX, ENOSPC);
        let random = Arc::new(crate::seams::TestRandom::default());
        let disk_again = Arc::<FaultyDisk>::clone(&disk);
        let options = super::Options { disk: disk_again, random, checkpoint_every: 1 << 20 };
        assert!(matches!(Blobs::open(options), Err(BlobError::NoSpace)), "step {step}");
        faults.heal();
        push(&open(disk).0, &noise(4, 10), 10).await;
    }
}
