//! An index that breaks under a transaction or a reader, and what they see of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use pierhead_storage_format::keys::Table;

use super::super::shared::PATIENCE;
use super::super::{ChangedRow, Follow, Tx, open};
use super::engines::{BROKEN, FULL, SOUND, Switch, brittle};
use super::*;

/// A store with one row.
async fn one_row() -> (House, Arc<Switch>, Meta) {
    let (house, switch) = brittle();
    let (meta, _) = house.open();
    put_one(&meta, "a", 1).await.expect("committed");
    (house, switch, meta)
}

fn value(tx: &mut Tx<'_>, name: &str) -> Result<u64, MetaError> {
    Ok(tx.get(&key(name))?.map_or(0, |record| record.next))
}

fn set(tx: &mut Tx<'_>, name: &str, next: u64) -> Result<(), MetaError> {
    tx.put(&key(name), &CounterRecord { next })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_under_whose_read_the_index_breaks_is_made_and_lasts() {
    for (mode, pages) in [(BROKEN, false), (FULL, false), (BROKEN, true), (FULL, true)] {
        let (house, switch, meta) = one_row().await;
        let breaks = Arc::clone(&switch);
        let committed = meta.commit(move |tx| {
            set(tx, "b", 1)?;
            breaks.gets.store(mode, Ordering::SeqCst);
            if pages {
                let rows = tx.page::<CounterKey>(b"", None, 10)?;
                assert_eq!(rows.len(), 2, "what was there, and its own change");
            }
            let before = value(tx, "a")?;
            set(tx, "a", before + 1)
        });
        committed.await.expect("committed");
        let expected = Rows::from([("a".into(), 2), ("b".into(), 1)]);
        assert_eq!(contents(&meta), expected, "mode {mode}, by pages: {pages}");
        assert!(meta.status().read_only.is_none());
        meta.close();
        assert_eq!(contents(&house.open().0), expected, "mode {mode}, by pages: {pages}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_one_group_before_and_after_the_break_are_made_together() {
    let (house, switch, meta) = one_row().await;
    let groups = meta.status().groups;
    let (queued, all_are_queued) = channel();
    let before = meta.commit(move |tx| {
        all_are_queued.recv().expect("they are");
        set(tx, "b", 1)
    });
    let breaks = Arc::clone(&switch);
    let under = meta.commit(move |tx| {
        breaks.gets.store(BROKEN, Ordering::SeqCst);
        let sum = value(tx, "a")? + value(tx, "b")?;
        set(tx, "c", sum)
    });
    let after = meta.commit(|tx| {
        let sum = value(tx, "a")? + value(tx, "b")? + value(tx, "c")?;
        set(tx, "d", sum)
    });
    let answers = tokio::join!(before, under, after, async { queued.send(()) });
    assert!(matches!(answers, (Ok(()), Ok(()), Ok(()), Ok(()))), "{answers:?}");
    assert_eq!(meta.status().groups, groups + 1, "they were one group");
    let expected = Rows::from([("a".into(), 1), ("b".into(), 1), ("c".into(), 2), ("d".into(), 4)]);
    assert_eq!(contents(&meta), expected, "the new index has them");
    meta.close();
    assert_eq!(contents(&house.open().0), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn if_only_memory_has_room_for_the_index_changes_of_the_group_are_refused_and_reads_answered() {
    let (house, switch, meta) = one_row().await;
    let sequence = meta.status().sequence;
    switch.opens.store(FULL, Ordering::SeqCst);
    switch.gets.store(FULL, Ordering::SeqCst);
    assert_eq!(meta.commit(|tx| value(tx, "a")).await.expect("it only read"), 1);
    switch.opens.store(SOUND, Ordering::SeqCst);
    house.clock.set(1_000_000);
    until("it is on the disk again", || meta.status().read_only.is_none());

    let breaks = Arc::clone(&switch);
    let refused = meta.commit(move |tx| {
        set(tx, "b", 1)?;
        breaks.opens.store(FULL, Ordering::SeqCst);
        breaks.gets.store(FULL, Ordering::SeqCst);
        value(tx, "a")
    });
    assert!(matches!(refused.await, Err(MetaError::NoSpace)));
    assert!(meta.status().in_memory && matches!(meta.writable(), Err(MetaError::NoSpace)));
    assert_eq!((contents(&meta).len(), meta.status().sequence), (1, sequence), "nothing was appended");
    switch.opens.store(SOUND, Ordering::SeqCst);
    house.clock.set(2_000_000);
    until("it is on the disk again", || meta.status().read_only.is_none());
    put_one(&meta, "c", 1).await.expect("committed");
    meta.close();
    assert_eq!(contents(&house.open().0), Rows::from([("a".into(), 1), ("c".into(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn if_no_index_comes_up_a_transaction_fails_whatever_it_makes_of_the_error() {
    for swallowed in [false, true] {
        let (house, switch, meta) = one_row().await;
        switch.opens.store(BROKEN, Ordering::SeqCst);
        switch.gets.store(BROKEN, Ordering::SeqCst);
        let refused = meta.commit(move |tx| {
            let read = value(tx, "a");
            if !swallowed {
                read?;
            }
            set(tx, "b", 1)
        });
        assert!(matches!(refused.await, Err(MetaError::Unavailable { .. })), "swallowed: {swallowed}");
        let began = Instant::now();
        assert!(matches!(meta.get(&key("a")), Err(MetaError::Unavailable { .. })));
        assert!(began.elapsed() < PATIENCE, "nobody waits for what did not come up");
        switch.opens.store(SOUND, Ordering::SeqCst);
        house.clock.set(1_000_000);
        until("reads go on", || meta.get(&key("a")).is_ok());
        assert_eq!(contents(&meta).len(), 1);
        put_one(&meta, "c", 1).await.expect("committed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_breaks_again_and_again_is_brought_up_a_few_times_and_then_at_a_pace() {
    let (house, switch, meta) = one_row().await;
    let mut mended = 0;
    loop {
        switch.gets.store(BROKEN, Ordering::SeqCst);
        match meta.commit(|tx| value(tx, "a")).await {
            Ok(_) => mended += 1,
            Err(error) => break assert!(matches!(error, MetaError::Unavailable { .. }), "{error}"),
        }
        assert!(mended < 10, "without end, though no time passed");
    }
    assert_eq!(mended, 4);
    let began = Instant::now();
    assert!(meta.get(&key("a")).is_err());
    assert!(began.elapsed() < PATIENCE, "nobody waits for what comes so much later");
    house.clock.set(1000);
    until("it is brought up when it is time to", || meta.get(&key("a")).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_wait_while_the_index_is_brought_up_and_are_answered_by_the_new_one() {
    let (_house, switch, meta) = one_row().await;
    let gate = switch.hold();
    switch.gets.store(BROKEN, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let broke_it = scope.spawn(|| meta.get(&key("a")));
        until("it is being brought up", || switch.held.load(Ordering::SeqCst));
        let came_later = scope.spawn(|| meta.get(&key("a")));
        drop(gate);
        for reader in [broke_it, came_later] {
            let answer = reader.join().expect("no panic");
            assert!(answer.expect("answered").is_some());
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_wait_for_an_index_no_longer_than_they_may_and_only_once() {
    let (_house, switch, meta) = one_row().await;
    let gate = switch.hold();
    switch.gets.store(BROKEN, Ordering::SeqCst);
    let began = Instant::now();
    assert!(matches!(meta.get(&key("a")), Err(MetaError::Unavailable { .. })));
    assert!(began.elapsed() >= PATIENCE, "it was waited for");
    let began = Instant::now();
    assert!(matches!(meta.get(&key("a")), Err(MetaError::Unavailable { .. })));
    assert!(began.elapsed() < PATIENCE, "and not a second time");
    drop(gate);
    until("reads go on", || meta.get(&key("a")).is_ok());
}

/// Reads when told of another index; notes whether a transaction was under way, and how long it took.
struct Reads {
    busy: Arc<Mutex<()>>,
    switch: Arc<Switch>,
    told: Arc<Mutex<Vec<(bool, Duration)>>>,
}

impl Follow for Reads {
    fn tables(&self) -> &'static [Table] {
        &[]
    }

    fn changed(&self, _: &[ChangedRow<'_>]) {}

    fn rebuilt(&self, meta: &Meta) {
        self.switch.gets.store(BROKEN, Ordering::SeqCst);
        let began = Instant::now();
        assert!(meta.get(&key("a")).is_err(), "the thread that mends it is here");
        let between = self.busy.try_lock().is_ok();
        self.told.lock().expect("sound").push((between, began.elapsed()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_is_told_of_the_new_index_between_transactions_and_never_waits_for_it_himself() {
    let (_house, switch, meta) = one_row().await;
    let (busy, told) = (Arc::new(Mutex::new(())), Arc::new(Mutex::default()));
    let reads = Reads { busy: Arc::clone(&busy), switch: Arc::clone(&switch), told: Arc::clone(&told) };
    assert!(meta.follow(reads));
    let committed = meta.commit(move |tx| {
        let _busy = busy.lock().expect("sound");
        switch.gets.store(BROKEN, Ordering::SeqCst);
        value(tx, "a")
    });
    assert_eq!(committed.await.expect("answered"), 1);
    let told = told.lock().expect("sound").clone();
    assert!(told.first().is_some_and(|(between, _)| *between), "{told:?}");
    assert!(told.iter().all(|(_, took)| *took < PATIENCE), "{told:?}");
}

/// Counts how often it is told of another index.
struct Counts(Arc<AtomicU64>);

impl Follow for Counts {
    fn tables(&self) -> &'static [Table] {
        &[]
    }

    fn changed(&self, _: &[ChangedRow<'_>]) {}

    fn rebuilt(&self, meta: &Meta) {
        assert!(meta.get(&key("a")).is_ok(), "there is an index to read from");
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_another_index_while_there_is_none() {
    let (house, switch, meta) = one_row().await;
    let told = Arc::new(AtomicU64::new(0));
    assert!(meta.follow(Counts(Arc::clone(&told))));
    let breaks = Arc::clone(&switch);
    let refused = meta.commit(move |tx| {
        breaks.gets.store(BROKEN, Ordering::SeqCst);
        assert_eq!(value(tx, "a")?, 1, "the index that came up answers");
        breaks.gets.store(BROKEN, Ordering::SeqCst);
        breaks.opens.store(BROKEN, Ordering::SeqCst);
        value(tx, "a")
    });
    assert!(matches!(refused.await, Err(MetaError::Unavailable { .. })));
    assert_eq!(told.load(Ordering::SeqCst), 0);
    let status = meta.status();
    assert!(!status.readable && status.read_only.is_some(), "{status:?}");
    switch.opens.store(SOUND, Ordering::SeqCst);
    house.clock.set(1_000_000);
    until("reads go on", || meta.get(&key("a")).is_ok());
    until("who follows is told", || told.load(Ordering::SeqCst) == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_breaks_again_and_is_put_off_is_said_to_be_gone() {
    let (_house, switch, meta) = one_row().await;
    while meta.commit(|tx| value(tx, "a")).await.is_ok() {
        switch.gets.store(BROKEN, Ordering::SeqCst);
    }
    let status = meta.status();
    assert!(!status.readable && status.read_only.is_some(), "{status:?}");
    assert!(meta.writable().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn space_kept_back_is_given_up_before_the_index_meets_a_full_disk() {
    for (free, given_up) in [(1 << 20, false), ((1 << 20) - 1, true)] {
        let (house, switch) = brittle();
        let (disk, faults) = FaultyDisk::new(house.root());
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let on_full = Arc::new(move || counter.fetch_add(1, Ordering::SeqCst) == 0);
        let options = Options { on_full, ..house.options(Arc::new(disk)) };
        let (meta, _) = open::open(options, Arc::clone(&house.factory)).expect("opens");
        faults.tell_free(free);
        let before = switch.flushes.load(Ordering::SeqCst);
        put_one(&meta, "a", 1).await.expect("committed");
        until("it is flushed", || switch.flushes.load(Ordering::SeqCst) > before);
        assert_eq!(asked.load(Ordering::SeqCst) > 0, given_up, "{free} bytes free");
    }
}
