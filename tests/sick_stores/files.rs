//! What is done to files of a data directory, and looked at there.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::server::binary;
use super::support::sha256;
use super::{Sample, text_of};

pub fn file(data: &Path, blob: &[u8]) -> PathBuf {
    let digest = sha256(blob).replace("sha256:", "");
    data.join("blobs/sha256").join(&digest[..2]).join(digest)
}

pub fn outboard(data: &Path, blob: &[u8]) -> PathBuf {
    file(data, blob).with_extension("b3")
}

pub fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).expect("there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

pub fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = fs::File::options().write(true).open(path).expect("there");
    file.write_all_at(bytes, at).expect("written");
}

pub fn cut(path: &Path, len: u64) {
    fs::File::options().write(true).open(path).expect("there").set_len(len).expect("cut");
}

/// The segment with most in it, and where that ends.
pub fn journal(data: &Path) -> (PathBuf, u64) {
    let files =
        fs::read_dir(data.join("meta/journal")).expect("there").map(|entry| entry.expect("one").path());
    let used = |path: &PathBuf| {
        let bytes = fs::read(path).expect("readable");
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
    };
    files.map(|path| (path.clone(), used(&path))).max_by_key(|(_, used)| *used).expect("a segment")
}

/// Changes every record of a table, by export and import.
pub fn edit(sample: &Sample, data: &Path, table: &str, change: impl Fn(&mut Value)) {
    edit_rows(sample, data, table, |_, value| {
        change(value);
        true
    });
}

/// Loses the rows of a table that have `of` in their keys.
pub fn lose(sample: &Sample, data: &Path, table: &str, of: &str) {
    edit_rows(sample, data, table, |head, _| !head.contains(of));
}

/// `change` is given the key of a row as it is written, and says whether the row stays.
fn edit_rows(sample: &Sample, data: &Path, table: &str, change: impl Fn(&str, &mut Value) -> bool) {
    let folder = sample.folder.path();
    let (old, new) = (folder.join("old.zst"), folder.join("new.zst"));
    let _ = (fs::remove_file(&old), fs::remove_file(&new));
    let exported = binary().args(["export-metadata", "--data"]).arg(data).arg("--output").arg(&old).output();
    assert!(exported.expect("runs").status.success());
    let text = zstd::decode_all(fs::File::open(&old).expect("written")).expect("zstd");
    let text = String::from_utf8(text).expect("JSON");
    let (mut edited, mut changed, mut lost) = (String::new(), 0, 0);
    for line in text.lines() {
        if let Some((before, after)) = line.split_once(r#""blake3":""#) {
            let hash = blake3::hash(edited.as_bytes()).to_hex();
            let before = less(&less(before, "rows", lost), table, lost);
            edited += &format!("{before}\"blake3\":\"{hash}{}\n", &after[64..]);
        } else if line.starts_with(&format!(r#"{{"table":"{table}","#)) {
            let (head, record) = line.split_once(r#","record":"#).expect("a record");
            let mut value: Value = serde_json::from_str(&record[..record.len() - 1]).expect("JSON");
            let stays = change(head, &mut value);
            changed += 1;
            if !stays {
                lost += 1;
                continue;
            }
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

/// A number of the trailer, lowered.
fn less(trailer: &str, name: &str, by: u64) -> String {
    let (before, rest) = trailer.split_once(&format!("\"{name}\":")).expect("in the trailer");
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = rest[..digits].parse().expect("a number");
    format!("{before}\"{name}\":{}{}", number - by, &rest[digits..])
}

/// The members of a flat object in the order they had: a row has one spelling.
fn ordered(before: &str, value: &Value) -> String {
    let mut members: Vec<(usize, String)> = value
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, value)| {
            (before.find(&format!("\"{name}\":")).expect("was there"), format!("\"{name}\":{value}"))
        })
        .collect();
    members.sort();
    let members: Vec<String> = members.into_iter().map(|(_, member)| member).collect();
    format!("{{{}}}", members.join(","))
}

/// Its place has no file, and the quarantine has one of its name.
pub fn is_set_aside(data: &Path, blob: &[u8]) {
    assert!(!file(data, blob).exists());
    let name = sha256(blob).replace(':', "-");
    let entries = fs::read_dir(data.join("quarantine")).expect("there");
    let mut names = entries.map(|entry| entry.expect("one").file_name().into_string().expect("ASCII"));
    assert!(names.any(|found| found.starts_with(&name)), "{name}");
}

pub fn has_its_outboard(sample: &Sample, data: &Path) {
    let layer = &sample.sick.layers[0];
    let before = fs::read(outboard(&sample.data(), layer)).expect("there");
    assert_eq!(fs::read(outboard(data, layer)).expect("made"), before);
}
