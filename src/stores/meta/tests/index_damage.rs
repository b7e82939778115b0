//! An index that is damaged, missing or lying is rebuilt, and then right.

use std::os::unix::fs::FileExt;

use super::super::{CheckOptions, IndexOutcome, check};
use super::*;

fn names(round: u64) -> Vec<String> {
    (0..50).map(|i| format!("{i:02}-{}", round % 7)).collect()
}

async fn fill(meta: &Meta, rows: &mut Rows, rounds: std::ops::Range<u64>) {
    for round in rounds {
        let value = if round % 5 == 4 { 0 } else { round + 1 };
        put(meta, names(round), value).await.expect("committed");
        model(rows, &names(round), value);
    }
}

/// A closed store with an index, an older state of that index, and what must be in it.
async fn store() -> (House, PathBuf, Rows) {
    let house = House::sled();
    let mut rows = Rows::new();
    let (meta, _) = house.open();
    fill(&meta, &mut rows, 0..60).await;
    meta.close();
    let older = house.at("older");
    copy_dir(&house.at(paths::INDEX), &older);
    let (meta, _) = house.open();
    fill(&meta, &mut rows, 60..120).await;
    meta.close();
    (house, older, rows)
}

fn flip(file: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(file).expect("file");
    let at = at % file.metadata().expect("file").len();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 0x5a], at).expect("written");
}

fn snap(index: &Path) -> PathBuf {
    let name = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("snap."));
    files(index).into_iter().find(name).expect("sled keeps a snapshot")
}

fn cut(file: &Path, len: impl Fn(u64) -> u64) {
    let file = fs::File::options().write(true).open(file).expect("file");
    file.set_len(len(file.metadata().expect("file").len())).expect("cut");
}

