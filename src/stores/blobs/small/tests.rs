//! The log by itself: what a stop, a failing disk and a power cut leave of it. A power cut is played by
//! cutting or removing files that nobody synced.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pierhead_storage_format::Algorithm;
use pierhead_storage_format::small::HEADER;

use super::*;
use crate::seams::TestRandom;
use crate::stores::blobs::hash;
use crate::stores::disk::faulty::{Faults, FaultyDisk};

const EIO: u64 = 5;
const ENOSPC: u64 = 28;

struct Bench {
    small: Arc<Small>,
    faults: Arc<Faults>,
    folder: Arc<tempfile::TempDir>,
}

impl Bench {
    fn new(segment_bytes: u64) -> Self {
        Self::at(scratch(), segment_bytes)
    }

    fn at(folder: Arc<tempfile::TempDir>, segment_bytes: u64) -> Self {
        Self::on(folder, segment_bytes, false)
    }

    /// `silent`: as on a kernel whose syncs of the filesystem tell nothing.
    fn on(folder: Arc<tempfile::TempDir>, segment_bytes: u64, silent: bool) -> Self {
        for algorithm in Algorithm::ALL {
            for first in 0..=u8::MAX {
                let path = folder.path().join(paths::blob_dir(algorithm, first));
                std::fs::create_dir_all(path).expect("the blob folders");
            }
        }
        let (disk, faults) = FaultyDisk::new(folder.path());
        if silent {
            faults.silence();
        }
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let random: Arc<dyn Random> = Arc::new(TestRandom::default());
        let places = Arc::new(Places(std::array::from_fn(|_| Mutex::default())));
        let small = Small::open(&disk, &random, &places, Some(segment_bytes)).expect("opens");
        Self { small: Arc::new(small), faults, folder }
    }

    /// What a `kill -9` leaves, in another folder: nothing that is open here is closed.
    fn killed(&self) -> Self {
        let folder = scratch();
        copy(self.folder.path(), folder.path());
        Self::at(folder, SEGMENT_BYTES)
    }

    async fn publish(&self, bytes: &[u8]) -> Result<Option<Claim>, BlobError> {
        self.small.publish(&digest(bytes), Bytes::copy_from_slice(bytes)).await
    }

    async fn push(&self, bytes: &[u8]) {
        self.publish(bytes).await.expect("publishes").expect("by the log").recorded();
    }

    fn replay(&self, recorded: &[&[u8]]) -> Replayed {
        let recorded: BTreeSet<Digest> = recorded.iter().map(|bytes| digest(bytes)).collect();
        let known = &mut |digest: &Digest| Ok(recorded.contains(digest));
        self.small.replay(known, |error: BlobError| error).expect("goes through the log")
    }

    fn path(&self, bytes: &[u8]) -> PathBuf {
        self.folder.path().join(paths::blob(&digest(bytes)))
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.folder.path().join(paths::small_segment(number))
    }

    fn read(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        std::fs::read(self.path(bytes)).ok()
    }

    /// What is in `small/`.
    fn left(&self) -> Vec<String> {
        let entries = self.small.ground.disk.list(Path::new(paths::SMALL)).expect("lists");
        entries.into_iter().map(|entry| entry.name).collect()
    }

    fn until_gone(&self, number: u64) {
        until(&format!("segment {number} goes"), || !self.segment(number).exists());
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::yield_now();
    }
}

/// In memory where that can be had: a sync of the filesystem waits for everybody who writes to it.
fn scratch() -> Arc<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    Arc::new(folder.expect("a scratch folder"))
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            std::fs::create_dir_all(&to).expect("a folder");
            copy(&from, &to);
        } else {
            match std::fs::copy(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // a segment that went just now
                copied => drop(copied.expect("copied")),
            }
        }
    }
}

fn digest(bytes: &[u8]) -> Digest {
    hash::of(Algorithm::Sha256, bytes)
}

