//! Damage to metadata while the server is stopped. A damaged, missing, old or foreign index is
//! rebuilt or caught up, and nothing acknowledged is lost. A torn journal tail is cut at the last
//! whole change set. A journal that is damaged before its end, or shorter than the index says, is
//! reported by start and `fsck`, and nothing is touched. A damaged snapshot is stood in for.
//!
//! CI size: about 60 cases, 60 s. Full size: a flipped byte at 300 places of the index and at 150 of
//! the journal, about 4 min:
//! `PIERHEAD_FULL=1 cargo test --test index_damage -- --nocapture`
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod endurance;
mod support;

use endurance::calls::Place;
use endurance::{Copy, Launch, Sample, observe, sizes, verdict};
use pierhead_storage_format::journal::{FRAME_HEADER, FrameHeader, SEGMENT_HEADER, SegmentHeader};
use std::fs;
use std::path::{Path, PathBuf};
use support::{Image, Repository, Rng};

const INDEX: &str = "meta/index";
/// What `fsck` says of an index that has more than the journal.
const AHEAD: &[&str] = &["error: meta/index", "the journal ends at"];
const REBUILT: &str = "the metadata index is rebuilt";

/// What the log must say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Log {
    Rebuilt,
    /// Depends on what the bytes were.
    Any,
}

type Damage = fn(&Path);

/// Each is done to `meta/index` of a copy.
const DAMAGES: [(&str, Damage, Log); 13] = [
    ("the folder is gone", |index| fs::remove_dir_all(index).expect("it is there"), Log::Rebuilt),
    (
        "the folder is empty",
        |index| each_file(index, "", |file| fs::remove_file(file).expect("it is there")),
        Log::Rebuilt,
    ),
    ("the log is gone", |index| fs::remove_file(index.join("db")).expect("it is there"), Log::Rebuilt),
    ("the log is empty", |index| cut(&index.join("db"), 0), Log::Rebuilt),
    ("the log is half", |index| cut(&index.join("db"), length(&index.join("db")) / 2), Log::Any),
    (
        "the log lacks 4 KiB",
        |index| cut(&index.join("db"), length(&index.join("db")).saturating_sub(4096)),
        Log::Any,
    ),
    ("the log's first 4 KiB are zero", |index| overwrite(&index.join("db"), 0, &[0; 4096]), Log::Any),
    (
        "the log is noise",
        |index| fs::write(index.join("db"), Rng::seeded(1).bytes(300_000)).expect("it can be written"),
        Log::Rebuilt,
    ),
    ("the settings are gone", |index| fs::remove_file(index.join("conf")).expect("it is there"), Log::Any),
    (
        "the settings are noise",
        |index| fs::write(index.join("conf"), Rng::seeded(2).bytes(70)).expect("it can be written"),
        Log::Any,
    ),
    (
        "engine snapshots are gone",
        |index| each_file(index, "snap", |file| fs::remove_file(file).expect("it is there")),
        Log::Any,
    ),
    (
        "engine snapshots are flipped",
        |index| each_file(index, "snap", |file| flip(file, length(file) / 2)),
        Log::Any,
    ),
    (
        "engine snapshots are cut",
        |index| each_file(index, "snap", |file| cut(file, length(file) / 2)),
        Log::Any,
    ),
];

#[test]
fn a_damaged_or_missing_index_is_rebuilt_and_nothing_is_lost() {
    let seed = sizes::seed();
    let samples = [Sample::new(seed, 160, true, &[]), Sample::new(seed + 1, 160, false, &[])];
    for (which, mut sample) in samples.into_iter().enumerate() {
        for (number, (name, damage, log)) in DAMAGES.into_iter().enumerate() {
            // In CI each damage is done to one of the two: the one stopped in order, or the killed.
            if !sizes::full() && number % 2 != which {
                continue;
            }
            sizes::note(&format!("{name} ({})", if which == 0 { "stopped" } else { "killed" }));
            let copy = sample.copy();
            damage(&copy.path(INDEX));
            let said = sample.must_start(&copy);
            assert!(log == Log::Any || said.contains(REBUILT), "{name}: not rebuilt, or not said\n{said}");
        }
    }
}

