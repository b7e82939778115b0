//! Small blobs of the log of which nobody can tell at a start whether the metadata has them.

use std::sync::Arc;

use super::{Scratch, open, paths, sha256};
use crate::stores::blobs::{BlobError, Named};
use crate::stores::disk::RealDisk;

#[tokio::test]
async fn a_small_blob_of_which_nobody_can_tell_yet_gets_its_file_and_is_asked_about_again() {
    let scratch = Scratch::new();
    let (named, nobodys) = (bytes::Bytes::from("named"), bytes::Bytes::from("collected long ago"));
    for blob in [&named, &nobodys] {
        let published = scratch.blobs.publish_bytes(&sha256(blob), blob.clone()).await;
        published.expect("published").settled().await;
    }
    let at = |blob: &[u8]| scratch.path(&sha256(&bytes::Bytes::copy_from_slice(blob)));
    std::fs::remove_file(at(&nobodys)).expect("as a collection did");
    // As a stop without notice, after which the rows are being checked.
    let copy = tempfile::tempdir().expect("a scratch folder");
    let made =
        std::process::Command::new("cp").arg("-a").arg(scratch.root().join(".")).arg(copy.path()).status();
    assert!(made.expect("cp starts").success());
    let disk = || Arc::new(RealDisk::new(copy.path()));
    let there = |blob: &bytes::Bytes| copy.path().join(paths::blob(&sha256(blob))).exists();
    let (blobs, left) = open(disk());
    assert_eq!(left, []);
    let known = |digest: &pierhead_storage_format::Digest| {
        Ok::<_, BlobError>(if *digest == sha256(&named) { Named::Yes } else { Named::Unsure })
    };
    let replayed = blobs.replay(known, |error| error).expect("gone through");
    let unsure = replayed.unsure.expect("one is");
    assert_eq!((&unsure.published, replayed.blobs), (&vec![sha256(&nobodys)], 2));
    assert!(there(&named) && there(&nobodys), "it may be somebody's");
    let segments = std::fs::read_dir(copy.path().join(paths::SMALL)).expect("readable").flatten();
    assert_eq!(segments.filter(|entry| entry.path().extension().is_some_and(|e| e == "log")).count(), 0);
    drop(blobs);

    let (blobs, left) = open(disk());
    assert_eq!(left, [unsure], "the next start is told of it");
    blobs.replay(|_| Ok::<_, BlobError>(true), |error| error).expect("nothing is left in the log");
    blobs.clear_leftover(&left[0], &[sha256(&nobodys)]).expect("cleared");
    assert!(there(&named) && !there(&nobodys));
    assert_eq!(std::fs::read_dir(copy.path().join(paths::UPLOADS)).expect("readable").count(), 0);
}
