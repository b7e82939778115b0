//! The level of a store: what a program must know to read it, noted beside it for packages, which refuse to put an earlier
//! program in the place of a later one. What it counts: `storage_format::store::LEVEL`.
//!
//! It is in the store's own directory, wherever that is, and never falls: a store that is moved away takes it along. It is noted
//! before this program writes anything else, or, on a full disk, before anything but the ballast that is given up for it. Steps: `.store-level.tmp` is written, made durable and renamed, the directory is made
//! durable; a stop leaves the file as it was, and perhaps the `.tmp`, which the next note replaces.

use std::io::{self, Read};
use std::path::Path;

use pierhead_storage_format::{paths, store};

use crate::stores::disk::{Disk, is_full};

const PART: &str = ".store-level.tmp";

/// Notes this program's, unless a higher one was noted before.
pub(super) fn note(disk: &dyn Disk) -> io::Result<()> {
    if noted(disk).is_some_and(|level| level >= store::LEVEL) {
        return Ok(());
    }
    let part = Path::new(PART);
    disk.remove_file(part)?;
    let mut file = disk.create(part)?;
    file.write_at(store::encode_level().as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(part, Path::new(paths::LEVEL))?;
    disk.sync_dir(Path::new(""))
}

/// The same; on a full disk once more, if `make_room` gave something up for it.
pub(super) fn note_on_full(disk: &dyn Disk, make_room: impl FnOnce() -> bool) -> io::Result<()> {
    match note(disk) {
        Err(error) if is_full(&error) && make_room() => note(disk),
        noted => noted,
    }
}

/// `None` where there is none that can be read.
fn noted(disk: &dyn Disk) -> Option<u32> {
    let file = disk.open_read(Path::new(paths::LEVEL)).ok()?;
    let mut bytes = Vec::new();
    file.take(store::MAX_LEVEL_FILE as u64 + 1).read_to_end(&mut bytes).ok()?;
    store::decode_level(&bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::stores::disk::faulty::FaultyDisk;

    #[test]
    fn a_level_is_noted_where_there_is_none_or_a_lower_one_and_never_falls() {
        let own = store::encode_level();
        let higher = format!("{}\n", store::LEVEL + 1);
        let rows = [
            ("none", None, own.as_str()),
            ("lower", Some("1\n"), &own),
            ("the same", Some(own.as_str()), &own),
            ("higher", Some(higher.as_str()), &higher),
            ("damaged", Some("x\n"), &own),
        ];
        for (name, before, after) in rows {
            let folder = tempfile::tempdir().expect("a scratch folder");
            let path = folder.path().join(paths::LEVEL);
            if let Some(before) = before {
                fs::write(&path, before).expect("written");
            }
            fs::write(folder.path().join(PART), "of a note that was stopped").expect("written");
            let (disk, faults) = FaultyDisk::new(folder.path());
            note(&disk).expect("noted");
            assert_eq!(fs::read_to_string(&path).expect("a level"), after, "{name}");
            let steps = faults.steps();
            note(&disk).expect("noted");
            assert_eq!(faults.steps(), steps, "{name}: nothing is written twice");
        }
    }

    #[test]
    fn room_is_made_once_for_a_level_and_by_a_full_disk_alone() {
        let rows =
            [("no error", 0, 0, false, true), ("EIO", 5, 1, false, false), ("ENOSPC", 28, 1, true, true)];
        let rows = rows.into_iter().chain([("for good", 28, u64::MAX, true, false)]);
        for (name, errno, until, asked, noted) in rows {
            let folder = tempfile::tempdir().expect("a scratch folder");
            let (disk, faults) = FaultyDisk::new(folder.path());
            faults.fail(0, until, errno);
            let mut was_asked = false;
            let result = note_on_full(&disk, || {
                was_asked = true;
                true
            });
            assert_eq!((was_asked, result.is_ok()), (asked, noted), "{name}");
            let (disk, faults) = FaultyDisk::new(folder.path());
            faults.fail(0, 1, 28);
            let is_there = folder.path().join(paths::LEVEL).exists();
            assert_eq!(note_on_full(&disk, || false).is_ok(), is_there, "{name}: nothing could be given up");
        }
    }

    #[test]
    fn a_note_that_fails_at_any_step_leaves_the_level_whole() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join(paths::LEVEL);
        for step in 0.. {
            fs::write(&path, "1\n").expect("written");
            let (disk, faults) = FaultyDisk::new(folder.path());
            faults.fail(step, step + 1, 28);
            let noted = note(&disk);
            let text = fs::read_to_string(&path).expect("a level");
            assert!(text == "1\n" || text == store::encode_level(), "step {step}: {text}");
            if noted.is_ok() {
                assert!(step > 3, "every step can fail");
                return;
            }
        }
    }
}
