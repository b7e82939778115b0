//! The scrub as a job, on a disk that fails and over stops out of order, by clocks that tests set.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pierhead_storage_format::paths;

use super::house::{House, digest};
use crate::jobs::{Job, JobView, Jobs, Refused};
use crate::seams::Clock;
use crate::services::access::{Action, Permit, Resource};
use crate::services::scrub::{Parts, Rules, Scrub};
use crate::stores::disk::Disk;
use crate::stores::disk::faulty::{Faults, FaultyDisk};

const MONTH: u64 = 30 * 86_400_000;
const EIO: u64 = 5;
/// Long for whatever a run does here.
const DEADLINE: Duration = Duration::from_secs(60);

/// A scrub, served by jobs of its own.
struct Served {
    scrub: Scrub,
    jobs: Jobs,
}

impl Served {
    async fn on(house: &House, on: bool) -> Self {
        Self::at_rate(house, on, u64::MAX).await
    }

    async fn at_rate(house: &House, on: bool, rate: u64) -> Self {
        let parts = Parts {
            meta: house.meta().clone(),
            blobs: house.blobs().clone(),
            access: house.people.access.clone(),
            clock: house.clock.clone(),
            rules: Rules { on, rate, every_ms: MONTH },
        };
        let scrub = Scrub::open(parts).expect("opens");
        scrub.serve().await;
        let jobs = Jobs::new(house.clock.clone());
        let reading = scrub.clone();
        let job = Job::own("scrub", "reads", on.then_some(Duration::from_millis(MONTH)));
        jobs.by_itself(job, Arc::new(scrub.clone()), move |handle| {
            let scrub = reading.clone();
            async move { scrub.run(&handle).await }
        });
        let looking = scrub.clone();
        jobs.every(Job::every("findings", "looks", Duration::from_millis(MONTH)), move |handle| {
            let scrub = looking.clone();
            async move { scrub.look_again(&handle).await.map(|()| String::new()) }
        });
        Self { scrub, jobs }
    }