#[test]
fn flipped_bytes_in_the_index_lose_nothing() {
    let seed = sizes::seed();
    let mut sample = Sample::new(seed, 160, false, &[]);
    let mut rng = Rng::named("flipped bytes of the index");
    let mut rebuilt = 0;
    let count = sizes::rounds(6, 300);
    for _ in 0..count {
        let copy = sample.copy();
        let log = copy.path(INDEX).join("db");
        let place = rng.below(used(&log));
        sizes::note(&format!("byte {place} of {}", used(&log)));
        flip(&log, place as u64);
        rebuilt += usize::from(sample.must_start(&copy).contains(REBUILT));
    }
    sizes::note(&format!("{count} bytes flipped, {rebuilt} rebuilds"));
}

#[test]
fn an_older_or_foreign_index_is_caught_up_or_rebuilt() {
    let seed = sizes::seed();
    let mut sample = Sample::new(seed, 100, true, &[]);
    let old = sample.copy();
    sample.go_on(60, true, &[]);
    // An older copy: behind the journal, but of its history.
    let copy = sample.copy();
    replace(&copy.path(INDEX), &old.path(INDEX));
    sample.must_start(&copy);
    // The same, older than a snapshot that let segments go.
    let often = [("STORAGE_SNAPSHOT_AFTER", "16KiB")];
    sample.go_on(200, true, &often);
    let copy = sample.copy();
    replace(&copy.path(INDEX), &old.path(INDEX));
    sample.must_start(&copy);
    // Another store's, both shorter and longer than this one's journal.
    for steps in [20, 500] {
        let other = Sample::new(seed + 7, steps, true, &[]);
        let copy = sample.copy();
        replace(&copy.path(INDEX), &other.data().join(INDEX));
        if steps == 20 {
            let said = sample.must_start(&copy);
            assert!(said.contains(REBUILT), "another store's index is not used\n{said}");
        } else {
            started_or_reported(&mut sample, &copy);
        }
    }
}

/// An index that claims more than the journal holds: reported as loss, or known as another
/// store's and rebuilt. Never used.
fn started_or_reported(sample: &mut Sample, copy: &Copy) {
    match Launch::on(&copy.data()).try_start() {
        Err(refusal) => {
            assert!(refusal.log.contains("the end of the journal is lost"), "{}", refusal.log);
            copy.must_refuse(&["the end of the journal is lost"], AHEAD);
            // As the operator is told: the index goes, the journal is believed.
            fs::remove_dir_all(copy.path(INDEX)).expect("it is there");
            sample.must_start(copy);
        }
        Ok(server) => {
            verdict::kept(server.http(), None, &mut sample.load.writers, &sample.load.common);
            server.stop();
        }
    }
}

/// A store whose last frame is one known push, and the place of that frame.
struct Ended {
    sample: Sample,
    image: Image,
    segment: String,
    frames: Vec<(u64, u64)>,
}

const LAST: &str = "torn/tail";

fn ended(in_order: bool) -> Ended {
    let mut sample = Sample::new(sizes::seed(), 80, true, &[]);
    let server = Launch::on(&sample.data()).start();
    sample.load.script(server.http(), 15);
    let image = Image::small(&mut Rng::named("torn tail"));
    let repository = Repository::named(server.http(), LAST);
    repository.push("before", &image);
    repository.push("last", &image);
    if in_order {
        server.stop();
    } else {
        server.kill();
    }
    let segment = last_segment(&sample.data());
    let frames = frames(&sample.data().join(&segment));
    assert!(frames.len() > 10, "the last run has written {} frames", frames.len());
    Ended { sample, image, segment, frames }
}

#[test]
fn a_torn_journal_tail_is_cut_at_the_last_whole_change_set() {
    let Ended { mut sample, image, segment, frames } = ended(false);
    let &(start, end) = frames.last().expect("there are frames");
    let header = start + FRAME_HEADER as u64;
    for left in [start + 3, start + 20, header, header + 7, end - 1] {
        for shortened in [true, false] {
            let copy = sample.copy();
            let file = copy.path(&segment);
            if shortened {
                cut(&file, left)
            } else {
                overwrite(&file, left, &vec![0; usize::try_from(end - left).expect("short")])
            }
            // What the index applied would say that this end was once durable.
            fs::remove_dir_all(copy.path(INDEX)).expect("it is there");
            let tags = tags_after_start(&mut sample, &copy, &image, Some("torn journal tail"));
            assert_eq!(
                tags,
                ["before"],
                "the torn change set is gone as a whole, at {left} of {start} to {end}"
            );
        }
    }
}

