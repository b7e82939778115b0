//! The service on a real store in a scratch folder, at times a test sets.

mod later;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use pierhead_storage_format::audit::EventKey;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::protection::BanKey;

use super::{Asks, Class, Exempted, Guard, Network, Options, Parts, Refused, Subject, Wrong};
use crate::seams::{OsRandom, TestClock};
use crate::services::access::{self, Access, Action, Actor, Permit, Resource, Rules};
use crate::services::audit::{self, Audit};
use crate::services::error::Error;
use crate::services::rates::Rate;
use crate::stores::disk::RealDisk;
use crate::stores::meta::Meta;
use crate::stores::trail::Trail;

const BEGIN: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;

struct World {
    guard: Guard,
    access: Access,
    audit: Audit,
    meta: Meta,
    clock: Arc<TestClock>,
    folder: Arc<tempfile::TempDir>,
}

const fn rate(count: u32, period_ms: u64) -> Option<Rate> {
    Some(Rate { count, period_ms })
}

fn options() -> Options {
    Options {
        trusted: vec![Network::new("::ffff:10.0.0.0".parse().expect("an address"), 104)],
        ceiling: rate(1_000_000, 1000),
        address: [rate(5, 1000), rate(10, 1000), rate(10, 1000), rate(10, 1000)],
        user: [rate(20, 1000); 4],
        account: [rate(100, 1000); 4],
        bans: true,
        flood_factor: 3,
        flood_window_ms: 1000,
        failed_sign_ins: 3,
        invalid_tokens: 5,
        strike_window_ms: 10 * MINUTE,
        parallel_uploads: 4,
        ban_ms: 30 * MINUTE,
        longest_ban_ms: 24 * 60 * MINUTE,
        forget_ms: 24 * 60 * MINUTE,
    }
}

impl World {
    fn new() -> Self {
        Self::at(BEGIN, Arc::new(tempfile::tempdir().expect("a folder")))
    }

    fn at(now: u64, folder: Arc<tempfile::TempDir>) -> Self {
        let root = folder.path();
        let meta = Meta::for_tests(root);
        let (trail, _) = Trail::open(Arc::new(RealDisk::new(root)), Arc::new(OsRandom)).expect("opened");
        let clock = Arc::new(TestClock::default());
        clock.set(now);
        let rules = Rules::Closed(access::Options::default());
        let access = Access::open(rules, clock.clone(), &meta).expect("read");
        let audit = Audit::open(audit::Parts {
            trail,
            meta: meta.clone(),
            access: access.clone(),
            clock: clock.clone(),
            random: Arc::new(OsRandom),
            room: Arc::new(|_| true),
            options: audit::Options {
                reads: true,
                pulls: false,
                keep_ms: 1 << 40,
                max_bytes: 1 << 30,
                refusals: None,
            },
        })
        .expect("opened");
        let guard = Guard::open(Parts {
            meta: meta.clone(),
            access: access.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            random: Arc::new(OsRandom),
            options: options(),
        })
        .expect("opened");
        Self { guard, access, audit, meta, clock, folder }
    }

    /// As after a `kill -9`.
    fn again(self, now: u64) -> Self {
        let folder = Arc::clone(&self.folder);
        self.meta.close();
        drop(self);
        Self::at(now, folder)
    }

    fn permit(&self, action: Action) -> Permit {
        self.access.authorise(&Actor::LocalAdministrator, action, Resource::Registry).expect("everything")
    }

    fn read(&self, from: &str) -> Result<(), Refused> {
        self.enter(from, Class::Read, false)
    }

    fn enter(&self, from: &str, class: Class, is_probe: bool) -> Result<(), Refused> {
        self.guard.enter(address(from), Asks { class, signs_in: false, is_probe })
    }

    /// Asks again and again at once; how many of so many were let in, and how the last one was answered.
    fn flood(&self, from: &str, requests: usize) -> (usize, Result<(), Refused>) {
        let answers: Vec<_> = (0..requests).map(|_| self.read(from)).collect();
        (answers.iter().filter(|answer| answer.is_ok()).count(), *answers.last().expect("some"))
    }

    fn wrong(&self, from: &str, secret: &str) {
        self.guard.wrong(address(from), Wrong::Login, &[b"anna", secret.as_bytes()], true);
    }

    fn is_banned(&self, from: &str) -> bool {
        self.guard.0.book.bans(Guard::subject_of(address(from)), || self.now())
    }

    fn now(&self) -> u64 {
        self.guard.0.clock.now_ms()
    }