    /// Has findings looked at again, to the end of that. A look that is under way may have begun too early.
    async fn look_again(&self) {
        let runs = || self.jobs.show("findings").expect("registered").runs;
        let deadline = Instant::now() + DEADLINE;
        let mut before = runs();
        while let Err(error) = self.jobs.run("findings") {
            assert!(matches!(error, Refused::Running(_)) && Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            before = runs();
        }
        while runs() == before {
            assert!(Instant::now() < deadline, "findings are looked at");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let last = self.jobs.show("findings").expect("registered").last.expect("it ran");
        assert!(last.is_ok, "{}", last.text);
    }

    fn view(&self) -> JobView {
        self.jobs.show("scrub").expect("registered")
    }

    /// Waits for the end of so many runs; the last one's result.
    async fn ran(&self, house: &House, runs: u64) -> String {
        let deadline = Instant::now() + DEADLINE;
        while self.view().runs < runs {
            assert!(Instant::now() < deadline, "{:?}", self.view());
            house.after_more(2).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.view().last.expect("it ran").text
    }

    /// A while in which nothing happens; how many runs there were.
    async fn idle(&self) -> u64 {
        tokio::time::sleep(Duration::from_secs(600)).await;
        self.view().runs
    }

    /// As a stop without notice.
    async fn fall(self) {
        self.jobs.stop().await;
    }

    async fn stop(self) {
        self.jobs.stop().await;
        self.scrub.settle().await;
    }
}

fn permit(house: &House, action: Action) -> Permit {
    house.permit(action, Resource::Registry)
}

async fn push(house: &House, bytes: &'static [u8]) {
    assert_eq!(house.push_blob("acme/web", "", bytes).await.status, 201);
}

async fn found(house: &House, scrub: &Scrub) -> BTreeSet<String> {
    let (found, _) = scrub.findings(&permit(house, Action::ReadStatus), None, 100).await.expect("listed");
    found.into_iter().map(|finding| finding.digest.to_string()).collect()
}

async fn faulty() -> (House, Arc<Faults>) {
    let switches: Arc<Mutex<Option<Arc<Faults>>>> = Arc::default();
    let told = Arc::clone(&switches);
    let disk = move |root: &Path| {
        let (disk, faults) = FaultyDisk::new(root);
        *told.lock().expect("no test panics with it") = Some(faults);
        Arc::new(disk) as Arc<dyn Disk>
    };
    let house = House::on(disk, |_| {}).await;
    let faults = switches.lock().expect("no test panics with it").clone().expect("a disk");
    (house, faults)
}

/// The bytes of a large blob.
const SIZE: usize = 6 << 20;

/// A scrub that reads 1 MiB a second, and has a large blob among its findings that is in its place again.
async fn slow_with_a_finding() -> (House, Arc<Faults>, Served) {
    let (house, faults) = faulty().await;
    let blob: &'static [u8] = Box::leak(vec![7u8; SIZE].into());
    push(&house, blob).await;
    std::fs::remove_file(file(&house, blob)).expect("removed");
    let served = Served::on(&house, true).await;
    served.ran(&house, 1).await;
    served.stop().await;
    std::fs::write(file(&house, blob), blob).expect("written");
    let served = Served::at_rate(&house, true, 1 << 20).await;
    (house, faults, served)
}

fn file(house: &House, blob: &[u8]) -> PathBuf {
    house.data().join(paths::blob(&digest(blob).parse().expect("a digest")))
}

#[tokio::test(start_paused = true)]
async fn whatever_step_fails_every_damaged_blob_is_found_in_the_cycle() {
    let (house, faults) = faulty().await;
    let blobs: [&[u8]; 5] = [b"one", b"two", b"three", b"four", b"five"];
    for blob in blobs {
        push(&house, blob).await;
    }
    let served = Served::on(&house, true).await;
    served.ran(&house, 1).await;
    let file = |blob: &[u8]| file(&house, blob);
    let hurt: BTreeSet<String> = blobs[..4].iter().map(|blob| digest(blob)).collect();
    for step in 0.. {
        for blob in &blobs[..3] {
            std::fs::write(file(blob), b"nonsense").expect("written");
        }
        std::fs::remove_file(file(blobs[3])).expect("removed");
        served.scrub.begin(&permit(&house, Action::MaintainStore), false).await.expect("begun");
        let at = faults.steps() + step;
        faults.fail(at, at + 1, EIO);
        served.ran(&house, step + 2).await;
        let reached = faults.steps() > at;
        faults.heal();
        assert_eq!(found(&house, &served.scrub).await, hurt, "step {step}");
        for blob in &blobs[..4] {
            push(&house, blob).await;
        }
        served.look_again().await;
        assert_eq!(found(&house, &served.scrub).await, BTreeSet::new(), "step {step}: they are well again");
        if !reached {
            assert!(step > 8, "{step} steps are fewer than that takes");
            break;
        }
    }
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_out_of_order_what_came_last_is_read_again_when_it_may_be() {
    let house = House::with(true, |_| {}).await;
    push(&house, b"old").await;
    let served = Served::on(&house, true).await;
    assert_eq!(served.ran(&house, 1).await, "1 blobs of 3 bytes read, 0 damaged or missing");
    let next_at = served.view().next_at.expect("a month later");
    assert!(next_at > house.clock.now_ms() + MONTH / 2);
    assert_eq!(served.idle().await, 1, "nothing is due");
    house.after_more(3600).await;
    push(&house, b"late").await;
    served.fall().await;

    let served = Served::on(&house, true).await;
    assert_eq!(served.ran(&house, 1).await, "1 blobs of the last run read again", "not the old one");
    assert_eq!(served.view().next_at, Some(next_at), "it is no cycle");
    served.stop().await;

    let served = Served::on(&house, true).await;
    assert_eq!(served.idle().await, 0, "the last run stopped in order");
    served.scrub.pause(&permit(&house, Action::MaintainStore)).await.expect("paused");
    served.fall().await;

    let served = Served::on(&house, true).await;
    assert_eq!(served.idle().await, 0, "a pause lasts over restarts, and holds up all of it");
    assert!(served.view().is_paused);
    served.stop().await;

    let served = Served::on(&house, false).await;
    served.scrub.resume(&permit(&house, Action::MaintainStore)).await.expect("resumed");
    assert_eq!(served.idle().await, 0, "where the scrub is off nothing is read by itself");
    served.fall().await;

    let served = Served::on(&house, true).await;
    assert_eq!(served.ran(&house, 1).await, "1 blobs of the last run read again");
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_job_runs_when_asked_and_is_paused_by_its_own_command() {
    let house = House::with(true, |_| {}).await;
    push(&house, b"blob").await;
    let served = Served::on(&house, false).await;
    assert_eq!((served.idle().await, served.view().schedule.as_str()), (0, "when asked"));
    served.jobs.run("scrub").expect("asked");
    assert_eq!(served.ran(&house, 1).await, "1 blobs of 4 bytes read, 0 damaged or missing");
    assert_eq!(served.jobs.pause("scrub", true), Err(Refused::Own("scrub")));
    served.scrub.pause(&permit(&house, Action::MaintainStore)).await.expect("paused");
    served.jobs.run("scrub").expect("asked");
    let refused = served.ran(&house, 2).await;
    assert!(refused.contains("is paused"), "{refused}");
    assert_eq!(served.view().failures, 1);
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn looking_at_findings_again_heeds_the_rate_a_pause_and_a_stop() {
    let (house, faults, served) = slow_with_a_finding().await;
    assert_eq!(served.scrub.facts().findings, 1, "counted at the start");
    served.scrub.pause(&permit(&house, Action::MaintainStore)).await.expect("paused");
    let before = faults.reads();
    served.look_again().await;
    assert_eq!((faults.reads(), served.scrub.facts().findings), (before, 1), "nothing is read in a pause");
    served.scrub.resume(&permit(&house, Action::MaintainStore)).await.expect("resumed");
    served.jobs.run("findings").expect("asked");
    let deadline = Instant::now() + DEADLINE;
    while faults.reads() == before {
        assert!(Instant::now() < deadline, "it is read");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    served.stop().await;
    let read = faults.reads() - before;
    assert!(read < SIZE as u64 >> 20, "{read} reads: it does not read on after the stop");

    let served = Served::at_rate(&house, true, 1 << 20).await;
    assert_eq!(found(&house, &served.scrub).await.len(), 1, "what was not read to its end is a finding");
    let began = tokio::time::Instant::now();
    served.look_again().await;
    // Each slice and its rest take a second; half of it is rest at least.
    assert!(began.elapsed() >= Duration::from_millis(2500), "{:?}", began.elapsed());
    assert_eq!((found(&house, &served.scrub).await.len(), served.scrub.facts().findings), (0, 0));
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_cannot_be_looked_at_stays_and_hides_no_other() {
    let (house, _) = faulty().await;
    let mut blobs: [&[u8]; 3] = [b"one", b"two", b"three"];
    blobs.sort_by_key(|blob| digest(blob));
    for blob in blobs {
        push(&house, blob).await;
    }
    let served = Served::on(&house, true).await;
    served.ran(&house, 1).await;
    for blob in blobs {
        std::fs::write(file(&house, blob), b"nonsense").expect("written");
    }
    served.scrub.begin(&permit(&house, Action::MaintainStore), false).await.expect("begun");
    served.ran(&house, 2).await;
    let [first, second, third] = blobs;
    std::os::unix::fs::symlink(file(&house, first), file(&house, first)).expect("one that leads to itself");
    push(&house, second).await;
    served.look_again().await;
    let left = BTreeSet::from([first, third].map(digest));
    assert_eq!((found(&house, &served.scrub).await, served.scrub.facts().findings), (left, 2));
    served.fall().await;
    let served = Served::on(&house, false).await;
    assert_eq!(served.scrub.facts().findings, 2, "at once after a restart");
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_finding_keeps_its_time_and_is_counted_once_a_cycle_however_often_it_is_read() {
    let (house, _) = faulty().await;
    for blob in [&b"one"[..], b"two"] {
        push(&house, blob).await;
    }
    let served = Served::on(&house, true).await;
    served.ran(&house, 1).await;
    std::fs::remove_file(file(&house, b"one")).expect("removed");
    served.fall().await;

    let served = Served::on(&house, true).await;
    assert_eq!(served.ran(&house, 1).await, "2 blobs of the last run read again");
    let first = |scrub: &Scrub| {
        let (scrub, permit) = (scrub.clone(), permit(&house, Action::ReadStatus));
        async move { scrub.findings(&permit, None, 9).await.expect("listed").0.remove(0).record.found_at }
    };
    let (found_at, facts) = (first(&served.scrub).await, served.scrub.facts());
    assert_eq!((facts.state.damaged, facts.findings), (0, 1), "it is of no cycle");
    for runs in [2, 3] {
        house.after_more(60).await;
        served.scrub.begin(&permit(&house, Action::MaintainStore), false).await.expect("begun");
        assert_eq!(served.ran(&house, runs).await, "2 blobs of 3 bytes read, 1 damaged or missing");
        assert_eq!((first(&served.scrub).await, served.scrub.facts().findings), (found_at, 1));
    }
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn want_of_descriptors_makes_no_blob_a_finding_and_none_is_left_out() {
    const EMFILE: u64 = 24;
    let (house, faults) = faulty().await;
    for blob in [&b"one"[..], b"two", b"three", b"four"] {
        push(&house, blob).await;
    }
    let served = Served::on(&house, true).await;
    served.ran(&house, 1).await;
    faults.close(EMFILE);
    served.scrub.begin(&permit(&house, Action::MaintainStore), false).await.expect("begun");
    assert_eq!(served.idle().await, 1, "it waits");
    let facts = served.scrub.facts();
    assert_eq!((facts.state.running, facts.state.blobs, facts.findings), (true, 0, 0));
    faults.close(0);
    assert_eq!(served.ran(&house, 2).await, "4 blobs of 15 bytes read, 0 damaged or missing");
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_cannot_be_read_is_a_finding_only_if_the_disk_is_to_blame() {
    const EACCES: u64 = 13;
    let (house, faults) = faulty().await;
    for blob in [&b"one"[..], b"two"] {
        push(&house, blob).await;
    }
    let served = Served::on(&house, true).await;
    served.ran(&house, 1).await;
    for (runs, errno, findings) in [(2, EACCES, 0), (3, EIO, 2)] {
        faults.close(errno);
        served.scrub.begin(&permit(&house, Action::MaintainStore), false).await.expect("begun");
        served.ran(&house, runs).await;
        assert_eq!(found(&house, &served.scrub).await.len(), findings, "errno {errno}");
        faults.close(0);
    }
    served.look_again().await;
    assert_eq!(found(&house, &served.scrub).await, BTreeSet::new(), "they were well all the time");
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cycle_that_is_wanted_waits_for_no_look_at_findings() {
    let (house, faults, served) = slow_with_a_finding().await;
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = Instant::now() + DEADLINE;
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let state = || served.scrub.facts().state;
    for name in ["as it begins", "while the run before looks at them"] {
        served.scrub.begin(&permit(&house, Action::MaintainStore), false).await.expect("begun");
        let began = tokio::time::Instant::now();
        until("it reads", &|| state().bytes > 0).await;
        // A look at the finding takes six seconds.
        assert!(began.elapsed() < Duration::from_secs(4), "{name}: {:?}", began.elapsed());
        until("it ends", &|| !state().running).await;
        let read = faults.reads();
        until("findings are looked at after it", &|| faults.reads() > read).await;
    }
    until("the finding goes", &|| served.scrub.facts().findings == 0).await;
    served.stop().await;
}
