//! An engine that fails, panics or finds the disk full while the store runs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::super::IndexOutcome;
use super::super::engine::{Engine, EngineError, Pair, Write};
use super::*;
use crate::seams::Clock;

pub(super) const SOUND: u8 = 0;
pub(super) const BROKEN: u8 = 1;
pub(super) const FULL: u8 = 2;

#[derive(Default)]
pub(super) struct Switch {
    pub(super) gets: AtomicU8,
    pub(super) applies: AtomicU8,
    pub(super) opens: AtomicU8,
    pub(super) flushes: AtomicU64,
    gate: Mutex<Option<Receiver<()>>>,
    pub(super) held: AtomicBool,
}

impl Switch {
    /// Has the next opening wait until what is returned is dropped; it is `held` then.
    pub(super) fn hold(&self) -> Sender<()> {
        let (opened, gate) = channel();
        *self.gate.lock().expect("sound") = Some(gate);
        opened
    }

    fn pass(&self) -> Result<(), EngineError> {
        let gate = self.gate.lock().expect("sound").take();
        if let Some(gate) = gate {
            self.held.store(true, Ordering::SeqCst);
            let _ = gate.recv();
        }
        fail(&self.opens)
    }
}

fn fail(mode: &AtomicU8) -> Result<(), EngineError> {
    match mode.load(Ordering::SeqCst) {
        SOUND => Ok(()),
        FULL => Err(EngineError::Full("on cue".into())),
        _ => Err(EngineError::Broken("on cue".into())),
    }
}

/// Keeps its rows over a reopening, as a file would.
struct Brittle {
    switch: Arc<Switch>,
    rows: Arc<MemoryEngine>,
    closed: AtomicBool,
}

impl Brittle {
    fn fail(&self, mode: &AtomicU8) -> Result<(), EngineError> {
        if self.closed.load(Ordering::SeqCst) { Err(EngineError::Closed) } else { fail(mode) }
    }
}

impl Engine for Brittle {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.fail(&self.switch.gets)?;
        self.rows.get(key)
    }

    fn page(
        &self,
        prefix: &[u8],
        from: &[u8],
        exclusive: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        self.fail(&self.switch.gets)?;
        self.rows.page(prefix, from, exclusive, limit)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), EngineError> {
        self.fail(&self.switch.applies)?;
        self.rows.apply(writes)
    }

    fn flush(&self) -> Result<(), EngineError> {
        self.switch.flushes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn close(&self) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        // A new handle is sound again, as sled's is after its sticky error.
        self.switch.gets.store(SOUND, Ordering::SeqCst);
        self.switch.applies.store(SOUND, Ordering::SeqCst);
    }
}

/// Asks something before each change.
struct Watched(MemoryEngine, Arc<dyn Fn() + Send + Sync>);

