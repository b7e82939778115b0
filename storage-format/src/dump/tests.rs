//! The dump against random rows, random text and random damage.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

mod housekeeping;
mod identity;
mod quota;

use super::*;
use crate::digest::{Algorithm, Digest};
use crate::identity::keys::RepositorySettingsKey;
use crate::identity::records::{Category, RepositorySettingsRecord};
use crate::keys::{
    BlobKey, BlobRepositoryKey, CounterKey, MAX_TEXT, ManifestKey, ManifestReferenceKey, ManifestTagKey,
    OrganisationKey, ReferrerKey, RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, TagKey,
};
use crate::records::{
    BlobRecord, CounterRecord, ManifestKind, ManifestRecord, OrganisationRecord, Present, ReferenceRecord,
    ReferenceRole, ReferrerRecord, RepositoryBlobRecord, RepositoryCounters, RepositoryRecord, TagRecord,
};

fn row<K: TableKey>(key: &K, record: &K::Record) -> Row {
    Row { table: K::TABLE, key: key.encode(), value: record.encode().expect("small enough") }
}

fn digest() -> impl Strategy<Value = Digest> {
    (any::<bool>(), prop::collection::vec(any::<u8>(), 64)).prop_map(|(long, raw)| {
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        Digest::new(algorithm, &raw[..algorithm.raw_len()]).expect("length matches")
    })
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{1,60}|[\\x00-\\x7f]{1,255}"
}

fn manifest() -> impl Strategy<Value = ManifestRecord> {
    let kind = prop_oneof![Just(ManifestKind::Image), Just(ManifestKind::Index), Just(ManifestKind::Opaque)];
    (text(), any::<u64>(), kind, any::<u64>(), prop::option::of(digest()), prop::option::of(text())).prop_map(
        |(media_type, size, kind, pushed_at, subject, artifact_type)| ManifestRecord {
            media_type,
            size,
            kind,
            pushed_at,
            subject,
            artifact_type,
        },
    )
}

/// A valid row of any table.
fn any_row() -> impl Strategy<Value = Row> {
    prop_oneof![4 => content_row(), 6 => identity::any_row(), 2 => quota::any_row(), 2 => housekeeping::any_row()]
}

/// Of the tables of images.
fn content_row() -> impl Strategy<Value = Row> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    (0..12usize, text(), digest(), digest(), numbers, manifest()).prop_map(
        |(table, name, digest, other, (repository, a, b, c, d), manifest)| match Table::ALL[table] {
            Table::Organisation => row(
                &OrganisationKey { name },
                &OrganisationRecord { number: a, created_at: b, owner: None, creator: None },
            ),
            Table::Repository => row(&RepositoryKey { name }, &RepositoryRecord { id: a, created_at: b }),
            Table::RepositoryCounters => row(
                &RepositoryCountersKey { repository },
                &RepositoryCounters { tags: a, manifests: b, blobs: c, bytes: d, pushed_at: a },
            ),
            Table::Tag => row(&TagKey { repository, tag: name }, &TagRecord { digest, pushed_at: a }),
            Table::Manifest => row(&ManifestKey { repository, digest }, &manifest),
            Table::ManifestTag => row(&ManifestTagKey { repository, digest, tag: name }, &Present {}),
            Table::Referrer => row(
                &ReferrerKey { repository, subject: other, digest },
                &ReferrerRecord { artifact_type: manifest.artifact_type },
            ),
            Table::RepositoryBlob => row(
                &RepositoryBlobKey { repository, digest },
                &RepositoryBlobRecord { size: a, linked_at: b, references: c },
            ),
            Table::Blob => row(&BlobKey { digest }, &BlobRecord { size: a, references: b, changed_at: c }),
            Table::BlobRepository => row(&BlobRepositoryKey { digest, name }, &Present {}),
            Table::Counter => row(&CounterKey { name }, &CounterRecord { next: a }),
            Table::ManifestReference => row(
                &ManifestReferenceKey { repository, manifest: other, digest },
                &ReferenceRecord { role: ReferenceRole::Child },
            ),
            other => unreachable!("table {} is `identity`'s", other.name()),
        },
    )
}

#[test]
fn rows_are_drawn_from_every_table() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut drawn = std::collections::BTreeSet::new();
    for _ in 0..2000 {
        drawn.insert(any_row().new_tree(&mut runner).expect("a row").current().table);
    }
    assert_eq!(drawn.len(), Table::ALL.len());
}

