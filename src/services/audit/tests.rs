//! The service on a real store in a scratch folder: what is recorded, when, and what a full or failing trail does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pierhead_storage_format::audit::{EventKey, EventRecord, Rating};
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::keys::CounterKey;
use pierhead_storage_format::paths;
use pierhead_storage_format::records::CounterRecord;

use super::{Audit, Operation, Options, Order, Parts, Search, Source, Trace, Wanted};
use crate::seams::{OsRandom, TestClock};
use crate::services::access::{self, Access, Action, Actor, Resource, Rules};
use crate::services::error::Error;
use crate::stores::disk::faulty::{Faults, FaultyDisk};
use crate::stores::disk::{Disk, RealDisk};
use crate::stores::meta::{self, Meta};
use crate::stores::trail::Trail;

const BEGIN: u64 = 1_800_000_000_000;

static CHANGE: Operation = Operation::change("createUserNamespace", "usernamespace", 201);
static READ: Operation = Operation::read("listUserNamespaces", "usernamespace");
static PULL: Operation = Operation::pull("pullImage", "images");
static REFUSED: Operation = Operation::refused("createRegistryToken", "token");

struct World {
    audit: Audit,
    access: Access,
    meta: Meta,
    clock: Arc<TestClock>,
    faults: Arc<Faults>,
    room: Arc<AtomicBool>,
    folder: Arc<tempfile::TempDir>,
}

fn options() -> Options {
    Options { reads: true, pulls: false, keep_ms: 7 * 86_400_000, max_bytes: 1 << 30, refusals: None }
}

impl World {
    fn new() -> Self {
        Self::with(options(), Arc::new(tempfile::tempdir().expect("folder")))
    }

    fn with(options: Options, folder: Arc<tempfile::TempDir>) -> Self {
        Self::at(BEGIN, options, folder)
    }

    fn at(now: u64, options: Options, folder: Arc<tempfile::TempDir>) -> Self {
        let root = folder.path();
        let meta = Meta::for_tests(root);
        let (disk, faults) = FaultyDisk::new(root);
        let (trail, _) = Trail::open(Arc::new(disk), Arc::new(OsRandom)).expect("opened");
        let clock = Arc::new(TestClock::default());
        clock.set(now);
        let access =
            Access::open(Rules::Closed(access::Options::default()), clock.clone(), &meta).expect("read");
        let room = Arc::new(AtomicBool::new(true));
        let has_room = Arc::clone(&room);
        let audit = Audit::open(Parts {
            trail,
            meta: meta.clone(),
            access: access.clone(),
            clock: clock.clone(),
            random: Arc::new(OsRandom),
            room: Arc::new(move |_| has_room.load(Ordering::SeqCst)),
            options,
        })
        .expect("opened");
        Self { audit, access, meta, clock, faults, room, folder }
    }

    /// As after a `kill -9`: nothing is settled.
    fn again(self) -> Self {
        self.again_at(BEGIN)
    }

    fn again_at(self, now: u64) -> Self {
        let folder = Arc::clone(&self.folder);
        self.meta.close();
        drop(self);
        Self::at(now, options(), folder)
    }

    fn begin(&self, operation: &'static Operation) -> Trace {
        let source = Source::Address("192.0.2.7".parse().expect("an address"));
        let trace = self.audit.begin(operation, source, &"a".repeat(32)).expect("it may be recorded");
        trace.by(&Actor::LocalAdministrator);
        trace
    }

    /// A change with its event, named `name`; what was committed may fail.
    async fn change(&self, name: &str, fails: bool) -> Trace {
        let trace = self.begin(&CHANGE);
        trace.named(name).asked("namespace", name);
        let permit =
            self.access.authorise(&Actor::LocalAdministrator, Action::MaintainStore, Resource::Registry);
        let permit = permit.expect("everything").traced(Some(&trace));
        let key = CounterKey { name: name.to_owned() };
        let done: Result<(), Error> = self
            .meta
            .commit_with(permit.event(), move |tx| {
                tx.put(&key, &CounterRecord { next: 1 })?;
                if fails { Err(Error::Busy) } else { Ok(()) }
            })
            .await;
        assert_eq!(done.is_err(), fails);
        trace
    }

