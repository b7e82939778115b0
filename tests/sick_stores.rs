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

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use support::server::binary;
use support::{Image, Kind, Repository, Rng, Server, Settings, sha256};

/// Nothing is wrong; something is; it was repaired.
const CLEAN: i32 = 0;
const DAMAGED: i32 = 1;
const REPAIRED: i32 = 3;
/// An upload nobody goes on with.
const DANGLING: &str = "000000000000000000000000000000aa";

/// A store with a damaged image and a sound one; the first has a layer with an outboard, and a small one.
struct Sample {
    folder: tempfile::TempDir,
    name: String,
    sick: Image,
    sound: Image,
}

/// A kind of damage.
struct Row {
    name: &'static str,
    /// What is done to the data directory.
    damage: fn(&Sample, &Path),
    /// What `fsck --deep` finds, ...
    found: &'static [&'static str],
    /// ... in which words (`LAYER`, `SMALL` and `MANIFEST` stand for digests), with the images named or not.
    says: &'static [&'static str],
    names_images: bool,
    /// What `check --deep` of a server on it finds; none if no server starts on it.
    online: Option<&'static [&'static str]>,
    /// What the repair did, by id, how it ended, and what it left.
    done: &'static [&'static str],
    ends: i32,
    left: &'static [&'static str],
    /// What is so after the repair.
    then: fn(&Sample, &Path),
}

const NOTHING: fn(&Sample, &Path) = |_, _| {};

