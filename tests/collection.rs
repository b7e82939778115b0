//! The collector of the real binary: killed at random moments while it removes, and removing very many blobs while
//! images are pushed and pulled.
//!
//! CI size: 6 kills; 20,000 blobs. Full size: 100 kills; 1,000,000 blobs, on a machine that does nothing else:
//! `PIERHEAD_FULL=1 cargo test --release --test collection -- --nocapture --test-threads 1`
//! (`PIERHEAD_ROUNDS=kills`, `PIERHEAD_TEST_SEED=n`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod endurance;
mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use endurance::{Launch, sizes, verdict};
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::dump::{Encoder, Header};
use pierhead_storage_format::keys::{BlobKey, TableKey};
use pierhead_storage_format::records::BlobRecord;
use pierhead_storage_format::{Digest, paths};
use serde_json::{Value, json};
use support::images::{OCI_LAYER, OCI_MANIFEST};
use support::server::binary;
use support::wait::until;
use support::{Http, Rng, sha256};

const DEADLINE: Duration = Duration::from_secs(1800);
const SOON: Duration = Duration::from_secs(120);
/// The shortest grace period that any of these tests sets.
const SHORTEST: &str = "200ms";
const SHORTEST_GRACE: Duration = Duration::from_millis(200);

/// A span in which others work: for moments of a kill, and for measuring.
fn let_go_by(span: Duration) {
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

fn gc(data: &Path, words: &[&str]) -> Value {
    let output = gc_command(data, words).output().expect("the binary starts");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn gc_command(data: &Path, words: &[&str]) -> Command {
    let mut command = binary();
    command.arg("gc").args(words).arg("--json").arg("--data").arg(data);
    command
}

fn push_blob(http: Http, name: &str, bytes: &[u8]) {
    let target = format!("/v2/{name}/blobs/uploads/?digest={}", sha256(bytes));
    http.post(&target).header("Content-Type", "application/octet-stream").body(bytes).send().expect(201);
}

/// An image of one layer; its digest. Where a push takes longer than the grace period it begins again, as clients do.
fn push_image(http: Http, name: &str, tag: &str, layer: &[u8]) -> String {
    let described =
        |bytes: &[u8]| json!({"mediaType": OCI_LAYER, "digest": sha256(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(b"{}"), "layers": [described(layer)],
    });
    let body = serde_json::to_vec(&manifest).expect("JSON");
    until("it is pushed within the grace period", SOON, || {
        let begun = Instant::now();
        push_blob(http, name, b"{}");
        push_blob(http, name, layer);
        let put = http.put(&format!("/v2/{name}/manifests/{tag}")).header("Content-Type", OCI_MANIFEST);
        let answer = put.body(body.clone()).send();
        if answer.status == 400 && begun.elapsed() > SHORTEST_GRACE {
            answer.refused(400, "MANIFEST_BLOB_UNKNOWN");
            return None;
        }
        answer.expect(201);
        Some(sha256(&body))
    })
}

fn pull(http: Http, name: &str, tag: &str, layer: &[u8]) {
    http.get(&format!("/v2/{name}/manifests/{tag}")).send().expect(200);
    let blob = http.get(&format!("/v2/{name}/blobs/{}", sha256(layer))).send().expect(200);
    assert_eq!(blob.body, layer);
}

fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable"));
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[test]
fn a_collector_killed_at_any_moment_loses_nothing_and_leaves_nothing_in_the_end() {
    let (rounds, seed) = (sizes::rounds(6, 100), sizes::seed());
    let mut rng = Rng::seeded(seed);
    let folder = tempfile::Builder::new().prefix("pierhead-gc-kill-").tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    let launch = Launch::on(&data)
        .set("COLLECTION_GRACE", SHORTEST)
        .set("COLLECTION_EVERY", "1s")
        .set("COLLECTION_QUARANTINE", "300ms")
        .set("COLLECTION_UNDO", "0ms")
        .set("COLLECTION_BLOBS_PER_SECOND", "2000");
    let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..rounds {
        let server = launch.start();
        let http = server.http();
        kept.iter().for_each(|(tag, layer)| pull(http, "acme/web", tag, layer));
        let mut lost: Vec<Vec<u8>> = (0..200).map(|_| rng.bytes(60)).collect();
        lost.push(rng.bytes(100_000));
        let tag = format!("v{round}");
        let layer = rng.bytes(2000);
        push_image(http, "acme/web", &tag, &layer);
        lost.iter().for_each(|blob| push_blob(http, "acme/web", blob));
        let gone = push_image(http, "acme/web", "gone", &rng.bytes(3000));
        http.delete(&format!("/v2/acme/web/manifests/{gone}")).send().expect(202);
        kept.push((tag, layer));
        // A run begins within the next two seconds; the kill comes somewhere in it, or beside it.
        let_go_by(Duration::from_millis(300 + rng.below(1900) as u64));
        let log = server.kill();
        assert!(!log.contains("panicked at"), "round {round}\n{log}");
        verdict::sound(&data);
    }
    let server = launch.start();
    // Each image has a layer and a manifest of its own, and all have one config.
    let named = 2 * kept.len() + 1;
    until("everything that nothing names is gone", SOON, || {
        (files(&data.join(paths::BLOBS)) == named && files(&data.join(paths::COLLECTED)) == 0).then_some(())
    });
    kept.iter().for_each(|(tag, layer)| pull(server.http(), "acme/web", tag, layer));
    server.stop();
    verdict::sound(&data);
    sizes::note(&format!("{rounds} kills, {named} files left of all (seed {seed})"));
}

fn blob(number: u64) -> Vec<u8> {
    format!("a blob that nothing names, number {number}").into_bytes()
}

/// A store of so many blobs that nothing keeps, as one of an earlier version: rows by an import, files by hand.
fn make(folder: &Path, data: &Path, blobs: u64) {
    let mut digests: Vec<(Digest, u64)> = Vec::new();
    for number in 0..blobs {
        let bytes = blob(number);
        let digest: Digest = sha256(&bytes).parse().expect("a digest");
        let path = data.join(paths::blob(&digest));
        if !path.parent().expect("a folder").exists() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        }
        fs::write(path, &bytes).expect("written");
        digests.push((digest, bytes.len() as u64));
    }
    digests.sort_by_key(|(digest, _)| BlobKey { digest: *digest }.encode());
    let dump = folder.join("dump.zst");
    let mut out = zstd::Encoder::new(File::create(&dump).expect("a file"), 1).expect("an encoder");
    let (mut encoder, first) = Encoder::start(&Header::new(1, 1)).expect("a header");
    writeln!(out, "{first}").expect("written");
    for (digest, size) in digests {
        let (key, record) = (BlobKey { digest }, BlobRecord { size, references: 0, changed_at: 1 });
        let row =
            encoder.row(BlobKey::TABLE, &key.encode(), &record.encode().expect("small")).expect("a row");
        writeln!(out, "{row}").expect("written");
    }
    writeln!(out, "{}", encoder.finish().expect("a trailer").1).expect("written");
    out.finish().expect("written");
    // An import wants no blobs beside no metadata: they come after it.
    let aside = folder.join("blobs");
    fs::rename(data.join(paths::BLOBS), &aside).expect("moved");
    let import = binary().arg("import-metadata").arg("--data").arg(data).arg("--input").arg(&dump).output();
    let import = import.expect("the binary starts");
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    let _ = fs::remove_dir_all(data.join(paths::BLOBS));
    fs::rename(aside, data.join(paths::BLOBS)).expect("moved");
}

/// How long pushes and pulls took.
#[derive(Default)]
struct Took {
    pushes: Vec<Duration>,
    pulls: Vec<Duration>,
}

impl Took {
    /// Pushes and pulls until it is `over`.
    fn load(http: Http, seed: u64, over: &AtomicBool) -> Self {
        let (mut took, mut rng, mut number) = (Self::default(), Rng::seeded(seed), 0);
        while !over.load(Ordering::SeqCst) {
            let layer = rng.bytes(20_000);
            let name = format!("load/{seed}");
            let tag = format!("v{}", number % 50);
            let began = Instant::now();
            push_image(http, &name, &tag, &layer);
            took.pushes.push(began.elapsed());
            let began = Instant::now();
            pull(http, &name, &tag, &layer);
            took.pulls.push(began.elapsed());
            number += 1;
        }
        took
    }

    /// Two of them side by side, while `work` is done.
    fn beside(http: Http, work: impl FnOnce()) -> Self {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let running: Vec<_> = [1, 2]
                .map(|seed| {
                    scope.spawn({
                        let over = &over;
                        move || Self::load(http, seed, over)
                    })
                })
                .into_iter()
                .collect();
            work();
            over.store(true, Ordering::SeqCst);
            running.into_iter().fold(Self::default(), |mut all, thread| {
                let one = thread.join().expect("no push or pull fails");
                all.pushes.extend(one.pushes);
                all.pulls.extend(one.pulls);
                all
            })
        })
    }

    fn note(mut self, what: &str) -> [f64; 2] {
        let count = self.pushes.len();
        let p99 = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[(times.len() - 1) * 99 / 100].as_secs_f64() * 1000.0
        };
        let [push, pull] = [p99(&mut self.pushes), p99(&mut self.pulls)];
        sizes::note(&format!(
            "{what}: {count} pushes and pulls of an image; p99 {push:.1} ms and {pull:.1} ms"
        ));
        [push, pull]
    }
}

