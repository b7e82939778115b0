//! Uploads and publishes on a disk that works.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::super::{BlobError, pool::BLOCK};
use super::{Algorithm, Bytes, Reading, Scratch, hash, noise, paths, pull, push, sha256};

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_any_length_reads_back_and_leaves_nothing_behind() {
    let store = Scratch::new();
    let cases = [
        ("empty", 0, 1),
        ("one byte", 1, 1),
        ("small frames", 70_000, 999),
        ("one block", BLOCK, BLOCK),
        ("more than one block in one frame", 9 * BLOCK + 17, 9 * BLOCK + 17),
        ("frames across blocks", 12 * BLOCK + 5, 400 << 10),
    ];
    for (name, len, frame) in cases {
        let bytes = noise(len as u64, len);
        let digest = push(&store.blobs, &bytes, frame).await;
        assert!(pull(&store.blobs, &digest, len as u64, Reading::Buffered).await == bytes, "{name}");
        assert_eq!(store.blobs.size_on_disk(&digest).await.expect("looks"), Some(len as u64), "{name}");
        assert_eq!(store.uploads(), 0, "{name}");
    }
}

#[tokio::test]
async fn a_digest_that_does_not_match_leaves_the_upload_as_it_was() {
    let store = Scratch::new();
    let bytes = noise(1, 300_000);
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    upload.append(bytes.slice(..200_000)).await.expect("appends");
    let refused = upload.publish(&sha256(b"something else")).await;
    let Err(BlobError::DigestMismatch { actual }) = refused else { panic!("not a mismatch") };
    assert_eq!(actual, sha256(&bytes[..200_000]));
    assert_eq!(upload.offset(), 200_000);
    assert!(!upload.is_over());
    upload.append(bytes.slice(200_000..)).await.expect("goes on");
    let digest = sha256(&bytes);
    upload.publish(&digest).await.expect("publishes").settled().await;
    assert!(upload.is_over());
    assert!(matches!(upload.append(Bytes::from_static(b"x")).await, Err(BlobError::Lost)));
    assert_eq!(store.blobs.read_whole(&digest, 300_000).await.expect("reads"), bytes);
}