const ROWS: &[Row] = &[
    Row {
        name: "a flipped byte",
        damage: |sample, data| flip(&file(data, &sample.sick.layers[0]), 1_500_000),
        found: &["B3"],
        says: &["LAYER is damaged: bytes 1048576-2097151"],
        names_images: true,
        online: Some(&["B3"]),
        done: &["B3"],
        ends: DAMAGED,
        left: &["B1"],
        then: |sample, data| is_set_aside(data, &sample.sick.layers[0]),
    },
    Row {
        name: "a flipped byte of a manifest",
        damage: |sample, data| flip(&file(data, &sample.sick.manifest), 20),
        found: &["B3"],
        says: &["MANIFEST is damaged"],
        names_images: true,
        online: Some(&["B3"]),
        done: &["B3"],
        ends: DAMAGED,
        left: &["B1"],
        then: |sample, data| is_set_aside(data, &sample.sick.manifest),
    },
    Row {
        name: "a blob that was cut",
        damage: |sample, data| cut(&file(data, &sample.sick.layers[1]), 100),
        found: &["B1"],
        says: &["SMALL: 40000 bytes on record, its file has 100"],
        names_images: true,
        online: Some(&["B1"]),
        done: &["B1"],
        ends: DAMAGED,
        left: &["B1"],
        then: |sample, data| is_set_aside(data, &sample.sick.layers[1]),
    },
    Row {
        name: "a missing blob",
        damage: |sample, data| fs::remove_file(file(data, &sample.sick.layers[1])).expect("there"),
        found: &["B1"],
        says: &["SMALL: its file is missing"],
        names_images: true,
        online: Some(&["B1"]),
        done: &["B1"],
        ends: DAMAGED,
        left: &["B1"],
        then: NOTHING,
    },
    Row {
        name: "a lost directory entry, of a whole folder",
        damage: |sample, data| {
            let folder = file(data, &sample.sick.layers[1]);
            fs::remove_dir_all(folder.parent().expect("a folder")).expect("there");
        },
        found: &["B1"],
        says: &["SMALL: its file is missing"],
        names_images: true,
        online: Some(&["B1"]),
        done: &["B1"],
        ends: DAMAGED,
        left: &["B1"],
        then: NOTHING,
    },
    Row {
        name: "a lost directory entry, of the index",
        damage: |_, data| fs::remove_dir_all(data.join("meta/index")).expect("there"),
        found: &["M5"],
        says: &["meta/index"],
        names_images: false,
        online: Some(&[]),
        done: &["M5"],
        ends: CLEAN,
        left: &[],
        then: |_, data| assert!(data.join("meta/index").is_dir()),
    },
    Row {
        name: "an extra blob",
        damage: |_, data| fs::write(file(data, b"nobody's"), b"nobody's").expect("written"),
        found: &["B2"],
        says: &["has no blob row"],
        names_images: false,
        online: Some(&["B2"]),
        done: &["B2"],
        ends: REPAIRED,
        left: &[],
        then: |_, data| is_set_aside(data, b"nobody's"),
    },
    Row {
        name: "a truncated outboard",
        damage: |sample, data| cut(&outboard(data, &sample.sick.layers[0]), 40),
        found: &["B4"],
        says: &[".b3 is torn or damaged"],
        names_images: false,
        online: Some(&["B4"]),
        done: &["B4"],
        ends: REPAIRED,
        left: &[],
        then: |sample, data| has_its_outboard(sample, data),
    },
    Row {
        name: "a missing outboard",
        damage: |sample, data| fs::remove_file(outboard(data, &sample.sick.layers[0])).expect("there"),
        found: &["B5"],
        says: &["LAYER, 3500000 bytes, has no outboard"],
        names_images: false,
        online: Some(&["B5"]),
        done: &["B5"],
        ends: CLEAN,
        left: &[],
        then: |sample, data| has_its_outboard(sample, data),
    },
    Row {
        name: "a torn record at the end of the journal",
        damage: |_, data| {
            let (segment, end) = journal(data);
            overwrite(&segment, end + 64, b"never acknowledged");
        },
        found: &["M2"],
        says: &["meta/journal/"],
        names_images: false,
        online: Some(&[]),
        done: &["M2"],
        ends: CLEAN,
        left: &[],
        then: NOTHING,
    },
    Row {
        name: "a torn record in the middle of the journal",
        damage: |_, data| {
            let (segment, end) = journal(data);
            flip(&segment, end / 2);
        },
        found: &["M1"],
        says: &["meta/journal/", "restore the newest backup"],
        names_images: false,
        online: None,
        done: &[],
        ends: DAMAGED,
        left: &["M1"],
        then: NOTHING,
    },
    Row {
        name: "a wrong counter",
        damage: |sample, data| {
            edit(sample, data, "repository-counters", |record| record["tags"] = Value::from(77));
        },
        found: &["R8"],
        says: &["the counters say 77 tags"],
        names_images: false,
        online: Some(&["R8"]),
        done: &["R8"],
        ends: REPAIRED,
        left: &[],
        then: NOTHING,
    },
    Row {
        name: "wrong references of blobs",
        damage: |sample, data| edit(sample, data, "blob", |record| record["references"] = Value::from(9)),
        found: &["R5"],
        says: &["LAYER: 1 rows keep it, its own says 9"],
        names_images: false,
        online: Some(&["R5"]),
        done: &["R5"],
        ends: REPAIRED,
        left: &[],
        then: NOTHING,
    },
    Row {
        name: "a wrong quota usage",
        damage: |sample, data| {
            edit(sample, data, "organisation-usage", |record| record["bytes"] = Value::from(5));
        },
        found: &["R41"],
        says: &["its row says 5"],
        names_images: false,
        online: Some(&["R41"]),
        done: &["R41"],
        ends: REPAIRED,
        left: &[],
        then: NOTHING,
    },
    Row {
        name: "a dangling upload",
        damage: |_, data| {
            let folder = data.join("uploads").join(DANGLING);
            fs::create_dir_all(&folder).expect("made");
            fs::write(folder.join("data"), b"the beginning of a layer").expect("written");
        },
        found: &["U1"],
        says: &["uploads/000000000000000000000000000000aa"],
        names_images: false,
        online: Some(&[]),
        done: &["U1"],
        ends: CLEAN,
        left: &[],
        then: |_, data| assert!(!data.join("uploads").join(DANGLING).exists()),
    },
];

fn below(data: &Path, blob: &[u8]) -> PathBuf {
    let digest = sha256(blob).replace("sha256:", "");
    data.join("blobs/sha256").join(&digest[..2]).join(digest)
}

fn file(data: &Path, blob: &[u8]) -> PathBuf {
    below(data, blob)
}

fn outboard(data: &Path, blob: &[u8]) -> PathBuf {
    below(data, blob).with_extension("b3")
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).expect("there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = fs::File::options().write(true).open(path).expect("there");
    file.write_all_at(bytes, at).expect("written");
}

fn cut(path: &Path, len: u64) {
    fs::File::options().write(true).open(path).expect("there").set_len(len).expect("cut");
}

