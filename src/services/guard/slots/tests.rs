//! Slots in paused time: order, fairness between holders, those who leave, and slow bodies.

use std::collections::VecDeque;
use std::future::{pending, ready};

use bytes::Bytes;
use pierhead_storage_format::identity::Id;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::services::error::SourceError;
use crate::services::uploads::Source;

const WAIT: Duration = Duration::from_secs(60);

fn slots(each: usize) -> Slots {
    Slots::new(Rules { slots: each, wait: WAIT, least_rate: 1024 })
}

fn account(number: u8) -> Holder {
    Holder::Account(Id::from_bytes([number; 16]))
}

async fn take(slots: &Slots, holder: Holder) -> Slot {
    slots.take(holder, pending()).await.expect("a slot")
}

/// A request that waits, on a task of its own.
#[expect(clippy::disallowed_methods, reason = "a test's own task, which it awaits or aborts")]
fn waits(slots: &Slots, holder: Holder) -> JoinHandle<Result<Slot, NoSlot>> {
    let slots = slots.clone();
    tokio::spawn(async move { slots.take(holder, pending()).await })
}

/// Until so many wait.
async fn until_waiting(slots: &Slots, count: usize) {
    while slots.facts().waiting != count {
        tokio::task::yield_now().await;
    }
}

fn is_empty(slots: &Slots) -> bool {
    let facts = slots.facts();
    let remembered: usize = slots.0.shards.iter().map(|shard| lock(shard).len()).sum();
    (facts.held, facts.waiting, remembered) == (0, 0, 0)
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_get_slots_in_the_order_they_came_and_nothing_is_remembered() {
    let slots = slots(2);
    let (first, second) = (take(&slots, account(1)).await, take(&slots, account(1)).await);
    let mut waiting = VecDeque::new();
    for count in 1..=5 {
        waiting.push_back(waits(&slots, account(1)));
        until_waiting(&slots, count).await;
    }
    let mut free = Some(first);
    while let Some(next) = waiting.pop_front() {
        drop(free.take());
        free = Some(next.await.expect("no panic").expect("its turn"));
        assert_eq!(slots.facts().held, 2);
        assert!(waiting.iter().all(|later| !later.is_finished()), "nobody overtakes");
    }
    drop((free, second));
    assert!(is_empty(&slots));
}

#[tokio::test(start_paused = true)]
async fn one_holders_use_is_nothing_to_another() {
    let slots = slots(1);
    let _held = take(&slots, account(1)).await;
    let waiting = waits(&slots, account(1));
    until_waiting(&slots, 1).await;
    let address = |text: &str| Holder::at(Some(text.parse().expect("an address")));
    for (name, other) in [
        ("another account", account(2)),
        ("an address", address("192.0.2.1")),
        ("another address", address("192.0.2.2")),
        ("an IPv6 network", address("2001:db8::1")),
        ("this host", Holder::at(None)),
    ] {
        drop(slots.take(other, ready(())).await.expect(name));
    }
    assert_eq!(address("2001:db8::1"), address("2001:db8::2"), "one /64 is one holder");
    let uses = slots.busiest(5);
    assert_eq!(uses, [Use { holder: account(1), held: 1, waiting: 1 }]);
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn a_request_is_refused_when_its_time_is_over_and_not_before() {
    let slots = slots(1);
    let held = take(&slots, account(1)).await;
    let begun = Instant::now();
    let refused = slots.take(account(1), pending()).await;
    assert!(matches!(refused, Err(NoSlot::Taken)));
    assert_eq!(begun.elapsed().as_secs(), WAIT.as_secs());
    assert_eq!((slots.facts().refused, slots.facts().waiting), (1, 0));
    drop(held);
    assert!(is_empty(&slots));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_or_is_dropped_while_waiting_gives_his_place_up() {
    let slots = slots(1);
    let held = take(&slots, account(1)).await;
    let left = tokio::time::sleep(Duration::from_secs(3));
    assert!(matches!(slots.take(account(1), left).await, Err(NoSlot::Left)));
    let dropped = waits(&slots, account(1));
    until_waiting(&slots, 1).await;
    dropped.abort();
    until_waiting(&slots, 0).await;
    let next = waits(&slots, account(1));
    until_waiting(&slots, 1).await;
    drop(held);
    drop(next.await.expect("no panic").expect("nobody is in front"));
    assert!(is_empty(&slots));
}

#[tokio::test]
async fn a_slot_given_to_a_request_that_ends_in_that_moment_goes_to_the_next() {
    let slots = slots(1);
    for _ in 0..100 {
        let held = take(&slots, account(1)).await;
        let gone = waits(&slots, account(1));
        let next = waits(&slots, account(1));
        until_waiting(&slots, 2).await;
        drop(held); // sent, and perhaps not received yet
        gone.abort();
        drop(gone.await);
        drop(next.await.expect("no panic").expect("its turn"));
        assert!(is_empty(&slots));
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_may_wait_are_refused_at_once() {
    let slots = slots(1);
    let _held = take(&slots, account(1)).await;
    let waiting: Vec<_> = (0..WAITING).map(|_| waits(&slots, account(1))).collect();
    until_waiting(&slots, WAITING).await;
    let begun = Instant::now();
    assert!(matches!(slots.take(account(1), pending()).await, Err(NoSlot::Taken)));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    waiting.iter().for_each(JoinHandle::abort);
}

/// Brings `piece` after each `pause`, so often.
struct Dripping {
    piece: usize,
    pause: Duration,
    left: u32,
}

impl Source for Dripping {
    async fn next(&mut self) -> Option<Result<Bytes, SourceError>> {
        let left = self.left.checked_sub(1)?;
        tokio::time::sleep(self.pause).await;
        self.left = left;
        Some(Ok(Bytes::from(vec![7; self.piece])))
    }
}

/// How long the body of a request with a slot was taken, and how it ended.
async fn drips(slots: &Slots, piece: usize) -> (u64, Option<SourceError>) {
    let mut slot = Some(take(slots, account(1)).await);
    let begun = Instant::now();
    let pause = Duration::from_millis(900);
    let mut body = Paced::new(Dripping { piece, pause, left: 300 }, &mut slot);
    let end = loop {
        match body.next().await {
            None => break None,
            Some(Err(error)) => break Some(error),
            Some(Ok(_)) => {}
        }
    };
    (begun.elapsed().as_secs(), end)
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_cut_while_another_waits_for_its_slot_and_only_then() {
    let cases = [
        ("slow, and one waits", 1, true, Some(SourceError::TooSlow)),
        ("slow, and nobody waits", 1, false, None),
        ("not slow, and one waits", 1000, true, None),
    ];
    for (name, piece, is_waited_for, expected) in cases {
        let slots = Slots::new(Rules { slots: 1, wait: WAIT * 10, least_rate: 1024 });
        let (slow, other) = tokio::join!(drips(&slots, piece), async {
            while slots.facts().held == 0 {
                tokio::task::yield_now().await;
            }
            let other = is_waited_for.then(|| waits(&slots, account(1)));
            match other {
                Some(other) => Some(other.await),
                None => None,
            }
        });
        let (took, end) = slow;
        assert_eq!(end, expected, "{name}");
        assert_eq!(took < 70, expected.is_some(), "{name}: {took} s");
        assert!(took > 59, "{name}: not before a minute of it: {took} s");
        drop(other);
        assert!(is_empty(&slots), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_slow_uploads_are_cut_than_requests_wait() {
    let slots = slots(3);
    let slow = async { tokio::join!(drips(&slots, 1), drips(&slots, 1), drips(&slots, 1)) };
    let (ends, other) = tokio::join!(slow, async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        take(&slots, account(1)).await
    });
    let cut = [ends.0, ends.1, ends.2].iter().filter(|(_, end)| end.is_some()).count();
    assert_eq!((cut, slots.facts().cut), (1, 1));
    drop(other);
    assert!(is_empty(&slots));
}

#[tokio::test(start_paused = true)]
async fn a_small_body_that_has_come_gives_its_slot_back_and_a_large_one_keeps_it() {
    for (name, piece, is_kept) in [("small", 1 << 10, false), ("large", 1 << 20, true)] {
        let slots = slots(1);
        let mut slot = Some(take(&slots, account(1)).await);
        let mut body = Paced::new(Dripping { piece, pause: Duration::ZERO, left: 2 }, &mut slot);
        while let Some(bytes) = body.next().await {
            bytes.expect("comes whole");
        }
        assert_eq!((slot.is_some(), slots.facts().held), (is_kept, usize::from(is_kept)), "{name}");
    }
}
