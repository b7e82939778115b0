//! Counting on a real store.

use pierhead_storage_format::identity::keys::AccountKey;
use pierhead_storage_format::identity::records::AccountRecord;
use pierhead_storage_format::keys::{OrganisationKey, RepositoryCountersKey, RepositoryKey, TableKey};
use pierhead_storage_format::records::{OrganisationRecord, RepositoryCounters, RepositoryRecord};

use super::*;
use crate::seams::TestClock;
use crate::services::access::{Action, Actor, Options, Permit, Resource, Rules};
use crate::stores::meta::MetaError;

const OWN: Id = Id::from_bytes([1; 16]);
const TODAY: u64 = 20_000;

struct World {
    meta: Meta,
    clock: Arc<TestClock>,
    access: Access,
    counters: Counters,
    _folder: tempfile::TempDir,
}

fn web() -> RepositoryName {
    "acme/web".parse().expect("a name")
}

impl World {
    /// An account with an organisation and a repository in it.
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let meta = Meta::for_tests(folder.path());
        let clock = Arc::new(TestClock::default());
        clock.set(TODAY * DAY_MS + 5);
        let access = Access::open(Rules::Closed(Options::default()), clock.clone(), &meta).expect("read");
        let counters = Counters::new(meta.clone(), access.clone(), clock.clone());
        let world = Self { meta, clock, access, counters, _folder: folder };
        let name = "own".to_owned();
        let account = AccountRecord { name, project: OWN, created_at: 0, operator: false, enabled: true };
        world.put(AccountKey { id: OWN }, account).await;
        let acme = OrganisationRecord { number: 1, created_at: 0, owner: Some(OWN), creator: None };
        world.put(OrganisationKey { name: "acme".to_owned() }, acme).await;
        let name = "acme/web".to_owned();
        world.put(RepositoryKey { name }, RepositoryRecord { id: 7, created_at: 0 }).await;
        world
    }

    async fn put<K>(&self, key: K, record: K::Record)
    where
        K: TableKey + Send + 'static,
        K::Record: Send + 'static,
    {
        let put: Result<(), MetaError> = self.meta.commit(move |tx| tx.put(&key, &record)).await;
        put.expect("committed");
    }

    fn permit(&self) -> Permit {
        let system = Actor::System("test");
        self.access.authorise(&system, Action::MaintainStore, Resource::Registry).expect("may")
    }

    async fn flush(&self) {
        self.counters.flush(&self.permit()).await.expect("added");
    }

    fn kept(&self) -> u64 {
        let row = self.meta.get(&RepositoryPullsKey { repository: 7 }).expect("read");
        row.map_or(0, |row| row.pulls)
    }

    fn sequence(&self) -> u64 {
        self.meta.status().sequence
    }
}

#[tokio::test]
async fn pulls_are_told_at_once_and_kept_by_the_next_flush() {
    let world = World::new().await;
    for _ in 0..3 {
        world.counters.manifest_sent(7, &web(), 100, true);
    }
    world.counters.manifest_sent(7, &web(), 50, false);
    assert_eq!((world.counters.pulls(7).expect("read"), world.kept()), (3, 0));
    world.flush().await;
    assert_eq!((world.counters.pulls(7).expect("read"), world.kept()), (3, 3), "an index is no image");
    world.counters.manifest_sent(7, &web(), 100, true);
    world.flush().await;
    assert_eq!(world.kept(), 4);
}

#[tokio::test]
async fn an_idle_flush_writes_nothing() {
    let world = World::new().await;
    world.counters.look(&world.permit()).await.expect("looked");
    world.flush().await;
    let before = world.sequence();
    world.counters.look(&world.permit()).await.expect("looked");
    world.flush().await;
    assert_eq!(world.sequence(), before, "nothing changed since the last look");
    world.counters.pushed(&web());
    world.flush().await;
    assert_eq!(world.sequence(), before + 1, "one change set, whatever is in it");
}