    fn outbox(&self) -> Vec<(EventKey, EventRecord)> {
        self.meta.page::<EventKey>(&[], None, 5000).expect("readable")
    }

    async fn events(&self) -> Vec<(Id, EventRecord)> {
        let permit =
            self.access.authorise(&Actor::LocalAdministrator, Action::ListEvents, Resource::Registry);
        let filter = Search::default();
        let wanted = Wanted { filter, order: Order::Oldest, after: None, limit: 5000 };
        self.audit.list(&permit.expect("everything"), wanted).await.expect("readable").events
    }

    async fn names(&self) -> Vec<String> {
        self.events().await.into_iter().map(|(_, event)| event.resource).collect()
    }
}

#[tokio::test]
async fn a_change_and_its_event_are_one_change_set_and_a_change_that_fails_has_none() {
    let world = World::new();
    world.change("done", false).await.end(201);
    world.change("failed", true).await;
    let rows = world.outbox();
    assert_eq!(rows.len(), 1);
    let (_, event) = &rows[0];
    assert_eq!((event.resource.as_str(), event.code, event.rating), ("done", 201, Rating::Normal));
    assert_eq!((event.user_name.as_str(), event.source.as_str()), ("local administrator", "192.0.2.7"));
    assert_eq!(event.request, r#"{"namespace":"done"}"#);
    // Killed now: the next start has both.
    let world = world.again();
    assert_eq!(world.names().await, ["done"]);
    assert_eq!(world.outbox(), []);
    assert!(world.meta.get(&CounterKey { name: "done".into() }).expect("readable").is_some());
    assert!(world.meta.get(&CounterKey { name: "failed".into() }).expect("readable").is_none());
}

#[tokio::test]
async fn a_change_that_was_committed_twice_or_answered_is_one_event_and_a_fault_after_it_another() {
    let world = World::new();
    let trace = world.change("a", false).await;
    let attached: meta::Attached = Some(Arc::new(trace.clone()));
    let more = world.meta.commit_with::<(), Error, _>(attached, |_| Ok(())).await;
    assert!(more.is_ok());
    trace.end(201);
    let trace = world.change("b", false).await;
    trace.end(500);
    let found: Vec<_> =
        world.events().await.into_iter().map(|(_, e)| (e.resource, e.code, e.rating)).collect();
    let expected = [
        ("a".to_owned(), 201, Rating::Normal),
        ("b".to_owned(), 201, Rating::Normal),
        ("b".to_owned(), 500, Rating::Incident),
    ];
    assert_eq!(found, expected);
    assert_eq!(world.audit.facts().late, 0);
}

#[tokio::test]
async fn what_is_recorded_is_what_the_operation_and_the_settings_say() {
    type Case = (&'static str, &'static Operation, u16, bool, bool);
    let cases: [Case; 12] = [
        ("a read", &READ, 200, true, true),
        ("a read of nothing", &READ, 404, true, true),
        ("a pull", &PULL, 200, true, false),
        ("a refused pull", &PULL, 403, true, true),
        ("a pull of nothing", &PULL, 404, true, false),
        ("a token", &REFUSED, 200, true, false),
        ("no token", &REFUSED, 401, true, true),
        ("a client that asks how to sign in", &PULL, 401, false, false),
        ("too many requests", &REFUSED, 429, false, true),
        ("a fault", &REFUSED, 503, false, true),
        ("a change that was refused", &CHANGE, 403, true, true),
        ("a change without a change set", &CHANGE, 200, true, true),
    ];
    let world = World::new();
    let mut expected = Vec::new();
    for (name, operation, status, signed, is_recorded) in cases {
        let trace = world.begin(operation);
        trace.named(name);
        if signed {
            trace.signed();
        }
        trace.end(status);
        expected.extend(is_recorded.then(|| name.to_owned()));
    }
    assert_eq!(world.names().await, expected);
    assert_eq!(world.audit.facts().late, 1);
    let off = World::with(
        Options { reads: false, pulls: true, ..options() },
        Arc::new(tempfile::tempdir().expect("folder")),
    );
    for (operation, status) in [(&READ, 200), (&READ, 403), (&PULL, 200)] {
        off.begin(operation).signed().named(format!("{} {status}", operation.name)).end(status);
    }
    assert_eq!(off.names().await, ["listUserNamespaces 403", "pullImage 200"]);
}

#[tokio::test]
async fn events_that_were_moved_before_a_kill_are_not_there_twice() {
    let world = World::new();
    for n in 0..5 {
        world.change(&format!("org-{n}"), false).await;
    }
    let rows = world.outbox();
    world.audit.keep().await.expect("moved");
    assert_eq!(world.outbox(), []);
    // As if the stop had come between the append and the removal of the rows.
    let put = world.meta.commit::<(), Error, _>(move |tx| {
        rows.iter().try_for_each(|(key, record)| tx.put(key, record))?;
        Ok(())
    });
    put.await.expect("put back");
    let world = world.again();
    world.change("org-5", false).await;
    assert_eq!(world.names().await, (0..6).map(|n| format!("org-{n}")).collect::<Vec<_>>());
    assert_eq!(world.outbox(), []);
}

#[tokio::test]
async fn a_failing_disk_keeps_nobody_waiting_and_changes_wait_for_it() {
    let world = World::new();
    world.faults.fail(world.faults.steps(), u64::MAX, 28);
    for n in 0..3 {
        world.change(&format!("org-{n}"), false).await.end(201);
        world.begin(&READ).named("read").end(200);
        world.audit.keep().await.expect("the trail's trouble is not the caller's");
    }
    let facts = world.audit.facts();
    assert_eq!((facts.waiting, facts.dropped, facts.lost), ((0, 3), 3, 0));
    assert!(facts.trouble.is_some(), "it says so");
    world.faults.heal();
    assert_eq!(world.names().await, ["org-0", "org-1", "org-2"]);
    let facts = world.audit.facts();
    assert_eq!((facts.waiting, facts.trouble), ((0, 0), None));
}

#[tokio::test]
async fn a_full_trail_or_disk_drops_reads_counts_them_and_says_so_and_goes_on_with_changes() {
    let small =
        World::with(Options { max_bytes: 1000, ..options() }, Arc::new(tempfile::tempdir().expect("folder")));
    small.begin(&READ).named("x".repeat(400)).end(200);
    small.begin(&READ).named("y".repeat(400)).end(200);
    small.audit.keep().await.expect("moved");
    assert!(small.audit.facts().bytes >= 1000);
    small.begin(&READ).named("dropped").end(200);
    small.audit.keep().await.expect("moved");
    assert_eq!(small.audit.facts().dropped, 1);
    assert!(small.audit.facts().trouble.expect("it says so").contains("only changes are recorded"));

    let world = World::new();
    world.room.store(false, Ordering::SeqCst);
    world.begin(&READ).named("dropped").end(200);
    world.change("kept", false).await.end(201);
    assert_eq!(world.names().await, ["kept"]);
    assert_eq!((world.audit.facts().dropped, world.audit.facts().lost), (1, 0));
}

#[tokio::test]
async fn a_flood_of_refusals_is_bounded_and_what_does_not_fit_is_counted() {
    let world = World::new();
    let many = super::QUEUE_EVENTS as u64 + 500;
    for _ in 0..many {
        world.begin(&REFUSED).end(403);
    }
    let facts = world.audit.facts();
    assert_eq!((facts.waiting.0, facts.dropped), (super::QUEUE_EVENTS as u64, 500));
    world.audit.keep().await.expect("moved");
    assert_eq!(world.audit.facts().events, super::QUEUE_EVENTS as u64);
}

#[tokio::test]
async fn trace_ids_ascend_over_restarts_though_the_clock_goes_back() {
    let world = World::new();
    world.change("a", false).await;
    let world = world.again();
    world.clock.set(BEGIN - 86_400_000);
    world.change("b", false).await;
    world.begin(&READ).named("c").end(200);
    assert_eq!(world.names().await, ["a", "b", "c"]);
    let world = world.again();
    world.clock.set(5);
    world.change("d", false).await;
    assert_eq!(world.names().await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_permit_for_an_account_shows_its_events_alone() {
    let world = World::new();
    let account = Id::from_bytes([7; 16]);
    world.begin(&READ).on(&Resource::Account(account)).named("own").end(200);
    world.begin(&READ).on(&Resource::Account(Id::from_bytes([8; 16]))).named("other").end(200);
    let admin = Actor::LocalAdministrator;
    let permit = world.access.authorise(&admin, Action::ListAccountEvents, Resource::Account(account));
    let filter = Search { account: Some(Id::from_bytes([8; 16])), ..Search::default() };
    let wanted = Wanted { filter, order: Order::Newest, after: None, limit: 10 };
    let page = world.audit.list(&permit.expect("everything"), wanted.clone()).await.expect("readable");
    assert_eq!(page.events.iter().map(|(_, e)| e.resource.as_str()).collect::<Vec<_>>(), ["own"]);
    let wrong = world.access.authorise(&admin, Action::ListUsers, Resource::Account(account));
    assert!(world.audit.list(&wrong.expect("everything"), wanted).await.is_err());
}

#[tokio::test]
async fn old_events_go_and_none_does_after_the_clock_jumped() {
    const DAY: u64 = 86_400_000;
    let world = World::new();
    world.begin(&READ).named("old").end(200);
    world.audit.settle().await;
    assert_eq!(world.audit.expire().await.expect("nothing"), 0);
    world.clock.set(BEGIN + 6 * DAY);
    world.begin(&READ).named("new").end(200);
    world.audit.keep().await.expect("moved");
    world.clock.set(BEGIN + 8 * DAY);
    assert_eq!(world.audit.expire().await.expect("one"), 1);
    assert_eq!(world.names().await, ["new"]);
    // A start a month from the newest event: it may be the clock.
    world.audit.settle().await;
    let world = world.again_at(BEGIN + 40 * DAY);
    assert_eq!(world.audit.expire().await.expect("nothing"), 0);
    let disk = RealDisk::new(world.folder.path());
    assert!(!disk.list(Path::new(paths::AUDIT)).expect("listed").is_empty());
    world.clock.set(BEGIN + 41 * DAY);
    assert_eq!(world.audit.expire().await.expect("a day later"), 1);
}

#[tokio::test]
async fn a_request_that_met_a_panic_leaves_an_event_and_one_that_was_answered_no_other() {
    let world = World::new();
    let (read, change) = (world.begin(&READ), world.change("made", false).await);
    let panicked = std::thread::spawn(move || {
        let (_read, _change) = (read, change);
        panic!("a bug");
    });
    assert!(panicked.join().is_err());
    let answered = world.begin(&READ);
    answered.end(200);
    drop(answered);
    let events = world.events().await;
    let told: Vec<_> = events.iter().map(|(_, event)| (event.name.as_str(), event.code)).collect();
    assert_eq!(told.iter().filter(|(_, code)| *code == 500).count(), 1, "{told:?}");
    assert!(told.contains(&(CHANGE.name, 201)), "the change was made, and is in the trail: {told:?}");
    assert_eq!(told.iter().filter(|event| **event == (READ.name, 200)).count(), 1, "{told:?}");
}

#[tokio::test]
async fn of_the_refusals_of_one_address_so_many_a_minute_are_recorded_and_the_rest_is_counted() {
    let rate = crate::services::rates::Rate { count: 5, period_ms: 60_000 };
    let folder = Arc::new(tempfile::tempdir().expect("folder"));
    let world = World::with(Options { refusals: Some(rate), ..options() }, folder);
    let refuse = |address: &str| {
        let source = Source::Address(address.parse().expect("an address"));
        let trace = world.audit.begin(&REFUSED, source, "").expect("it may be recorded");
        trace.signed().end(401);
    };
    (0..100).for_each(|_| refuse("192.0.2.7"));
    (0..3).for_each(|_| refuse("192.0.2.8"));
    for last in 0..100 {
        refuse(&format!("2001:db8::{last:x}")); // one customer's
    }
    assert_eq!(world.events().await.len(), 5 + 3 + 5);
    assert_eq!(world.audit.facts().dropped, 95 + 95);
    world.clock.set(BEGIN + 60_000);
    refuse("192.0.2.7");
    assert_eq!(world.events().await.len(), 14, "later there is room again");
}