/// MiB at most so far, and of those held now what is its own and what is of mapped files.
fn memory(process: u32) -> [u64; 3] {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    ["VmHWM:", "RssAnon:", "RssFile:"].map(|what| {
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    })
}

#[test]
fn very_many_blobs_are_collected_while_images_are_pushed_and_pulled() {
    let blobs = sizes::rounds(20_000, 1_000_000) as u64;
    let folder = tempfile::Builder::new().prefix("pierhead-gc-").tempdir().expect("a scratch folder");
    let data: PathBuf = folder.path().join("data");
    make(folder.path(), &data, blobs);
    let rate = if sizes::full() { "5000" } else { "4000" };
    let launch = Launch::on(&data)
        .set("COLLECTION_ON", "false")
        .set("COLLECTION_GRACE", "2s")
        .set("COLLECTION_QUARANTINE", "0ms")
        .set("COLLECTION_BLOBS_PER_SECOND", rate);
    let server = launch.start();
    let http = server.http();
    let idle = Took::beside(http, || let_go_by(Duration::from_secs(4))).note("idle");
    let before = memory(server.pid());
    let (began, mut done) = (Instant::now(), Value::Null);
    let busy = Took::beside(http, || {
        done = until("a run that is not too soon", DEADLINE, || {
            let status = gc(&data, &["run"]);
            (status["total"]["files"].as_u64() >= Some(blobs)).then_some(status)
        });
    });
    let seconds = began.elapsed().as_secs_f64();
    let beside = busy.note("while collecting");
    let after = memory(server.pid());
    sizes::note(&format!(
        "{blobs} blobs collected in {seconds:.1} s at {rate} a second at most; MiB at most, its own now, of files now: \
         {before:?} before, {after:?} after; p99 {:.2} and {:.2} times as long",
        beside[0] / idle[0],
        beside[1] / idle[1]
    ));
    assert_eq!(done["total"]["removed"].as_u64(), Some(blobs), "{done}");
    assert!(after[1] < before[1] + 128, "its own memory grew from {} MiB to {} MiB", before[1], after[1]);
    server.stop();
    verdict::sound(&data);
}