#[test]
fn bytes_after_the_journals_end_are_cut_and_change_nothing() {
    let Ended { mut sample, image, segment, frames } = ended(false);
    let &(start, end) = frames.last().expect("there are frames");
    let whole = fs::read(sample.data().join(&segment)).expect("the segment");
    let frame = whole[usize::try_from(start).expect("short")..usize::try_from(end).expect("short")].to_vec();
    let tails: [(&str, Vec<u8>); 4] = [
        ("noise", Rng::seeded(3).bytes(500)),
        ("the last frame again", frame.clone()),
        ("half of the last frame again", frame[..frame.len() / 2].to_vec()),
        ("a frame's first bytes", frame[..4].to_vec()),
    ];
    for (name, tail) in tails {
        let copy = sample.copy();
        overwrite(&copy.path(&segment), end, &tail);
        let tags = tags_after_start(&mut sample, &copy, &image, Some("torn journal tail"));
        assert_eq!(tags, ["before", "last"], "{name}");
    }
}

fn tags_after_start(sample: &mut Sample, copy: &Copy, image: &Image, says: Option<&str>) -> Vec<String> {
    let server = Launch::on(&copy.data()).start();
    verdict::kept(server.http(), None, &mut sample.load.writers, &sample.load.common);
    let repository = Repository::named(server.http(), LAST);
    repository.pull_and_compare("before", image);
    let tags = observe::tag_names(&Place { http: server.http(), name: LAST.to_owned() });
    // And it goes on from there.
    repository.push("after", image);
    let log = server.stop();
    assert!(says.is_none_or(|says| log.contains(says)), "the log does not say {says:?}\n{log}");
    verdict::sound(&copy.data());
    tags
}

#[test]
fn a_journal_shorter_than_the_index_says_is_reported() {
    // In order: the index of a killed server may be behind, and then nothing tells of the loss.
    let Ended { sample, segment, frames, .. } = ended(true);
    let &(start, _) = frames.last().expect("there are frames");
    let lost = "the end of the journal is lost";
    let copy = sample.copy();
    cut(&copy.path(&segment), start);
    copy.must_refuse(&[lost], AHEAD);
    let copy = sample.copy();
    cut(&copy.path(&segment), start + 11);
    copy.must_refuse(&[lost], AHEAD);
    let copy = sample.copy();
    fs::remove_file(copy.path(&segment)).expect("it is there");
    copy.must_refuse(&[lost], AHEAD);
}

#[test]
fn a_damaged_journal_middle_is_reported_and_nothing_is_touched() {
    let Ended { sample, segment, frames, .. } = ended(false);
    let (first, middle) = (frames[0].0, frames[frames.len() / 2].0);
    let header = FRAME_HEADER as u64;
    let mut places = vec![
        ("the segment's header", 9),
        ("a frame's magic", first + 1),
        ("a frame's length", middle + 5),
        ("a frame's header check", middle + 30),
        ("a frame's body", middle + header + 2),
        ("a frame's check", frames[frames.len() / 2].1 - 3),
    ];
    if sizes::full() {
        let mut rng = Rng::named("flipped bytes of the journal");
        let end = usize::try_from(frames[frames.len() - 2].0).expect("short");
        places.extend((0..150).map(|_| ("anywhere", rng.below(end) as u64)));
    }
    for (number, (name, place)) in places.into_iter().enumerate() {
        let copy = sample.copy();
        sizes::note(&format!("{name}, byte {place}"));
        flip(&copy.path(&segment), place);
        // With an index that knows better, and without: neither is a reason to guess.
        if number % 2 == 1 {
            fs::remove_dir_all(copy.path(INDEX)).expect("it is there");
        }
        copy.must_refuse(&[&segment, "damaged"], &["M1 error", &segment]);
    }
    let segments = segments(&sample.data());
    assert!(segments.len() > 2, "each run has a segment: {segments:?}");
    for index in [true, false] {
        let copy = sample.copy();
        if !index {
            fs::remove_dir_all(copy.path(INDEX)).expect("it is there");
        }
        fs::remove_file(copy.path(&segments[1])).expect("it is there");
        copy.must_refuse(&["journal"], &["M1 error"]);
    }
}