#[tokio::test]
async fn a_day_has_what_was_pulled_pushed_and_held_on_it() {
    let world = World::new().await;
    let bytes = RepositoryCounters { bytes: 4096, ..RepositoryCounters::default() };
    world.put(RepositoryCountersKey { repository: 7 }, bytes).await;
    world.counters.manifest_sent(7, &web(), 100, true);
    world.counters.blob_sent(world.counters.owner(&web()), 900);
    world.counters.pushed(&web());
    let pending = Day { day: TODAY, pulls: 1, pulled: 1000, pushes: 1, stored: None };
    assert_eq!(world.counters.days(OWN).expect("read"), [pending]);
    world.counters.look(&world.permit()).await.expect("looked");
    world.flush().await;
    let kept = Day { stored: Some(4096), ..pending };
    assert_eq!(world.counters.days(OWN).expect("read"), [kept]);
    world.clock.set((TODAY + 1) * DAY_MS);
    world.counters.blob_sent(Some(OWN), 1);
    world.counters.blob_sent(None, 1);
    let next = Day { day: TODAY + 1, pulled: 1, ..Day::default() };
    assert_eq!(world.counters.days(OWN).expect("read"), [kept, next]);
}

#[tokio::test]
async fn an_account_keeps_its_last_days_and_a_jump_of_the_clock_costs_one() {
    let world = World::new().await;
    for day in 0..DAYS as u64 {
        world.put(AccountDayKey { account: OWN, day }, Default::default()).await;
    }
    world.counters.pushed(&web());
    world.flush().await;
    let days = world.counters.days(OWN).expect("read");
    assert_eq!((days.len(), days[0].day, days[DAYS - 1].day), (DAYS, 1, TODAY));
}

#[tokio::test]
async fn a_later_repository_of_the_name_starts_with_nothing() {
    let world = World::new().await;
    world.counters.manifest_sent(7, &web(), 100, true);
    let name = "acme/web".to_owned();
    world.put(RepositoryKey { name }, RepositoryRecord { id: 8, created_at: 1 }).await;
    world.flush().await;
    assert_eq!(world.meta.page::<RepositoryPullsKey>(&[], None, 9).expect("read").len(), 0);
    assert_eq!(world.counters.pulls(8).expect("read"), 0);
}

#[tokio::test]
async fn what_went_meanwhile_gets_no_row() {
    let world = World::new().await;
    world.counters.manifest_sent(7, &web(), 100, true);
    let gone: Result<(), MetaError> = world
        .meta
        .commit(|tx| {
            tx.delete(&RepositoryKey { name: "acme/web".to_owned() })?;
            tx.delete(&AccountKey { id: OWN })
        })
        .await;
    gone.expect("committed");
    world.flush().await;
    let rows = world.meta.page::<RepositoryPullsKey>(&[], None, 9).expect("read").len()
        + world.meta.page::<AccountDayKey>(&[], None, 9).expect("read").len();
    assert_eq!((rows, world.counters.pulls(7).expect("read")), (0, 0));
}

#[test]
fn more_than_can_be_held_is_not_counted_and_said() {
    let mut pending = Pending::default();
    let most = MAX_PENDING as u64;
    for number in 0..=most {
        pending.pulled(number, "acme/web", 1);
    }
    pending.pulled(0, "acme/web", 1);
    assert_eq!((pending.pulls(0), pending.pulls(most)), (2, 0));
    assert_eq!((pending.uncounted(), pending.uncounted()), (1, 0));
}

#[test]
fn what_came_during_a_flush_stays_pending() {
    let mut pending = Pending::default();
    pending.pulled(7, "acme/web", 1);
    pending.day(Some(OWN), 1, |day| (day.pulls, day.stored) = (1, Some(5)));
    let batch = pending.some(10);
    pending.pulled(7, "acme/web", 2);
    pending.day(Some(OWN), 1, |day| day.pulled = 9);
    pending.done(&batch);
    assert_eq!(pending.pulls(7), 1);
    let left = pending::More { pulled: 9, ..pending::More::default() };
    assert_eq!(pending.days_of(OWN), [(1, left)]);
    let batch = pending.some(10);
    pending.done(&batch);
    assert_eq!(pending.some(10), pending::Batch::default());
}
