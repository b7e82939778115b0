//! Starts on a disk that cannot be written: what may not be durable stays out of the index on the
//! disk, and is read all the same.

use super::super::chain::Chain;
use super::super::{IndexOutcome, is_absent, write_store};
use super::*;
use crate::seams::Clock;

const EIO: u64 = 5;
const ENOSPC: u64 = 28;
const EDQUOT: u64 = 122;
/// Steps of a start before the first that may fail: it makes three folders.
const FOLDERS: u64 = 3;

fn both() -> Rows {
    Rows::from([("a".into(), 1), ("b".into(), 1)])
}

/// A closed store with two frames, of which the index has the first only.
async fn behind() -> House {
    let house = House::sled();
    let older = house.at("older");
    for name in ["a", "b"] {
        let (meta, _) = house.open();
        put_one(&meta, name, 1).await.expect("committed");
        meta.close();
        if name == "a" {
            copy_dir(&house.at(paths::INDEX), &older);
        }
    }
    fs::remove_dir_all(house.at(paths::INDEX)).expect("removed");
    fs::rename(older, house.at(paths::INDEX)).expect("put back");
    house
}

/// Takes the last frame away, as a power cut takes what was not durable.
fn lose_last_frame(house: &House) {
    let tail = Chain::open(&house.disk(), 0).expect("chain").walk(&mut |_, _, _| Ok(())).expect("sound");
    let last = tail.expect("a segment").last.expect("a frame");
    let segment = house.segments().pop().expect("a segment");
    fs::File::options().write(true).open(segment).expect("segment").set_len(last.offset).expect("cut");
}

fn in_memory(opened: &Opened) -> bool {
    matches!(opened.index, IndexOutcome::InMemory { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_frame_that_could_not_be_made_durable_again_is_read_but_never_ahead_of_the_journal() {
    let folder = |house: &House| house.at(paths::INDEX);
    type Hurt<'a> = (&'a str, &'a dyn Fn(&House));
    let hurts: [Hurt<'_>; 3] = [
        ("behind", &|_| ()),
        ("missing", &|house| fs::remove_dir_all(folder(house)).expect("removed")),
        ("damaged", &|house| fs::write(folder(house).join("db"), b"nonsense").expect("written")),
    ];
    for (name, hurt) in hurts {
        for errno in [EIO, ENOSPC] {
            let case = format!("{name}, errno {errno}");
            let house = behind().await;
            hurt(&house);
            let (disk, faults) = FaultyDisk::new(house.root());
            faults.fail(FOLDERS, u64::MAX, errno);
            let (meta, opened) = house.open_on(disk).expect("opens");
            assert!(in_memory(&opened) && opened.read_only.is_some(), "{case}: {opened:?}");
            assert_eq!(contents(&meta), both(), "{case}: it may have been acknowledged");
            let refused = put_one(&meta, "c", 1).await.expect_err("the journal cannot be written");
            assert_eq!(matches!(refused, MetaError::NoSpace), errno == ENOSPC, "{case}: {refused}");
            meta.close();
            lose_last_frame(&house);
            let (meta, _) = house.try_open().unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(contents(&meta), Rows::from([("a".into(), 1)]), "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_gets_the_last_frame_once_the_journal_can_be_written() {
    let house = behind().await;
    let (disk, faults) = FaultyDisk::new(house.root());
    faults.fail(FOLDERS, u64::MAX, EIO);
    let (meta, opened) = house.open_on(disk).expect("opens");
    assert!(in_memory(&opened) && meta.status().in_memory, "{opened:?}");
    faults.heal();
    house.clock.set(house.clock.now_ms() + 1_000_000);
    until("writable without being asked", || meta.status().read_only.is_none());
    assert!(!meta.status().in_memory);
    assert_eq!(contents(&meta), both());
    put_one(&meta, "c", 1).await.expect("committed");
    meta.close();
    let (meta, opened) = house.open();
    assert_eq!((opened.index, opened.sequence), (IndexOutcome::AsFound, 3));
    assert_eq!(contents(&meta).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_has_the_last_frame_serves_though_the_journal_cannot_be_written() {
    let house = behind().await;
    house.open().0.close();
    let (disk, faults) = FaultyDisk::new(house.root());
    faults.fail(FOLDERS, u64::MAX, EIO);
    let (meta, opened) = house.open_on(disk).expect("opens");
    assert_eq!(opened.index, IndexOutcome::AsFound, "it was synced before the index got it");
    assert!(opened.read_only.is_some());
    assert_eq!(contents(&meta), both());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_or_quota_takes_the_ballast_at_whatever_step() {
    let damaged = behind().await;
    fs::write(damaged.at(paths::INDEX).join("db"), b"nonsense").expect("written");
    for errno in [ENOSPC, EDQUOT] {
        for step in 0.. {
            let house = damaged.copy();
            let (disk, faults) = FaultyDisk::new(house.root());
            faults.fail(step, u64::MAX, errno);
            let healer = Arc::clone(&faults);
            let mut options = house.options(Arc::new(disk));
            options.on_full = Arc::new(move || {
                healer.heal();
                true
            });
            let case = format!("errno {errno} from step {step}");
            let opened = super::super::open::open(options, sled_factory());
            let (meta, opened) = opened.unwrap_or_else(|e| panic!("{case}: {e}"));
            if faults.steps() <= step {
                assert!(step > FOLDERS, "{case}");
                break;
            }
            assert_eq!(opened.read_only, None, "{case}");
            assert!(matches!(opened.index, IndexOutcome::Rebuilt { .. }), "{case}: {:?}", opened.index);
            assert_eq!(contents(&meta), both(), "{case}");
            put_one(&meta, "c", 1).await.unwrap_or_else(|e| panic!("{case}: {e}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stop_left_is_removed_at_the_next_start() {
    let house = House::memory();
    let left = [
        house.at(paths::JOURNAL).join("00000000000000000001.log.tmp"),
        house.at(paths::SNAPSHOT).join("00000000000000000001.zst.tmp"),
        house.at(paths::INDEX_CHECKED).join("db"),
    ];
    for file in &left {
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, b"half").expect("written");
    }
    house.open();
    assert!(left.iter().all(|file| !file.exists()));
    assert!(!house.at(paths::INDEX_CHECKED).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_absent_only_where_there_is_neither_segment_nor_snapshot() {
    let house = House::memory();
    let absent = |house: &House| is_absent(&house.disk()).expect("listed");
    assert!(absent(&house), "an empty folder");
    for folder in [paths::JOURNAL, paths::SNAPSHOT, paths::INDEX] {
        fs::create_dir_all(house.at(folder)).expect("made");
    }
    fs::write(house.at(paths::JOURNAL).join("00000000000000000001.log.tmp"), b"half").expect("written");
    fs::write(house.at(paths::INDEX).join("db"), b"").expect("written");
    assert!(absent(&house), "folders, a file that is not whole, an index");
    let (meta, opened) = house.open();
    assert!(opened.fresh && !absent(&house), "a segment");
    meta.close();
    assert!(!house.open().1.fresh);
    fs::remove_file(&house.segments()[0]).expect("removed");
    assert!(absent(&house));
    let imported = House::memory();
    let disk: Arc<dyn Disk> = Arc::new(imported.disk());
    write_store(&disk, 1, []).expect("written");
    fs::remove_file(&imported.segments()[0]).expect("removed");
    assert!(!absent(&imported), "a snapshot");
}
