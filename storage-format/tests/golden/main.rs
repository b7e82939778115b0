//! Golden files: bytes as released, under `golden/`, each `.bin` beside a `.txt` that says what it
//! means. They are added to, never changed (F1).
//!
//! - `golden/records/<table>/v<version>[-<case>].bin`, with the record as JSON in `.txt`
//! - `golden/keys/<table>/v1.bin`, with the key as JSON in `.txt`
//! - `golden/journal/v1.bin`, `golden/snapshot/v1.bin`: a whole segment and snapshot, see `files.rs`
//! - `golden/upload/v1.bin`: a whole journal of an upload, see `files.rs`
//! - `golden/outboard/v1.bin`: the outboard of a blob, see `files.rs`
//! - `golden/audit/`: a log and a segment of the audit trail, see `audit.rs`
//! - `golden/dump/v1.jsonl`: a whole dump; `golden/store/v1.txt`: a `FORMAT` file
//! - `golden/key-file/`: a key file, and what was sealed under it, see `src/key_file.rs`
//!
//! Files for a new table, record version or case are made from `samples.rs` by
//! `PIERHEAD_WRITE_GOLDEN=1 cargo test -p pierhead-storage-format --test golden`. Files that exist
//! are never overwritten: a record whose bytes changed gets a new version instead.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod files;
mod samples;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::dump::{Decoder, Encoder, Item, VERSION};
use pierhead_storage_format::keys::{Table, TableKey};
use pierhead_storage_format::records::OrganisationRecord;
use pierhead_storage_format::rows::{ForTable, for_table};
use pierhead_storage_format::{FormatError, store};
use samples::{Sample, samples};

const BUMP: &str = "the bytes of a released layout changed: bump the version, keep decoding the old one \
                    and add a golden file; never change this one";

fn golden(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(path)
}

/// The file's bytes; with the variable set, a file that is missing is made first.
fn read_or_make(path: &Path, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    match fs::read(path) {
        Ok(bytes) => return bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => panic!("{}: {error}", path.display()),
    }
    assert!(
        std::env::var_os("PIERHEAD_WRITE_GOLDEN").is_some(),
        "{} is missing; see the head of this file for how to make it",
        path.display()
    );
    let bytes = make();
    fs::create_dir_all(path.parent().expect("a file under golden/")).expect("made");
    let mut file = fs::File::create_new(path).expect("never overwritten");
    file.write_all(&bytes).expect("written");
    bytes
}

fn pretty<T: serde::Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("JSON");
    text.push('\n');
    text
}

/// Bytes of a key, and the key as text.
struct ReadKey<'a>(&'a [u8]);

impl ForTable for ReadKey<'_> {
    type Output = Result<(Vec<u8>, String), FormatError>;

    fn call<K: TableKey>(self) -> Self::Output {
        let key = K::decode(self.0)?;
        Ok((key.encode(), pretty(&key)))
    }
}

/// The version written today, the record's bytes as written today, and the record as text.
struct ReadRecord<'a>(&'a [u8]);

impl ForTable for ReadRecord<'_> {
    type Output = Result<(u8, Vec<u8>, String), FormatError>;

    fn call<K: TableKey>(self) -> Self::Output {
        let record = K::Record::decode(self.0)?;
        Ok((K::Record::VERSION, record.encode()?, pretty(&record)))
    }
}

struct Version;

impl ForTable for Version {
    type Output = u8;

    fn call<K: TableKey>(self) -> u8 {
        K::Record::VERSION
    }
}

/// Every `.bin` under `golden/<kind>/<table>/`: name without the ending, bytes, text.
fn files(kind: &str, table: Table) -> Vec<(String, Vec<u8>, String)> {
    let folder = golden(kind).join(table.name());
    let Ok(entries) = fs::read_dir(&folder) else { panic!("{} is missing", folder.display()) };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|e| e == "bin") {
            let name = path.file_stem().and_then(|n| n.to_str()).expect("a name").to_owned();
            let text = fs::read_to_string(path.with_extension("txt")).expect("a .txt beside each .bin");
            found.push((name, fs::read(&path).expect("readable"), text));
        }
    }
    found
}

