//! Reading, damage, quarantine.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use proptest::prelude::{Strategy, any, prop_assert, proptest};

use super::super::BlobError;
use super::{Algorithm, Bytes, Reading, Scratch, noise, paths, pull, push, sha256};

const LARGEST: usize = 19 << 20 | 123;

/// One store for all cases of the property: blobs of lengths around the limits that matter.
fn shelf() -> &'static (tokio::runtime::Runtime, Scratch, Vec<Bytes>) {
    static SHELF: OnceLock<(tokio::runtime::Runtime, Scratch, Vec<Bytes>)> = OnceLock::new();
    SHELF.get_or_init(|| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let store = Scratch::new();
        let lengths = [0, 1, 4096, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 2_500_000, LARGEST];
        let blobs: Vec<Bytes> = lengths.iter().map(|len| noise(*len as u64, *len)).collect();
        for bytes in &blobs {
            runtime.block_on(push(&store.blobs, bytes, 500_000));
        }
        (runtime, store, blobs)
    })
}

fn a_range() -> impl Strategy<Value = (usize, usize, usize)> {
    (0..9_usize, any::<proptest::sample::Index>(), any::<proptest::sample::Index>()).prop_map(
        |(which, a, b)| {
            let len = shelf().2[which].len();
            let (a, b) = (a.index(len + 1), b.index(len + 1));
            (which, a.min(b), a.max(b))
        },
    )
}