#[tokio::test]
async fn a_digest_of_another_algorithm_is_checked_by_reading_the_file_again() {
    let store = Scratch::new();
    let bytes = noise(2, 3 * BLOCK + 11);
    for (running, wanted) in [
        (Algorithm::Sha256, Algorithm::Sha512),
        (Algorithm::Sha512, Algorithm::Sha256),
        (Algorithm::Sha512, Algorithm::Sha512),
    ] {
        let mut upload = store.blobs.begin(running, None).await.expect("begins");
        upload.append(bytes.clone()).await.expect("appends");
        let wrong = upload.publish(&hash::of(wanted, b"")).await;
        assert!(matches!(wrong, Err(BlobError::DigestMismatch { .. })));
        let digest = hash::of(wanted, &bytes);
        upload.publish(&digest).await.expect("publishes").settled().await;
        assert_eq!(store.blobs.read_whole(&digest, bytes.len() as u64).await.expect("reads"), bytes);
        store.blobs.remove(&digest).await.expect("removes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_append_keeps_a_true_offset_and_the_upload_goes_on_there() {
    let store = Scratch::new();
    let bytes = noise(3, 64 * BLOCK);
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    {
        let mut append = pin!(upload.append(bytes.clone()));
        let polled = append.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "64 MiB do not fit into the blocks of an upload");
    }
    let accepted = upload.offset();
    assert!(accepted > 0 && accepted < bytes.len() as u64);
    assert_eq!(upload.resume().await.expect("settles"), accepted);
    let file = std::fs::read(store.root().join(paths::upload_data(upload.id()))).expect("the file");
    let accepted = usize::try_from(accepted).expect("small");
    assert!(file == bytes[..accepted]);
    upload.append(bytes.slice(accepted..)).await.expect("appends the rest");
    upload.publish(&sha256(&bytes)).await.expect("publishes").settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_end_anywhere_make_one_whole_blob_and_each_leaves_its_bytes_in_the_file() {
    let store = Scratch::new();
    let cases: [(&str, &[usize]); 5] = [
        ("a byte, then blocks", &[1, 3 * BLOCK, 5]),
        ("pages and odd ends", &[4096, 4095, 1, BLOCK - 8192, 2 * BLOCK, 77]),
        ("up to a block, then on", &[BLOCK - 1, 1, BLOCK, BLOCK + 1, BLOCK - 1]),
        ("equal odd chunks", &[1_300_001; 6]),
        ("aligned chunks", &[5 * BLOCK; 3]),
    ];
    for (name, lengths) in cases {
        let bytes = noise(20, lengths.iter().sum());
        let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
        let path = store.root().join(paths::upload_data(upload.id()));
        let mut at = 0;
        for len in lengths {
            upload.append(bytes.slice(at..at + len)).await.expect("appends");
            at += len;
            assert_eq!(upload.settle().await.expect("settles"), at as u64, "{name}");
            assert!(std::fs::read(&path).expect("the file") == bytes[..at], "{name}: {at}");
        }
        let digest = sha256(&bytes);
        upload.publish(&digest).await.expect("publishes").settled().await;
        assert!(pull(&store.blobs, &digest, at as u64, Reading::Mapped).await == bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_request_gathered_is_written_when_it_leaves() {
    let store = Scratch::new();
    let bytes = noise(21, 2 * BLOCK + 1000);
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    upload.append(bytes.clone()).await.expect("appends");
    let path = store.root().join(paths::upload_data(upload.id()));
    upload.rest();
    until("all is in the file", || std::fs::read(&path).is_ok_and(|there| there == bytes)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_at_once_share_the_memory_and_all_arrive() {
    let store = Scratch::new();
    let mut tasks = tokio::task::JoinSet::new();
    for seed in 100..130 {
        let blobs = store.blobs.clone();
        tasks.spawn(async move {
            let bytes = noise(seed, 8 * BLOCK + 3);
            let digest = push(&blobs, &bytes, 400 << 10).await;
            assert!(pull(&blobs, &digest, bytes.len() as u64, Reading::Buffered).await == bytes);
        });
    }
    tasks.join_all().await;
}

#[test]
fn an_upload_at_rest_pins_no_thread() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().expect("a runtime");
    runtime.block_on(async {
        let store = Scratch::new();
        let mut resting = Vec::new();
        for seed in 0..5 {
            let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
            upload.append(noise(seed, 3 * BLOCK + 1)).await.expect("appends");
            resting.push(upload);
        }
        // The one thread still serves everybody, and the bytes of the others are all written.
        push(&store.blobs, &noise(9, 7 * BLOCK), 300_000).await;
        for upload in &mut resting {
            assert_eq!(upload.settle().await.expect("settles"), 3 * BLOCK as u64 + 1);
        }
    });
}

#[tokio::test]
async fn space_allocated_ahead_and_not_used_is_not_part_of_the_blob() {
    use std::os::unix::fs::MetadataExt;
    let store = Scratch::new();
    let bytes = noise(4, 10_000);
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    upload.allocate(8 * BLOCK as u64).await.expect("allocates");
    upload.append(bytes.clone()).await.expect("appends");
    let digest = sha256(&bytes);
    upload.publish(&digest).await.expect("publishes").settled().await;
    let meta = std::fs::metadata(store.path(&digest)).expect("the blob");
    assert_eq!(meta.len(), 10_000);
    assert!(meta.blocks() * 512 < BLOCK as u64, "{} blocks stay allocated", meta.blocks());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_one_digest_many_times_at_once_stores_it_once() {
    let store = Scratch::new();
    let bytes = noise(5, 2 * BLOCK);
    let digest = sha256(&bytes);
    let small = Bytes::from_static(b"{}");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (blobs, bytes, small) = (store.blobs.clone(), bytes.clone(), small.clone());
        tasks.spawn(async move {
            push(&blobs, &bytes, 100_000).await;
            blobs.publish_bytes(&sha256(&small), small.clone()).await.expect("publishes").settled().await;
        });
    }
    tasks.join_all().await;
    for (digest, bytes) in [(digest, &bytes), (sha256(&small), &small)] {
        assert_eq!(store.blobs.read_whole(&digest, bytes.len() as u64).await.expect("reads"), *bytes);
        let listed = store.blobs.list(Algorithm::Sha256, digest.raw()[0]).expect("lists");
        assert_eq!(listed, [(digest, bytes.len() as u64)]);
    }
    assert_eq!(store.uploads(), 0);
}

#[tokio::test]
async fn bytes_are_published_only_under_their_own_digest() {
    let store = Scratch::new();
    let bytes = Bytes::from_static(b"{\"schemaVersion\":2}");
    let refused = store.blobs.publish_bytes(&sha256(b"other"), bytes.clone()).await;
    assert!(matches!(refused, Err(BlobError::DigestMismatch { actual }) if actual == sha256(&bytes)));
    for algorithm in Algorithm::ALL {
        let digest = hash::of(algorithm, &bytes);
        let published = store.blobs.publish_bytes(&digest, bytes.clone()).await.expect("publishes");
        assert_eq!(published.size, bytes.len() as u64);
        published.settled().await;
        assert_eq!(store.blobs.read_whole(&digest, bytes.len() as u64).await.expect("reads"), bytes);
    }
    assert_eq!(store.uploads(), 0);
}

#[tokio::test]
async fn a_publish_runs_to_its_end_though_its_future_is_dropped() {
    let store = Scratch::new();
    let bytes = noise(10, BLOCK + 1);
    let digest = sha256(&bytes);
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    upload.append(bytes.clone()).await.expect("appends");
    upload.settle().await.expect("settles");
    {
        let mut publish = pin!(upload.publish(&digest));
        let polled = publish.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "the disk work is on another thread");
    }
    until("the publish ends", || upload.is_over()).await;
    assert_eq!(store.blobs.read_whole(&digest, bytes.len() as u64).await.expect("reads"), bytes);
}

#[tokio::test]
async fn discarded_and_dropped_uploads_leave_no_folder() {
    let store = Scratch::new();
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    upload.append(noise(6, 2 * BLOCK)).await.expect("appends");
    upload.discard().await;
    assert_eq!(store.uploads(), 0);
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    upload.append(noise(6, 2 * BLOCK)).await.expect("appends");
    drop(upload);
    until("the dropped upload's folder goes", || store.uploads() == 0).await;
}

#[tokio::test]
async fn what_an_earlier_run_left_is_listed_and_cleared_and_recorded_blobs_stay() {
    let store = Scratch::new();
    assert_eq!(store.leftovers, []);
    let (recorded, unrecorded) = (noise(7, 70_000), noise(8, BLOCK));
    let mut unfinished = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    unfinished.append(noise(9, 1000)).await.expect("appends");
    unfinished.settle().await.expect("settles");
    let first = store.blobs.publish_bytes(&sha256(&recorded), recorded.clone()).await.expect("publishes");
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    upload.append(unrecorded.clone()).await.expect("appends");
    let second = upload.publish(&sha256(&unrecorded)).await.expect("publishes");
    drop((first, second)); // the process died before `settled`
    let (blobs, mut leftovers) = store.reopen();
    leftovers.sort_by_key(|leftover| leftover.published.len());
    assert_eq!(leftovers.len(), 3);
    assert_eq!((leftovers[0].id.as_str(), &leftovers[0].published[..]), (unfinished.id(), &[][..]));
    for leftover in &leftovers {
        blobs.clear_leftover(leftover, &[sha256(&unrecorded)]).expect("clears");
    }
    assert_eq!(store.uploads(), 0);
    assert_eq!(blobs.read_whole(&sha256(&recorded), 70_000).await.expect("stays"), recorded);
    assert_eq!(blobs.size_on_disk(&sha256(&unrecorded)).await.expect("looks"), None);
    assert_eq!(store.reopen().1, []);
}

#[tokio::test]
async fn a_small_upload_that_comes_whole_leaves_nothing_but_its_blob_and_others_are_as_they_were() {
    let store = Scratch::new();
    let bytes = noise(30, 5000);
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    assert_eq!(store.uploads(), 0, "nothing is on the disk yet");
    upload.append(bytes.clone()).await.expect("appends");
    assert_eq!((store.uploads(), upload.offset()), (0, 5000));
    let wrong = upload.publish(&sha256(b"something else")).await;
    assert!(matches!(wrong, Err(BlobError::DigestMismatch { actual }) if actual == sha256(&bytes)));
    assert_eq!((store.uploads(), upload.offset()), (1, 5000), "it was settled");
    upload.publish(&sha256(&bytes)).await.expect("publishes").settled().await;
    for (algorithm, bytes) in Algorithm::ALL.into_iter().zip([noise(31, 70), Bytes::new()]) {
        let digest = hash::of(algorithm, &bytes);
        let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
        upload.append(bytes.clone()).await.expect("appends");
        upload.publish(&digest).await.expect("publishes").settled().await;
        assert!(upload.is_over());
        let read = store.blobs.read_whole(&digest, bytes.len() as u64).await;
        assert_eq!(read.expect("stored"), bytes);
    }
    assert_eq!(store.uploads(), 0);
}

#[tokio::test]
async fn small_uploads_go_the_ordinary_way_when_the_log_is_closed() {
    let store = Scratch::new();
    store.blobs.close();
    let bytes = noise(32, 5000);
    let mut upload = store.blobs.begin(Algorithm::Sha256, None).await.expect("begins");
    upload.append(bytes.clone()).await.expect("appends");
    let published = upload.publish(&sha256(&bytes)).await.expect("publishes");
    assert_eq!(store.uploads(), 1, "the folder with the intent");
    published.settled().await;
    assert_eq!(store.uploads(), 0);
    assert_eq!(store.blobs.read_whole(&sha256(&bytes), 5000).await.expect("stored"), bytes);
}
