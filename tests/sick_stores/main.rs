//! Stores that were damaged while nobody served them, one a kind of damage: `fsck` names it, `check` does where the
//! server can start, `fsck --repair` does what is stated and says what is left, and does nothing when it is run again.
//! Then the server starts, sound images pull, and a push heals the others.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod collecting;
mod files;
mod kinds;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use files::{file, flip};
use kinds::{CLEAN, REPAIRED, ROWS, Row};
use serde_json::Value;
use support::server::binary;
use support::wait::until_true;
use support::{Image, Kind, Repository, Rng, Server, Settings, sha256};

const SOON: Duration = Duration::from_secs(60);

/// A store with a damaged image and a sound one; the first has a layer with an outboard, and a small one.
struct Sample {
    folder: tempfile::TempDir,
    name: String,
    sick: Image,
    sound: Image,
}

/// Whether the folder of a blob has none of the others: the folder is lost with all that is in it.
fn is_alone(blob: &[u8], images: &[&Image]) -> bool {
    let folder = |blob: &[u8]| file(Path::new(""), blob).parent().map(Path::to_owned);
    let mut all = images.iter().flat_map(|image| image.blobs().chain([image.manifest.as_slice()]));
    all.all(|other| other == blob || folder(other) != folder(blob))
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn settings() -> Settings {
    // The scrub would set damage aside before anybody looks.
    Settings::default().set("SCRUB_ON", "false")
}

impl Sample {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut server = Server::on_data(&folder.path().join("data"), settings())?;
        let mut rng = Rng::named("sick");
        let sound = Image::random(&mut rng, Kind::Oci, &[2_000_000, 900]);
        let sick = iter::repeat_with(|| Image::random(&mut rng, Kind::Oci, &[3_500_000, 40_000]))
            .find(|sick| is_alone(&sick.layers[1], &[sick, &sound]))
            .expect("soon");
        let repository = server.repository();
        let name = repository.name.clone();
        repository.push("sick", &sick);
        repository.push("sound", &sound);
        assert!(server.stop().success());
        Some(Self { folder, name, sick, sound })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn copy(&self, name: &str) -> PathBuf {
        let to = self.folder.path().join(name.replace(' ', "-"));
        let copied = Command::new("cp").arg("-a").arg(self.data()).arg(&to).status();
        assert!(copied.expect("cp starts").success());
        to
    }

    fn in_words(&self, text: &str) -> String {
        let digests = [("LAYER", &self.sick.layers[0]), ("SMALL", &self.sick.layers[1])];
        let digests = digests.into_iter().chain([("MANIFEST", &self.sick.manifest)]);
        digests.fold(text.to_owned(), |text, (word, blob)| text.replace(word, &sha256(blob)))
    }
}

/// Exit code and JSON of a command on a data directory.
fn asked(data: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = binary().args(arguments).arg("--json").arg("--data").arg(data).output().expect("runs");
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(&output)));
    (output.status.code().expect("no signal"), json)
}