    /// Waits until every ban is written down.
    async fn written(&self) {
        let all = self.guard.0.unwritten.acquire_many(super::UNWRITTEN as u32).await;
        drop(all.expect("never closed"));
    }

    fn rows(&self) -> usize {
        self.meta.page::<BanKey>(&[], None, 1000).expect("readable").len()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[tokio::test]
async fn a_flood_is_told_to_wait_then_banned_and_others_go_on() {
    let world = World::new();
    let (let_in, last) = world.flood("192.0.2.7", 40);
    assert_eq!((let_in, last), (10, Err(Refused::Limited(100))), "30 refused ones are no flood yet");
    assert!(!world.is_banned("192.0.2.7"));
    assert_eq!(world.flood("192.0.2.7", 2), (0, Err(Refused::Banned)), "the next one is");
    assert_eq!(world.enter("192.0.2.7", Class::SignIn, false), Err(Refused::Banned), "for anything");
    assert_eq!(world.enter("192.0.2.7", Class::Read, true), Err(Refused::Limited(100)), "but for the probe");
    assert_eq!(world.read("192.0.2.8"), Ok(()));
    world.written().await;
    assert_eq!(world.rows(), 1);
    world.clock.set(BEGIN + 30 * MINUTE);
    assert_eq!(world.read("192.0.2.7"), Ok(()), "after it he is served");
    let facts = world.guard.facts();
    assert_eq!((facts.bans, facts.turned_away, facts.banned), (1, 2, 0), "{facts:?}");
}

#[tokio::test]
async fn who_waits_as_he_is_told_and_who_probes_is_never_banned() {
    let world = World::new();
    let mut now = BEGIN;
    for _ in 0..2000 {
        match world.read("192.0.2.7") {
            Ok(()) => {}
            Err(Refused::Limited(ms)) => now += ms,
            Err(Refused::Banned) => panic!("banned though patient"),
        }
        world.clock.set(now);
    }
    for _ in 0..5000 {
        assert_ne!(world.enter("192.0.2.8", Class::Read, true), Err(Refused::Banned));
    }
    assert_eq!(world.guard.facts().bans, 0);
}

#[tokio::test]
async fn different_wrong_credentials_ban_the_address_and_a_stale_one_does_not() {
    let world = World::new();
    for _ in 0..10_000 {
        world.wrong("192.0.2.7", "a stale secret");
    }
    world.wrong("192.0.2.7", "a typing error");
    assert!(!world.is_banned("192.0.2.7"));
    world.clock.set(BEGIN + 10 * MINUTE);
    world.wrong("192.0.2.7", "of another time");
    assert!(!world.is_banned("192.0.2.7"), "the window is over");
    for guess in ["1", "2", "3"] {
        world.wrong("2001:db8::1", guess);
    }
    assert!(world.is_banned("2001:db8::ffff:1"), "the whole /64");
    assert!(!world.is_banned("2001:db8:0:1::1"));
    for token in 0..5u8 {
        world.guard.wrong(address("192.0.2.9"), Wrong::Token, &[&[token]], false);
    }
    assert!(world.is_banned("192.0.2.9"));
    assert!(world.guard.facts().banned == 2, "nobody else, and no user");
}

#[tokio::test]
async fn wrong_credentials_anywhere_use_up_the_sign_ins_of_an_address() {
    let world = World::new();
    let asks = |signs_in| Asks { class: Class::Read, signs_in, is_probe: false };
    for _ in 0..5 {
        world.guard.wrong(address("192.0.2.7"), Wrong::Login, &[b"the same"], false);
    }
    let refused = world.guard.enter(address("192.0.2.7"), asks(true));
    assert_eq!(refused, Err(Refused::Limited(200)), "no more passwords are checked for it now");
    assert_eq!(world.guard.enter(address("192.0.2.7"), asks(false)), Ok(()));
    assert_eq!(world.guard.enter(address("192.0.2.8"), asks(true)), Ok(()));
}

#[tokio::test]
async fn bans_survive_a_crash_grow_for_repeaters_and_are_forgotten() {
    let world = World::new();
    let _ = world.flood("192.0.2.7", 50);
    world.written().await;
    let world = world.again(BEGIN + 29 * MINUTE);
    assert_eq!(world.read("192.0.2.7"), Err(Refused::Banned));
    world.clock.set(BEGIN + 31 * MINUTE);
    let _ = world.flood("192.0.2.7", 50);
    let (bans, more) = world.guard.bans(&world.permit(Action::ListBans), None, 10).expect("listed");
    assert_eq!((bans.len(), more), (1, false));
    let ban = &bans[0];
    assert_eq!((ban.times, ban.until - ban.since, ban.reason), (2, 60 * MINUTE, "flood"));
    world.written().await;
    let day = 24 * 60 * MINUTE;
    let world = world.again(ban.until + day - 1);
    let system = world.permit(Action::MaintainStore);
    assert_eq!(world.guard.tidy(&system).await.expect("done"), 0, "still remembered");
    world.clock.set(ban.until + day);
    assert_eq!(world.guard.tidy(&system).await.expect("done"), 1);
    assert_eq!((world.rows(), world.guard.facts().banned), (0, 0));
    let _ = world.flood("192.0.2.7", 50);
    let (bans, _) = world.guard.bans(&world.permit(Action::ListBans), None, 10).expect("listed");
    assert_eq!(bans[0].times, 1, "as if it were the first");
}

#[tokio::test]
async fn bans_that_were_not_written_down_at_first_are_all_written_later_in_batches() {
    let world = World::new();
    let system = world.permit(Action::MaintainStore);
    // Nobody writes as they are made: as when too many are being written already, or the disk is full.
    let turns = world.guard.0.unwritten.acquire_many(super::UNWRITTEN as u32).await.expect("never closed");
    let many: u32 = 1200;
    for number in 0..many {
        let from = IpAddr::from((11 << 24 | 1 << 31 | number).to_be_bytes());
        for guess in [b"1", b"2", b"3"] {
            world.guard.wrong(from, Wrong::Login, &[guess], true);
        }
    }
    let lifted = Guard::subject_of(IpAddr::from((11_u32 << 24 | 1 << 31).to_be_bytes()));
    let facts = world.guard.facts();
    assert_eq!((facts.banned, facts.unwritten, facts.lost, world.rows()), (1200, 1200, 0, 0));
    world.guard.lift(&world.permit(Action::ManageBans), lifted).await.expect("lifted");
    assert_eq!(world.guard.facts().unwritten, 1199, "nor is one that was lifted");
    let before = world.meta.status().change_sets;
    assert_eq!(world.guard.write_rest(&system).await.expect("written"), 1199);
    assert_eq!((world.guard.facts().unwritten, world.meta.status().change_sets - before), (0, 3));
    assert_eq!(world.guard.write_rest(&system).await.expect("written"), 0);
    drop(turns);
    assert!(world.guard.write_rest(&world.permit(Action::ListBans)).await.is_err(), "another permit");
    let world = world.again(BEGIN + MINUTE);
    assert_eq!((world.guard.facts().banned, world.guard.facts().unwritten), (1199, 0));
}

#[tokio::test]
async fn a_ban_that_cannot_be_written_holds_and_is_kept_for_later() {
    let world = World::new();
    world.meta.close();
    let _ = world.flood("192.0.2.7", 50);
    world.written().await;
    assert!(world.guard.write_rest(&world.permit(Action::MaintainStore)).await.is_err());
    assert_eq!((world.read("192.0.2.7"), world.guard.facts().unwritten), (Err(Refused::Banned), 1));
}

#[tokio::test]
async fn a_ban_of_the_appliance_is_in_the_audit_trail_with_its_change() {
    let world = World::new();
    let _ = world.flood("192.0.2.7", 50);
    world.written().await;
    let events = world.meta.page::<EventKey>(&[], None, 10).expect("readable");
    let (_, event) = events.first().expect("an event");
    assert_eq!((event.name.as_str(), event.resource.as_str()), ("createBan", "192.0.2.7"));
    assert_eq!((event.user_name.as_str(), event.source.as_str()), ("system: guard", "192.0.2.7"));
    assert!(event.request.contains("\"reason\":\"flood\""), "{}", event.request);
    assert_eq!(world.audit.facts().late, 0);
}

#[tokio::test]
async fn administrators_ban_lift_and_exempt() {
    let world = World::new();
    let (lists, manages) = (world.permit(Action::ListBans), world.permit(Action::ManageBans));
    let subject = Guard::subject_of(address("192.0.2.7"));
    let note = || "a note".to_owned();
    let ban = world.guard.ban(&manages, subject, Some(5 * MINUTE), note()).await.expect("banned");
    assert_eq!(
        (ban.reason, ban.until - ban.since, ban.note.as_str()),
        ("administrator", 5 * MINUTE, "a note")
    );
    assert_eq!(world.read("192.0.2.7"), Err(Refused::Banned));
    assert_eq!(world.guard.lift(&manages, subject).await.expect("lifted"), "192.0.2.7");
    assert_eq!(world.read("192.0.2.7"), Ok(()));
    assert!(matches!(world.guard.lift(&manages, subject).await, Err(Error::Missing(_))));
    for (lasts, note) in [(Some(999), note()), (Some(u64::MAX), note()), (None, "x".repeat(256))] {
        let refused = world.guard.ban(&manages, subject, lasts, note).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    let network = Exempted::Network(Network::new("::ffff:192.0.2.0".parse().expect("one"), 120));
    world.guard.exempt(&manages, network, note()).await.expect("exempt");
    assert_eq!(world.flood("192.0.2.7", 1000), (1000, Ok(())), "no rate and no ban");
    assert!(matches!(world.guard.ban(&manages, subject, None, note()).await, Err(Error::Invalid { .. })));
    let world = world.again(BEGIN);
    assert_eq!(world.guard.exemptions(&lists).expect("listed").len(), 1, "durable");
    assert_eq!(world.guard.end_exemption(&manages, network).await.expect("ended"), "192.0.2.0/24");
    assert_eq!(world.flood("192.0.2.7", 1000).1, Err(Refused::Banned));
    assert!(world.guard.bans(&manages, None, 10).is_err(), "a permit for something else");
}

#[tokio::test]
async fn an_address_in_a_trusted_network_cannot_be_banned_and_the_refusal_names_the_network() {
    let world = World::new();
    let narrow = Network::new("2001:db8::7".parse().expect("an address"), 128);
    let wide = Network::new("2001:db8:1::".parse().expect("an address"), 48);
    world.guard.set(Options { trusted: [options().trusted, vec![narrow, wide]].concat(), ..options() });
    let manages = world.permit(Action::ManageBans);
    let cases = [
        ("10.1.2.3", Some("10.1.2.3 is in protection.trusted (10.0.0.0/8)")),
        ("2001:db8:1:2::3", Some("2001:db8:1:2::/64 is in protection.trusted (2001:db8:1::/48)")),
        ("2001:db8::8", None),
        ("192.0.2.7", None),
    ];
    for (text, refused) in cases {
        let answer = world.guard.ban(&manages, Guard::subject_of(address(text)), None, String::new()).await;
        match (answer, refused) {
            (Err(Error::Invalid { why, .. }), Some(expected)) => assert!(why.starts_with(expected), "{why}"),
            (Ok(_), None) => assert_eq!(world.read(text), Err(Refused::Banned), "{text}"),
            (answer, _) => panic!("{text}: {answer:?}"),
        }
    }
    assert_eq!(world.read("2001:db8::7"), Ok(()), "trusted, though its /64 is banned");
}

#[tokio::test]
async fn a_user_is_banned_by_an_administrator_or_for_his_own_flood_and_wherever_he_comes_from() {
    let world = World::new();
    let (anna, otto) = (Id::from_bytes([1; 16]), Id::from_bytes([2; 16]));
    let asks = |user| world.guard.user(user, Some(address("192.0.2.7")), Class::Read);
    let answers: Vec<_> = (0..200).map(|_| asks(anna)).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20);
    assert_eq!(answers.last(), Some(&Err(Refused::Banned)));
    assert_eq!(asks(otto), Ok(()));
    let trusted = world.guard.user(anna, Some(address("10.0.0.1")), Class::Read);
    assert_eq!(trusted, Err(Refused::Banned), "trusted networks are no way round");
    let manages = world.permit(Action::ManageBans);
    world.guard.ban(&manages, Subject::User(otto), None, String::new()).await.expect("banned");
    assert_eq!(asks(otto), Err(Refused::Banned));
    world.written().await;
    // Neither is in the directory, so their rows go.
    let removed = world.guard.tidy(&world.permit(Action::MaintainStore)).await.expect("done");
    assert_eq!((removed, world.rows()), (2, 0));
}

#[tokio::test]
async fn trusted_networks_are_held_to_nothing_and_too_many_uploads_at_once_are_abuse() {
    let world = World::new();
    assert_eq!(world.flood("10.9.9.9", 1000), (1000, Ok(())));
    let under_way: Vec<_> = (0..4).map(|_| world.guard.uploading(address("192.0.2.7"))).collect();
    assert!(!world.is_banned("192.0.2.7"));
    drop(under_way);
    for _ in 0..100 {
        drop(world.guard.uploading(address("192.0.2.7")));
    }
    assert!(!world.is_banned("192.0.2.7"), "one after another");
    let _many: Vec<_> = (0..5).map(|_| world.guard.uploading(address("192.0.2.7"))).collect();
    assert!(world.is_banned("192.0.2.7"));
    let _trusted: Vec<_> = (0..5).map(|_| world.guard.uploading(address("10.9.9.9"))).collect();
    assert!(!world.is_banned("10.9.9.9"));
}

#[tokio::test]
async fn other_settings_apply_at_once_and_nobody_begins_anew() {
    let world = World::new();
    assert_eq!(world.flood("192.0.2.7", 12).0, 10);
    world.guard.set(options());
    assert_eq!(world.flood("192.0.2.7", 1).0, 0, "his bucket is as empty as it was");
    let mut more = options();
    more.address[Class::Read as usize] = None;
    more.bans = false;
    world.guard.set(more);
    assert_eq!(world.flood("192.0.2.7", 100).0, 100);
    let _ = world.flood("192.0.2.7", 100);
    for guess in 0..10 {
        world.wrong("192.0.2.7", &guess.to_string());
    }
    assert!(!world.is_banned("192.0.2.7"), "bans are off");
}

#[tokio::test]
async fn the_ceiling_is_for_all_and_who_meets_it_is_not_to_blame() {
    let world = World::new();
    world.guard.set(Options { ceiling: rate(50, 1000), ..options() });
    let mut refused = 0;
    for host in 1..=100 {
        for _ in 0..10 {
            refused += usize::from(world.read(&format!("198.51.100.{host}")).is_err());
        }
    }
    assert_eq!(refused, 950);
    let facts = world.guard.facts();
    assert_eq!((facts.ceiling, facts.bans), (950, 0), "{facts:?}");
}

/// Addresses given in at the seam; figures with `--nocapture`.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "a figure that is read with --nocapture")]
async fn a_million_addresses_take_bounded_memory_and_who_was_there_goes_on() {
    let world = World::new();
    assert_eq!(world.read("198.51.100.1"), Ok(()));
    let begun = Instant::now();
    for number in 0..1_000_000u128 {
        let from = IpAddr::V6(((0x2001_0db8_u128 << 96) | (number << 64)).into());
        let _ = world.guard.enter(from, Asks { class: Class::Read, signs_in: true, is_probe: false });
        world.guard.wrong(from, Wrong::Login, &[&number.to_be_bytes()], true);
    }
    let (each, facts) = (begun.elapsed() / 1_000_000, world.guard.facts());
    println!("a million addresses: {} kept in mind, {each:?} each", facts.keys);
    assert!(facts.keys <= 2 * 65_536 + 16_384, "{facts:?}");
    assert_eq!(world.read("198.51.100.1"), Ok(()), "he has his own bucket");
}

/// Figures with `--nocapture`; some are in the head of the module.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "a figure that is read with --nocapture")]
async fn a_question_costs_little_however_many_are_banned_and_exempt() {
    const ASKED: u32 = 500_000;
    let world = World::new();
    let wide = [rate(u32::MAX, 1000); 4];
    world.guard.set(Options { address: wide, user: wide, ceiling: rate(u32::MAX, 1000), ..options() });
    let crowd: Vec<IpAddr> =
        (0..10_000_u32).map(|number| IpAddr::from((10 << 24 | 1 << 31 | number).to_be_bytes())).collect();
    let asks = Asks { class: Class::Read, signs_in: false, is_probe: false };
    let time = |what: &str| {
        let begun = Instant::now();
        for number in 0..ASKED as usize {
            assert_eq!(world.guard.enter(crowd[number % crowd.len()], asks), Ok(()));
        }
        let each = begun.elapsed() / ASKED;
        println!("{what}: {each:?} each");
        assert!(each.as_micros() < 100, "{each:?}");
    };
    time("10,000 addresses, nobody banned");
    let manages = world.permit(Action::ManageBans);
    for third in 0..100 {
        let network = Network::new(std::net::Ipv4Addr::new(192, 0, third, 0).to_ipv6_mapped(), 120);
        world.guard.exempt(&manages, Exempted::Network(network), String::new()).await.expect("exempt");
    }
    time("and 100 networks exempt");
    for number in 0..50_000_u32 {
        let subject = Guard::subject_of(IpAddr::from((11 << 24 | 1 << 31 | number).to_be_bytes()));
        world.guard.0.book.add(subject, super::BanReason::Flood, &options().terms(), BEGIN);
    }
    time("and 50,000 banned");
    let banned = Guard::subject_of(IpAddr::from((11 << 24 | 1 << 31 | 1_u32).to_be_bytes()));
    assert!(world.guard.0.book.bans(banned, || BEGIN));
}
