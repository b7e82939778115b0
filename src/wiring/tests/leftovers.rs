//! What an earlier run left below `uploads/` is cleared beside the serving, unless somebody counts on it.

use pierhead_storage_format::{Digest, paths};

use super::house::{House, digest};
use crate::stores::blobs::Leftover;

#[tokio::test]
async fn a_blob_that_nobody_recorded_goes_unless_somebody_publishes_it_meanwhile() {
    let house = House::with(true, |_| {}).await;
    assert_eq!(house.push_blob("acme/web", "", b"recorded").await.status, 201);
    let nobodys: Digest = digest(b"nobody's").parse().expect("a digest");
    let recorded: Digest = digest(b"recorded").parse().expect("a digest");
    let at = |path: std::path::PathBuf| house.data().join(path);
    let id = "0".repeat(32);
    std::fs::write(at(paths::blob(&nobodys)), b"nobody's").expect("written");
    std::fs::create_dir(at(paths::upload_dir(&id))).expect("made");
    for digest in [&nobodys, &recorded] {
        std::fs::write(at(paths::upload_intent(&id, digest)), b"").expect("written");
    }
    let left = vec![Leftover { id: id.clone(), published: vec![nobodys, recorded] }];
    let (uploads, leases) = house.uploads_again();
    let hold = leases.hold(&nobodys).await;
    uploads.clear_leftovers(left.clone()).await.expect("looked at");
    assert!(
        at(paths::blob(&nobodys)).exists() && at(paths::upload_dir(&id)).exists(),
        "it is published just now"
    );
    drop(hold);
    leases.forget();
    uploads.clear_leftovers(left).await.expect("cleared");
    assert!(!at(paths::blob(&nobodys)).exists() && !at(paths::upload_dir(&id)).exists());
    assert!(at(paths::blob(&recorded)).exists());
    drop(uploads);
    house.sound().await;
}
