//! Deep checks of a server whose collector removes what is being checked, while more is pushed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::kinds::CLEAN;
use super::support::{Image, Kind, Rng, Server};
use super::{SOON, asked, settings};

/// Deep checks at least.
const CHECKS: u64 = 12;

/// Blobs that nothing names, and images that are deleted. One whose push takes longer than the grace period is refused,
/// and given up.
fn push_and_delete(server: &Server, number: u64, over: &AtomicBool) {
    let (repository, mut rng) = (server.repository(), Rng::named(&format!("collected {number}")));
    while !over.load(Ordering::SeqCst) {
        for size in [200, 30_000, 1_200_000] {
            repository.push_blob(&rng.bytes(size));
        }
        let image = Image::random(&mut rng, Kind::Oci, &[1_100_000, 20_000, 100]);
        repository.push_blobs(&image);
        let put = repository.put_manifest("v1", image.media_type, &image.manifest);
        if put.status == 201 {
            repository.delete(&format!("manifests/{}", image.digest())).expect(202);
        } else {
            put.refused(400, "MANIFEST_BLOB_UNKNOWN");
        }
    }
}

/// So that blobs are read for a while, and others go meanwhile. It takes longer than the grace period.
fn keep_a_large_image(server: &Server) {
    assert!(server.command(&["gc", "pause"]).status.success());
    let mut rng = Rng::named("kept");
    let layers: Vec<usize> = (0..8).map(|number| 8_000_000 + number).collect();
    server.repository().push("kept", &Image::random(&mut rng, Kind::Oci, &layers));
    assert!(server.command(&["gc", "resume"]).status.success());
}

/// Blobs that were collected since the start.
fn collected(server: &Server) -> u64 {
    asked(server.data(), &["gc", "status"]).1["total"]["removed"].as_u64().expect("a number")
}

/// Checks until blobs were collected beside some of them, how many, and an answer that is not clean.
fn check(server: &Server) -> (u64, Option<Value>) {
    let (begun, mut beside) = (Instant::now(), 0);
    for checks in 1_u64.. {
        let before = collected(server);
        let (code, answer) = asked(server.data(), &["check", "--deep"]);
        beside += collected(server) - before;
        let is_clean = code == CLEAN && answer["last"]["found"].as_array().is_some_and(Vec::is_empty);
        if !is_clean {
            return (beside, Some(answer));
        }
        if begun.elapsed() > SOON || (checks >= CHECKS && beside > 0) {
            break;
        }
    }
    (beside, None)
}

#[test]
fn deep_checks_beside_the_collector_find_nothing() {
    let settings = settings()
        .set("COLLECTION_GRACE", "200ms")
        .set("COLLECTION_EVERY", "1s")
        .set("COLLECTION_QUARANTINE", "300ms")
        .set("COLLECTION_UNDO", "0ms");
    let Some(server) = Server::own(settings) else { return };
    keep_a_large_image(&server);
    let over = AtomicBool::new(false);
    let (beside, found) = thread::scope(|scope| {
        for number in 0..2 {
            let (server, over) = (&server, &over);
            scope.spawn(move || push_and_delete(server, number, over));
        }
        let checked = thread::Builder::new().spawn_scoped(scope, || check(&server)).expect("a thread").join();
        over.store(true, Ordering::SeqCst);
        checked.expect("it says why")
    });
    assert!(found.is_none(), "a finding: {found:#?}");
    assert!(beside > 0, "nothing was collected while it was checked");
    // And once more, with nobody pushing.
    assert_eq!(asked(server.data(), &["check", "--deep"]).0, CLEAN);
}
