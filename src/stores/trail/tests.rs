//! The trail on a real folder and on one that fails.

use std::path::Path;
use std::sync::Arc;

use pierhead_storage_format::audit::{DAY_MS, EventRecord, Rating};
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::paths;
use proptest::prelude::*;

use super::{Durable, Event, Filter, Order, Trail, check};
use crate::seams::TestRandom;
use crate::stores::disk::faulty::FaultyDisk;
use crate::stores::disk::{Disk, RealDisk};

/// 2027-01-15, 8 hours after midnight.
const NOW: u64 = 1_800_000_000_000;
const DAY: &str = "2027-01-15";

fn id(n: u64) -> Id {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Id::from_bytes(bytes)
}

fn event(n: u64) -> EventRecord {
    EventRecord {
        at: NOW + n,
        took: 1,
        name: if n.is_multiple_of(10) { "deleteImageTag" } else { "listImageTags" }.to_owned(),
        resource_type: "imagetag".to_owned(),
        resource: format!("acme/web-{}:v1", n % 100),
        resource_id: format!("id-{n}"),
        account: Some(id(n % 2)),
        account_name: "main".to_owned(),
        user: Some(id(1000 + n % 5)),
        user_name: format!("user-{}", n % 5),
        source: "192.0.2.1".to_owned(),
        code: 200,
        rating: if n.is_multiple_of(97) { Rating::Warning } else { Rating::Normal },
        request_id: None,
        request: "{}".to_owned(),
        response: "{}".to_owned(),
    }
}

fn encoded(numbers: impl IntoIterator<Item = u64>) -> Vec<(Id, Vec<u8>)> {
    numbers.into_iter().map(|n| (id(n), event(n).encode().expect("small"))).collect()
}

fn opened(disk: impl Disk) -> Trail {
    Trail::open(Arc::new(disk), Arc::new(TestRandom::default())).expect("opened").0
}

fn at(folder: &tempfile::TempDir) -> Trail {
    opened(RealDisk::new(folder.path()))
}

fn append(trail: &Trail, numbers: impl IntoIterator<Item = u64>) {
    trail.append(NOW, encoded(numbers), Durable::Yes).expect("appended");
}

/// Every event that fits, page by page.
fn all(trail: &Trail, filter: &Filter, order: Order, limit: usize) -> Vec<Event> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = trail.page(filter, order, after, limit).expect("readable");
        assert!(page.events.len() <= limit && page.unreadable == 0);
        found.extend(page.events);
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

fn numbers(trail: &Trail) -> Vec<u64> {
    let found = all(trail, &Filter::default(), Order::Oldest, 700);
    found.into_iter().map(|(_, event)| event.at - NOW).collect()
}

fn healthy(folder: &tempfile::TempDir) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    check(&RealDisk::new(folder.path()), &|| true, &mut |id, path, _| found.push((id, path)))
        .expect("readable");
    found
}

#[test]
fn what_was_appended_is_found_newest_or_oldest_first_whether_sealed_or_not() {
    let folder = tempfile::tempdir().expect("folder");
    let trail = at(&folder);
    append(&trail, 1..=1500);
    trail.seal().expect("sealed");
    // What came late overlaps what is sealed.
    append(&trail, (1501..3000).filter(|n| n % 3 != 0));
    trail.seal().expect("sealed");
    append(&trail, (1501..3000).filter(|n| n % 3 == 0));
    append(&trail, [3000, 3001]);
    let expected: Vec<Event> = (1..=3001).map(|n| (id(n), event(n))).collect();
    for limit in [1, 7, 100, 5000] {
        let limit = if limit == 1 { 333 } else { limit };
        assert_eq!(all(&trail, &Filter::default(), Order::Oldest, limit), expected, "{limit}");
        let mut newest = all(&trail, &Filter::default(), Order::Newest, limit);
        newest.reverse();
        assert_eq!(newest, expected, "{limit}");
    }
    assert_eq!((trail.facts().events, trail.facts().last), (3001, Some(id(3001))));
    assert!(trail.contains(id(2999)).expect("readable") && !trail.contains(id(3002)).expect("readable"));
}

