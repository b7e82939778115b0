//! Backups of a store made by hand, restored and compared; sick ones are told.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pierhead_storage_format::backup::{BLOBS, COMPLETE, METADATA, PART, POINTS, Point, point_dir};
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::{BlobKey, TableKey};
use pierhead_storage_format::outboard::Outboard;
use pierhead_storage_format::records::BlobRecord;
use pierhead_storage_format::{Algorithm, Digest, paths};

use super::*;
use crate::seams::{Clock, TestClock};
use crate::services::access::{Access, Actor, Options, Resource, Rules};
use crate::stores::blobs::digest_of;
use crate::stores::disk::{Disk, RealDisk};
use crate::stores::meta::{read_truth, write_store};

const TRAIL: &str = "audit/2026-11-20/00000000000000000007.seg";

fn permit() -> Permit {
    let access = Access::without_accounts(Rules::Closed(Options::default()));
    access.authorise(&Actor::LocalAdministrator, Action::MaintainStore, Resource::Registry).expect("allowed")
}

struct World {
    scratch: tempfile::TempDir,
    clock: TestClock,
}

fn put(root: &Path, path: impl AsRef<Path>, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, bytes).expect("written");
}

fn blob(number: u8) -> (Digest, Vec<u8>) {
    let bytes = vec![number; if number == 0 { 2_500_000 } else { 100 + usize::from(number) }];
    (digest_of(Algorithm::Sha256, &bytes), bytes)
}

fn no_watch() -> Box<Watch<'static>> {
    Box::new(|_, _, _| {})
}

const USUAL: Wanted = Wanted { key: true, audit: true, verify: false, link: true, keep: None, floor: 0 };

impl World {
    /// A store of the blobs with these numbers, at that change set.
    fn store(&self, name: &str, sequence: u64, numbers: &[u8]) -> Arc<dyn Disk> {
        let root = self.scratch.path().join(name);
        let _ = fs::remove_dir_all(root.join("meta"));
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&root));
        let mut rows: Vec<_> = numbers.iter().map(|number| blob(*number)).collect();
        rows.sort_by_key(|(digest, _)| *digest);
        for (digest, bytes) in &rows {
            put(&root, paths::blob(digest), bytes);
        }
        let (digest, bytes) = blob(0);
        let chunks = bytes.chunks(1 << 20).map(|chunk| *blake3::hash(chunk).as_bytes()).collect();
        let outboard = Outboard::new(digest, bytes.len() as u64, chunks).expect("one hash a chunk");
        put(&root, paths::outboard(&digest), &outboard.encode());
        put(&root, paths::KEY_FILE, b"the key");
        put(&root, paths::TLS_CA_KEY, b"the CA's key");
        put(&root, TRAIL, b"what was done");
        let rows = rows.iter().map(|(digest, bytes)| {
            let record = BlobRecord { size: bytes.len() as u64, references: 0, changed_at: 1 };
            Ok((BlobKey::TABLE, BlobKey { digest: *digest }.encode(), record.encode().expect("small")))
        });
        write_store(&disk, sequence, rows).expect("written");
        disk
    }

    fn source(disk: &Arc<dyn Disk>) -> Source {
        Source { disk: Arc::clone(disk), key: (Arc::clone(disk), paths::KEY_FILE.into()), logged: None }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.scratch.path().join("backups")
    }

    fn back_up(&self, disk: &Arc<dyn Disk>, wanted: Wanted) -> Result<Made, BackupError> {
        let folder = Folder::make(&self.folder())?;
        self.clock.set(self.clock.now_ms() + 1000);
        let maker = Maker { program: "test", clock: &self.clock };
        to_folder(&permit(), &Self::source(disk), &folder, (wanted, maker), &mut *no_watch())
    }

    fn target(&self, name: &str) -> Target {
        let root = self.scratch.path().join(name);
        fs::create_dir_all(&root).expect("made");
        Target {
            disk: Arc::new(RealDisk::new(&root)),
            root,
            format: |disk| disk.create(Path::new(paths::FORMAT)).map(drop),
        }
    }

    fn restore(&self, name: Option<&str>, to: &str) -> Result<Restored, BackupError> {
        let folder = Folder::existing(&self.folder())?;
        let point = folder.point(name)?;
        from_folder(&permit(), &folder, point, &self.target(to), false, &mut *no_watch())
    }

    fn assert_same(&self, one: &str, other: &str, numbers: &[u8]) {
        let rows = |name: &str| {
            let mut rows = Vec::new();
            read_truth(&RealDisk::new(self.scratch.path().join(name)), &|| true, &mut |table, key, value| {
                rows.push((table, key.to_vec(), value.to_vec()));
                Ok(())
            })
            .expect("readable");
            rows
        };
        assert_eq!(rows(one), rows(other));
        let file =
            |name: &str, path: &Path| fs::read(self.scratch.path().join(name).join(path)).expect("there");
        for number in numbers {
            let (digest, bytes) = blob(*number);
            assert!(file(other, &paths::blob(&digest)) == bytes, "blob {number}");
        }
        for path in [Path::new(paths::KEY_FILE), Path::new(paths::TLS_CA_KEY), Path::new(TRAIL)] {
            assert_eq!(file(one, path), file(other, path));
        }
        assert!(!self.scratch.path().join(other).join(paths::RESTORE).exists());
        let outboard = paths::outboard(&blob(0).0);
        if !numbers.contains(&0) {
            return;
        }
        assert_eq!(file(one, &outboard), file(other, &outboard));
    }
}