fn sample_names(sample: &Sample) -> (PathBuf, PathBuf) {
    let version = for_table(sample.table, Version);
    let case = sample.case.map(|c| format!("-{c}")).unwrap_or_default();
    let record = golden("records").join(sample.table.name()).join(format!("v{version}{case}.bin"));
    (golden("keys").join(sample.table.name()).join(format!("v1{case}.bin")), record)
}

#[test]
fn every_sample_is_written_today_as_its_golden_file_says() {
    for sample in samples() {
        let (key_path, record_path) = sample_names(&sample);
        let (_, key_text) = for_table(sample.table, ReadKey(&sample.key)).expect("valid key");
        let (_, _, record_text) = for_table(sample.table, ReadRecord(&sample.value)).expect("valid record");
        for (path, bytes, text) in
            [(key_path, &sample.key, key_text), (record_path, &sample.value, record_text)]
        {
            let shown = path.display();
            assert_eq!(&read_or_make(&path, || bytes.clone()), bytes, "{shown}: {BUMP}");
            let beside = path.with_extension("txt");
            assert_eq!(
                read_or_make(&beside, || text.clone().into_bytes()),
                text.as_bytes(),
                "{shown}: {BUMP}"
            );
        }
    }
}

#[test]
fn every_table_has_a_golden_of_its_key_and_of_every_version_of_its_record() {
    for table in Table::ALL {
        assert!(!files("keys", table).is_empty(), "{}: no golden key", table.name());
        let names: Vec<String> = files("records", table).into_iter().map(|f| f.0).collect();
        for version in 1..=for_table(table, Version) {
            assert!(
                names.contains(&format!("v{version}")),
                "{}: no golden of version {version}",
                table.name()
            );
        }
    }
}

#[test]
fn every_golden_decodes_and_the_present_version_re_encodes_byte_for_byte() {
    for table in Table::ALL {
        for (name, bytes, text) in files("keys", table) {
            let key = for_table(table, ReadKey(&bytes));
            assert_eq!(key, Ok((bytes, text)), "keys/{}/{name}: {BUMP}", table.name());
        }
        for (name, bytes, text) in files("records", table) {
            let shown = format!("records/{}/{name}: {BUMP}", table.name());
            let (version, again, meaning) = for_table(table, ReadRecord(&bytes)).expect(&shown);
            if bytes.first() == Some(&version) {
                assert_eq!((again, meaning), (bytes, text), "{shown}");
            }
        }
    }
}

/// Every truncation and every single flipped bit of `bytes`.
fn damaged(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let cut = (0..bytes.len()).map(|len| bytes[..len].to_vec());
    let flipped = (0..bytes.len() * 8).map(|bit| {
        let mut copy = bytes.to_vec();
        copy[bit / 8] ^= 1 << (bit % 8);
        copy
    });
    cut.chain(flipped)
}

#[test]
fn a_truncated_or_bit_flipped_golden_is_an_error_or_something_else() {
    for table in Table::ALL {
        for (name, bytes, text) in files("keys", table) {
            for copy in damaged(&bytes) {
                if let Ok((_, meaning)) = for_table(table, ReadKey(&copy)) {
                    assert_ne!(meaning, text, "keys/{}/{name}", table.name());
                }
            }
        }
        for (name, bytes, text) in files("records", table) {
            for copy in damaged(&bytes) {
                if let Ok((_, _, meaning)) = for_table(table, ReadRecord(&copy)) {
                    assert_ne!(meaning, text, "records/{}/{name}", table.name());
                }
            }
            for len in 0..bytes.len() {
                assert!(for_table(table, ReadRecord(&bytes[..len])).is_err(), "{name} cut to {len}");
            }
        }
    }
}

#[test]
fn an_organisation_of_version_1_is_one_without_number_and_owner() {
    let bytes = fs::read(golden("records/organisation/v1.bin")).expect("readable");
    let expected = OrganisationRecord { number: 0, created_at: samples::TIME, owner: None, creator: None };
    assert_eq!(OrganisationRecord::decode(&bytes), Ok(expected), "{BUMP}");
}

