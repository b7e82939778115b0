//! `FORMAT.md` against the code: the drawing comes from the path functions, the tables are those
//! there are.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::{Table, TableKey};
use pierhead_storage_format::rows::{ForTable, for_table};
use pierhead_storage_format::{Algorithm, Digest, paths, store};

const TEXT: &str = include_str!("../FORMAT.md");

/// Every path there is, and what it is; folders that only hold others are drawn by themselves.
fn drawn() -> Vec<(PathBuf, &'static str)> {
    let digest: Digest =
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse().expect("a digest");
    let id = "7f3c0000000000000000000000000001";
    let folder = |path: &str| PathBuf::from(format!("{path}/"));
    vec![
        (paths::FORMAT.into(), "names this format; written when the store is made"),
        (paths::LEVEL.into(), "how much of it programs must know that use it"),
        (paths::LOCK.into(), "locked by the process that owns the store"),
        (paths::ADMIN_SOCKET.into(), "where that process is administered: a socket"),
        (paths::BALLAST.into(), "space kept back"),
        (paths::KEY_FILE.into(), "keys of sealed secrets, unless kept elsewhere: §10"),
        (paths::blob(&digest), "a blob"),
        (paths::outboard(&digest), "its outboard"),
        (folder(&paths::algorithm_dir(Algorithm::Sha512).display().to_string()), "as above"),
        (paths::journal_segment(1), "a journal segment: from change set 1"),
        (paths::snapshot(1234), "a snapshot: up to change set 1234"),
        (folder(paths::INDEX), "the index: rebuilt when in doubt"),
        (paths::INDEX_MARK.into(), "in which state the files of the index were left"),
        (folder(paths::INDEX_SET_ASIDE), "indexes that were found wrong"),
        (folder(paths::INDEX_CHECKED), "a copy of the index that fsck looks into"),
        (paths::small_segment(1), "small blobs that were just published"),
        (paths::small_part(&digest), "one before it gets its name"),
        (paths::upload_data(id), "bytes of an upload so far"),
        (paths::upload_journal(id), "whose it is, and its checkpoints"),
        (paths::upload_intent(id, &digest), "an intent"),
        (paths::upload_outboard(id), "of the blob it became, before it gets its place"),
        (paths::quarantined(&digest, id), "a damaged blob set aside"),
        (paths::quarantined_outboard(&digest, id), "its outboard"),
        (paths::collected(&digest), "of a blob that nothing named any more"),
        (paths::audit_log("2026-11-20", 7), "the audit trail: events as they come"),
        (paths::audit_segment("2026-11-20", 6), "the same, sealed"),
        (folder(paths::RESTORE), "what a restore under way has still to put in its place"),
        (paths::TLS_CA.into(), "the certificate of the appliance's own CA"),
        (paths::TLS_CA_KEY.into(), "its private key"),
        (paths::TLS_SERVER.into(), "the server's certificate and key"),
    ]
}

fn drawing() -> String {
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, remark) in drawn() {
        let shown: Vec<&Path> = path.ancestors().filter(|a| !a.as_os_str().is_empty()).collect();
        let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        for (depth, part) in shown.iter().rev().enumerate() {
            let last = depth + 1 == shown.len();
            if !seen.insert(part.to_path_buf()) {
                continue;
            }
            let name = part.file_name().and_then(|n| n.to_str()).expect("UTF-8");
            let slash = if !last || is_folder { "/" } else { "" };
            let entry = format!("{}{name}{slash}", "  ".repeat(depth));
            lines.push(if last { format!("{entry:<30}  {remark}") } else { entry });
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_drawing_is_what_the_path_functions_say() {
    let start = TEXT.split_once("```tree\n").expect("a drawing").1;
    let found = start.split_once("```").expect("its end").0;
    assert_eq!(found, drawing(), "replace the drawing by:\n{}", drawing());
}

/// A path added to `paths` must be drawn too.
#[test]
fn every_path_constant_is_in_the_drawing() {
    let source = include_str!("../src/paths.rs");
    for line in source.lines().filter(|line| line.starts_with("pub const ")) {
        let value = line.split('"').nth(1).expect("a path constant is a text");
        let drawn = drawn().iter().any(|(path, _)| path.starts_with(value));
        assert!(drawn, "{value} is not drawn");
    }
}

struct Version;

impl ForTable for Version {
    type Output = u8;

    fn call<K: TableKey>(self) -> u8 {
        K::Record::VERSION
    }
}

#[test]
fn every_table_is_listed_with_its_number_and_the_version_of_its_record() {
    for table in Table::ALL {
        let (number, name) = (table.number(), table.name());
        let row = TEXT.lines().find(|line| line.starts_with(&format!("| {number} | `{name}` |")));
        let version = for_table(table, Version);
        let row = row.expect("a row for every table");
        assert!(row.contains(&format!("| {name} v{version} |")), "{row}");
        for version in 1..=version {
            let fields = format!("| {name} | {version} |");
            assert!(TEXT.lines().any(|line| line.starts_with(&fields)), "no line {fields}");
        }
    }
}

#[test]
fn the_format_file_is_quoted_as_it_is_written() {
    assert!(TEXT.contains(&format!("`{}`", store::encode().trim_end())));
    assert!(TEXT.contains(&format!("{} bytes", store::encode().len())));
}
