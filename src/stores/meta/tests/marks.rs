//! A start that believes a mark: what it serves at once, what makes it read every row first, and that
//! the check beside the serving finds what is wrong.

use super::super::IndexOutcome;
use super::*;

const PAGES: u64 = 40;

fn unchecked() -> House {
    House { check_at_once: 0, boot: Some("one".into()), ..House::sled() }
}

fn wait_until_checked(meta: &Meta) {
    tokio::task::block_in_place(|| meta.wait_until_checked()).expect("checked");
}

/// A store whose index is checked beside the serving, if a mark speaks for it.
async fn large() -> (House, Rows) {
    let house = unchecked();
    let (meta, _) = house.open();
    let mut rows = Rows::new();
    for page in 0..PAGES {
        let names: Vec<String> = (0..500).map(|n| format!("{page:03}-{n:04}")).collect();
        model(&mut rows, &names, page + 1);
        put(&meta, names, page + 1).await.expect("committed");
    }
    meta.close();
    (house, rows)
}

fn checked(meta: &Meta) {
    until("every row is checked", || !meta.status().checking);
}

/// Changes a row of the index behind the store's back, as damage that the engine does not see would;
/// the mark is made to fit again.
fn falsify(house: &House, name: &str, value: Option<Vec<u8>>) {
    let marks = marks(house);
    let engine = super::super::engine::sled_factory()(&house.at(paths::INDEX), 1 << 20).expect("opens");
    engine.apply(&[([&[11], name.as_bytes()].concat(), value)]).expect("applied");
    engine.flush().expect("flushed");
    engine.close();
    marks.closed();
}