fn ids(found: &Value) -> Vec<&str> {
    found.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn is_named(sample: &Sample, row: &Row, data: &Path) {
    let (code, answer) = asked(data, &["fsck", "--deep"]);
    let report = &answer["report"];
    assert_eq!(ids(&report["by_id"]), row.found, "{}: {report:#}", row.name);
    assert_eq!(code, i32::from(answer["ok"] == false), "{}", row.name);
    let findings = report["findings"].to_string();
    for words in row.says {
        assert!(findings.contains(&sample.in_words(words)), "{}: {words} in {findings}", row.name);
    }
    let image = format!("{}:sick", sample.name);
    assert_eq!(findings.contains(&image), row.names_images, "{}: {findings}", row.name);
}

/// A copy is served, and checked.
fn is_seen_by_the_server(sample: &Sample, row: &Row, data: &Path) {
    let Some(expected) = row.online else { return };
    let copy = sample.folder.path().join("served");
    let _ = fs::remove_dir_all(&copy);
    assert!(Command::new("cp").arg("-a").arg(data).arg(&copy).status().expect("cp starts").success());
    let server = Server::on_data(&copy, settings()).expect("ours");
    let (code, answer) = asked(server.data(), &["check", "--deep"]);
    let found: Vec<&str> = answer["last"]["found"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| found["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(found, expected, "{}: {answer:#}", row.name);
    assert_eq!(code, i32::from(answer["ok"] == false), "{}", row.name);
    let findings = answer["findings"].to_string();
    for words in row.says.iter().filter(|_| !expected.is_empty()) {
        assert!(findings.contains(&sample.in_words(words)), "{}: {words} in {findings}", row.name);
    }
    let image = format!("{}:sick", sample.name);
    assert_eq!(findings.contains(&image), row.names_images, "{}: {findings}", row.name);
}

fn is_repaired(sample: &Sample, row: &Row, data: &Path) {
    let files = |data: &Path| {
        let listed = Command::new("find").arg(data).args(["-type", "f", "-printf", "%P %s %T@\n"]).output();
        let mut lines: Vec<String> =
            text_of(&listed.expect("find starts")).lines().map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with("LOCK"));
        lines.sort();
        lines
    };
    let before = files(data);
    let (code, plan) = asked(data, &["fsck", "--deep", "--repair", "--dry-run"]);
    assert_eq!(files(data), before, "{}: a dry run changes nothing", row.name);
    assert_eq!(plan["planned"].as_array().expect("a plan").is_empty(), row.done.is_empty(), "{}", row.name);
    assert_eq!(code, i32::from(plan["ok"] == false));

    let (code, repair) = asked(data, &["fsck", "--deep", "--repair"]);
    let done = if repair["steps"].is_null() { Vec::new() } else { ids(&repair["steps"]["by_id"]) };
    assert_eq!((done, code), (row.done.to_vec(), row.ends), "{}: {repair:#}", row.name);
    if row.done == ["B2"] {
        assert_eq!(repair["steps"]["by_id"]["B2"], 1, "moved once, and nothing else: {repair:#}");
    }
    assert_eq!(ids(&repair["report"]["by_id"]), row.left, "{}: {repair:#}", row.name);
    (row.then)(sample, data);

    let (code, again) = asked(data, &["fsck", "--deep", "--repair"]);
    let steps = again["steps"]["done"].as_array().map_or(0, Vec::len);
    let ends = if row.ends == REPAIRED { CLEAN } else { row.ends };
    assert_eq!((code, steps), (ends, 0), "{}: nothing is left to do: {again:#}", row.name);
}

/// What is sound pulls; what is not is answered so that a push heals it.
fn is_served_and_heals(sample: &Sample, row: &Row, data: &Path) {
    let mut server = Server::on_data(data, settings()).expect("ours");
    let repository = Repository::named(server.http(), &sample.name);
    repository.pull_and_compare("sound", &sample.sound);
    if row.left.is_empty() {
        repository.pull_and_compare("sick", &sample.sick);
    } else {
        assert!(
            server.command(&["scrub", "findings"]).status.code() == Some(1),
            "{}: it is listed",
            row.name
        );
        // As clients push: what the server has is not sent.
        for blob in sample.sick.blobs() {
            let there = repository.head(&format!("blobs/{}", sha256(blob)));
            if there.status == 404 {
                repository.push_blob(blob);
            }
        }
        repository.put_manifest("sick", sample.sick.media_type, &sample.sick.manifest).expect(201);
        repository.pull_and_compare("sick", &sample.sick);
    }
    assert!(server.stop().success());
    let (code, answer) = asked(data, &["fsck", "--deep"]);
    assert_eq!(code, CLEAN, "{}: {answer:#}", row.name);
}

#[test]
fn every_kind_of_damage_is_named_repaired_or_left_as_stated_and_healed_by_a_push() {
    let Some(sample) = Sample::new() else { return };
    for row in ROWS {
        let data = sample.copy(row.name);
        (row.damage)(&sample, &data);
        is_named(&sample, row, &data);
        is_seen_by_the_server(&sample, row, &data);
        is_repaired(&sample, row, &data);
        if row.online.is_some() {
            is_served_and_heals(&sample, row, &data);
        }
        fs::remove_dir_all(&data).expect("scratch");
    }
}

/// What is lost, where, what `fsck` finds of it, and what of that holds steps back.
type Loss = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

#[test]
fn what_is_left_of_lost_rows_is_not_given_up_and_the_server_starts() {
    let Some(sample) = Sample::new() else { return };
    let losses: [Loss; 2] =
        [("tag", "\"sick\"", &["R2"], &[]), ("organisation", "\"name\"", &["R10", "R40", "R41"], &["R10"])];
    for (table, of, left, held_by) in losses {
        let data = sample.copy(table);
        files::lose(&sample, &data, table, of);
        let (_, plan) = asked(&data, &["fsck", "--repair", "--dry-run"]);
        let planned = plan["planned"].to_string();
        assert!(left.iter().all(|id| !planned.contains(&format!("\"{id}\""))), "{table}: {planned}");
        let (code, repair) = asked(&data, &["fsck", "--deep", "--repair"]);
        assert_eq!((code, ids(&repair["report"]["by_id"])), (1, left.to_vec()), "{table}: {repair:#}");
        let held: [&Value; 2] = [&plan["held"], &repair["steps"]["held"]];
        for held in held.map(|held| &held["because"]) {
            let because: Vec<&Value> =
                held.as_array().expect("a list").iter().map(|one| &one["id"]).collect();
            assert_eq!(because, held_by, "{table}: {repair:#}");
        }
        let mut server = Server::on_data(&data, settings()).expect("ours");
        let repository = Repository::named(server.http(), &sample.name);
        repository.pull_and_compare("sound", &sample.sound);
        assert!(server.stop().success());
        fs::remove_dir_all(&data).expect("scratch");
    }
}

#[test]
fn what_is_held_back_for_what_the_repair_mends_itself_is_done_by_the_same_command_run_again() {
    let Some(sample) = Sample::new() else { return };
    let data = sample.copy("mended");
    files::edit(&sample, &data, "blob", |record| record["references"] = Value::from(9));
    files::lose(&sample, &data, "blob", &sha256(&sample.sick.layers[1]));
    let none = Value::Array(Vec::new());
    let (_, plan) = asked(&data, &["fsck", "--repair", "--dry-run"]);
    assert_eq!((&plan["held"]["because"], ids(&plan["held"]["by_id"])), (&none, vec!["R5"]), "{plan:#}");
    let (code, repair) = asked(&data, &["fsck", "--repair"]);
    let held = &repair["steps"]["held"];
    assert_eq!((code, &held["because"], ids(&held["by_id"])), (1, &none, vec!["R5"]), "{repair:#}");
    assert_eq!(repair["steps"]["by_id"]["R13"], 1, "{repair:#}");
    let (code, again) = asked(&data, &["fsck", "--repair"]);
    assert_eq!((code, ids(&again["report"]["by_id"])), (REPAIRED, Vec::new()), "{again:#}");
    assert_eq!(asked(&data, &["fsck", "--deep"]).0, CLEAN);
}

#[test]
fn a_repair_does_not_open_a_store_whose_start_removes_what_lost_rows_may_have_named() {
    let Some(sample) = Sample::new() else { return };
    let data = sample.copy("cleared");
    let layer = &sample.sick.layers[1];
    files::lose(&sample, &data, "blob", &sha256(layer));
    let folder = data.join("uploads/000000000000000000000000000000aa");
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join(format!("publish-{}", sha256(layer).replace(':', "-"))), b"").expect("written");
    let (code, repair) = asked(&data, &["fsck", "--repair"]);
    assert_eq!((code, repair["ok"].as_bool()), (1, Some(false)), "{repair:#}");
    assert!(repair["failed"].as_str().is_some_and(|why| why.contains("not begun")), "{repair:#}");
    assert!(file(&data, layer).exists());
}

#[test]
fn a_repair_says_what_it_does_is_in_the_audit_trail_and_leaves_a_served_store_alone() {
    let Some(sample) = Sample::new() else { return };
    let data = sample.copy("told");
    flip(&file(&data, &sample.sick.layers[0]), 7);
    let run = |arguments: &[&str]| binary().args(arguments).arg("--data").arg(&data).output().expect("runs");
    let planned = text_of(&run(&["fsck", "--deep", "--repair", "--dry-run"]));
    assert!(planned.contains("B3 would: ") && planned.contains("nothing was changed"), "{planned}");
    let mut server = Server::on_data(&data, settings()).expect("ours");
    let refused = run(&["fsck", "--repair"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text_of(&refused).contains("is in use by process"), "{}", text_of(&refused));
    assert!(server.stop().success());

    let said = text_of(&run(&["fsck", "--deep", "--repair"]));
    for words in ["B3 done: moved blob ", "needed by ", "push one of its images again", "NOT ALL OF IT"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    let server = Server::on_data(&data, settings()).expect("ours");
    let (_, events) = asked(server.data(), &["audit", "list"]);
    let event =
        events["items"].as_array().expect("a list").iter().find(|event| event["trace_name"] == "repairStore");
    let event = event.unwrap_or_else(|| panic!("no event: {events:#}")).to_string();
    assert!(event.contains("B3") && event.contains("local administrator"), "{event}");
}

/// Files below `quarantine/`, and the change sets there are, tell that a repair is at work.
#[test]
fn a_repair_that_is_killed_is_finished_by_the_next_one() {
    let Some(sample) = Sample::new() else { return };
    for steps in 0..4 {
        let data = sample.copy("killed");
        for layer in [&sample.sick.layers[0], &sample.sick.layers[1], &sample.sick.manifest] {
            flip(&file(&data, layer), 9);
        }
        files::cut(&files::outboard(&data, &sample.sound.layers[0]), 40);
        for extra in [&b"one"[..], b"two"] {
            fs::write(file(&data, extra), extra).expect("written");
        }
        let mut command = binary();
        command.args(["fsck", "--deep", "--repair", "--data"]).arg(&data).stdout(Stdio::null());
        let mut child = command.spawn().expect("starts");
        let moved = || fs::read_dir(data.join("quarantine")).map_or(0, Iterator::count) > steps + 1;
        until_true("it is at work, or done", SOON, || moved() || child.try_wait().expect("ours").is_some());
        let _ = child.kill();
        child.wait().expect("ours");

        let (code, repair) = asked(&data, &["fsck", "--deep", "--repair"]);
        assert_eq!((code, ids(&repair["report"]["by_id"])), (1, vec!["B1"]), "{steps}: {repair:#}");
        assert_eq!(repair["report"]["by_id"]["B1"], 3, "{steps}: {repair:#}");
        let (_, again) = asked(&data, &["fsck", "--deep", "--repair"]);
        assert_eq!(again["steps"]["done"], Value::Array(Vec::new()), "{steps}");
        is_served_and_heals(&sample, &ROWS[0], &data);
        fs::remove_dir_all(&data).expect("scratch");
    }
}

#[test]
fn a_check_of_a_server_under_load_finds_nothing_and_shows_among_the_jobs() {
    let Some(server) = Server::own(settings()) else { return };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..3 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                let (repository, mut rng) = (server.repository(), Rng::named(&format!("load {number}")));
                while !stop.load(Ordering::SeqCst) {
                    let image = Image::random(&mut rng, Kind::Oci, &[1_200_000, 30_000, 200]);
                    repository.push("v1", &image);
                    let digest = repository.push("v2", &image);
                    repository.delete(&format!("manifests/{digest}"));
                }
            });
        }
        for deep in [false, true, false, true, false] {
            let arguments: &[&str] = if deep { &["check", "--deep"] } else { &["check"] };
            let (code, answer) = asked(server.data(), arguments);
            if code != CLEAN || answer["last"]["found"].as_array().is_none_or(|found| !found.is_empty()) {
                stop.store(true, Ordering::SeqCst);
                panic!("a finding: {answer:#}");
            }
            assert_eq!(answer["last"]["deep"], deep);
        }
        stop.store(true, Ordering::SeqCst);
    });
    let (_, jobs) = asked(server.data(), &["jobs", "list"]);
    let jobs = jobs["items"].as_array().expect("a list").clone();
    let job = jobs.iter().find(|job| job["name"] == "check").expect("shown");
    assert_eq!((job["runs"].as_u64(), job["last"]["ok"].as_bool()), (Some(5), Some(true)), "{job}");
    assert!(
        job["last"]["result"].as_str().is_some_and(|text| text.starts_with("nothing is wrong: ")),
        "{job}"
    );
    let (_, events) = asked(server.data(), &["audit", "list"]);
    assert!(events.to_string().contains("runCheck"), "{events:#}");
    let (code, last) = asked(server.data(), &["check", "--last"]);
    assert_eq!((code, &last["ok"]), (CLEAN, &Value::Bool(true)));
    // While it is paused none begins that would wait, and fail for it.
    assert!(server.command(&["jobs", "pause", "check"]).status.success());
    let refused = server.command(&["check"]);
    assert!(text_of(&refused).contains("pierhead jobs resume check"), "{}", text_of(&refused));
    assert_eq!(refused.status.code(), Some(1));
    assert!(server.command(&["jobs", "resume", "check"]).status.success());
    assert_eq!(asked(server.data(), &["check"]).0, CLEAN);
}
