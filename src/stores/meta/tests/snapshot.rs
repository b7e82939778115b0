//! Snapshots: made while writing, two kept, segments removed, fallen back from; import and export.

use pierhead_storage_format::keys::Table;

use super::super::truth::Truth;
use super::super::{IndexOutcome, read_truth, write_store};
use super::*;

fn names(round: u64) -> Vec<String> {
    (0..30).map(|i| format!("{}-{i:02}-{}", round % 5, "n".repeat(150))).collect()
}

/// Writes until `snapshots` were made; returns what must be there.
async fn write_until(house: &House, meta: &Meta, snapshots: u64) -> Rows {
    let (mut rows, mut round, mut seen, mut last) = (Rows::new(), 0, 0, None);
    while seen < snapshots {
        round += 1;
        let value = if round % 7 == 0 { 0 } else { round };
        put(meta, names(round), value).await.expect("committed");
        model(&mut rows, &names(round), value);
        let now = meta.status().snapshot;
        seen += u64::from(now != last);
        last = now;
        assert!(round < 100_000 && house.snapshots().len() <= 3);
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_made_while_writing_and_what_they_cover_goes() {
    for house in [House::sled().small_snapshots(), House::memory().small_snapshots()] {
        let (meta, _) = house.open();
        let rows = write_until(&house, &meta, 5).await;
        until("two are kept", || house.snapshots().len() == 2); // closing may interrupt the third's removal
        meta.close();
        assert_eq!(house.snapshots().len(), 2);
        assert!(house.segments().len() < 20, "{}", house.segments().len());
        assert!(!house.segments()[0].ends_with("00000000000000000001.log"));
        fs::remove_dir_all(house.at(paths::INDEX)).expect("removed");
        let (meta, opened) = house.open();
        assert!(matches!(opened.index, IndexOutcome::Rebuilt { .. }));
        assert_eq!(contents(&meta), rows);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_newest_snapshot_is_reported_and_the_older_one_stands_in() {
    let house = House::memory().small_snapshots();
    let (meta, _) = house.open();
    let rows = write_until(&house, &meta, 4).await;
    meta.close();
    let newest = house.snapshots().last().expect("some were made").clone();
    let whole = fs::read(&newest).expect("snapshot");
    let damages = [0, 3, whole.len() / 2, whole.len() - 1];
    for at in damages {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        for bytes in [bytes, whole[..at].to_vec()] {
            fs::write(&newest, &bytes).expect("damaged");
            let copy = house.copy();
            let (meta, opened) = copy.open();
            assert_eq!(opened.damaged_snapshots.len(), 1, "{at}");
            assert_eq!(contents(&meta), rows, "{at}");
        }
    }
    fs::write(&newest, b"").expect("damaged");
    let (meta, _) = house.open();
    for round in 0..100 {
        put(&meta, names(1), 500 + round).await.expect("committed");
    }
    until("a new snapshot", || meta.status().snapshot.is_some() && house.snapshots().len() == 2);
    meta.close();
    let (_, opened) = house.open();
    assert_eq!(opened.damaged_snapshots.len(), 0, "the damaged one went");
    for snapshot in house.snapshots() {
        fs::write(snapshot, b"").expect("damaged");
    }
    assert!(
        matches!(house.try_open(), Err(OpenError::Damaged { .. })),
        "neither holds, and segments are gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_truth_is_streamed_in_order_in_any_number_of_passes_while_the_server_writes() {
    let house = House::memory().small_snapshots();
    let (meta, _) = house.open();
    let rows = write_until(&house, &meta, 3).await;
    for bound in [1, 5_000, 50_000, 10 << 20] {
        let mut seen = Rows::new();
        let mut last = Vec::new();
        let truth = Truth::open(&house.disk(), &|| true).expect("opens");
        truth
            .rows_within(None, bound, &mut |table, key, value| {
                assert!(table == Table::Counter && *last < *key, "bound {bound}");
                last = key.to_vec();
                let next = u64::from_le_bytes(value[1..9].try_into().expect("a counter"));
                seen.insert(String::from_utf8(key.to_vec()).expect("a name"), next);
                Ok(())
            })
            .unwrap_or_else(|e| panic!("bound {bound}: {e}"));
        assert_eq!(seen, rows, "bound {bound}");
    }
    let writing = meta.clone();
    #[expect(clippy::disallowed_methods, reason = "a test's own task")]
    let task = tokio::spawn(async move {
        for round in 0..400 {
            put(&writing, names(round), round + 1).await.expect("committed");
        }
    });
    while !task.is_finished() {
        let disk = house.disk();
        let read = tokio::task::spawn_blocking(move || {
            let mut values = BTreeMap::new();
            let end = read_truth(&disk, &|| true, &mut |_, key, value| {
                values.entry(key[0]).or_insert_with(Vec::new).push(value.to_vec());
                Ok(())
            });
            (end, values)
        });
        let (end, values) = read.await.expect("no panic");
        end.expect("readable while segments go");
        assert!(values.values().all(|v| v.iter().all(|x| *x == v[0])), "a change set was seen in part");
    }
    task.await.expect("wrote");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_written_from_rows_opens_with_those_rows() {
    for factory in [sled_factory(), memory_factory()] {
        let source = House::memory();
        let (meta, _) = source.open();
        put(&meta, names(1), 5).await.expect("committed");
        let mut rows = Vec::new();
        let end = read_truth(&source.disk(), &|| true, &mut |table, key, value| {
            rows.push(Ok((table, key.to_vec(), value.to_vec())));
            Ok(())
        });
        let house = House::new(factory);
        let disk: Arc<dyn Disk> = Arc::new(house.disk());
        let count = write_store(&disk, end.expect("truth").sequence, rows).expect("written");
        assert_eq!(count, 30);
        assert!(write_store(&disk, 9, []).is_err(), "there is a store already");
        let (meta, opened) = house.open();
        assert_eq!((opened.sequence, opened.fresh), (1, false));
        put_one(&meta, "more", 1).await.expect("committed");
        meta.close();
        let (meta, opened) = house.open();
        assert_eq!((opened.sequence, contents(&meta).len()), (2, 31));
    }
}