impl Engine for Watched {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.0.get(key)
    }

    fn page(
        &self,
        prefix: &[u8],
        from: &[u8],
        exclusive: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        self.0.page(prefix, from, exclusive, limit)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), EngineError> {
        (self.1)();
        self.0.apply(writes)
    }

    fn flush(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn close(&self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_frame_is_made_durable_again_before_the_index_has_it() {
    let mut house = House::memory();
    let (meta, _) = house.open();
    put_one(&meta, "a", 1).await.expect("committed");
    put_one(&meta, "b", 1).await.expect("committed");
    meta.close();
    let journal = house.at(paths::JOURNAL);
    let asked = Arc::new(AtomicU8::new(0));
    let counter = Arc::clone(&asked);
    let watch = Arc::new(move || {
        assert_eq!(files(&journal).len(), 2, "a new segment has the last frame");
        counter.fetch_add(1, Ordering::SeqCst);
    });
    house.factory =
        Arc::new(move |_, _| Ok(Arc::new(Watched(MemoryEngine::default(), Arc::clone(&watch) as _))));
    let (meta, _) = house.open();
    assert_eq!(contents(&meta).len(), 2);
    assert!(asked.load(Ordering::SeqCst) > 0);
}

pub(super) fn brittle() -> (House, Arc<Switch>) {
    let switch = Arc::new(Switch::default());
    let files: Arc<Mutex<BTreeMap<PathBuf, Arc<MemoryEngine>>>> = Arc::default();
    let of_factory = Arc::clone(&switch);
    let factory: Factory = Arc::new(move |folder, _| {
        of_factory.pass()?;
        let mut files = files.lock().expect("sound");
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none()) {
            files.remove(folder);
            fs::write(folder.join("db"), b"").expect("written");
        }
        let rows = Arc::clone(files.entry(folder.to_path_buf()).or_default());
        Ok(Arc::new(Brittle { switch: Arc::clone(&of_factory), rows, closed: AtomicBool::new(false) }))
    });
    (House::new(factory), switch)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_fails_under_a_read_is_brought_up_again_and_the_read_is_answered() {
    let (house, switch) = brittle();
    let (meta, _) = house.open();
    put_one(&meta, "a", 1).await.expect("committed");
    switch.gets.store(BROKEN, Ordering::SeqCst);
    assert!(meta.get(&key("a")).expect("answered").is_some());
    switch.gets.store(FULL, Ordering::SeqCst);
    assert_eq!(contents(&meta).len(), 1);
    put_one(&meta, "b", 1).await.expect("committed");
    assert_eq!(contents(&meta).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_fails_while_the_last_frame_may_not_be_durable_is_replaced_in_memory_until_it_is() {
    let (house, switch) = brittle();
    let (meta, _) = house.open();
    put_one(&meta, "a", 1).await.expect("committed");
    put_one(&meta, "b", 1).await.expect("committed");
    meta.close();
    let (disk, faults) = FaultyDisk::new(house.root());
    faults.fail(3, u64::MAX, 5); // the folders can be made, no segment
    let (meta, opened) = house.open_on(disk).expect("opens");
    assert_eq!(opened.index, IndexOutcome::AsFound);
    let steps = faults.steps();
    house.clock.set(1_000_000);
    until("the journal is tried once more: the next time is far", || faults.steps() > steps);
    switch.opens.store(BROKEN, Ordering::SeqCst);
    switch.gets.store(BROKEN, Ordering::SeqCst);
    assert!(meta.get(&key("a")).expect("answered from memory").is_some());
    let later = || house.clock.set(house.clock.now_ms() + 1_000_000);
    until("it is known that the index is in memory", || meta.status().in_memory);
    assert_eq!(contents(&meta).len(), 2);
    assert!(house.at(paths::INDEX).join("db").exists(), "the index on the disk is not touched");
    assert!(matches!(put_one(&meta, "c", 1).await, Err(MetaError::Unavailable { .. })));
    switch.opens.store(SOUND, Ordering::SeqCst);
    faults.heal();
    until("writable without being asked", || {
        later();
        meta.status().read_only.is_none()
    });
    put_one(&meta, "c", 1).await.expect("committed");
    assert_eq!((contents(&meta).len(), meta.status().in_memory), (3, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_fails_under_an_apply_is_rebuilt_and_the_commit_is_acknowledged() {
    let (house, switch) = brittle();
    let (meta, _) = house.open();
    put_one(&meta, "a", 1).await.expect("committed");
    for (round, mode) in [BROKEN, FULL].into_iter().enumerate() {
        house.clock.set(100_000 * (1 + round as u64));
        switch.applies.store(mode, Ordering::SeqCst);
        put_one(&meta, &format!("b{round}"), 1).await.expect("it was durable");
        assert_eq!(contents(&meta).len(), 2 + round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_too_full_for_the_index_leaves_reads_answered_and_heals() {
    let (house, switch) = brittle();
    let (meta, _) = house.open();
    put_one(&meta, "a", 1).await.expect("committed");
    switch.opens.store(FULL, Ordering::SeqCst);
    switch.applies.store(FULL, Ordering::SeqCst);
    put_one(&meta, "b", 1).await.expect("it was durable");
    assert_eq!(contents(&meta).len(), 2, "reads are answered from memory");
    assert!(meta.status().in_memory && meta.status().read_only.is_some());
    assert!(matches!(put_one(&meta, "c", 1).await, Err(MetaError::NoSpace)));
    meta.close();
    let (meta, opened) = house.open();
    assert!(matches!(opened.index, IndexOutcome::InMemory { .. }), "also from the start");
    assert_eq!(contents(&meta).len(), 2);
    assert!(matches!(put_one(&meta, "c", 1).await, Err(MetaError::NoSpace)));
    switch.opens.store(SOUND, Ordering::SeqCst);
    house.clock.set(1_000_000);
    until("writable without being asked", || meta.status().read_only.is_none());
    put_one(&meta, "c", 1).await.expect("committed");
    assert_eq!(contents(&meta).len(), 3);
    meta.close();
    assert_eq!(contents(&house.open().0).len(), 3);
}
