//! What a rate promises, over random times, and what very many keys cost.

use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use super::{Limiter, Rate, Wait};
use crate::seams::TestClock;

fn limiter(capacity: usize, count: u32, period_ms: u64) -> (Limiter<u128>, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    let limiter = Limiter::new(capacity, clock.clone());
    limiter.set(Some(Rate { count, period_ms }));
    (limiter, clock)
}

/// How often in a row `key` is let through.
fn taken(limiter: &Limiter<u128>, key: u128) -> usize {
    (0..100_000).take_while(|_| limiter.take(&key).is_ok()).count()
}

#[test]
fn a_burst_is_let_through_then_the_rate_and_the_wait_that_is_told_is_enough() {
    let (limiter, clock) = limiter(1000, 10, 1000);
    clock.set(5_000);
    assert_eq!(taken(&limiter, 1), 10);
    assert_eq!(limiter.take(&1), Err(Wait(100)));
    assert_eq!(limiter.look(&1), Err(Wait(100)));
    assert_eq!(limiter.look(&2), Ok(()), "another key");
    clock.set(5_100);
    assert_eq!((limiter.look(&1), limiter.look(&1)), (Ok(()), Ok(())), "looking takes nothing");
    assert_eq!(taken(&limiter, 1), 1);
    clock.set(6_100);
    assert_eq!(taken(&limiter, 1), 10, "no more than a burst is saved up");
}

#[test]
fn another_rate_applies_at_once_and_fills_nobody_s_bucket() {
    let (limiter, clock) = limiter(1000, 10, 1000);
    clock.set(60_000);
    assert_eq!(taken(&limiter, 1), 10);
    limiter.set(Some(Rate { count: 10, period_ms: 1000 }));
    assert_eq!(taken(&limiter, 1), 0, "the same rate again is no present");
    limiter.set(Some(Rate { count: 20, period_ms: 1000 }));
    assert!(taken(&limiter, 1) <= 10, "what was taken counts");
    limiter.set(None);
    assert_eq!(taken(&limiter, 1), 100_000);
    limiter.set(Some(Rate { count: 10, period_ms: 1000 }));
    assert_eq!(taken(&limiter, 1), 0, "switched off in between or not");
}

#[test]
fn a_looser_rate_frees_who_waited_for_a_stricter_one_as_soon_as_it_would_have() {
    // The old rate and the new one, and how long after the change the next one is taken at the latest.
    let cases = [
        (
            "from a day to a second",
            Rate { count: 5, period_ms: 86_400_000 },
            Rate { count: 10, period_ms: 1000 },
            100,
        ),
        (
            "more at once",
            Rate { count: 5, period_ms: 3_600_000 },
            Rate { count: 3600, period_ms: 3_600_000 },
            1000,
        ),
        ("a stricter one", Rate { count: 10, period_ms: 1000 }, Rate { count: 5, period_ms: 60_000 }, 12_000),
    ];
    for (name, before, after, within) in cases {
        let (limiter, clock) = limiter(10, before.count, before.period_ms);
        clock.set(5_000);
        for key in 0..200 {
            let _ = taken(&limiter, key);
        }
        limiter.set(Some(after));
        for key in [0, 199, 1000] {
            assert!(taken(&limiter, key) <= after.count as usize, "{name}");
        }
        clock.set(5_000 + within);
        for key in [0, 199] {
            assert_eq!(limiter.look(&key), Ok(()), "{name}: {key}");
        }
    }
}

#[test]
fn a_multiple_over_a_window_is_what_it_says() {
    let rate = Rate { count: 600, period_ms: 60_000 };
    assert_eq!(rate.times(10, 60_000), Rate { count: 6000, period_ms: 60_000 });
    let fast = Rate { count: 10, period_ms: 1_000 };
    assert_eq!(fast.times(3, 2_000), Rate { count: 60, period_ms: 2_000 });
    let rare = Rate { count: 5, period_ms: 3_600_000 };
    assert_eq!(rare.times(10, 60_000), Rate { count: 50, period_ms: 3_600_000 }, "over its own period");
    let most = Rate { count: u32::MAX, period_ms: 1 }.times(u32::MAX, 86_400_000);
    assert_eq!(most.count, u32::MAX);
}

#[test]
#[expect(clippy::print_stdout, reason = "a figure that is read with --nocapture")]
fn very_many_keys_take_no_more_room_than_was_agreed_and_those_who_were_there_go_on() {
    const CAPACITY: usize = 16_384;
    let (limiter, clock) = limiter(CAPACITY, 100, 60_000);
    clock.set(1_000_000);
    assert_eq!(limiter.take(&0), Ok(()));
    let begun = Instant::now();
    let let_in = (1..=200_000).filter(|key| limiter.take(key).is_ok()).count();
    let each = begun.elapsed() / 200_000;
    println!("200,000 new keys: {} buckets, {let_in} let in, {each:?} each", limiter.keys());
    assert!(limiter.keys() <= CAPACITY, "{}", limiter.keys());
    assert!(let_in < 2 * CAPACITY, "newcomers beyond that share: {let_in}");
    assert_eq!(taken(&limiter, 0), 99, "who was there has his own bucket still");
    // Once those are full again, which tells nothing, there is room.
    clock.set(1_000_000 + 61_000);
    assert_eq!(taken(&limiter, 2_000_000), 100);
}

#[test]
#[expect(clippy::print_stdout, reason = "a figure that is read with --nocapture")]
fn a_question_costs_far_less_than_a_request() {
    let (limiter, _) = limiter(65_536, 1_000_000_000, 1000);
    let begun = Instant::now();
    for round in 0..500_000u128 {
        let _ = limiter.take(&(round % 1000));
    }
    let each = begun.elapsed() / 500_000;
    println!("a question: {each:?}");
    assert!(each.as_micros() < 20, "{each:?} in a build without optimisation");
}

proptest! {
    /// L1, from every one that was let through to every later one.
    #[test]
    fn never_more_than_the_rate_is_let_through(
        count in 1u32..50,
        period_ms in 1u64..5_000,
        steps in prop::collection::vec((0u64..700, 1usize..40), 1..60),
    ) {
        let (limiter, clock) = limiter(100, count, period_ms);
        let (mut now, mut let_through) = (10_000u64, Vec::new());
        for (wait, asks) in steps {
            now += wait;
            clock.set(now);
            let_through.extend((0..asks).filter(|_| limiter.take(&7).is_ok()).map(|_| now));
        }
        for (first, begun) in let_through.iter().enumerate() {
            for (last, ended) in let_through.iter().enumerate().skip(first) {
                let allowed = u64::from(count) + u64::from(count) * (ended - begun) / period_ms + 1;
                prop_assert!((last - first + 1) as u64 <= allowed, "{} in {} ms", last - first + 1, ended - begun);
            }
        }
    }

    /// Whoever waits as he was told is let in.
    #[test]
    fn the_wait_that_is_told_is_enough(count in 1u32..1000, period_ms in 1u64..100_000, asks in 1usize..2000) {
        let (limiter, clock) = limiter(100, count, period_ms);
        clock.set(50_000);
        let refused = (0..asks).find_map(|_| limiter.take(&7).err());
        if let Some(Wait(ms)) = refused {
            clock.set(50_000 + ms + 1);
            prop_assert_eq!(limiter.take(&7), Ok(()));
        }
    }
}