proptest! {
    #[test]
    fn a_range_reads_as_the_slice_it_names_in_both_modes((which, from, to) in a_range(), mapped in any::<bool>()) {
        let (runtime, store, blobs) = shelf();
        let bytes = &blobs[which];
        let how = if mapped { Reading::Mapped } else { Reading::Buffered };
        runtime.block_on(async {
            let range = from as u64..to as u64;
            let mut reader = store.blobs.read(&sha256(bytes), bytes.len() as u64, range, how).await.expect("opens");
            let mut at = from;
            while let Some(piece) = reader.next().await {
                let piece = piece.expect("reads");
                prop_assert!(!piece.is_empty() && piece.len() <= 4 << 20);
                prop_assert!(piece == bytes[at..at + piece.len()]);
                at += piece.len();
            }
            prop_assert!(at == to, "ended at {at} of {from}..{to}");
            prop_assert!(reader.next().await.is_none());
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_range_outside_the_blob_is_an_error() {
    let store = Scratch::new();
    let digest = push(&store.blobs, &noise(1, 100), 100).await;
    #[expect(clippy::reversed_empty_ranges, reason = "that is the case")]
    for range in [0..101, 101..101, 50..40, 0..u64::MAX] {
        let refused = store.blobs.read(&digest, 100, range.clone(), Reading::Mapped).await;
        assert!(matches!(refused, Err(BlobError::Io { .. })), "{range:?}");
    }
}

#[tokio::test]
async fn a_missing_blob_is_not_found_by_every_way_of_reading() {
    let store = Scratch::new();
    let digest = sha256(b"never pushed");
    assert!(matches!(store.blobs.read(&digest, 1, 0..1, Reading::Mapped).await, Err(BlobError::NotFound)));
    assert!(matches!(store.blobs.read_whole(&digest, 1).await, Err(BlobError::NotFound)));
    assert!(!store.blobs.quarantine(&digest).await.expect("nothing to set aside is no error"));
    assert_eq!(store.blobs.size_on_disk(&digest).await.expect("looks"), None);
    store.blobs.remove(&digest).await.expect("nothing to remove is no error");
}

#[tokio::test]
async fn a_truncated_file_is_damaged_at_open_and_in_the_middle_of_a_read() {
    let store = Scratch::new();
    let size = 24 << 20;
    let bytes = noise(2, size);
    let digest = push(&store.blobs, &bytes, 1 << 20).await;
    for how in [Reading::Mapped, Reading::Buffered] {
        let mut reader = store.blobs.read(&digest, size as u64, 0..size as u64, how).await.expect("opens");
        let file = OpenOptions::new().write(true).open(store.path(&digest)).expect("the blob");
        file.set_len(5 << 20).expect("truncates");
        let mut last = None;
        while let Some(piece) = reader.next().await {
            last = Some(piece.map(|piece| piece.len())); // not looked at: it may be gone again
        }
        assert!(matches!(last, Some(Err(BlobError::Damaged { digest: d })) if d == digest), "{how:?}");
        let reopened = store.blobs.read(&digest, size as u64, 0..10, how).await;
        assert!(matches!(reopened, Err(BlobError::Damaged { .. })), "{how:?}");
        assert!(matches!(store.blobs.read_whole(&digest, size as u64).await, Err(BlobError::Damaged { .. })));
        push(&store.blobs, &bytes, 1 << 20).await;
        assert!(pull(&store.blobs, &digest, size as u64, how).await == bytes, "healed by the push");
    }
}

#[tokio::test]
async fn a_flipped_byte_is_found_by_a_whole_read_and_healed_by_a_push() {
    let store = Scratch::new();
    let bytes = noise(3, 5000);
    let digest = push(&store.blobs, &bytes, 5000).await;
    for small in [false, true] {
        let file = OpenOptions::new().write(true).open(store.path(&digest)).expect("the blob");
        file.write_all_at(&[!bytes[700]], 700).expect("flips");
        let damaged = store.blobs.read_whole(&digest, 5000).await;
        assert!(matches!(damaged, Err(BlobError::Damaged { digest: d }) if d == digest));
        if small {
            store.blobs.publish_bytes(&digest, bytes.clone()).await.expect("publishes").settled().await;
        } else {
            push(&store.blobs, &bytes, 999).await;
        }
        assert_eq!(store.blobs.read_whole(&digest, 5000).await.expect("healed"), bytes);
    }
}

#[tokio::test]
async fn a_damaged_blob_is_kept_aside_and_one_healed_meanwhile_stays() {
    let store = Scratch::new();
    let bytes = noise(4, 100);
    let digest = sha256(&bytes);
    for kept in 1..=2 {
        push(&store.blobs, &bytes, 100).await;
        assert!(!store.blobs.quarantine(&digest).await.expect("looks"), "it is not damaged");
        std::fs::write(store.path(&digest), vec![0; 100]).expect("damages it");
        assert!(store.blobs.quarantine(&digest).await.expect("moves"));
        assert_eq!(store.blobs.size_on_disk(&digest).await.expect("looks"), None);
        let aside = std::fs::read_dir(store.root().join(paths::QUARANTINE)).expect("quarantine/");
        let names = aside.map(|entry| entry.expect("reads").file_name().to_string_lossy().into_owned());
        let names: Vec<String> = names.filter(|name| name != "collected").collect();
        assert_eq!(names.len(), kept);
        assert!(names.iter().all(|name| name.starts_with(&format!("sha256-{}-", digest.hex()))));
    }
}

#[tokio::test]
async fn a_small_blob_set_aside_gets_its_file_back_from_the_log() {
    // So many that their files are not looked at when the log goes, unless somebody doubts them.
    for blobs in [1, 150] {
        let store = Scratch::new();
        for number in 0..blobs {
            let bytes = noise(number + 7, 100);
            let published = store.blobs.publish_bytes(&sha256(&bytes), bytes).await;
            published.expect("publishes").settled().await;
        }
        let bytes = noise(7, 100);
        let digest = sha256(&bytes);
        std::fs::write(store.path(&digest), vec![0; 100]).expect("damages it");
        assert!(store.blobs.quarantine(&digest).await.expect("moves"));
        assert!(!store.path(&digest).exists());
        let blobs = store.blobs.clone();
        tokio::task::spawn_blocking(move || blobs.close()).await.expect("closes");
        assert_eq!(store.blobs.read_whole(&digest, 100).await.expect("is back"), bytes);
    }
}

#[tokio::test]
async fn a_reader_keeps_the_bytes_it_opened_though_the_blob_is_removed() {
    let store = Scratch::new();
    let bytes = noise(5, 20 << 20);
    let digest = push(&store.blobs, &bytes, 1 << 20).await;
    let size = bytes.len() as u64;
    let mut reader = store.blobs.read(&digest, size, 0..size, Reading::Mapped).await.expect("opens");
    store.blobs.remove(&digest).await.expect("removes");
    let mut read = Vec::new();
    while let Some(piece) = reader.next().await {
        read.extend_from_slice(&piece.expect("reads"));
    }
    assert!(read == bytes);
}

#[tokio::test]
async fn listing_a_folder_gives_its_digests_and_leaves_strangers_out() {
    let store = Scratch::new();
    let digest = push(&store.blobs, &noise(6, 10), 10).await;
    let folder = store.root().join(paths::blob_dir(Algorithm::Sha256, digest.raw()[0]));
    std::fs::write(folder.join("notes.txt"), "x").expect("writes");
    let misplaced = format!("{:02x}{}", digest.raw()[0] ^ 1, &digest.hex()[2..]);
    std::fs::write(folder.join(misplaced), "x").expect("writes");
    let listed = store.blobs.list(Algorithm::Sha256, digest.raw()[0]).expect("lists");
    assert_eq!(listed, [(digest, 10)]);
    assert_eq!(store.blobs.list(Algorithm::Sha512, 0).expect("lists"), []);
}
