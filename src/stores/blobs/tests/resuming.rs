//! Uploads that go on after a crash: from the last checkpoint that the bytes prove.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::super::{BlobError, Blobs, Found, Leftover, Owner, Proved, Resumable, Upload, pool::BLOCK};
use super::{Algorithm, Bytes, hash, noise, open_every, paths};
use crate::seams::OsRandom;
use crate::stores::disk::{Disk, RealDisk, faulty::FaultyDisk};

const EVERY: u64 = 2 << 20;

fn owner() -> Owner {
    Owner { repository: "acme/web".to_owned(), actor: b"somebody".to_vec(), created_at: 1_795_000_000_000 }
}

/// What a proof gives that nobody stops.
fn goes_on(resumable: Resumable) -> Result<Upload, Leftover> {
    match resumable.prove(&AtomicBool::new(false)) {
        Proved::GoesOn { upload, .. } => Ok(upload),
        Proved::Leftover(leftover) => Err(leftover),
        Proved::Stopped => panic!("nobody stopped it"),
    }
}

/// A folder and what is in an upload's folder of it.
struct Crashed {
    folder: tempfile::TempDir,
    id: String,
    bytes: Bytes,
    algorithm: Algorithm,
}

impl Crashed {
    /// An upload of `len` bytes that nobody ended, as a killed process leaves it: with a checkpoint
    /// at every second MiB.
    async fn new(algorithm: Algorithm, len: usize, owner: Option<Owner>) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let bytes = noise(len as u64, len);
        let (blobs, _) = open_every(Arc::new(RealDisk::new(folder.path())), EVERY);
        let mut upload = blobs.begin(algorithm, owner).await.expect("begins");
        for frame in bytes.chunks(700_001) {
            upload.append(Bytes::copy_from_slice(frame)).await.expect("appends");
            upload.settle().await.expect("settles");
            upload.checkpointed().await;
        }
        upload.outlive();
        Self { id: upload.id().to_owned(), folder, bytes, algorithm }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join(paths::upload_data(&self.id))
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join(paths::upload_journal(&self.id))
    }

    fn open(&self) -> (Blobs, Found) {
        open_every(Arc::new(RealDisk::new(self.folder.path())), EVERY)
    }

    /// Restarts; the upload, if it goes on.
    fn take_up(&self) -> (Blobs, Option<Upload>) {
        let (blobs, mut found) = self.open();
        let Some(resumable) = found.resumables.pop() else { return (blobs, None) };
        assert!(found.resumables.is_empty() && found.leftovers.is_empty());
        assert_eq!((&resumable.owner, &resumable.id), (&owner(), &self.id));
        (blobs, goes_on(resumable).ok())
    }

    /// Restarts, and finishes the upload from where it stands; where that was.
    async fn finish(&self) -> Option<u64> {
        let (blobs, upload) = self.take_up();
        let mut upload = upload?;
        assert_eq!(upload.id(), self.id);
        let offset = upload.offset();
        let start = usize::try_from(offset).expect("small");
        assert!(fs::read(self.data()).expect("the file") == self.bytes[..start], "no byte more or less");
        upload.append(self.bytes.slice(start..)).await.expect("goes on");
        let digest = hash::of(self.algorithm, &self.bytes);
        upload.publish(&digest).await.expect("the digest is right").settled().await;
        let stored = blobs.read_whole(&digest, self.bytes.len() as u64).await.expect("reads");
        assert!(stored == self.bytes);
        assert!(!self.data().exists());
        Some(offset)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_from_its_last_checkpoint_with_the_right_digest() {
    for algorithm in Algorithm::ALL {
        let crashed = Crashed::new(algorithm, 11 * BLOCK + 77, Some(owner())).await;
        let offset = crashed.finish().await.expect("goes on");
        assert_eq!(offset, 10 << 20, "{algorithm:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_after_one_crash_upon_another() {
    let crashed = Crashed::new(Algorithm::Sha256, 20 * BLOCK, Some(owner())).await;
    let mut before = 0;
    fs::File::options().write(true).open(crashed.data()).and_then(|f| f.set_len(5 << 20)).expect("cuts");
    for _ in 0..3 {
        let mut upload = crashed.take_up().1.expect("goes on");
        let offset = usize::try_from(upload.offset()).expect("small");
        assert!(offset >= before, "what was durable stays");
        before = offset;
        let more = crashed.bytes.slice(offset..crashed.bytes.len().min(offset + 3 * BLOCK + 5));
        upload.append(more).await.expect("goes on");
        upload.settle().await.expect("settles");
        upload.checkpointed().await;
        upload.outlive();
    }
    assert!(before >= 8 << 20, "{before}: it made progress");
    assert!(crashed.finish().await.expect("goes on") >= before as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_what_was_received_are_noticed_and_it_goes_on_before_them() {
    let cases: [(&str, usize, usize, u64); 4] = [
        ("the last megabytes", 9 * BLOCK, 3 * BLOCK, 8),
        ("one byte in the middle", 5 * BLOCK + 17, 1, 4),
        ("the first byte of a chunk", 6 * BLOCK, 1, 6),
        ("the very first bytes", 0, 10, 0),
    ];
    for (name, at, len, expected) in cases {
        let crashed = Crashed::new(Algorithm::Sha256, 12 * BLOCK, Some(owner())).await;
        let mut file = fs::read(crashed.data()).expect("the file");
        for byte in &mut file[at..at + len] {
            *byte ^= 0x5a;
        }
        fs::write(crashed.data(), &file).expect("writes noise");
        let offset = crashed.finish().await;
        assert_eq!(offset.unwrap_or(0), expected << 20, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_shorter_than_its_journal_says_goes_on_before_its_end() {
    for len in [0, 1, (2 << 20) - 1, 2 << 20, 5 << 20, (8 << 20) + 5] {
        let crashed = Crashed::new(Algorithm::Sha256, 12 * BLOCK, Some(owner())).await;
        fs::File::options().write(true).open(crashed.data()).and_then(|f| f.set_len(len)).expect("cuts");
        let offset = crashed.finish().await;
        assert_eq!(offset.unwrap_or(0), len / EVERY * EVERY, "{len}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_cut_or_damaged_anywhere_goes_on_from_what_holds() {
    let crashed = Crashed::new(Algorithm::Sha256, 7 * BLOCK, Some(owner())).await;
    let (data, journal) =
        (fs::read(crashed.data()).expect("the file"), fs::read(crashed.journal()).expect("the journal"));
    let whole = offset_of(&crashed).expect("goes on");
    // Every byte is cut and flipped where the journal is read; here, what a restart makes of it.
    for cut in (0..journal.len()).rev().step_by(23) {
        fs::write(crashed.data(), &data).expect("as it was");
        fs::write(crashed.journal(), &journal[..cut]).expect("cuts");
        let offset = offset_of(&crashed);
        assert!(offset.unwrap_or(0) < whole, "cut at {cut}");
        let mut flipped = journal.clone();
        flipped[cut] ^= 1;
        fs::write(crashed.data(), &data).expect("as it was");
        fs::write(crashed.journal(), &flipped).expect("flips a bit");
        assert!(offset_of(&crashed).unwrap_or(0) < whole, "flipped at {cut}");
    }
    fs::write(crashed.data(), &data).expect("as it was");
    fs::write(crashed.journal(), [&journal[..], &[0; 100]].concat()).expect("a torn record");
    assert_eq!(offset_of(&crashed), Some(whole), "what follows does no harm");
    assert_eq!(crashed.finish().await, Some(whole));
}

/// Where a restart would go on; the upload is left as the restart made it. Only the folder is looked
/// at, not the store's others.
fn offset_of(crashed: &Crashed) -> Option<u64> {
    let mut upload = crashed.take_up().1?;
    upload.outlive();
    Some(upload.offset())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_owner_or_below_a_checkpoint_or_of_another_id_it_is_a_leftover() {
    let cases = [("nobody's", 12 * BLOCK, None), ("small", BLOCK, Some(owner()))];
    for (name, len, owner) in cases {
        let crashed = Crashed::new(Algorithm::Sha256, len, owner).await;
        assert!(!crashed.journal().exists(), "{name}");
        let (blobs, found) = crashed.open();
        assert_eq!((found.resumables.len(), found.leftovers.len()), (0, 1), "{name}");
        blobs.clear_leftover(&found.leftovers[0], &[]).expect("clears");
    }
    let crashed = Crashed::new(Algorithm::Sha256, 12 * BLOCK, Some(owner())).await;
    let other = crashed.folder.path().join(paths::upload_dir(&"7".repeat(32)));
    fs::rename(crashed.folder.path().join(paths::upload_dir(&crashed.id)), other).expect("renames");
    let (_, found) = crashed.open();
    assert_eq!((found.resumables.len(), found.leftovers.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_digest_of_another_version_is_made_again_from_the_bytes() {
    use pierhead_storage_format::upload::{self, State};
    let crashed = Crashed::new(Algorithm::Sha512, 7 * BLOCK, Some(owner())).await;
    let (header, checkpoints) = upload::read(&fs::read(crashed.journal()).expect("reads")).expect("holds");
    let mut journal = header.encode().expect("small");
    for (mut checkpoint, _) in checkpoints {
        checkpoint.state = State { version: 200, bytes: vec![1, 2, 3] };
        let at = journal.len() as u64;
        journal.extend(checkpoint.encode(&header.key().expect("small"), at).expect("small"));
    }
    fs::write(crashed.journal(), journal).expect("writes");
    assert!(crashed.finish().await.expect("goes on") >= 2 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_of_a_publish_that_did_not_happen_goes() {
    let crashed = Crashed::new(Algorithm::Sha256, 7 * BLOCK, Some(owner())).await;
    let digest = hash::of(Algorithm::Sha256, &crashed.bytes);
    let intent = crashed.folder.path().join(paths::upload_intent(&crashed.id, &digest));
    fs::write(&intent, b"").expect("writes");
    assert!(offset_of(&crashed).is_some());
    assert!(!intent.exists());
    assert!(crashed.finish().await.is_some());
}

/// An upload that goes on until the disk fails, then a restart on a disk that works.
async fn crash_at(step: u64, for_good: bool, errno: u64, bytes: &Bytes) -> bool {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (disk, faults) = FaultyDisk::new(folder.path());
    let (blobs, _) = open_every(Arc::new(disk), EVERY);
    let mut upload = blobs.begin(Algorithm::Sha256, Some(owner())).await.expect("begins");
    let from = faults.steps() + step;
    faults.fail(from, if for_good { u64::MAX } else { from + 1 }, errno);
    let ended = receive(&mut upload, bytes).await;
    let reached = faults.steps() > from;
    faults.heal();
    if let Err(error) = ended {
        assert!(matches!(error, BlobError::NoSpace | BlobError::Io { .. } | BlobError::Lost), "{error}");
    }
    upload.checkpointed().await;
    upload.outlive();
    drop((upload, blobs));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()));
    let (blobs, mut found) = open_every(disk, EVERY);
    let proved = found.resumables.pop().map(goes_on);
    if let Some(Err(leftover)) = proved {
        found.leftovers.push(leftover);
    } else if let Some(Ok(mut upload)) = proved {
        let at = usize::try_from(upload.offset()).expect("small");
        upload.append(bytes.slice(at..)).await.expect("goes on");
        let digest = hash::of(Algorithm::Sha256, bytes);
        let published = upload.publish(&digest).await;
        published.expect("the digest is right").settled().await;
        assert!(blobs.read_whole(&digest, bytes.len() as u64).await.expect("reads") == *bytes);
    }
    for leftover in &found.leftovers {
        blobs.clear_leftover(leftover, &[]).expect("clears");
    }
    reached
}

async fn receive(upload: &mut Upload, bytes: &Bytes) -> Result<(), BlobError> {
    for frame in bytes.chunks(1 << 20) {
        upload.append(Bytes::copy_from_slice(frame)).await?;
    }
    upload.settle().await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_a_fault_at_any_step_goes_on_truly_or_begins_anew() {
    let bytes = noise(31, 13 * BLOCK + 5);
    for (errno, for_good) in [(5, false), (28, true)] {
        // On a slow disk there are fewer checkpoints, and so fewer steps; not the same at each run.
        let mut reached = 0;
        for step in 0.. {
            let is_reached = crash_at(step, for_good, errno, &bytes).await;
            reached += u32::from(is_reached);
            if step > 12 && !is_reached {
                break;
            }
        }
        assert!(reached > 7, "{reached}: the steps were not reached");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_whose_disk_fails_opens_or_says_so_and_the_next_one_works() {
    for step in 0..12 {
        let crashed = Crashed::new(Algorithm::Sha256, 7 * BLOCK, Some(owner())).await;
        let (disk, faults) = FaultyDisk::new(crashed.folder.path());
        let folders = 7; // steps of making the folders that are there
        faults.fail(folders + step, u64::MAX, 5);
        let options =
            super::Options { disk: Arc::new(disk), random: Arc::new(OsRandom), checkpoint_every: EVERY };
        if let Ok((_, found)) = Blobs::open(options) {
            assert!(found.leftovers.len() + found.resumables.len() == 1, "step {step}");
            for resumable in found.resumables {
                match resumable.prove(&AtomicBool::new(false)) {
                    Proved::GoesOn { mut upload, .. } => upload.outlive(),
                    Proved::Stopped => {}
                    Proved::Leftover(_) => panic!("step {step}: a disk that fails proves nothing"),
                }
            }
        }
        faults.heal();
        assert!(crashed.finish().await.is_some(), "step {step}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_parked_goes_on_from_its_last_byte_again_and_again() {
    let lengths = [1, 1000, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK - 1, 5 * BLOCK + 77, 5 * BLOCK + 78];
    for algorithm in Algorithm::ALL {
        let crashed = Crashed::new(algorithm, 12 * BLOCK + 5, Some(owner())).await;
        fs::remove_dir_all(crashed.folder.path().join(paths::upload_dir(&crashed.id))).expect("removed");
        let (blobs, _) = crashed.open();
        let mut upload = blobs.begin(algorithm, Some(owner())).await.expect("begins");
        let crashed = Crashed { id: upload.id().to_owned(), ..crashed };
        for to in lengths {
            let at = usize::try_from(upload.offset()).expect("small");
            upload.append(crashed.bytes.slice(at..to)).await.expect("goes on");
            upload.park().await;
            upload.park().await; // nothing new: nothing is written
            upload.outlive();
            drop(upload);
            upload = crashed.take_up().1.expect("goes on");
            assert_eq!(upload.offset(), to as u64, "{algorithm:?}");
        }
        upload.outlive();
        assert_eq!(crashed.finish().await, Some(lengths[7] as u64));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_what_is_beyond_the_last_chunk_of_a_parked_upload_is_noticed() {
    for (at, expected) in [(9 * BLOCK + 5, 8), (9 * BLOCK, 8), (7 * BLOCK, 6)] {
        let crashed = Crashed::new(Algorithm::Sha256, 9 * BLOCK + 10, Some(owner())).await;
        let mut upload = crashed.take_up().1.expect("goes on");
        let from = usize::try_from(upload.offset()).expect("small");
        upload.append(crashed.bytes.slice(from..)).await.expect("goes on");
        upload.park().await;
        upload.outlive();
        drop(upload);
        let mut file = fs::read(crashed.data()).expect("the file");
        assert_eq!(file.len(), 9 * BLOCK + 10);
        file[at] ^= 1;
        fs::write(crashed.data(), &file).expect("writes");
        assert_eq!(crashed.finish().await, Some(expected << 20), "byte {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_is_stopped_changes_nothing() {
    let crashed = Crashed::new(Algorithm::Sha256, 7 * BLOCK + 9, Some(owner())).await;
    let both =
        || (fs::read(crashed.data()).expect("the file"), fs::read(crashed.journal()).expect("the journal"));
    let before = both();
    let resumable = crashed.open().1.resumables.pop().expect("may go on");
    assert!(matches!(resumable.prove(&AtomicBool::new(true)), Proved::Stopped));
    assert!(before == both());
    assert_eq!(crashed.finish().await, Some(6 << 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_left_to_the_next_start_and_what_is_not_there_is_a_leftover() {
    let crashed = Crashed::new(Algorithm::Sha256, 7 * BLOCK, Some(owner())).await;
    let aside = |path: &PathBuf| path.with_extension("aside");
    for path in [crashed.journal(), crashed.data()] {
        fs::rename(&path, aside(&path)).expect("aside");
        // A link to itself opens with ELOOP, whoever runs this.
        std::os::unix::fs::symlink(&path, &path).expect("links");
        let (_, found) = crashed.open();
        assert_eq!((found.resumables.len(), found.leftovers.len()), (0, 0), "{path:?}");
        fs::remove_file(&path).expect("removed");
        let (_, found) = crashed.open();
        assert_eq!((found.resumables.len(), found.leftovers.len()), (0, 1), "{path:?}");
        fs::rename(aside(&path), &path).expect("back");
        // The same when the proof meets it.
        let resumable = crashed.open().1.resumables.pop().expect("may go on");
        fs::rename(&path, aside(&path)).expect("aside");
        std::os::unix::fs::symlink(&path, &path).expect("links");
        assert!(matches!(resumable.prove(&AtomicBool::new(false)), Proved::Stopped), "{path:?}");
        fs::remove_file(&path).expect("removed");
        fs::rename(aside(&path), &path).expect("back");
    }
    assert_eq!(crashed.finish().await, Some(6 << 20));
}