#[tokio::test]
async fn a_killed_store_has_every_blob_that_was_recorded_and_no_other() {
    let bench = Bench::new(SEGMENT_BYTES);
    let blobs: [&[u8]; 6] = [b"sound", b"missing", b"cut short", b"changed", b"", b"unrecorded"];
    for bytes in blobs {
        bench.push(bytes).await;
        assert_eq!(bench.read(bytes).as_deref(), Some(bytes));
    }
    let after = bench.killed();
    std::fs::remove_file(after.path(b"missing")).expect("removed");
    std::fs::write(after.path(b"cut short"), b"cut").expect("cut");
    std::fs::write(after.path(b"changed"), b"CHANGED").expect("changed");
    std::fs::write(after.folder.path().join("small/sha256-00.tmp"), b"half").expect("written");
    let replayed = after.replay(&blobs[..5]);
    assert_eq!(replayed, Replayed { blobs: 5, rewritten: 3, removed: 1, ..Replayed::default() });
    for bytes in &blobs[..5] {
        assert_eq!(after.read(bytes).as_deref(), Some(*bytes));
    }
    assert_eq!(after.read(b"unrecorded"), None);
    assert_eq!(after.left(), Vec::<String>::new());
    assert_eq!(after.replay(&blobs), Replayed::default(), "nothing is left to do");
}

#[tokio::test]
async fn a_torn_or_damaged_record_does_not_hide_those_around_it() {
    let bench = Bench::new(SEGMENT_BYTES);
    let blobs: [&[u8]; 3] = [b"first", b"second", b"third"];
    for bytes in blobs {
        bench.push(bytes).await;
    }
    let record = 4 + 4 + 33 + 16; // before the bytes
    let (second, third) = (HEADER + record + 5, HEADER + 2 * record + 11);
    for (case, at, lost) in
        [("a front", second + 9, 1), ("a blob", second + record, 1), ("the last", third + record + 4, 2)]
    {
        let after = bench.killed();
        let mut log = std::fs::read(after.segment(1)).expect("the log");
        log[at] ^= 1;
        std::fs::write(after.segment(1), log).expect("damaged");
        for bytes in blobs {
            std::fs::remove_file(after.path(bytes)).expect("removed");
        }
        assert_eq!(after.replay(&blobs).rewritten, 2, "{case}");
        for (number, bytes) in blobs.iter().enumerate() {
            assert_eq!(after.read(bytes).is_some(), number != lost, "{case}: {number}");
        }
    }
}

#[tokio::test]
async fn a_store_that_is_closed_leaves_no_log_and_later_blobs_go_the_ordinary_way() {
    let bench = Bench::new(SEGMENT_BYTES);
    bench.push(b"one").await;
    bench.small.close();
    assert_eq!(bench.left(), Vec::<String>::new());
    assert!(bench.publish(b"two").await.expect("no error").is_none());
    assert_eq!(bench.read(b"two"), None);
}

#[tokio::test]
async fn a_blob_nobody_recorded_gets_an_intent_when_its_segment_goes() {
    let bench = Bench::new(1);
    bench.push(b"recorded").await;
    drop(bench.publish(b"given up").await.expect("publishes"));
    bench.push(b"another segment").await;
    bench.until_gone(2);
    let uploads = bench.folder.path().join(paths::UPLOADS);
    let mut named = Vec::new();
    for upload in std::fs::read_dir(uploads).expect("uploads") {
        for file in std::fs::read_dir(upload.expect("an entry").path()).expect("an upload") {
            let name = file.expect("an entry").file_name();
            named.push(paths::parse_intent(name.to_str().expect("UTF-8")));
        }
    }
    assert_eq!(named, [Some(digest(b"given up"))]);
}

#[tokio::test]
async fn a_segment_stays_while_a_blob_of_it_is_not_recorded_and_four_are_enough() {
    let bench = Bench::new(1);
    let mut held = Vec::new();
    for number in 1..=4u64 {
        held.push(bench.publish(&number.to_le_bytes()).await.expect("publishes").expect("by the log"));
    }
    for number in 1..=4 {
        assert!(bench.segment(number).exists(), "{number}");
    }
    assert!(bench.publish(b"one more").await.expect("no error").is_none());
    held.drain(..).for_each(Claim::recorded);
    (1..=4).for_each(|number| bench.until_gone(number));
    bench.push(b"there is room again").await;
    // Its file is used again, and what it held before is nobody's.
    let after = bench.killed();
    assert_eq!(after.replay(&[b"there is room again"]), Replayed { blobs: 1, ..Replayed::default() });
    assert_eq!(after.left(), Vec::<String>::new());
}

