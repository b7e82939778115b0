//! Images of the data directory taken while a workload runs, opened as after a crash. Ten images
//! by default, 300 with `PIERHEAD_FULL=1`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

const TASKS: u64 = 6;

fn check(image: &House, acked: &[u64], issued: impl Fn(usize) -> u64) {
    let (meta, _) = image.try_open().unwrap_or_else(|e| panic!("the image does not open: {e}"));
    for (task, acked) in acked.iter().enumerate() {
        let id = task as u64;
        let one = meta.get(&repository(id)).expect("readable").map_or(0, |r| r.tags);
        let other = meta.get(&key(format!("task-{id}"))).expect("readable").map_or(0, |r| r.next);
        assert_eq!(one, other, "half a change set");
        assert!(one >= *acked, "task {task}: {acked} was acknowledged, {one} is there");
        assert!(one <= issued(task), "task {task}: {one} was never asked for");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_image_of_a_running_store_has_all_that_was_acknowledged_and_no_half() {
    let house = House { snapshot_after: 256 << 10, ..House::sled() };
    let (meta, _) = house.open();
    let stop = Arc::new(AtomicBool::new(false));
    let acked: Arc<Vec<AtomicU64>> = Arc::new((0..TASKS).map(|_| AtomicU64::new(0)).collect());
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (meta, stop, acked) = (meta.clone(), Arc::clone(&stop), Arc::clone(&acked));
            #[expect(clippy::disallowed_methods, reason = "a test's own tasks")]
            tokio::spawn(async move {
                let mut round = 0;
                while !stop.load(Ordering::SeqCst) {
                    round += 1;
                    let done = meta.commit(move |tx| {
                        tx.put(&repository(task), &counters(round))?;
                        tx.put(&key(format!("task-{task}")), &CounterRecord { next: round })
                    });
                    done.await.expect("committed");
                    acked[usize::try_from(task).expect("small")].store(round, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let images = if full_size() { 300 } else { 10 };
    for number in 0..images {
        let (house_acked, at_least) = (Arc::clone(&acked), 40 * (number + 1));
        until("some more commits", || house_acked[0].load(Ordering::SeqCst) >= at_least);
        let before: Vec<u64> = acked.iter().map(|a| a.load(Ordering::SeqCst)).collect();
        let taken = tokio::task::block_in_place(|| house.image());
        let after: Vec<u64> = acked.iter().map(|a| a.load(Ordering::SeqCst) + 1).collect();
        tokio::task::block_in_place(|| check(&taken, &before, |task| after[task]));
    }
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.expect("task");
    }
    meta.close();
    let end: Vec<u64> = acked.iter().map(|a| a.load(Ordering::SeqCst)).collect();
    check(&house, &end, |task| end[task]);
}