#[test]
fn the_job_of_the_collector_runs_it_when_asked_and_says_what_it_did_or_why_not() {
    let settings = support::Settings::default().set("COLLECTION_GRACE", "0ms").set("COLLECTION_ON", "false");
    let Some(server) = support::Server::own(settings) else { return };
    push_blob(server.http(), "acme/web", b"nobody's");
    let run = || {
        let output = server.command(&["jobs", "run", "collection", "--json"]);
        let view: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (
            output.status.code(),
            view["last"]["ok"].clone(),
            view["last"]["result"].as_str().unwrap_or("").to_owned(),
        )
    };
    // Nobody counts on it once two generations of leases have passed.
    let removed = until("it is removed", SOON, || {
        let (code, ok, result) = run();
        assert_eq!((code, ok), (Some(0), json!(true)), "{result}");
        Some(result).filter(|result| result.starts_with("removed 1 blobs of 8 bytes"))
    });
    let shown = server.command(&["jobs", "show", "collection", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["last"]["result"], json!(removed), "it is shown until the next run");
    assert!(gc(server.data(), &["pause"])["paused"].as_bool().unwrap_or(false));
    let (code, ok, why) = run();
    assert_eq!((code, ok), (Some(1), json!(false)));
    assert!(why.contains("pierhead gc resume"), "{why}");
}