type Damage = (&'static str, Box<dyn Fn(&Path, &Path)>);

fn damages() -> Vec<Damage> {
    let mut damages: Vec<Damage> = vec![
        ("db deleted", Box::new(|i, _| fs::remove_file(i.join("db")).expect("removed"))),
        ("db empty", Box::new(|i, _| cut(&i.join("db"), |_| 0))),
        ("db halved", Box::new(|i, _| cut(&i.join("db"), |len| len / 2))),
        ("db cut by a page", Box::new(|i, _| cut(&i.join("db"), |len| len - 4096))),
        ("conf deleted", Box::new(|i, _| fs::remove_file(i.join("conf")).expect("removed"))),
        ("snap deleted", Box::new(|i, _| fs::remove_file(snap(i)).expect("removed"))),
        ("snap cut", Box::new(|i, _| cut(&snap(i), |len| len / 2))),
        ("snap flipped", Box::new(|i, _| flip(&snap(i), 20))),
        ("folder deleted", Box::new(|i, _| fs::remove_dir_all(i).expect("removed"))),
        (
            "rolled back to an older copy",
            Box::new(|i, older| {
                fs::remove_dir_all(i).expect("removed");
                copy_dir(older, i);
            }),
        ),
        ("garbage", Box::new(|i, _| fs::write(i.join("db"), vec![0xa5; 1 << 20]).expect("written"))),
    ];
    for part in 0..24u64 {
        damages.push((
            "db flipped",
            Box::new(move |i, _| {
                let len = fs::metadata(i.join("db")).expect("db").len();
                flip(&i.join("db"), len / 24 * part + part * 37);
            }),
        ));
    }
    damages
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_missing_or_lying_index_is_made_right() {
    let (house, older, rows) = store().await;
    for (number, (name, damage)) in damages().into_iter().enumerate() {
        let copy = house.copy();
        damage(&copy.at(paths::INDEX), &older);
        let (meta, opened) = copy.try_open().unwrap_or_else(|e| panic!("{number} {name}: {e}"));
        assert_eq!(contents(&meta), rows, "{number} {name}: {:?}", opened.index);
        put_one(&meta, "new", 1).await.unwrap_or_else(|e| panic!("{number} {name}: {e}"));
        meta.close();
        let (meta, opened) = copy.open();
        // sled may roll back again to before what it cannot read, until a snapshot is newer than that.
        let rebuilt = matches!(opened.index, IndexOutcome::Rebuilt { .. });
        assert!(!rebuilt, "{number} {name}: the second time {:?}", opened.index);
        assert_eq!(contents(&meta).len(), rows.len() + 1, "{number} {name}");
        drop(meta);
        let scratch = copy.at("scratch");
        let options = CheckOptions { index_dir: Some(copy.at(paths::INDEX)), scratch, cache_bytes: 1 << 20 };
        assert_eq!(check(&copy.disk(), &options).expect("readable"), [], "{number} {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_fell_behind_is_replayed_and_one_of_another_history_rebuilt() {
    let (house, older, rows) = store().await;
    fs::remove_dir_all(house.at(paths::INDEX)).expect("removed");
    copy_dir(&older, &house.at(paths::INDEX));
    let (meta, opened) = house.open();
    assert_eq!(opened.index, IndexOutcome::Replayed(60));
    assert_eq!(contents(&meta), rows);
    meta.close();
    let (other, _, _) = store().await;
    let (meta, _) = other.open();
    meta.close();
    let foreign = House::sled();
    let (meta, _) = foreign.open();
    put_one(&meta, "foreign", 1).await.expect("committed");
    meta.close();
    fs::remove_dir_all(house.at(paths::INDEX)).expect("removed");
    copy_dir(&foreign.at(paths::INDEX), &house.at(paths::INDEX));
    let (meta, opened) = house.open();
    assert!(matches!(opened.index, IndexOutcome::Rebuilt { .. }), "{:?}", opened.index);
    assert_eq!(contents(&meta), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_last_index_set_aside_is_kept() {
    let (house, _, rows) = store().await;
    for _ in 0..3 {
        fs::write(house.at(paths::INDEX).join("db"), b"nonsense").expect("written");
        let (meta, opened) = house.open();
        assert!(matches!(opened.index, IndexOutcome::Rebuilt { .. }), "{:?}", opened.index);
        assert_eq!(contents(&meta), rows);
        assert_eq!(files(&house.at(paths::INDEX_SET_ASIDE)).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_names_rows_that_the_index_has_otherwise() {
    let (house, _, rows) = store().await;
    let open = || super::super::engine::sled_factory()(&house.at(paths::INDEX), 1 << 20).expect("opens");
    let name = rows.keys().next().expect("a row");
    let row = [&[11], name.as_bytes()].concat();
    let options = || CheckOptions {
        index_dir: Some(house.at(paths::INDEX)),
        scratch: house.at("scratch"),
        cache_bytes: 1 << 20,
    };
    let ids = || check(&house.disk(), &options()).expect("readable").iter().map(|f| f.id).collect::<Vec<_>>();
    assert!(ids().is_empty());
    let index = super::super::index::Index::inspect(open(), &0.into()).expect("sound");
    let (mut wrong, position) = (
        index,
        super::super::truth::read_truth(&house.disk(), &|| true, &mut |_, _, _| Ok(())).expect("truth"),
    );
    wrong.apply(position, [(row, None), (b"\x0bextra".to_vec(), Some(vec![1; 9]))].into()).expect("applied");
    wrong.engine.close();
    assert_eq!(ids(), ["M3", "M3"]);
    wrong = super::super::index::Index { engine: open(), state: wrong.state, proof: None };
    wrong.engine.apply(&[(b"\x0bunsummed".to_vec(), Some(vec![]))]).expect("applied");
    wrong.engine.close();
    assert_eq!(ids(), ["M5"]);
    let (meta, _) = house.open();
    assert_eq!(contents(&meta), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_goes_on_where_one_that_was_killed_left_its_copy() {
    let (house, _, _) = store().await;
    let scratch = house.at("scratch");
    fs::create_dir_all(scratch.join("blobs")).expect("made");
    fs::write(scratch.join("db"), b"half a copy").expect("written");
    let index_dir = Some(house.at(paths::INDEX));
    let options = CheckOptions { index_dir, scratch: scratch.clone(), cache_bytes: 1 << 20 };
    assert_eq!(check(&house.disk(), &options).expect("readable"), []);
    assert!(!scratch.exists());
}
