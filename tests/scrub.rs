//! The scrub of a running server: damage is found, named and healed by a push; it heeds its rate, a pause and
//! restarts. At full rate it reads what the disk gives, at its own rate nobody who pulls notices.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::wait::{until, until_true};
use support::{Image, Kind, Repository, Rng, Server, Settings, sha256};

const SOON: Duration = Duration::from_secs(60);

fn asked(server: &Server, arguments: &[&str]) -> Output {
    server.command(&[arguments, &["--json"]].concat())
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("JSON: {text}"))
}

fn status(server: &Server) -> Value {
    json(&asked(server, &["scrub", "status"]))
}

/// Reads every blob at full rate, and waits for the end.
fn scrub(server: &Server) -> Value {
    let output = asked(server, &["scrub", "run", "--full"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    until("the cycle ends", SOON, || Some(status(server)).filter(|status| status["state"] == "waiting"))
}

fn findings(server: &Server) -> Vec<Value> {
    let output = asked(server, &["scrub", "findings"]);
    let items = json(&output)["items"].as_array().expect("a list").clone();
    assert_eq!(output.status.code(), Some(i32::from(!items.is_empty())));
    items
}

fn file(server: &Server, blob: &[u8]) -> PathBuf {
    let digest = sha256(blob).replace("sha256:", "");
    server.data().join("blobs/sha256").join(&digest[..2]).join(digest)
}

fn flip(path: &PathBuf, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).expect("there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
    file.sync_all().expect("synced");
}

#[test]
fn damage_is_found_named_answered_with_404_and_healed_by_the_next_push() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let repository = server.repository();
    let mut rng = Rng::named("scrub");
    let image = Image::random(&mut rng, Kind::Oci, &[3_500_000, 40_000, 900]);
    let well = Image::random(&mut rng, Kind::Oci, &[2_000_000]);
    repository.push("v1", &image);
    repository.push("well", &well);
    let clean = scrub(&server);
    assert_eq!((clean["blobs"].as_u64(), clean["findings"].as_u64()), (Some(8), Some(0)), "{clean}");
    assert!(findings(&server).is_empty());
    let job = until("the job has ended", SOON, || {
        let job = json(&asked(&server, &["jobs", "show", "scrub"]));
        Some(job).filter(|job| job["running"].is_null())
    });
    let result = job["last"]["result"].as_str().expect("a result");
    assert!(result.starts_with("8 blobs of ") && result.ends_with(" read, 0 damaged or missing"), "{job}");
    assert!(job["next_at"].is_string() && job["state"] == "waiting", "{job}");
    let refused = server.command(&["jobs", "pause", "scrub"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("by the command that is for it"));

    flip(&file(&server, &image.layers[0]), 1_500_000);
    flip(&file(&server, &image.layers[1]), 7);
    fs::remove_file(file(&server, &image.layers[2])).expect("removed");
    let sick = scrub(&server);
    assert_eq!((sick["damaged"].as_u64(), sick["findings"].as_u64()), (Some(3), Some(3)), "{sick}");
    let found = findings(&server);
    for (layer, kind, parts) in [(0, "damaged", 1), (1, "damaged", 0), (2, "missing", 0)] {
        let digest = sha256(&image.layers[layer]);
        let item = found.iter().find(|item| item["digest"] == *digest).expect("found");
        assert_eq!(
            (item["kind"].as_str(), item["parts"].as_array().map(Vec::len)),
            (Some(kind), Some(parts))
        );
        assert_eq!(item["images"], serde_json::json!([format!("{}:v1", repository.name)]));
        repository.head(&format!("blobs/{digest}")).expect(404);
    }
    let said = server.command(&["status"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("3 BLOBS DAMAGED OR MISSING"));
    assert_eq!(repository.get("manifests/v1").expect(200).body, image.manifest);
    repository.pull_and_compare("well", &well);

    repository.push("v1", &image);
    repository.pull_and_compare("v1", &image);
    let healed = scrub(&server);
    assert_eq!(healed["damaged"].as_u64(), Some(0), "{healed}");
    until_true("the findings go", SOON, || findings(&server).is_empty());
}

#[test]
fn a_pause_lasts_over_restarts_and_a_cycle_goes_on_where_it_was() {
    let settings = Settings::default().set("SCRUB_RATE", "1MiB");
    let Some(mut server) = Server::own(settings) else { return };
    let repository = server.repository();
    let mut rng = Rng::named("pause");
    for number in 0..4 {
        repository.push(&format!("v{number}"), &Image::random(&mut rng, Kind::Oci, &[5_000_000, 300]));
    }
    assert!(asked(&server, &["scrub", "run"]).status.success());
    until_true("some of it is read", SOON, || status(&server)["bytes"].as_u64() > Some(3_000_000));
    let job = json(&asked(&server, &["jobs", "show", "scrub"]));
    assert!(job["running"]["began_at"].is_string() && job["running"]["unit"] == "blobs", "{job}");
    assert_eq!(json(&asked(&server, &["scrub", "pause"]))["state"], "paused");
    assert!(server.stop().success());
    server.start();
    let paused = status(&server);
    assert_eq!(paused["state"], "paused");
    let before = paused["blobs"].as_u64().expect("a number");
    assert!(paused["bytes"].as_u64() > Some(3_000_000) && before < 16, "{paused}");
    assert_eq!(json(&asked(&server, &["scrub", "resume"]))["state"], "running");
    server.kill();
    server.start();
    // At one MiB a second it is far from the end.
    assert!(status(&server)["blobs"].as_u64() >= Some(before));
    server.until_logged("did not stop in order");
    assert_eq!(scrub(&server)["blobs"].as_u64(), Some(16));
}

/// Pulls of a manifest and its blobs: the times they took, sorted.
fn pulls(repository: &Repository, image: &Image, count: usize) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let began = Instant::now();
            repository.pull_and_compare("hot", image);
            began.elapsed()
        })
        .collect();
    times.sort();
    times
}