fn marks(house: &House) -> super::super::mark::Marks {
    let (disk, index_dir) = (Arc::new(house.disk()), house.at(paths::INDEX));
    super::super::mark::Marks { disk, index_dir, boot: house.boot.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_close_in_order_the_index_serves_at_once_and_is_checked_while_it_changes() {
    let (house, mut rows) = large().await;
    for round in 0..3 {
        let (meta, opened) = house.open();
        assert_eq!((&opened.index, opened.unchecked), (&IndexOutcome::AsFound, Some(rows.len() as u64)));
        // Rows that the check has passed, and others, are set, changed and removed meanwhile.
        let mut change = 0;
        while meta.status().checking || change < 50 {
            let names = vec![format!("{:03}-{:04}", change % PAGES, change), format!("new-{round}-{change}")];
            model(&mut rows, &names, change % 3);
            put(&meta, names, change % 3).await.expect("committed");
            change += 1;
        }
        assert_eq!(meta.status().rebuilds, 0, "it was right");
        assert_eq!(contents(&meta), rows);
        meta.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mark_does_not_speak_for_is_checked_before_it_serves() {
    type Change<'a> = (&'a str, &'a dyn Fn(&mut House));
    let changes: [Change<'_>; 6] = [
        ("no mark", &|house| fs::remove_file(house.at(paths::INDEX_MARK)).expect("removed")),
        ("a mark that is cut", &|house| {
            let file = fs::File::options().write(true).open(house.at(paths::INDEX_MARK)).expect("there");
            file.set_len(40).expect("cut");
        }),
        ("a copy", &|house| *house = house.copy()),
        ("a file was written", &|house| {
            let file =
                fs::File::options().append(true).open(house.at(paths::INDEX).join("conf")).expect("there");
            file.set_len(file.metadata().expect("a length").len() + 1).expect("longer");
            file.set_len(file.metadata().expect("a length").len() - 1).expect("as it was");
        }),
        ("a file more", &|house| fs::write(house.at(paths::INDEX).join("more"), b"").expect("written")),
        ("a small index", &|house| house.check_at_once = u64::MAX),
    ];
    for (name, change) in changes {
        let (mut house, rows) = large().await;
        change(&mut house);
        house.boot = Some("one".to_owned());
        let (meta, opened) = house.open();
        assert_eq!((opened.index, opened.unchecked), (IndexOutcome::AsFound, None), "{name}");
        assert_eq!(contents(&meta), rows, "{name}");
    }
}

/// A store as a killed process leaves it, in its place: the index is put back as it was while the store
/// ran, with the mark of that time.
async fn killed(house: &House) {
    let (meta, _) = house.open();
    put_one(&meta, "last", 7).await.expect("committed");
    checked(&meta);
    let mark = fs::read(house.at(paths::INDEX_MARK)).expect("an open mark");
    meta.close();
    fs::write(house.at(paths::INDEX_MARK), mark).expect("as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_reads_are_answered_at_once_and_commits_after_the_check() {
    let (house, mut rows) = large().await;
    killed(&house).await;
    rows.insert("last".into(), 7);
    let (meta, opened) = house.open();
    assert_eq!((opened.index, opened.unchecked), (IndexOutcome::AsFound, Some(rows.len() as u64)));
    assert!(meta.get(&key("last")).expect("readable").is_some());
    put_one(&meta, "after", 1).await.expect("committed");
    assert!(!meta.status().checking, "the check came first");
    rows.insert("after".into(), 1);
    assert_eq!(contents(&meta), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_machine_every_row_is_read_first() {
    let (mut house, _) = large().await;
    killed(&house).await;
    house.boot = Some("two".to_owned());
    let (_meta, opened) = house.open();
    assert_eq!(opened.unchecked, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_closed_before_the_check_of_a_killed_one_ended_is_not_believed_to_be_right() {
    let (house, rows) = large().await;
    killed(&house).await;
    falsify(&house, "000-0001", None);
    let (meta, _) = house.open();
    meta.close();
    let (meta, _) = house.open();
    checked(&meta);
    wait_until_checked(&meta);
    until("it is right", || contents(&meta).len() == rows.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_missing_stale_or_too_much_is_found_and_the_index_rebuilt() {
    let stale = {
        use pierhead_storage_format::codec::Record;
        CounterRecord { next: 99 }.encode().expect("small")
    };
    for (name, row, value) in [
        ("missing", "010-0100", None),
        ("stale", "010-0100", Some(stale.clone())),
        ("too much", "zzz", Some(stale)),
    ] {
        let (house, rows) = large().await;
        falsify(&house, row, value);
        let (meta, opened) = house.open();
        assert!(opened.unchecked.is_some(), "{name}: nothing tells at once");
        wait_until_checked(&meta);
        assert_eq!(contents(&meta), rows, "{name}");
        assert_eq!((meta.status().rebuilds, meta.status().checking), (1, false), "{name}");
        put_one(&meta, "more", 1).await.expect("committed");
        meta.close();
        assert_eq!(house.open().1.index, IndexOutcome::AsFound, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_went_back_since_it_was_closed_is_seen_at_once() {
    let (house, mut rows) = large().await;
    let older = house.at("older");
    copy_dir(&house.at(paths::INDEX), &older);
    let (meta, _) = house.open();
    put_one(&meta, "last", 7).await.expect("committed");
    meta.close();
    rows.insert("last".into(), 7);
    fs::remove_dir_all(house.at(paths::INDEX)).expect("removed");
    copy_dir(&older, &house.at(paths::INDEX));
    marks(&house).closed();
    let (meta, opened) = house.open();
    assert_eq!((opened.index, opened.unchecked), (IndexOutcome::Replayed(1), None));
    assert_eq!(contents(&meta), rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_whose_header_holds_is_told_of_while_the_store_serves() {
    let house = unchecked().small_snapshots();
    let (meta, _) = house.open();
    let mut rows = Rows::new();
    // So many that the header is not in the last block that was compressed.
    for page in 0..PAGES {
        let names: Vec<String> =
            (0..500).map(|n| format!("{}", blake3::hash(format!("{page} {n}").as_bytes()))).collect();
        model(&mut rows, &names, page + 1);
        put(&meta, names, page + 1).await.expect("committed");
    }
    let whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "zst");
    until("two snapshots", || house.snapshots().iter().filter(|path| whole(path)).count() == 2);
    meta.close();
    let newest = house.snapshots().pop().expect("a snapshot");
    let len = fs::metadata(&newest).expect("there").len();
    let file = fs::File::options().write(true).open(&newest).expect("there");
    file.set_len(len - 10).expect("cut");
    let (meta, opened) = house.open();
    assert!(opened.unchecked.is_some());
    until("it is told", || meta.status().snapshot_error.is_some_and(|error| error.contains("damaged")));
    assert_eq!(contents(&meta), rows);
    meta.close();
    fs::remove_dir_all(house.at(paths::INDEX)).expect("removed");
    assert_eq!(contents(&house.open().0), rows, "the older one and the journal stand in");
}