fn world() -> World {
    World { scratch: tempfile::tempdir().expect("a folder"), clock: TestClock::default() }
}

#[test]
fn a_backup_is_restored_word_for_word_linked_copied_or_streamed() {
    let world = world();
    let disk = world.store("data", 7, &[0, 1, 2]);
    let linked = world.back_up(&disk, USUAL).expect("made");
    assert_eq!((linked.linked, linked.copied.0, linked.kept), (3, 0, 0));
    assert_eq!((linked.point.blobs, linked.point.missing, linked.point.files), (3, 0, 3));
    world.restore(None, "from-links").expect("restored");
    world.assert_same("data", "from-links", &[0, 1, 2]);

    fs::remove_dir_all(world.folder()).expect("removed");
    let copied = world.back_up(&disk, Wanted { link: false, ..USUAL }).expect("made");
    assert_eq!((copied.linked, copied.copied.0), (0, 3));
    world.restore(None, "from-copies").expect("restored");
    world.assert_same("data", "from-copies", &[0, 1, 2]);

    let stream = stream(&world, &disk);
    from_stream(&permit(), &mut &stream[..], &world.target("from-stream"), &mut *no_watch())
        .expect("restored");
    world.assert_same("data", "from-stream", &[0, 1, 2]);
}

fn stream(world: &World, disk: &Arc<dyn Disk>) -> Vec<u8> {
    let scratch = tempfile::tempdir().expect("a folder");
    let maker = Maker { program: "test", clock: &world.clock };
    let place = (scratch.path(), &RealDisk::new(scratch.path()) as &dyn Disk);
    let mut out = Vec::new();
    let source = World::source(disk);
    to_stream(&permit(), &source, place, (USUAL, maker), &mut out, &mut *no_watch()).expect("made");
    out
}

#[test]
fn a_stream_that_was_cut_anywhere_or_names_a_strange_path_is_refused() {
    let world = world();
    let disk = world.store("data", 7, &[1]);
    let whole = stream(&world, &disk);
    for end in (0..whole.len() - 1024).step_by(512) {
        let target = world.target("cut");
        let restored = from_stream(&permit(), &mut &whole[..end], &target, &mut *no_watch());
        assert!(restored.is_err(), "cut at {end} of {}", whole.len());
    }
    from_stream(&permit(), &mut &whole[..], &world.target("cut"), &mut *no_watch()).expect("taken up again");
    world.assert_same("data", "cut", &[1]);

    let marked = 1024; // the marker and its padding
    for path in ["../../etc/passwd", "blobs/sha256/ab/xyz", "points/a/files/../x", "FORMAT"] {
        let mut strange = whole[..marked].to_vec();
        strange.extend(pierhead_storage_format::backup::tar::header(path, 0, 0, false));
        let restored = from_stream(&permit(), &mut &strange[..], &world.target("strange"), &mut *no_watch());
        assert!(matches!(restored, Err(BackupError::Stream(_))), "{path}");
    }
}