/// The segment with most in it, and where that ends.
fn journal(data: &Path) -> (PathBuf, u64) {
    let files = fs::read_dir(data.join("meta/journal")).expect("there").map(|entry| entry.expect("one").path());
    let used = |path: &PathBuf| {
        let bytes = fs::read(path).expect("readable");
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
    };
    files.map(|path| (path.clone(), used(&path))).max_by_key(|(_, used)| *used).expect("a segment")
}

/// Changes every record of a table, by export and import.
fn edit(sample: &Sample, data: &Path, table: &str, change: impl Fn(&mut Value)) {
    let folder = sample.folder.path();
    let (old, new) = (folder.join("old.zst"), folder.join("new.zst"));
    let _ = (fs::remove_file(&old), fs::remove_file(&new));
    let exported = binary().args(["export-metadata", "--data"]).arg(data).arg("--output").arg(&old).output();
    assert!(exported.expect("runs").status.success());
    let text = zstd::decode_all(fs::File::open(&old).expect("written")).expect("zstd");
    let text = String::from_utf8(text).expect("JSON");
    let (mut edited, mut changed) = (String::new(), 0);
    for line in text.lines() {
        if let Some((before, after)) = line.split_once(r#""blake3":""#) {
            let hash = blake3::hash(edited.as_bytes()).to_hex();
            edited += &format!("{before}\"blake3\":\"{hash}{}\n", &after[64..]);
        } else if line.starts_with(&format!(r#"{{"table":"{table}","#)) {
            let (head, record) = line.split_once(r#","record":"#).expect("a record");
            let mut value: Value = serde_json::from_str(&record[..record.len() - 1]).expect("JSON");
            change(&mut value);
            changed += 1;
            edited += &format!("{head},\"record\":{}}}\n", ordered(record, &value));
        } else {
            edited += &format!("{line}\n");
        }
    }
    assert!(changed > 0, "no row of {table}");
    fs::write(&new, zstd::encode_all(edited.as_bytes(), 3).expect("zstd")).expect("written");
    fs::remove_dir_all(data.join("meta")).expect("there");
    let imported = binary().args(["import-metadata", "--data"]).arg(data).arg("--input").arg(&new).output();
    let imported = imported.expect("runs");
    assert!(imported.status.success(), "{}", text_of(&imported));
}

/// The members of a flat object in the order they had: a row has one spelling.
fn ordered(before: &str, value: &Value) -> String {
    let mut members: Vec<(usize, String)> = value
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, value)| (before.find(&format!("\"{name}\":")).expect("was there"), format!("\"{name}\":{value}")))
        .collect();
    members.sort();
    let members: Vec<String> = members.into_iter().map(|(_, member)| member).collect();
    format!("{{{}}}", members.join(","))
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// Its place has no file, and the quarantine has one of its name.
fn is_set_aside(data: &Path, blob: &[u8]) {
    assert!(!file(data, blob).exists());
    let name = sha256(blob).replace(':', "-");
    let entries = fs::read_dir(data.join("quarantine")).expect("there");
    let mut names = entries.map(|entry| entry.expect("one").file_name().into_string().expect("ASCII"));
    assert!(names.any(|found| found.starts_with(&name)), "{name}");
}

fn has_its_outboard(sample: &Sample, data: &Path) {
    let layer = &sample.sick.layers[0];
    let before = fs::read(outboard(&sample.data(), layer)).expect("there");
    assert_eq!(fs::read(outboard(data, layer)).expect("made"), before);
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
        let sick = Image::random(&mut rng, Kind::Oci, &[3_500_000, 40_000]);
        let sound = Image::random(&mut rng, Kind::Oci, &[2_000_000, 900]);
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
        assert!(server.command(&["scrub", "findings"]).status.code() == Some(1), "{}: it is listed", row.name);
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
    let event = events["items"].as_array().expect("a list").iter().find(|event| event["trace_name"] == "repairStore");
    let event = event.unwrap_or_else(|| panic!("no event: {events:#}")).to_string();
    assert!(event.contains("B3") && event.contains("local administrator"), "{event}");
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
    assert!(job["last"]["result"].as_str().is_some_and(|text| text.starts_with("nothing is wrong: ")), "{job}");
    let (_, events) = asked(server.data(), &["audit", "list"]);
    assert!(events.to_string().contains("runCheck"), "{events:#}");
    let (code, last) = asked(server.data(), &["check", "--last"]);
    assert_eq!((code, &last["ok"]), (CLEAN, &Value::Bool(true)));
}