#[tokio::test]
async fn a_blob_is_whole_or_absent_after_a_fault_at_every_step_and_the_next_push_works() {
    let bytes = b"some bytes";
    for (errno, for_good) in [(EIO, false), (EIO, true), (ENOSPC, false), (ENOSPC, true)] {
        for first in [true, false] {
            for step in 0.. {
                let case = format!("errno {errno} at step {step}, for good: {for_good}, first: {first}");
                let bench = Bench::new(SEGMENT_BYTES);
                if !first {
                    bench.push(b"before").await;
                }
                let at = bench.faults.steps() + step;
                bench.faults.fail(at, if for_good { u64::MAX } else { at + 1 }, errno);
                let published = bench.publish(bytes).await;
                let reached = bench.faults.steps() > at;
                bench.faults.heal();
                let after = bench.killed();
                std::fs::write(after.path(bytes), b"lost").expect("as a power cut may");
                match published {
                    Ok(Some(claim)) => {
                        claim.recorded();
                        let replayed = after.replay(&[bytes, b"before"]);
                        assert_eq!(after.read(bytes).as_deref(), Some(&bytes[..]), "{case}: {replayed:?}");
                    }
                    Ok(None) => assert_eq!(bench.read(bytes), None, "{case}: nothing was done"),
                    Err(error) => {
                        let full = matches!(error, BlobError::NoSpace);
                        assert_eq!(full, errno == ENOSPC, "{case}: {error}");
                        assert_eq!(bench.read(bytes), None, "{case}");
                        after.replay(&[b"before"]);
                        assert_eq!(after.read(bytes), None, "{case}");
                    }
                }
                if !first {
                    assert_eq!(after.read(b"before").as_deref(), Some(&b"before"[..]), "{case}");
                }
                bench.push(bytes).await;
                assert_eq!(bench.read(bytes).as_deref(), Some(&bytes[..]), "{case}");
                if !reached {
                    assert!(step >= 4, "{case}: the steps were not reached");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_sync_that_fails_once_has_the_files_written_anew_and_then_the_log_goes() {
    let bench = Bench::new(SEGMENT_BYTES);
    for bytes in [&b"lost"[..], b"sound", b"set aside"] {
        bench.push(bytes).await;
    }
    std::fs::write(bench.path(b"lost"), b"lOst").expect("as a failed write may");
    std::fs::remove_file(bench.path(b"set aside")).expect("removed");
    let step = bench.faults.steps();
    bench.faults.fail(step, step + 1, EIO); // closing begins with the sync
    bench.small.close();
    assert_eq!(bench.read(b"lost").as_deref(), Some(&b"lost"[..]));
    assert_eq!(bench.read(b"sound").as_deref(), Some(&b"sound"[..]));
    assert_eq!(bench.read(b"set aside").as_deref(), Some(&b"set aside"[..]));
    assert_eq!(bench.left(), Vec::<String>::new());
}

#[tokio::test]
async fn the_files_of_a_short_segment_are_compared_though_every_sync_succeeds() {
    let bench = Bench::new(SEGMENT_BYTES);
    bench.push(b"lost").await;
    std::fs::write(bench.path(b"lost"), b"lOst").expect("as a failed write that nobody is told of");
    bench.small.close();
    assert_eq!(bench.read(b"lost").as_deref(), Some(&b"lost"[..]));
    assert_eq!(bench.left(), Vec::<String>::new());
}

#[tokio::test]
async fn where_a_sync_of_the_filesystem_tells_nothing_every_file_of_any_segment_is_compared_and_synced() {
    let blobs = retirer::FEW as u64 + 40;
    for silent in [true, false] {
        let bench = Bench::on(scratch(), SEGMENT_BYTES, silent);
        for number in 0..blobs {
            bench.push(&number.to_le_bytes()).await;
        }
        let lost = 7u64.to_le_bytes();
        std::fs::write(bench.path(&lost), b"lost").expect("as a failed write that nobody is told of");
        let before = bench.faults.steps();
        bench.small.close();
        assert_eq!(bench.read(&lost).is_some_and(|there| there == lost), silent, "{silent}");
        assert_eq!(bench.faults.steps() - before > blobs, silent, "{silent}");
        assert_eq!(bench.left(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_short_log_that_is_damaged_goes_only_after_a_sync_of_the_whole_filesystem() {
    let bench = Bench::new(SEGMENT_BYTES);
    for bytes in [b"one", b"two"] {
        bench.push(bytes).await;
    }
    let mut log = std::fs::read(bench.segment(1)).expect("the log");
    log[HEADER + 4 + 4 + 33 + 16] ^= 1; // the first blob
    std::fs::write(bench.segment(1), log).expect("damaged");
    let before = bench.faults.steps();
    bench.small.close();
    assert_eq!(bench.left(), Vec::<String>::new());
    assert_eq!(bench.faults.steps() - before, 4, "that sync, one of the second and its folder, and the end");
}

#[tokio::test]
async fn a_blob_set_aside_after_it_was_compared_gets_its_file_back_before_the_log_goes() {
    let bench = Bench::new(SEGMENT_BYTES);
    let (first, second) = (b"one", b"two");
    bench.push(first).await;
    bench.push(second).await;
    std::fs::write(bench.path(first), b"0ne").expect("written anew when it is compared");
    let place = bench.small.ground.places.lock(&digest(second));
    std::thread::scope(|scope| {
        scope.spawn(|| bench.small.close());
        until("the first was compared", || bench.read(first).is_some_and(|there| there == first));
        let held = bench.small.hold();
        std::fs::remove_file(bench.path(first)).expect("set aside");
        drop(held);
        drop(place); // the second can be compared, too
    });
    assert_eq!(bench.read(first).as_deref(), Some(&first[..]));
    assert_eq!(bench.left(), Vec::<String>::new());
}

#[tokio::test]
async fn a_sync_that_fails_has_every_segment_there_compared_the_open_one_too() {
    let few = retirer::FEW as u64;
    let bench = Bench::new((few + 32) * 64);
    let held = bench.publish(b"held").await.expect("publishes").expect("by the log");
    let mut number = 0u64;
    while !bench.segment(2).exists() {
        bench.push(&number.to_le_bytes()).await;
        number += 1;
    }
    let lost = (number - 1).to_le_bytes();
    for number in number..number + few + 1 {
        bench.push(&number.to_le_bytes()).await;
    }
    assert!(!bench.segment(3).exists());
    std::fs::write(bench.path(&lost), b"lost").expect("as a failed write may");
    let step = bench.faults.steps();
    bench.faults.fail(step, step + 1, EIO); // the first segment goes with a sync, which is the one told
    held.recorded();
    bench.until_gone(1);
    assert_eq!(bench.read(&lost).as_deref(), Some(&b"lost"[..]), "it is of the second");
    bench.small.close();
    assert_eq!(bench.read(&lost).as_deref(), Some(&lost[..]));
    assert!(!bench.segment(2).exists());
}

#[tokio::test]
async fn a_sync_that_fails_at_start_up_has_all_segments_gone_through_again() {
    let bench = Bench::new(1);
    let mut held = Vec::new();
    for bytes in [&b"one"[..], b"two"] {
        held.push(bench.publish(bytes).await.expect("publishes").expect("by the log"));
    }
    let after = bench.killed();
    let mut asked = 0;
    let mut recorded = |found: &Digest| {
        asked += 1;
        if asked == 2 {
            assert_eq!(*found, digest(b"two"));
            std::fs::write(after.path(b"one"), b"ONE").expect("as a failed write may, after it was compared");
            let step = after.faults.steps();
            after.faults.fail(step, step + 1, EIO);
        }
        Ok(true)
    };
    let replayed = after.small.replay(&mut recorded, |error: BlobError| error).expect("goes through the log");
    assert_eq!(replayed, Replayed { blobs: 2, rewritten: 1, ..Replayed::default() });
    assert_eq!(after.read(b"one").as_deref(), Some(&b"one"[..]));
    assert_eq!(after.left(), Vec::<String>::new());
}

#[tokio::test]
async fn segments_stay_for_the_next_start_while_the_filesystem_cannot_be_synced() {
    let bench = Bench::new(SEGMENT_BYTES);
    bench.push(b"kept").await;
    bench.faults.fail(bench.faults.steps(), u64::MAX, EIO);
    bench.small.close();
    bench.faults.heal();
    assert_eq!(bench.left().len(), 1);
    let again = Bench::at(Arc::clone(&bench.folder), SEGMENT_BYTES);
    again.faults.fail(again.faults.steps(), u64::MAX, EIO);
    let left = again.small.replay(&mut |_: &Digest| Ok(true), |error: BlobError| error);
    assert!(left.map_or(true, |replayed| replayed.kept == 1));
    again.faults.heal();
    assert_eq!(again.replay(&[b"kept"]), Replayed { blobs: 1, ..Replayed::default() });
    again.push(b"goes on").await;
}

#[tokio::test]
async fn start_up_after_a_fault_at_any_step_of_it_is_finished_by_the_next() {
    let bench = Bench::new(SEGMENT_BYTES);
    for bytes in [&b"missing"[..], b"nobody's"] {
        bench.push(bytes).await;
    }
    for errno in [EIO, ENOSPC] {
        for step in 0.. {
            let after = bench.killed();
            std::fs::remove_file(after.path(b"missing")).expect("removed");
            let at = after.faults.steps() + step;
            after.faults.fail(at, u64::MAX, errno);
            let _ =
                after.small.replay(&mut |found: &Digest| Ok(*found == digest(b"missing")), |e: BlobError| e);
            let reached = after.faults.steps() > at;
            after.faults.heal();
            let again = Bench::at(Arc::clone(&after.folder), SEGMENT_BYTES);
            again.replay(&[b"missing"]);
            assert_eq!(again.read(b"missing").as_deref(), Some(&b"missing"[..]), "step {step}");
            assert_eq!(again.read(b"nobody's"), None, "step {step}");
            assert_eq!(again.left(), Vec::<String>::new(), "step {step}");
            if !reached {
                assert!(step >= 7, "the steps were not reached");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_is_replaced_and_a_sound_one_stays() {
    let bench = Bench::new(SEGMENT_BYTES);
    bench.push(b"bytes").await;
    std::fs::write(bench.path(b"bytes"), b"BYTES").expect("damaged");
    bench.push(b"bytes").await;
    assert_eq!(bench.read(b"bytes").as_deref(), Some(&b"bytes"[..]));
    let before = bench.faults.steps();
    bench.push(b"bytes").await;
    assert_eq!(bench.faults.steps() - before, 2, "one write and one sync of the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_that_wait_share_a_sync_and_all_arrive() {
    let bench = Arc::new(Bench::new(64 << 10));
    let before = bench.faults.steps();
    let mut pushes = tokio::task::JoinSet::new();
    for number in 0..200u32 {
        let bench = Arc::clone(&bench);
        pushes.spawn(async move {
            let bytes = number.to_le_bytes().repeat(200);
            match bench.publish(&bytes).await.expect("no error") {
                Some(claim) => claim.recorded(),
                None => return false,
            }
            assert!(bench.read(&bytes).is_some_and(|there| there == bytes));
            true
        });
    }
    let by_log = pushes.join_all().await.into_iter().filter(|by_log| *by_log).count() as u64;
    assert!(by_log > 0);
    // Three steps make a file; the rest is the log: alone, each would write and sync it.
    assert!(bench.faults.steps() - before < by_log * 5, "{by_log} by the log");
}