#[test]
fn a_second_backup_copies_what_is_new_and_old_ones_go_with_what_only_they_named() {
    let world = world();
    let first = world.back_up(&world.store("data", 7, &[0, 1]), USUAL).expect("made");
    let second = world.back_up(&world.store("data", 9, &[0, 2]), USUAL).expect("made");
    assert_eq!((second.linked, second.kept), (1, 1));
    let third =
        world.back_up(&world.store("data", 12, &[0, 3]), Wanted { keep: Some(2), ..USUAL }).expect("made");
    assert_eq!(third.pruned, std::slice::from_ref(&first.point.name));
    assert_eq!(third.freed, blob(1).1.len() as u64);
    assert!(!world.folder().join(paths::blob(&blob(1).0)).exists());
    assert!(world.restore(Some(&first.point.name), "first").is_err());
    world.restore(Some(&second.point.name), "second").expect("restored");
    assert!(world.scratch.path().join("second").join(paths::blob(&blob(2).0)).exists());
    world.restore(None, "third").expect("restored");
    world.assert_same("data", "third", &[0, 3]);
}

#[test]
fn an_interrupted_backup_is_recognised_and_its_leftovers_go() {
    let world = world();
    let disk = world.store("data", 7, &[0, 1]);
    let made = world.back_up(&disk, USUAL).expect("made");
    let begun = format!("20200101T000000000Z-{:020}{PART}", 1);
    put(&world.folder(), point_dir(&begun).join(METADATA), b"half");
    let part = format!("{}{}", world.folder().join(paths::blob(&blob(9).0)).display(), pool::PART);
    put(Path::new(""), &part, b"half a blob");
    put(&world.folder(), paths::blob(&blob(9).0), &blob(9).1);
    let listed = Folder::list(&world.folder()).expect("listed");
    assert_eq!(listed.iter().filter(|found| found.state == State::Unfinished).count(), 1);
    world.restore(None, "restored").expect("the whole one is restored");

    world.back_up(&disk, Wanted { keep: Some(5), ..USUAL }).expect("made");
    assert!(!world.folder().join(point_dir(&begun)).exists());
    assert!(!Path::new(&part).exists() && !world.folder().join(paths::blob(&blob(9).0)).exists());
    assert!(Folder::existing(&world.folder()).expect("one").point(Some(&made.point.name)).is_ok());
}

#[test]
fn what_the_store_has_lost_is_named_and_the_rest_is_backed_up() {
    let world = world();
    let disk = world.store("data", 7, &[0, 1, 2]);
    let data = world.scratch.path().join("data");
    fs::remove_file(data.join(paths::blob(&blob(1).0))).expect("removed");
    let mut bytes = blob(0).1;
    bytes[70] ^= 1;
    put(&data, paths::blob(&blob(0).0), &bytes);
    let made = world.back_up(&disk, Wanted { verify: true, ..USUAL }).expect("made");
    assert_eq!((made.point.blobs, made.point.missing), (1, 2));
    let missing = fs::read_to_string(world.folder().join(point_dir(&made.point.name)).join("missing.list"));
    let missing = missing.expect("a list");
    assert!(missing.contains(&format!("{} damaged\n", blob(0).0)), "{missing}");
    assert!(missing.contains(&format!("{} missing\n", blob(1).0)), "{missing}");
}

#[test]
fn damage_of_a_backup_is_found_by_verify_and_by_restore_and_mended_by_the_next_one() {
    let world = world();
    let disk = world.store("data", 7, &[0, 1]);
    let copy = Wanted { link: false, ..USUAL };
    let made = world.back_up(&disk, copy).expect("made");
    let look = || {
        let folder = Folder::existing(&world.folder()).expect("one");
        let point = folder.point(None).expect("whole");
        verify(&permit(), &folder, &[point], &mut *no_watch()).expect("readable")
    };
    assert_eq!(look().damaged, 0);
    let mut bytes = blob(1).1;
    bytes[7] ^= 1;
    put(&world.folder(), paths::blob(&blob(1).0), &bytes);
    assert_eq!(look().named, [blob(1).0.to_string()]);
    let restored = world.restore(None, "lossy").expect("the rest");
    assert_eq!((restored.lost, restored.named), (1, vec![blob(1).0]));
    world.back_up(&disk, Wanted { verify: true, ..copy }).expect("made");
    assert_eq!(look().damaged, 0);

    for (name, what) in [(METADATA, "metadata"), ("blobs.list", "list"), (COMPLETE, "record")] {
        let path = world.folder().join(point_dir(&made.point.name)).join(name);
        let good = fs::read(&path).expect("there");
        let mut bad = good.clone();
        bad[20] ^= 1;
        fs::write(&path, bad).expect("written");
        assert!(world.restore(Some(&made.point.name), what).is_err(), "{what}");
        fs::write(&path, good).expect("written");
    }
}

