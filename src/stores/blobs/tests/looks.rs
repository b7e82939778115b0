//! Looking at blobs past the cache: what is right, wrong and missing is told, and which part.

use std::fs;

use pierhead_storage_format::paths;

use super::{Scratch, noise, push};
use crate::stores::blobs::{Blobs, Looked};

const CHUNK: u64 = 1 << 20;

fn look(blobs: &Blobs, digest: &pierhead_storage_format::Digest, size: u64, threads: usize) -> Looked {
    let mut look = match blobs.look_at(digest, size).expect("readable") {
        Ok(look) => look,
        Err(looked) => return looked,
    };
    loop {
        if let Some(looked) = look.go_on(2 * CHUNK, threads).expect("readable") {
            assert_eq!(look.read(), size);
            return looked;
        }
    }
}

#[tokio::test]
async fn a_blob_is_looked_at_by_its_outboard_or_by_its_digest() {
    let scratch = Scratch::new();
    for (name, len, has_outboard) in [
        ("of several chunks", 5 * 1048576 + 9, true),
        ("without its outboard", 3_000_001, false),
        ("small", 700, false),
    ] {
        let bytes = noise(len as u64, len);
        let digest = push(&scratch.blobs, &bytes, 1 << 20).await;
        let outboard = scratch.root().join(paths::outboard(&digest));
        if !has_outboard {
            let _ = fs::remove_file(&outboard);
        }
        let size = len as u64;
        assert_eq!(look(&scratch.blobs, &digest, size, 2), Looked::Sound, "{name}");
        assert_eq!(
            look(&scratch.blobs, &digest, size + 1, 1),
            Looked::Suspect(Vec::new()),
            "{name}, by length"
        );
        let mut damaged = bytes.to_vec();
        *damaged.last_mut().expect("some") ^= 1;
        fs::write(scratch.path(&digest), &damaged).expect("written");
        let parts = if has_outboard {
            Vec::from_iter([(5 * CHUNK, size)].map(|(start, end)| start..end))
        } else {
            Vec::new()
        };
        assert_eq!(look(&scratch.blobs, &digest, size, 2), Looked::Suspect(parts), "{name}, damaged");
        assert!(scratch.blobs.quarantine(&digest).await.expect("moved"), "{name}");
        assert_eq!(look(&scratch.blobs, &digest, size, 1), Looked::Missing, "{name}, set aside");
        push(&scratch.blobs, &bytes, 1 << 20).await;
        assert_eq!(look(&scratch.blobs, &digest, size, 1), Looked::Sound, "{name}, pushed again");
    }
}

#[tokio::test]
async fn an_outboard_that_is_wrong_condemns_no_blob() {
    let scratch = Scratch::new();
    let bytes = noise(3, 3_000_000);
    let digest = push(&scratch.blobs, &bytes, 1 << 20).await;
    let other = push(&scratch.blobs, &noise(4, 3_000_000), 1 << 20).await;
    let at = |digest| scratch.root().join(paths::outboard(digest));
    // One that holds, of this blob, with hashes of another.
    let mut outboard =
        pierhead_storage_format::outboard::Outboard::decode(&fs::read(at(&other)).expect("there"))
            .expect("holds");
    outboard.digest = digest;
    fs::write(at(&digest), outboard.encode()).expect("written");
    assert!(
        matches!(look(&scratch.blobs, &digest, 3_000_000, 2), Looked::Suspect(parts) if parts.len() == 3)
    );
    assert!(!scratch.blobs.quarantine(&digest).await.expect("looked at"), "its bytes are right");
    scratch.blobs.drop_outboard(&digest).await.expect("removed");
    assert_eq!(look(&scratch.blobs, &digest, 3_000_000, 2), Looked::Sound);
}
