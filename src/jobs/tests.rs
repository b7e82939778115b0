//! Jobs by a clock that tests set and a runtime whose time is paused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::seams::TestClock;

const MINUTE: Duration = Duration::from_secs(60);

fn jobs() -> (Jobs, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    clock.set(1_700_000_000_000);
    (Jobs::new(clock.clone()), clock)
}

/// A job that counts its runs, of which the first panics and the second fails.
fn counting(jobs: &Jobs, job: Job) -> Arc<AtomicUsize> {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    jobs.every(job, move |_| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(run != 0, "the first run panics");
            if run == 1 { Err("the second fails") } else { Ok(format!("run {run}")) }
        }
    });
    runs
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_each_period_survives_a_panic_and_an_error_and_stops() {
    let (jobs, _) = jobs();
    let runs = counting(&jobs, Job::every("count", "counts", MINUTE));
    let result = |jobs: &Jobs| {
        let view = jobs.show("count").expect("registered");
        let last = view.last.map(|last| (last.is_ok, last.text));
        (view.runs, view.failures, last)
    };
    assert_eq!(result(&jobs), (0, 0, None));
    tokio::time::sleep(Duration::from_secs(70)).await;
    let panicked = "it ended in a panic, which the log has".to_owned();
    assert_eq!(result(&jobs), (1, 1, Some((false, panicked))));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(result(&jobs), (2, 2, Some((false, "the second fails".to_owned()))));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(result(&jobs), (3, 2, Some((true, "run 2".to_owned()))));
    jobs.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 3, "none after the stop");
    assert!(matches!(
        jobs.start("late", "", |_| async { Ok::<_, String>(String::new()) }),
        Err(Refused::Stopping)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_when_asked_and_its_turns_pass_while_it_is_paused() {
    let (jobs, _) = jobs();
    let runs = counting(&jobs, Job::every("count", "counts", MINUTE).pausable());
    counting(&jobs, Job::every("needed", "counts", MINUTE));
    assert_eq!(jobs.pause("needed", true), Err(Refused::Needed("needed")));
    assert_eq!(jobs.run("none"), Err(Refused::Unknown("none".to_owned())));
    jobs.pause("count", true).expect("it may be");
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    assert_eq!(jobs.show("count").expect("there").next_at, None);
    jobs.run("count").expect("asked for");
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1, "asked for while paused");
    jobs.pause("count", false).expect("it may go on");
    tokio::time::sleep(MINUTE).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    jobs.stop().await;
}

#[tokio::test(start_paused = true)]
async fn work_tells_how_far_it_is_waits_while_paused_and_ends_at_the_stop() {
    let (jobs, _) = jobs();
    let work = |handle: Handle| async move {
        let mut done = 0;
        while handle.goes_on().await {
            done += 1;
            handle.progress(done, Some(1000), "things");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok::<_, String>(format!("{done} things"))
    };
    jobs.start("long", "takes long", work).expect("begun");
    assert_eq!(jobs.start("long", "takes long", work), Err(Refused::Running("long")));
    assert_eq!(jobs.run("long"), Err(Refused::Asked("long")));
    let done = |jobs: &Jobs| {
        let running = jobs.show("long").expect("there").running.expect("it runs");
        running.progress.map(|progress| (progress.done, progress.total, progress.unit))
    };
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(done(&jobs), Some((3, Some(1000), "things")));
    jobs.pause("long", true).expect("it may be");
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(done(&jobs), Some((3, Some(1000), "things")));
    jobs.stop().await;
    let last = jobs.show("long").expect("there").last.expect("it ended");
    assert_eq!((last.is_ok, last.text), (true, "3 things".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_daily_job_runs_soon_after_the_start_and_then_at_its_time() {
    let (jobs, clock) = jobs();
    let at: TimeOfDay = "03:00".parse().expect("a time");
    let day = 86_400_000;
    let start = 20_000 * day + 2 * 3_600_000; // 02:00
    clock.set(start);
    let runs = counting(&jobs, Job::daily("nightly", "counts", at));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1, "what was missed");
    assert_eq!(jobs.show("nightly").expect("there").next_at, Some(start + 3_600_000));
    tokio::time::sleep(180 * MINUTE).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1, "by the wall clock, which stood still");
    clock.set(start + 3_600_000);
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(jobs.show("nightly").expect("there").next_at, Some(start + 3_600_000 + day));
    jobs.stop().await;
}

/// Due once for each time it is told.
#[derive(Default)]
struct Told(tokio::sync::Notify);

impl Timing for Told {
    fn due(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.0.notified())
    }

    fn next_at(&self) -> Option<u64> {
        Some(7)
    }

    fn is_paused(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_knows_its_turns_runs_when_it_says_so_and_when_asked() {
    let (jobs, _) = jobs();
    let (told, asked) = (Arc::new(Told::default()), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&asked);
    jobs.by_itself(Job::own("own", "counts", Some(60 * MINUTE)), told.clone(), move |handle| {
        counted.fetch_add(usize::from(handle.is_asked()), Ordering::SeqCst);
        async move {
            handle.progress(1, None, "things");
            tokio::select! {
                () = handle.stopped() => Ok::<_, String>("stopped".to_owned()),
                () = tokio::time::sleep(MINUTE) => Ok("done".to_owned()),
            }
        }
    });
    let view = |jobs: &Jobs| jobs.show("own").expect("there");
    tokio::time::sleep(600 * MINUTE).await;
    assert_eq!(
        (view(&jobs).runs, view(&jobs).next_at, view(&jobs).schedule.as_str()),
        (0, Some(7), "every 1h")
    );
    assert_eq!(jobs.pause("own", true), Err(Refused::Own("own")));
    told.0.notify_one();
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!((view(&jobs).running.is_some(), view(&jobs).next_at), (true, None));
    assert_eq!(jobs.run("own").map(drop), Err(Refused::Running("own")));
    tokio::time::sleep(MINUTE).await;
    jobs.run("own").expect("asked for");
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!((view(&jobs).runs, asked.load(Ordering::SeqCst)), (2, 1));
    told.0.notify_one();
    tokio::time::sleep(MINUTE / 2).await;
    jobs.stop().await;
    assert_eq!(view(&jobs).last.map(|last| last.text), Some("stopped".to_owned()));
}