#[test]
fn a_damaged_snapshot_is_stood_in_for_by_the_older_one_and_the_journal() {
    let often = [("STORAGE_SNAPSHOT_AFTER", "16KiB")];
    let mut sample = Sample::new(sizes::seed(), 100, true, &often);
    for _ in 0..40 {
        if files(&sample.data().join("meta/snapshot")).len() >= 2 {
            break;
        }
        sample.go_on(40, true, &often);
    }
    let snapshots = files(&sample.data().join("meta/snapshot"));
    assert!(snapshots.len() >= 2, "no two snapshots after thousands of changes: {snapshots:?}");
    let newest = snapshots.last().and_then(|path| path.file_name()).expect("a name").to_owned();
    let older = snapshots[snapshots.len() - 2].file_name().expect("a name").to_owned();
    let damages: [(&str, Damage); 4] = [
        ("flipped", |file| flip(file, length(file) / 2)),
        ("cut", |file| cut(file, length(file) / 2)),
        ("empty", |file| cut(file, 0)),
        ("gone", |file| fs::remove_file(file).expect("it is there")),
    ];
    for (name, damage) in damages {
        for index in [true, false] {
            sizes::note(&format!(
                "the newest snapshot is {name}, the index is {}",
                if index { "there" } else { "gone" }
            ));
            let copy = sample.copy();
            damage(&copy.path("meta/snapshot").join(&newest));
            if !index {
                fs::remove_dir_all(copy.path(INDEX)).expect("it is there");
            }
            sample.must_start_with_damaged_snapshot(&copy, name != "gone");
        }
        let copy = sample.copy();
        damage(&copy.path("meta/snapshot").join(&newest));
        damage(&copy.path("meta/snapshot").join(&older));
        fs::remove_dir_all(copy.path(INDEX)).expect("it is there");
        copy.must_refuse(&[], &[]);
    }
}

impl Sample {
    fn must_start_with_damaged_snapshot(&mut self, copy: &Copy, said: bool) {
        let server = Launch::on(&copy.data()).start();
        verdict::kept(server.http(), None, &mut self.load.writers, &self.load.common);
        let log = server.stop();
        assert!(!said || log.contains("damaged metadata snapshot"), "the damage is not said\n{log}");
    }
}

// Files.

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    found.sort();
    found
}

fn each_file(folder: &Path, prefix: &str, act: impl Fn(&Path)) {
    let named = |path: &PathBuf| {
        path.is_file() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    files(folder).iter().filter(|path| named(path)).for_each(|path| act(path));
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).len()
}

/// Bytes before the zeros at the end.
fn used(file: &Path) -> usize {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1)
}

fn cut(file: &Path, to: u64) {
    let file = fs::OpenOptions::new().write(true).open(file).expect("the file is there");
    file.set_len(to).expect("it can be cut");
}

fn flip(file: &Path, place: u64) {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    if let Some(byte) = usize::try_from(place).ok().and_then(|place| bytes.get(place)) {
        overwrite(file, place, &[byte ^ 0x10]);
    }
}

fn overwrite(file: &Path, place: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(file).expect("the file is there");
    file.write_all_at(bytes, place).expect("it can be written");
}

fn replace(folder: &Path, by: &Path) {
    fs::remove_dir_all(folder).expect("it is there");
    let status = std::process::Command::new("cp").arg("-a").arg(by).arg(folder).status();
    assert!(status.expect("cp starts").success(), "the folder is copied");
}

// The journal, as FORMAT.md has it.

/// Paths below the data directory, in order.
fn segments(data: &Path) -> Vec<String> {
    let name =
        |path: &PathBuf| format!("meta/journal/{}", path.file_name().expect("a name").to_string_lossy());
    files(&data.join("meta/journal"))
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .map(name)
        .collect()
}

fn last_segment(data: &Path) -> String {
    segments(data).pop().expect("a journal has a segment")
}

/// Where each frame begins and ends.
fn frames(segment: &Path) -> Vec<(u64, u64)> {
    let bytes = fs::read(segment).expect("the segment");
    let key = SegmentHeader::decode(&bytes).expect("a segment's header").key();
    let mut frames = Vec::new();
    let mut offset = SEGMENT_HEADER as u64;
    while let Some(rest) = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)) {
        let Ok(header) = FrameHeader::decode(&key, offset, rest) else { break };
        frames.push((offset, offset + header.frame_len()));
        offset += header.frame_len();
    }
    frames
}
