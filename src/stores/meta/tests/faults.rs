//! The disk fails at every step of a scripted run, once or from then on, with EIO and ENOSPC.

use super::*;
use crate::seams::Clock;

const EIO: u64 = 5;
const ENOSPC: u64 = 28;
const EDQUOT: u64 = 122;

fn names(round: u64) -> Vec<String> {
    (0..40).map(|i| format!("{round:03}-{}-{i:03}", "n".repeat(100))).collect()
}

/// What a run was promised.
#[derive(Default)]
struct Promises {
    rows: Rows,
    /// Change sets that were answered with an error since the last success.
    refused: Vec<(Vec<String>, u64)>,
}

impl Promises {
    async fn put(&mut self, meta: &Meta, names: Vec<String>, value: u64) -> bool {
        let done = put(meta, names.clone(), value).await.is_ok();
        if done {
            model(&mut self.rows, &names, value);
            self.refused.clear();
        } else {
            self.refused.push((names, value));
        }
        done
    }

    /// The rows, or the rows and the refused change sets up to some one.
    fn allow(&self, found: &Rows) -> bool {
        let mut rows = self.rows.clone();
        *found == rows
            || self.refused.iter().any(|(names, value)| {
                let mut with = self.rows.clone();
                model(&mut with, names, *value);
                model(&mut rows, names, *value);
                *found == rows || *found == with
            })
    }
}

async fn script(meta: &Meta, promises: &mut Promises) {
    for round in 1..=14 {
        promises.put(meta, names(round), round).await;
        if round % 3 == 0 {
            promises.put(meta, names(round - 1)[..20].to_vec(), 0).await;
        }
        assert_eq!(contents(meta), promises.rows, "round {round}: what was refused is not seen");
    }
}

async fn steps_of_a_sound_run() -> u64 {
    let house = House::memory().small_snapshots();
    let (opened, faults) = house.open_faulty();
    let (meta, _) = opened.expect("opens");
    script(&meta, &mut Promises::default()).await;
    until("two snapshots", || house.snapshots().len() == 2);
    meta.close();
    faults.steps()
}

async fn run(step: u64, last: u64, errno: u64) {
    let house = House::memory().small_snapshots();
    let case = format!("errno {errno} at {step}..{last}");
    let mut promises = Promises::default();
    let (disk, faults) = FaultyDisk::new(house.root());
    faults.fail(step, last, errno);
    let first = house.open_on(disk);
    let Ok((meta, _)) = first else {
        faults.heal();
        let (meta, _) = house.try_open().unwrap_or_else(|e| panic!("{case}: {e}"));
        assert!(promises.put(&meta, names(1), 1).await, "{case}");
        return;
    };
    script(&meta, &mut promises).await;
    let image = house.image();
    let (in_image, _) = image.try_open().unwrap_or_else(|e| panic!("{case}: the image: {e}"));
    let found = contents(&in_image);
    assert!(promises.allow(&found), "{case}: the image has neither all nor nothing of what was refused");
    faults.heal();
    house.clock.set(1_000_000);
    assert!(promises.put(&meta, names(90), 90).await, "{case}: not writable after healing");
    assert!(promises.put(&meta, names(91), 91).await, "{case}: not writable after healing");
    meta.close();
    let (meta, _) = house.try_open().unwrap_or_else(|e| panic!("{case}: after healing: {e}"));
    assert_eq!(contents(&meta), promises.rows, "{case}");
}

async fn every_step(errno: u64) {
    let steps = steps_of_a_sound_run().await + 5;
    for step in 0..steps {
        run(step, step + 1, errno).await;
        run(step, u64::MAX, errno).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_error_at_any_step_loses_nothing_acknowledged() {
    every_step(EIO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_any_step_loses_nothing_acknowledged() {
    every_step(ENOSPC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_no_error_to_a_client_while_the_ballast_lasts() {
    let house = House::memory();
    let (disk, faults) = FaultyDisk::new(house.root());
    let mut options = house.options(Arc::new(disk));
    let healer = Arc::clone(&faults);
    options.on_full = Arc::new(move || {
        healer.heal();
        true
    });
    let (meta, _) = super::super::open::open(options, memory_factory()).expect("opens");
    put_one(&meta, "a", 1).await.expect("committed");
    faults.fail(0, u64::MAX, ENOSPC);
    put_one(&meta, "b", 1).await.expect("the ballast was freed and the group written again");
    meta.close();
    assert_eq!(contents(&house.open().0).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_written_says_why_and_is_tried_about_every_second() {
    let house = House::memory();
    let (opened, faults) = house.open_faulty();
    let (meta, _) = opened.expect("opens");
    for (errno, full) in [(EIO, false), (ENOSPC, true)] {
        faults.fail(0, u64::MAX, errno);
        let error = put_one(&meta, "a", 1).await.expect_err("refused");
        assert_eq!(matches!(error, MetaError::NoSpace), full, "{error}");
        assert!(meta.status().read_only.is_some());
        let tried = faults.steps();
        put_one(&meta, "a", 1).await.expect_err("refused");
        assert_eq!(faults.steps(), tried, "not tried again within a second");
        assert!(meta.get(&key("a")).is_ok(), "reads go on");
        faults.heal();
        house.clock.set(house.clock.now_ms() + 2000);
        until("writable without being asked", || meta.status().read_only.is_none());
        put_one(&meta, "b", 1).await.expect("committed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_fits_without_the_step_ahead_is_committed_though_the_ballast_is_gone() {
    for errno in [ENOSPC, EDQUOT] {
        // A segment's first append takes its space, writes, syncs.
        for (name, step, segments) in [("space", 0, 1), ("write", 1, 2), ("sync", 2, 2)] {
            let house = House::memory();
            let (meta, _) = house.open();
            put_one(&meta, "a", 1).await.expect("committed");
            meta.close();
            let (opened, faults) = house.open_faulty();
            let (meta, _) = opened.expect("opens");
            let before = house.segments().len();
            let at = faults.steps() + step;
            faults.fail(at, at + 1, errno);
            put_one(&meta, "b", 1).await.unwrap_or_else(|e| panic!("{name}, errno {errno}: {e}"));
            assert_eq!(house.segments().len(), before + segments - 1, "{name}, errno {errno}");
            meta.close();
            assert_eq!(contents(&house.open().0).len(), 2, "{name}, errno {errno}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_no_space_to_a_client() {
    let house = House::memory();
    let (opened, faults) = house.open_faulty();
    let (meta, _) = opened.expect("opens");
    faults.fail(0, u64::MAX, EDQUOT);
    assert!(matches!(put_one(&meta, "a", 1).await, Err(MetaError::NoSpace)));
}