fn dd(path: &PathBuf) -> f64 {
    let began = Instant::now();
    let read = Command::new("dd")
        .arg(format!("if={}", path.display()))
        .args(["of=/dev/null", "bs=1M", "iflag=direct", "status=none"])
        .status();
    assert!(read.expect("dd starts").success());
    fs::metadata(path).expect("there").len() as f64 / began.elapsed().as_secs_f64() / (1 << 20) as f64
}

/// `PIERHEAD_FULL=1 cargo test --test scrub -- --nocapture` reads 2 GiB instead of 128 MiB, and judges the figures:
/// on a busy machine they mean little.
#[test]
fn at_full_rate_it_reads_what_the_disk_gives_and_at_its_rate_pulls_do_not_notice() {
    let Some(server) = Server::own(Settings::default().set("SCRUB_RATE", "50MiB")) else { return };
    let full = std::env::var_os("PIERHEAD_FULL").is_some();
    let (layers, count) = if full { (16, 2000) } else { (1, 200) };
    let repository = server.repository();
    let mut rng = Rng::named("rate");
    let hot = Image::random(&mut rng, Kind::Oci, &[200_000, 30_000]);
    repository.push("hot", &hot);
    let mut large = Vec::new();
    for number in 0..layers {
        let image = Image::random(&mut rng, Kind::Oci, &[128 << 20]);
        repository.push(&format!("large{number}"), &image);
        large.push(file(&server, &image.layers[0]));
    }
    let disk = large.iter().map(dd).sum::<f64>() / large.len() as f64;
    let idle = pulls(&repository, &hot, count);
    let began = Instant::now();
    let ended = scrub(&server);
    let rate =
        ended["bytes"].as_u64().expect("bytes") as f64 / began.elapsed().as_secs_f64() / (1 << 20) as f64;
    assert!(asked(&server, &["scrub", "run"]).status.success());
    until_true("it reads", SOON, || status(&server)["bytes"].as_u64() > Some(0));
    let beside = pulls(&repository, &hot, count);
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100];
    eprintln!(
        "dd {disk:.0} MiB/s, scrub at full rate {rate:.0} MiB/s; p99 of pulls {:?} idle, {:?} beside a scrub at 50 MiB/s",
        p99(&idle),
        p99(&beside)
    );
    if full {
        assert!(rate * 2.0 >= disk, "half of what the disk gives");
        assert!(p99(&beside) <= p99(&idle) * 3 / 2, "within 1.5 times");
    }
}