#[test]
fn a_dump_of_version_1_with_a_spelling_or_table_of_later_is_refused() {
    let old = |line: &str| decode_row_of(1, line);
    let organisation = r#"{"table":"organisation","key":{"name":"acme"},"record":{"created_at":1}}"#;
    let read = old(organisation).expect("as version 1 wrote it");
    let today = OrganisationRecord { number: 0, created_at: 1, owner: None, creator: None };
    assert_eq!(read, row(&OrganisationKey { name: "acme".into() }, &today));
    assert!(decode_row(organisation).is_err(), "version 1's spelling in a dump of today");
    let later = encode_row(read.table, &read.key, &read.value).expect("valid row");
    assert!(old(&later).is_err(), "today's spelling in a dump of version 1");
    assert!(old(&organisation.replace(":1}", ": 1}")).is_err(), "a space");
    assert!(old(&organisation.replace("acme", "")).is_err(), "an empty name");
    assert!(old(r#"{"table":"account-name","key":{"name":"own"},"record":{"id":"00000000000000000000000000000000"}}"#).is_err());
}

#[test]
fn settings_of_repositories_in_a_dump_of_version_3_are_those_of_mutable_tags() {
    let old = |line: &str| decode_row_of(3, line);
    let line = r#"{"table":"repository-settings","key":{"name":"acme/web"},"record":{"public":true,"category":"Linux","creator":null,"updated_at":7}}"#;
    let read = old(line).expect("as version 3 wrote it");
    let today = RepositorySettingsRecord {
        public: true,
        category: Category::Linux,
        creator: None,
        updated_at: 7,
        immutable_tags: false,
    };
    assert_eq!(read, row(&RepositorySettingsKey { name: "acme/web".into() }, &today));
    assert!(decode_row(line).is_err(), "version 3's spelling in a dump of today");
    let later = encode_row(read.table, &read.key, &read.value).expect("valid row");
    assert!(old(&later).is_err(), "today's spelling in a dump of version 3");
}

fn dump_of(mut rows: Vec<Row>) -> Vec<String> {
    rows.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
    rows.dedup_by(|a, b| (a.table, &a.key) == (b.table, &b.key));
    let (mut encoder, first) = Encoder::start(&Header::new(42, 1_700_000_000_000)).expect("header");
    let mut lines = vec![first];
    for row in &rows {
        lines.push(encoder.row(row.table, &row.key, &row.value).expect("valid row"));
    }
    lines.push(encoder.finish().expect("trailer").1);
    lines
}

fn read(lines: &[String]) -> Result<Vec<Row>, DumpError> {
    let mut decoder = Decoder::new();
    let mut rows = Vec::new();
    for line in lines {
        if let Item::Row(row) = decoder.line(line)? {
            rows.push(row);
        }
    }
    decoder.finish()?;
    Ok(rows)
}

fn three_rows() -> Vec<Row> {
    let digest = Digest::new(Algorithm::Sha256, &[7; 32]).expect("length matches");
    vec![
        row(
            &OrganisationKey { name: "acme".into() },
            &OrganisationRecord { number: 1, created_at: 1, owner: None, creator: None },
        ),
        row(&TagKey { repository: 1, tag: "v1".into() }, &TagRecord { digest, pushed_at: 2 }),
        row(&TagKey { repository: 1, tag: "v2".into() }, &TagRecord { digest, pushed_at: 3 }),
    ]
}

#[test]
fn a_dump_is_a_header_readable_rows_and_a_trailer() {
    let lines = dump_of(three_rows());
    assert_eq!(
        lines[0],
        r#"{"format":"pierhead-metadata","version":4,"sequence":42,"exported_at":1700000000000}"#
    );
    let hex = "07".repeat(32);
    assert_eq!(
        lines[2],
        format!(
            r#"{{"table":"tag","key":{{"repository":1,"tag":"v1"}},"record":{{"digest":"sha256:{hex}","pushed_at":2}}}}"#
        )
    );
    assert!(lines[4].starts_with(r#"{"trailer":{"rows":3,"tables":{"access-key":0,"#), "{}", lines[4]);
    assert_eq!(read(&lines), Ok(three_rows()));
}

#[test]
fn a_dump_that_was_cut_reordered_or_altered_is_refused() {
    type Damage = fn(&mut Vec<String>);
    let cases: [(&str, Damage, DumpError); 10] = [
        ("no trailer", |l| drop(l.pop()), DumpError::Cut),
        ("nothing", Vec::clear, DumpError::Cut),
        ("a row lost", |l| drop(l.remove(2)), DumpError::Altered),
        ("a row twice", |l| l.insert(2, l[2].clone()), DumpError::Order { line: 4 }),
        ("two rows swapped", |l| l.swap(2, 3), DumpError::Order { line: 4 }),
        (
            "a value changed",
            |l| l[3] = l[3].replace("\"pushed_at\":3", "\"pushed_at\":4"),
            DumpError::Altered,
        ),
        ("the header changed", |l| l[0] = l[0].replace("42", "43"), DumpError::Altered),
        ("a later version", |l| l[0] = l[0].replace(":4,", ":5,"), DumpError::Version(5)),
        ("version 0", |l| l[0] = l[0].replace(":4,", ":0,"), DumpError::Version(0)),
        ("a line after the end", |l| l.push(l[2].clone()), DumpError::AfterTrailer { line: 6 }),
    ];
    for (name, damage, error) in cases {
        let mut lines = dump_of(three_rows());
        damage(&mut lines);
        assert_eq!(read(&lines), Err(error), "{name}");
    }
    assert_eq!(read(&["{}".to_owned()]), Err(DumpError::Header));
}

#[test]
fn a_row_spelt_differently_is_refused() {
    let line = dump_of(three_rows())[2].clone();
    let cases = [
        ("a space", line.replacen(':', ": ", 1)),
        ("an unknown field", line.replacen("\"pushed_at\"", "\"by\":1,\"pushed_at\"", 1)),
        ("a field missing", line.replacen(",\"pushed_at\":2", "", 1)),
        ("an unknown table", line.replacen("\"tag\"", "\"tags\"", 1)),
        ("an empty tag", line.replacen("\"v1\"", "\"\"", 1)),
        ("an oversized tag", line.replacen("v1", &"x".repeat(MAX_TEXT + 1), 1)),
        ("an upper-case digest", line.replacen("sha256:07", "sha256:AA", 1)),
    ];
    for (name, line) in cases {
        assert!(decode_row(&line).is_err(), "{name}: {line}");
    }
}

#[test]
fn the_longest_row_fits_a_line() {
    let digest = Digest::new(Algorithm::Sha512, &[0xff; 64]).expect("length matches");
    let mut record = ManifestRecord {
        media_type: String::new(),
        size: u64::MAX,
        kind: ManifestKind::Opaque,
        pushed_at: u64::MAX,
        subject: Some(digest),
        artifact_type: Some(String::new()),
    };
    let room = crate::codec::MAX_RECORD - record.encode().expect("small").len();
    record.media_type = "\u{1}".repeat(room);
    let row = row(&ManifestKey { repository: u64::MAX, digest }, &record);
    assert_eq!(row.value.len(), crate::codec::MAX_RECORD);
    let line = encode_row(row.table, &row.key, &row.value).expect("valid row");
    assert!(line.len() + 6 * MAX_TEXT <= MAX_LINE, "{}", line.len());
}

proptest! {
    #[test]
    fn every_row_survives_its_line(row in any_row()) {
        prop_assert_eq!(crate::rows::validate_row(row.table, &row.key, &row.value), Ok(()));
        let line = encode_row(row.table, &row.key, &row.value).expect("valid row");
        prop_assert!(!line.contains('\n') && line.len() <= MAX_LINE);
        prop_assert_eq!(decode_row(&line), Ok(row));
    }

    #[test]
    fn every_dump_gives_back_its_rows(rows in prop::collection::vec(any_row(), 0..20)) {
        let lines = dump_of(rows.clone());
        let read = read(&lines);
        prop_assert!(read.is_ok(), "{:?}", read);
        prop_assert_eq!(dump_of(rows), dump_of(read.expect("checked")));
    }

    #[test]
    fn no_text_makes_the_decoder_panic(text in ".*", row in any_row(), at in any::<prop::sample::Index>()) {
        let _ = Decoder::new().line(&text);
        prop_assert!(decode_row(&text).is_err());
        let mut line = encode_row(row.table, &row.key, &row.value).expect("valid row");
        while !line.is_char_boundary(at.index(line.len())) { line.push(' '); }
        line.insert_str(at.index(line.len()), &text);
        let _ = decode_row(&line);
    }

    #[test]
    fn a_dump_with_any_byte_changed_or_cut_is_an_error(
        rows in prop::collection::vec(any_row(), 1..6), at in any::<prop::sample::Index>(), flip in 1u8..=255
    ) {
        let whole = dump_of(rows).join("\n");
        let mut bytes = whole.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(text) = String::from_utf8(bytes) {
            let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
            prop_assert!(read(&lines).is_err());
        }
        if let Some(cut) = whole.get(..at) {
            let lines: Vec<String> = cut.split('\n').map(str::to_owned).collect();
            prop_assert!(read(&lines).is_err());
        }
    }

    #[test]
    fn no_bytes_make_the_row_check_panic(
        table in 0..Table::ALL.len(), key in prop::collection::vec(any::<u8>(), 0..300), value in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let table = Table::ALL[table];
        if crate::rows::validate_row(table, &key, &value).is_ok() {
            let line = encode_row(table, &key, &value).expect("valid row");
            prop_assert_eq!(decode_row(&line), Ok(Row { table, key, value }));
        }
    }
}
