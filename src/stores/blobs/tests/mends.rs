//! What repairs do to files: outboards of proved blobs alone, nothing unlinked, a proof that can be stopped.

use std::fs;

use pierhead_storage_format::paths;

use super::{Scratch, noise, push};
use crate::stores::blobs::BlobError;

const CHUNK: usize = 1 << 20;

#[tokio::test]
async fn an_outboard_is_made_anew_of_a_sound_blob_and_of_no_other() {
    let scratch = Scratch::new();
    let bytes = noise(1, 3 * CHUNK + 17);
    let (digest, size) = (push(&scratch.blobs, &bytes, 1 << 20).await, bytes.len() as u64);
    let outboard = scratch.root().join(paths::outboard(&digest));
    let before = fs::read(&outboard).expect("there");
    fs::write(&outboard, &before[..40]).expect("cut");
    assert!(scratch.blobs.make_outboard(&digest, size).expect("made"));
    assert_eq!(fs::read(&outboard).expect("there"), before);
    assert_eq!(fs::read_dir(scratch.root().join(paths::UPLOADS)).expect("there").count(), 0);

    fs::remove_file(&outboard).expect("there");
    let mut damaged = bytes.to_vec();
    damaged[CHUNK] ^= 1;
    for (name, wrong) in [("flipped", damaged.as_slice()), ("cut", &bytes[..CHUNK])] {
        fs::write(scratch.path(&digest), wrong).expect("written");
        assert!(!scratch.blobs.make_outboard(&digest, size).expect("read"), "{name}");
        assert!(!outboard.exists(), "{name}");
    }
    let small = push(&scratch.blobs, &bytes::Bytes::from_static(b"small"), 1 << 20).await;
    let outboard = scratch.root().join(paths::outboard(&small));
    fs::write(&outboard, before).expect("written");
    assert!(scratch.blobs.make_outboard(&small, 5).expect("made"));
    assert!(!outboard.exists(), "it needs none");
}

#[tokio::test]
async fn a_file_that_nobody_names_is_moved_and_not_lost() {
    let scratch = Scratch::new();
    let bytes = noise(2, 2 * CHUNK);
    let digest = push(&scratch.blobs, &bytes, 1 << 20).await;
    for is_outboard in [true, false] {
        let from = if is_outboard { paths::outboard(&digest) } else { paths::blob(&digest) };
        let content = fs::read(scratch.root().join(&from)).expect("there");
        let to = scratch.blobs.set_extra_aside(&digest, is_outboard).expect("moved").expect("its name");
        assert!(to.starts_with("quarantine/sha256-") && to.ends_with(".b3") == is_outboard, "{to}");
        assert_eq!(fs::read(scratch.root().join(to)).expect("there"), content);
        assert!(!scratch.root().join(from).exists());
        assert_eq!(scratch.blobs.set_extra_aside(&digest, is_outboard).expect("nothing"), None);
    }
}

#[tokio::test]
async fn a_proof_says_whether_bytes_are_right_and_can_be_stopped() {
    let scratch = Scratch::new();
    let bytes = noise(3, 2 * CHUNK + 1);
    let digest = push(&scratch.blobs, &bytes, 1 << 20).await;
    assert_eq!(scratch.blobs.prove(&digest, &|| true).expect("read"), Some(true));
    assert!(matches!(scratch.blobs.prove(&digest, &|| false), Err(BlobError::Io { .. })));
    fs::write(scratch.path(&digest), b"other bytes").expect("written");
    assert_eq!(scratch.blobs.prove(&digest, &|| true).expect("read"), Some(false));
    fs::remove_file(scratch.path(&digest)).expect("there");
    assert_eq!(scratch.blobs.prove(&digest, &|| true).expect("read"), None);
}
