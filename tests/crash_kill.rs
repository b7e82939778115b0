//! A server is killed with SIGKILL at random moments under concurrent pushes, tag moves, mounts and
//! deletes; after each kill `fsck` must be clean and the restarted server must have every
//! acknowledged change and no half of another. Rounds follow on the same data, so that damage would
//! add up; some of the starts in between are killed as well.
//!
//! CI size: 12 rounds, about 12 s. Full size: 300 rounds, about 6 min:
//! `PIERHEAD_FULL=1 cargo test --test crash_kill -- --nocapture`
//! (`PIERHEAD_ROUNDS=n`, `PIERHEAD_TEST_SEED=n`). `PIERHEAD_TEST_PEER=docker-registry` runs pushes
//! and tag moves against Debian's registry instead.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod endurance;
mod support;

use endurance::daemon::peer;
use endurance::{Habits, Launch, Load, sizes, verdict};
use std::time::Duration;
use support::Rng;

/// Rounds on one store; then a new one, so that a full run stays within some gigabytes.
const ROUNDS_OF_A_STORE: usize = 50;

#[test]
fn acknowledged_changes_survive_sigkill_at_random_moments() {
    let (rounds, seed) = (sizes::rounds(12, 300), sizes::seed());
    let mut rng = Rng::seeded(seed);
    let mut total = 0;
    for (number, start) in (0..rounds).step_by(ROUNDS_OF_A_STORE).enumerate() {
        let count = ROUNDS_OF_A_STORE.min(rounds - start);
        total += one_store(seed.wrapping_add(number as u64), count, &mut rng);
    }
    sizes::note(&format!("{rounds} kills, {total} acknowledged changes, none lost (seed {seed})"));
}

/// Acknowledged changes of `rounds` kills on one store.
fn one_store(seed: u64, rounds: usize, rng: &mut Rng) -> u64 {
    let folder = tempfile::Builder::new().prefix("pierhead-kill-").tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    // Small, so that segments and snapshots come and go under load.
    let launch = Launch::on(&data).set("STORAGE_SNAPSHOT_AFTER", "96KiB");
    let mut load = Load::new(5, seed, Habits::usual());
    let mut server = launch.start();
    for round in 0..rounds {
        let changes = 20 + rng.below(200) as u64;
        let pause = rng.below(3000);
        let log = load.round(server.http(), changes, move || {
            (0..pause).for_each(|_| std::hint::spin_loop());
            server.kill()
        });
        assert!(!log.contains("panicked at"), "round {round}: the server panicked\n{log}");
        if !peer() {
            kill_starts(&launch, rng);
            verdict::sound(&data);
        }
        server = launch.start();
        let files = (!peer()).then_some(data.as_path());
        verdict::kept(server.http(), files, &mut load.writers, &load.common);
    }
    server.stop();
    if !peer() {
        verdict::sound(&data);
    }
    load.acknowledged()
}

/// Recovery is not spared: in some rounds starts are killed as well, before or after they listen.
fn kill_starts(launch: &Launch, rng: &mut Rng) {
    for _ in 0..rng.below(4).saturating_sub(1) {
        let log = launch.start_and_kill(Duration::from_micros(rng.below(80_000) as u64));
        assert!(!log.contains("panicked at"), "the server panicked\n{log}");
    }
}
