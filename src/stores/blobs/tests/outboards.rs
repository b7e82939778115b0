//! Outboards lie beside blobs, go where they go, and nothing depends on them.

use std::fs;

use pierhead_storage_format::outboard::{CHUNK, Outboard};
use pierhead_storage_format::{Digest, paths};

use super::super::pool::BLOCK;
use super::{Scratch, noise, push, sha256};

fn outboard(store: &Scratch, digest: &Digest) -> Option<Outboard> {
    let bytes = fs::read(store.root().join(paths::outboard(digest))).ok()?;
    Some(Outboard::decode(&bytes).expect("it holds"))
}

#[tokio::test]
async fn a_blob_of_more_than_a_chunk_gets_an_outboard_of_its_chunks() {
    let store = Scratch::new();
    let cases = [
        ("nothing", 0, 1, false),
        ("one chunk", BLOCK, BLOCK, false),
        ("a byte more", BLOCK + 1, 1000, true),
        ("whole chunks in one frame", 9 * BLOCK, 9 * BLOCK, true),
        ("odd frames", 5 * BLOCK + 77, 400 << 10, true),
    ];
    for (name, len, frame, has_one) in cases {
        let bytes = noise(len as u64, len);
        let digest = push(&store.blobs, &bytes, frame).await;
        let chunks: Vec<_> =
            bytes.chunks(CHUNK as usize).map(|chunk| *blake3::hash(chunk).as_bytes()).collect();
        let expected = has_one.then_some(Outboard { digest, len: len as u64, chunks });
        assert_eq!(outboard(&store, &digest), expected, "{name}");
        let listed = store.blobs.list(digest.algorithm(), digest.raw()[0]).expect("lists");
        assert_eq!(listed, [(digest, len as u64)], "{name}: an outboard is no blob");
    }
    assert_eq!(store.uploads(), 0);
}

#[tokio::test]
async fn a_torn_outboard_is_replaced_by_the_next_push_and_one_that_cannot_be_put_is_left_out() {
    let store = Scratch::new();
    let bytes = noise(1, 3 * BLOCK);
    let digest = push(&store.blobs, &bytes, BLOCK).await;
    let path = store.root().join(paths::outboard(&digest));
    fs::write(&path, b"PhOut").expect("tears it");
    push(&store.blobs, &bytes, BLOCK).await;
    assert!(outboard(&store, &digest).is_some());
    fs::remove_file(&path).expect("removes it");
    fs::create_dir(&path).expect("in its place");
    push(&store.blobs, &bytes, BLOCK).await;
    assert!(path.is_dir(), "the push went well without");
}

#[tokio::test]
async fn an_outboard_goes_along_into_quarantine_and_with_an_unrecorded_blob() {
    let store = Scratch::new();
    let bytes = noise(2, 2 * BLOCK + 5);
    let digest = push(&store.blobs, &bytes, BLOCK).await;
    fs::write(store.path(&digest), vec![0; bytes.len()]).expect("damages it");
    assert!(store.blobs.quarantine(&digest).await.expect("moves"));
    assert_eq!(outboard(&store, &digest), None);
    let mut aside: Vec<String> = fs::read_dir(store.root().join(paths::QUARANTINE))
        .expect("quarantine/")
        .map(|entry| entry.expect("reads").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "collected")
        .collect();
    aside.sort();
    assert_eq!(aside.len(), 2);
    assert_eq!(aside[1], format!("{}.b3", aside[0]));

    let mut upload = store.blobs.begin(digest.algorithm(), None).await.expect("begins");
    upload.append(bytes.clone()).await.expect("appends");
    drop(upload.publish(&sha256(&bytes)).await.expect("publishes"));
    assert!(outboard(&store, &digest).is_some());
    let (blobs, leftovers) = store.reopen();
    for leftover in &leftovers {
        blobs.clear_leftover(leftover, &leftover.published).expect("clears");
    }
    assert!(!store.path(&digest).exists());
    assert_eq!(outboard(&store, &digest), None);
}