#[test]
fn a_search_finds_what_fits_everything_that_is_set() {
    let folder = tempfile::tempdir().expect("folder");
    let trail = at(&folder);
    append(&trail, 0..4000);
    trail.seal().expect("sealed");
    append(&trail, 4000..4500);
    type Case = (&'static str, Filter, fn(u64) -> bool);
    let some = |text: &str| Some(text.to_owned());
    let cases: [Case; 12] = [
        ("everything", Filter::default(), |_| true),
        ("account", Filter { account: Some(id(1)), ..Filter::default() }, |n| n % 2 == 1),
        ("user by name", Filter { user: some("user-3"), ..Filter::default() }, |n| n % 5 == 3),
        ("user by id", Filter { user: Some(id(1003).to_string()), ..Filter::default() }, |n| n % 5 == 3),
        ("nobody", Filter { user: some("user-9"), ..Filter::default() }, |_| false),
        ("name", Filter { name: some("deleteImageTag"), ..Filter::default() }, |n| n % 10 == 0),
        ("resource", Filter { resource: some("acme/web-17:v1"), ..Filter::default() }, |n| n % 100 == 17),
        ("resource by id", Filter { resource: some("id-4321"), ..Filter::default() }, |n| n == 4321),
        ("type", Filter { resource_type: some("usernamespace"), ..Filter::default() }, |_| false),
        ("rating", Filter { rating: Some(Rating::Warning), ..Filter::default() }, |n| n % 97 == 0),
        ("time", Filter { from: Some(NOW + 1000), until: Some(NOW + 1010), ..Filter::default() }, |n| {
            (1000..1010).contains(&n)
        }),
        ("two", Filter { account: Some(id(0)), rating: Some(Rating::Warning), ..Filter::default() }, |n| {
            n % 194 == 0
        }),
    ];
    for (name, filter, fits) in cases {
        for order in [Order::Oldest, Order::Newest] {
            let mut found: Vec<u64> =
                all(&trail, &filter, order, 50).into_iter().map(|(_, event)| event.at - NOW).collect();
            if order == Order::Newest {
                found.reverse();
            }
            assert_eq!(found, (0..4500).filter(|n| fits(*n)).collect::<Vec<_>>(), "{name} {order:?}");
        }
    }
}

#[test]
fn a_log_that_has_grown_or_whose_day_is_over_is_sealed() {
    let folder = tempfile::tempdir().expect("folder");
    let trail = at(&folder);
    for from in (0..super::LOG_EVENTS as u64).step_by(4096) {
        append(&trail, from..from + 4096);
    }
    let list = |day: &str| -> Vec<String> {
        let entries = RealDisk::new(folder.path()).list(&paths::audit_day(day)).expect("listed");
        entries.into_iter().map(|entry| entry.name).collect()
    };
    assert_eq!(list(DAY), ["00000000000000000001.seg"]);
    append(&trail, [40_000]);
    assert_eq!(list(DAY), ["00000000000000000001.seg", "00000000000000000002.log"]);
    trail.append(NOW + DAY_MS, encoded([50_000]), Durable::Soon).expect("appended");
    assert_eq!(list(DAY), ["00000000000000000001.seg", "00000000000000000002.seg"]);
    assert_eq!(list("2027-01-16"), ["00000000000000000003.log"]);
}

#[test]
fn a_start_seals_the_log_of_a_run_that_was_killed_and_loses_a_torn_batch_only() {
    let folder = tempfile::tempdir().expect("folder");
    let trail = at(&folder);
    append(&trail, 0..10);
    append(&trail, 10..20);
    drop(trail);
    let log = folder.path().join(paths::audit_log(DAY, 1));
    let whole = std::fs::read(&log).expect("a log");
    std::fs::write(&log, &whole[..whole.len() - 3]).expect("cut");
    let (disk, random) = (Arc::new(RealDisk::new(folder.path())), Arc::new(TestRandom::default()));
    let (trail, leftovers) = Trail::open(disk, random).expect("opened");
    assert_eq!((leftovers.sealed, leftovers.damaged.len()), (1, 0));
    assert!(leftovers.torn > 0);
    assert_eq!(numbers(&trail), (0..10).collect::<Vec<_>>());
    append(&trail, 10..12);
    drop(trail);
    assert_eq!(numbers(&at(&folder)), (0..12).collect::<Vec<_>>());
    assert_eq!(healthy(&folder), []);
}

#[test]
fn leftovers_of_a_sealing_are_cleared() {
    let folder = tempfile::tempdir().expect("folder");
    let trail = at(&folder);
    append(&trail, 0..10);
    let log = folder.path().join(paths::audit_log(DAY, 1));
    let copy = std::fs::read(&log).expect("a log");
    trail.seal().expect("sealed");
    drop(trail);
    // As after a stop between the rename and the unlink, and one before a rename.
    std::fs::write(&log, &copy).expect("written");
    std::fs::write(log.with_extension("seg.tmp"), b"half").expect("written");
    assert_eq!(healthy(&folder).iter().map(|found| found.0).collect::<Vec<_>>(), ["A3", "A3"]);
    assert_eq!(numbers(&at(&folder)), (0..10).collect::<Vec<_>>());
    assert_eq!(healthy(&folder), []);
}

#[test]
fn a_damaged_segment_is_reported_and_the_rest_is_served() {
    let folder = tempfile::tempdir().expect("folder");
    let trail = at(&folder);
    for from in [0, 2000, 4000] {
        append(&trail, from..from + 2000);
        trail.seal().expect("sealed");
    }
    drop(trail);
    let flip = |number, at: usize| {
        let path = folder.path().join(paths::audit_segment(DAY, number));
        let mut bytes = std::fs::read(&path).expect("a segment");
        let at = if at == usize::MAX { bytes.len() - 20 } else { at };
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("written");
    };
    flip(1, usize::MAX); // its end: none of it can be found
    flip(2, 100); // its first frame
    let bad: Vec<&str> = healthy(&folder).into_iter().map(|found| found.0).collect();
    assert_eq!(bad, ["A1", "A1"]);
    let trail = at(&folder);
    assert_eq!(trail.facts().damaged, 1);
    let page = trail.page(&Filter::default(), Order::Oldest, None, 5000).expect("readable");
    let found: Vec<u64> = page.events.iter().map(|(_, event)| event.at - NOW).collect();
    assert_eq!((found, page.unreadable), ((3024..6000).collect(), 1));
    // It goes with its day, as the others do.
    assert_eq!(trail.expire(NOW + 3 * DAY_MS, 0).expect("removed"), 3);
    assert_eq!((trail.facts().events, trail.facts().bytes, trail.facts().damaged), (0, 0, 0));
    assert_eq!(RealDisk::new(folder.path()).list(Path::new(paths::AUDIT)).expect("listed"), []);
}

#[test]
fn only_whole_segments_go_and_a_clock_that_had_jumped_ahead_keeps_nothing_for_ever() {
    let folder = tempfile::tempdir().expect("folder");
    let trail = at(&folder);
    let mut far = encoded([1]);
    far[0].1 = EventRecord { at: NOW + 3650 * DAY_MS, ..event(1) }.encode().expect("small");
    trail.append(NOW, far, Durable::Yes).expect("appended");
    trail.seal().expect("sealed");
    append(&trail, 100..200);
    trail.seal().expect("sealed");
    append(&trail, 200..300);
    assert_eq!(trail.expire(NOW + 150, 0).expect("nothing"), 0);
    assert_eq!(trail.expire(NOW + 200, 0).expect("two"), 2);
    assert_eq!(numbers(&trail), (200..300).collect::<Vec<_>>());
    assert_eq!(trail.expire(NOW + DAY_MS, 0).expect("the open log stays"), 0);
}

#[test]
fn a_clock_that_was_behind_takes_nothing_with_it_that_was_written_before() {
    let folder = tempfile::tempdir().expect("folder");
    let trail = at(&folder);
    append(&trail, 100..200);
    trail.seal().expect("sealed");
    let mut behind = encoded([200]);
    behind[0].1 = EventRecord { at: 5, ..event(200) }.encode().expect("small");
    trail.append(5, behind, Durable::Yes).expect("appended");
    trail.seal().expect("sealed");
    append(&trail, 300..400);
    trail.seal().expect("sealed");
    assert_eq!(trail.expire(NOW + 1000, DAY_MS).expect("removed"), 1, "that from 1970 alone");
    assert_eq!(numbers(&trail), (100..200).chain(300..400).collect::<Vec<_>>());
}

/// Each step of the disk fails once, for each of three kinds of error; then it heals. What was answered as
/// appended is there, nothing comes twice, and neither does anything else than what was given.
#[test]
fn no_failing_step_of_the_disk_loses_what_was_answered() {
    for errno in [5, 28, 122] {
        for step in 0..60 {
            let folder = tempfile::tempdir().expect("folder");
            let (disk, faults) = FaultyDisk::new(folder.path());
            let Ok((trail, _)) = Trail::open(Arc::new(disk), Arc::new(TestRandom::default())) else {
                unreachable!("nothing fails yet")
            };
            faults.fail(faults.steps() + step, faults.steps() + step + 1, errno);
            let mut answered = Vec::new();
            let mut given = 0;
            for round in 0..8u64 {
                let batch: Vec<u64> = (round * 10..round * 10 + 10).collect();
                given += 10;
                let durable = if round % 2 == 0 { Durable::Yes } else { Durable::Soon };
                if trail.append(NOW + round / 4 * DAY_MS, encoded(batch.clone()), durable).is_ok() {
                    answered.extend(batch);
                }
                if round == 2 {
                    let _ = trail.seal();
                }
            }
            assert!(answered.len() >= 70, "one step fails one batch at most");
            let found = numbers(&trail);
            assert!(answered.iter().all(|n| found.contains(n)), "step {step}: {answered:?} {found:?}");
            drop(trail);
            let found = numbers(&at(&folder));
            assert!(answered.iter().all(|n| found.contains(n)), "step {step}, after: {answered:?} {found:?}");
            assert!(found.windows(2).all(|pair| pair[0] < pair[1]) && found.iter().all(|n| *n < given));
            assert_eq!(healthy(&folder), [], "step {step}");
        }
    }
}

#[test]
fn a_disk_that_stays_full_refuses_and_takes_again_when_there_is_room() {
    let folder = tempfile::tempdir().expect("folder");
    let (disk, faults) = FaultyDisk::new(folder.path());
    let trail = opened(disk);
    append(&trail, 0..10);
    faults.fail(faults.steps(), u64::MAX, 28);
    for _ in 0..3 {
        assert!(trail.append(NOW, encoded(10..20), Durable::Yes).is_err());
    }
    assert!(trail.append(NOW + DAY_MS, encoded(10..20), Durable::Yes).is_err(), "the log cannot be sealed");
    assert!(numbers(&trail).starts_with(&(0..10).collect::<Vec<_>>()), "what is there is found");
    faults.heal();
    trail.append(NOW + DAY_MS, encoded(10..20), Durable::Yes).expect("there is room");
    assert_eq!(numbers(&trail), (0..20).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against a list: appended in pieces that overlap, sealed and opened again anywhere.
    #[test]
    fn any_history_is_found_as_it_was_given(
        pieces in prop::collection::vec((prop::collection::btree_set(0u64..400, 0..60), 0u8..4), 1..10),
        limit in 1usize..60,
    ) {
        let folder = tempfile::tempdir().expect("folder");
        let mut trail = at(&folder);
        let mut expected = std::collections::BTreeSet::new();
        for (numbers, then) in pieces {
            let new: Vec<u64> = numbers.into_iter().filter(|n| expected.insert(*n)).collect();
            append(&trail, new);
            match then {
                0 => trail.seal().expect("sealed"),
                1 => {
                    drop(trail);
                    trail = at(&folder);
                }
                _ => {}
            }
        }
        let filter = Filter { account: Some(id(1)), ..Filter::default() };
        let found: Vec<u64> = all(&trail, &filter, Order::Newest, limit).iter().map(|e| e.1.at - NOW).collect();
        prop_assert_eq!(found, expected.iter().rev().copied().filter(|n| n % 2 == 1).collect::<Vec<_>>());
        prop_assert_eq!(numbers(&trail), expected.into_iter().collect::<Vec<_>>());
    }
}
