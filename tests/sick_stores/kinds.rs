//! The kinds of damage: what each does to a data directory, how it is named, and what a repair does about it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Sample;
use super::files::{
    cut, edit, file, flip, has_its_outboard, is_set_aside, journal, lose, outboard, overwrite,
};
use super::support::sha256;

/// Nothing is wrong; something is; it was repaired.
pub const CLEAN: i32 = 0;
pub const DAMAGED: i32 = 1;
pub const REPAIRED: i32 = 3;
/// An upload nobody goes on with.
const DANGLING: &str = "000000000000000000000000000000aa";

/// A kind of damage.
pub struct Row {
    pub name: &'static str,
    /// What is done to the data directory.
    pub damage: fn(&Sample, &Path),
    /// What `fsck --deep` finds, ...
    pub found: &'static [&'static str],
    /// ... in which words (`LAYER`, `SMALL` and `MANIFEST` stand for digests), with the images named or not.
    pub says: &'static [&'static str],
    pub names_images: bool,
    /// What `check --deep` of a server on it finds; none if no server starts on it.
    pub online: Option<&'static [&'static str]>,
    /// What the repair did, by id, how it ended, and what it left.
    pub done: &'static [&'static str],
    pub ends: i32,
    pub left: &'static [&'static str],
    /// What is so after the repair.
    pub then: fn(&Sample, &Path),
}

const NOTHING: fn(&Sample, &Path) = |_, _| {};

/// Rows that do not agree, all of it repaired. `found` begins with M5: an import leaves the index to the next start,
/// and a server has made it by then.
const fn of_rows(found: &'static [&'static str]) -> Row {
    let (_, online) = found.split_at(1);
    Row {
        name: "",
        damage: NOTHING,
        found,
        says: &[],
        names_images: false,
        online: Some(online),
        done: found,
        ends: REPAIRED,
        left: &[],
        then: NOTHING,
    }
}

pub const ROWS: &[Row] = &[
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
        says: &["the counters say 77 tags"],
        ..of_rows(&["M5", "R8"])
    },
    Row {
        name: "wrong references of blobs",
        damage: |sample, data| edit(sample, data, "blob", |record| record["references"] = Value::from(9)),
        says: &["LAYER: 1 rows keep it, its own says 9"],
        ..of_rows(&["M5", "R5"])
    },
    Row {
        name: "a lost row of a blob",
        damage: |sample, data| lose(sample, data, "blob", &sha256(&sample.sick.layers[1])),
        says: &["SMALL of ", "has no blob row"],
        then: |sample, data| assert!(file(data, &sample.sick.layers[1]).exists()),
        ..of_rows(&["M5", "R13"])
    },
    Row {
        name: "a wrong quota usage",
        damage: |sample, data| {
            edit(sample, data, "organisation-usage", |record| record["bytes"] = Value::from(5));
        },
        says: &["its row says 5"],
        ..of_rows(&["M5", "R41"])
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
