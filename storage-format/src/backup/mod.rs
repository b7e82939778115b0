//! What a backup is made of: names below its folder, the record that says that one is whole, its
//! lists, and the tar in which it travels. Layout in `FORMAT.md` §12.
//!
//! Words: a *point* is one backup, a folder below `points/`; the *pool* is `blobs/`, which all points
//! share.
//!
//! - U1: a point has its name only when all it needs is durable, its record last of all.
//! - U2: a blob has its name in the pool only when its bytes are durable and were proved.
//! - U3: what a backup says is written where is checked before anything is written there.
//!
//! Pure but for [`tar::next`], which reads a stream. Who writes them: `src/services/backup`.

pub mod list;
mod point;
pub mod tar;

use std::path::PathBuf;

use crate::paths;

pub use point::{Part, Point, PointError};

/// The file that makes a folder one of backups.
pub const MARKER: &str = "PIERHEAD-BACKUP";
/// What is in it.
pub const MARKER_TEXT: &str = "pierhead backup, format 1\n";
/// Where the points are.
pub const POINTS: &str = "points";
/// Ends the name of a point that is not whole.
pub const PART: &str = ".part";
/// In a point: the metadata, as [`crate::dump`] has it, compressed with zstd.
pub const METADATA: &str = "metadata.jsonl.zst";
/// In a point: the blobs it has, by digest.
pub const BLOBS: &str = "blobs.list";
/// In a point: the blobs that the metadata names and that could not be had.
pub const MISSING: &str = "missing.list";
/// In a point: its other files.
pub const FILES: &str = "files.list";
/// In a point: where these are.
pub const FOLDER: &str = "files";
/// In a point: its record.
pub const COMPLETE: &str = "complete";
/// Where a drill restores to, unless it is told.
pub const DRILL: &str = "drill";

/// `points/<name>`.
pub fn point_dir(name: &str) -> PathBuf {
    PathBuf::from(POINTS).join(name)
}

/// Whether `name` is one a point can have: digits, `T`, `Z`, `.` and `-` only, 64 bytes at most.
pub fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// Whether a backup may bring a file of this path below the data directory, with `/` between parts.
pub fn is_file(path: &str) -> bool {
    if [paths::KEY_FILE, paths::TLS_CA, paths::TLS_CA_KEY].contains(&path) {
        return true;
    }
    let Some((day, name)) = path
        .strip_prefix(paths::AUDIT)
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let is_day = day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let numbered = |suffix| paths::parse_numbered(name, suffix).is_some();
    is_day && (numbered(".seg") || numbered(".log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_a_backup_takes_are_files_that_it_brings() {
        let cases = [
            ("secret.key", true),
            ("tls/ca.key", true),
            ("tls/ca.crt", true),
            ("tls/server.pem", false),
            ("audit/2026-11-20/00000000000000000007.log", true),
            ("audit/2026-11-20/00000000000000000007.seg", true),
            ("audit/2026-11-20/../../../etc/passwd", false),
            ("audit/2026-11-20/7.seg", false),
            ("audit/../../x/00000000000000000007.seg", false),
            ("../secret.key", false),
            ("/secret.key", false),
            ("FORMAT", false),
            ("", false),
        ];
        for (path, expected) in cases {
            assert_eq!(is_file(path), expected, "{path}");
        }
    }

    #[test]
    fn a_name_of_a_point_is_one_part_of_a_path() {
        for (name, expected) in
            [("20261121T212425123Z-00000000000000000042", true), ("", false), ("..", false), ("a/b", false)]
        {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }
}