/// What version 1 knew is today the same, but for what organisations got since.
#[test]
fn a_golden_dump_of_version_1_is_read() {
    let text = fs::read_to_string(golden("dump/v1.jsonl")).expect("readable");
    let (mut decoder, mut rows) = (Decoder::new(), Vec::new());
    for line in text.lines() {
        if let Item::Row(row) = decoder.line(line).expect(BUMP) {
            rows.push(row);
        }
    }
    decoder.finish().expect(BUMP);
    assert_eq!(rows.len(), 19);
    assert_eq!(rows[0].table, Table::Organisation);
    let old = fs::read(golden("records/organisation/v1.bin")).expect("readable");
    let migrated = OrganisationRecord::decode(&old).and_then(|record| record.encode());
    assert_eq!(Ok(&rows[0].value), migrated.as_ref());
    for row in &rows[1..] {
        let known = |s: &Sample| (s.table, &s.key, &s.value) == (row.table, &row.key, &row.value);
        assert!(samples().iter().any(known), "{row:?}");
    }
    let swapped = text.replace("\"version\":1", "\"version\":2");
    let mut decoder = Decoder::new();
    assert!(swapped.lines().any(|line| decoder.line(line).is_err()), "another version, another spelling");
}

/// Older versions had fewer tables, which their trailers list.
#[test]
fn golden_dumps_of_versions_2_and_3_are_read() {
    for version in [2, 3] {
        let text = fs::read_to_string(golden(format!("dump/v{version}.jsonl"))).expect("readable");
        let (mut decoder, mut rows) = (Decoder::new(), Vec::new());
        for line in text.lines() {
            if let Item::Row(row) = decoder.line(line).expect(BUMP) {
                rows.push(row);
            }
        }
        decoder.finish().expect(BUMP);
        for row in &rows {
            let known = |s: &Sample| (s.table, &s.key, &s.value) == (row.table, &row.key, &row.value);
            assert!(samples().iter().any(known), "{row:?}");
        }
        let next = format!("\"version\":{}", version + 1);
        let swapped = text.replace(&format!("\"version\":{version}"), &next);
        let mut decoder = Decoder::new();
        assert!(swapped.lines().any(|line| decoder.line(line).is_err()), "another version, other tables");
    }
}

/// Version 3 had the tables up to `account-day`.
#[test]
fn a_golden_dump_of_version_3_is_read() {
    let text = fs::read_to_string(golden("dump/v3.jsonl")).expect("readable");
    let mut decoder = Decoder::new();
    let rows = text.lines().filter(|line| matches!(decoder.line(line).expect(BUMP), Item::Row(_))).count();
    assert_eq!(decoder.finish().expect(BUMP).rows, rows as u64);
    let swapped = text.replace("\"version\":3", "\"version\":4");
    let mut decoder = Decoder::new();
    assert!(swapped.lines().any(|line| decoder.line(line).is_err()), "another version, other tables");
}

#[test]
fn the_golden_dump_is_read_and_written_again_byte_for_byte() {
    let path = golden(format!("dump/v{VERSION}.jsonl"));
    let bytes = read_or_make(&path, || samples::dump().into_bytes());
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (mut decoder, mut encoder, mut again) = (Decoder::new(), None, Vec::new());
    for line in text.lines() {
        match (decoder.line(line).expect(BUMP), &mut encoder) {
            (Item::Header(header), _) => {
                let (started, line) = Encoder::start(&header).expect("header");
                encoder = Some(started);
                again.push(line);
            }
            (Item::Row(row), Some(encoder)) => {
                again.push(encoder.row(row.table, &row.key, &row.value).expect(BUMP));
            }
            _ => {}
        }
    }
    decoder.finish().expect(BUMP);
    again.push(encoder.expect("a header").finish().expect("trailer").1);
    assert_eq!(text, again.join("\n") + "\n", "{BUMP}");
}

#[test]
fn the_golden_format_file_opens_a_store() {
    let bytes = read_or_make(&golden("store/v1.txt"), || store::encode().into_bytes());
    assert_eq!(store::decode(&bytes), Ok(()), "{BUMP}");
    for copy in damaged(&bytes) {
        assert!(store::decode(&copy).is_err());
    }
}