#[test]
fn a_backup_with_metadata_of_an_earlier_version_is_restored() {
    let world = world();
    let made = world.back_up(&world.store("data", 7, &[1]), USUAL).expect("made");
    let dir = world.folder().join(point_dir(&made.point.name));
    for golden in ["v1", "v2", "v3"] {
        let text =
            fs::read(format!("{}/storage-format/golden/dump/{golden}.jsonl", env!("CARGO_MANIFEST_DIR")));
        let bytes = zstd::encode_all(&text.expect("a golden file")[..], 3).expect("memory");
        let part = copy::part_of(&bytes[..]).expect("memory");
        fs::write(dir.join(METADATA), &bytes).expect("written");
        let point = Point { metadata: part, ..made.point.clone() };
        fs::write(dir.join(COMPLETE), point.encode().expect("JSON")).expect("written");
        world.restore(None, golden).expect(golden);
        let mut rows = 0;
        let disk = RealDisk::new(world.scratch.path().join(golden));
        read_truth(&disk, &|| true, &mut |_, _, _| {
            rows += 1;
            Ok(())
        })
        .expect("readable");
        assert!(rows > 10, "{golden}");
    }
}

#[test]
fn a_folder_of_something_else_and_one_in_use_are_refused() {
    let world = world();
    put(&world.folder(), "letters.txt", b"mine");
    assert!(matches!(Folder::make(&world.folder()), Err(BackupError::Foreign(_))));
    assert!(matches!(Folder::existing(&world.folder()), Err(BackupError::NoBackups(_))));
    fs::remove_file(world.folder().join("letters.txt")).expect("removed");
    let held = Folder::make(&world.folder()).expect("made");
    assert!(matches!(Folder::existing(&world.folder()), Err(BackupError::InUse(_))));
    drop(held);
    assert!(fs::read_dir(world.folder().join(POINTS)).expect("there").next().is_none());
    assert!(matches!(world.restore(None, "nothing"), Err(BackupError::NoPoint(_))));
}

#[test]
fn a_damaged_list_of_a_point_that_stays_keeps_everything() {
    for (what, damage) in [
        (
            "a flipped digit",
            (|list: &mut Vec<u8>| list[80] = if list[80] == b'0' { b'1' } else { b'0' }) as fn(&mut Vec<u8>),
        ),
        ("a line cut off", |list| list.truncate(list.len() / 2)),
        ("a line less", |list| list.truncate(list.iter().position(|byte| *byte == b'\n').unwrap_or(0) + 1)),
        ("no line", Vec::clear),
    ] {
        let world = world();
        world.back_up(&world.store("data", 1, &[1, 2, 3]), USUAL).expect("made");
        let second = world.back_up(&world.store("data", 2, &[2, 3, 4]), USUAL).expect("made");
        let list = world.folder().join(point_dir(&second.point.name)).join(BLOBS);
        let mut bytes = fs::read(&list).expect("there");
        damage(&mut bytes);
        fs::write(&list, bytes).expect("written");
        let made = world.back_up(&world.store("data", 3, &[4, 5]), Wanted { keep: Some(2), ..USUAL });
        assert!(
            matches!(&made, Err(BackupError::ListDamaged(name)) if *name == second.point.name),
            "{what}: {made:?}"
        );
        assert_eq!(Folder::list(&world.folder()).expect("listed").len(), 3, "{what}");
        for number in 1..=5 {
            assert!(world.folder().join(paths::blob(&blob(number).0)).exists(), "{what}: blob {number}");
        }
    }
}

#[test]
fn a_restore_that_stopped_before_its_last_step_is_run_again() {
    let world = world();
    world.back_up(&world.store("data", 7, &[0, 1]), USUAL).expect("made");
    world.restore(None, "new").expect("restored");
    assert!(world.scratch.path().join("new").join(paths::FORMAT).exists());
    fs::create_dir(world.scratch.path().join("new").join(paths::RESTORE)).expect("as a stop leaves it");
    world.restore(None, "new").expect("restored again");
    world.assert_same("data", "new", &[0, 1]);
}
