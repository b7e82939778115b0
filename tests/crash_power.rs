//! The power is cut under load: the data directory is on an ext4 of its own, and the ioctl
//! FS_IOC_SHUTDOWN ("no log flush") drops all that was not flushed. Then unmount, mount (ext4
//! replays its journal), `fsck`, start, and the ledger is compared. Answers that arrive after the call
//! to cut are not counted as acknowledgements (`calls::power_is_going` says why).
//!
//! CI size: 8 rounds, about 10 s. Full size: 300 rounds, about 6 min:
//! `PIERHEAD_FULL=1 cargo test --test crash_power -- --nocapture`
//! (`PIERHEAD_ROUNDS=n`, `PIERHEAD_TEST_SEED=n`). `PIERHEAD_TEST_PEER=docker-registry` runs the
//! pushes against Debian's registry instead. Needs root, ext4, loop devices and python3.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod endurance;
mod support;

use endurance::calls::power_is_going;
use endurance::daemon::peer;
use endurance::filesystem::{Filesystem, Switch};
use endurance::{Habits, Launch, Load, sizes, verdict};
use std::fs::{self, File};
use std::io::Write;
use support::Rng;
use support::clients::require_as_root;

const TOOLS: [&str; 4] = ["mkfs.ext4", "mount", "umount", "python3"];

/// Rounds on one filesystem, and its size: what that many rounds store, with room to spare.
const ROUNDS_OF_A_STORE: usize = 30;
const MEBIBYTES: u64 = 2048;

/// The harness itself: without this a test that finds no loss would show nothing.
#[test]
fn a_power_cut_takes_what_was_not_flushed_and_only_that() {
    if !require_as_root(&TOOLS) {
        return;
    }
    let mut filesystem = Filesystem::ext4(64);
    let root = filesystem.root();
    let write = |name: &str, flush: bool| {
        let mut file = File::create(root.join(name)).expect("a new file");
        file.write_all(&[7; 5000]).expect("space for it");
        if flush {
            file.sync_all().expect("a flush");
            File::open(&root).and_then(|folder| folder.sync_all()).expect("a flush of the folder");
        }
    };
    write("flushed", true);
    write("not flushed", false);
    Switch::of(&root).cut();
    assert!(File::create(root.join("later")).is_err(), "nothing can be written after the cut");
    filesystem.unmount();
    filesystem.mount();
    assert_eq!(fs::read(root.join("flushed")).expect("it was flushed"), [7; 5000]);
    let lost = fs::read(root.join("not flushed")).unwrap_or_default();
    assert!(lost != [7; 5000], "a file nobody flushed has survived: this cut cuts nothing");
}

#[test]
fn acknowledged_changes_survive_a_power_cut_under_load() {
    if !require_as_root(&TOOLS) {
        return;
    }
    let (rounds, seed) = (sizes::rounds(8, 300), sizes::seed());
    let mut rng = Rng::seeded(seed);
    let mut total = 0;
    for (number, start) in (0..rounds).step_by(ROUNDS_OF_A_STORE).enumerate() {
        let count = ROUNDS_OF_A_STORE.min(rounds - start);
        total += one_store(seed.wrapping_add(number as u64), count, &mut rng);
    }
    sizes::note(&format!("{rounds} power cuts, {total} acknowledged changes, none lost (seed {seed})"));
}

/// Acknowledged changes of `rounds` cuts on one filesystem.
fn one_store(seed: u64, rounds: usize, rng: &mut Rng) -> u64 {
    let mut filesystem = Filesystem::ext4(MEBIBYTES);
    let data = filesystem.data();
    // The floor below which uploads are refused is for disks, not for this file; snapshots are made
    // often, so that cuts meet them.
    let launch = Launch::on(&data)
        .set("STORAGE_RESERVE", "16MiB")
        .set("STORAGE_BALLAST", "8MiB")
        .set("STORAGE_SNAPSHOT_AFTER", "96KiB");
    let mut load =
        Load::new(5, seed, Habits { stops_at_failure: true, full_is_unknown: true, ..Habits::usual() });
    for round in 0..rounds {
        let server = launch.start();
        if round > 0 {
            let files = (!peer()).then_some(data.as_path());
            verdict::kept(server.http(), files, &mut load.writers, &load.common);
        }
        let power = Switch::of(&filesystem.root());
        let changes = 10 + rng.below(200) as u64;
        let log = load.round(server.http(), changes, move || {
            power_is_going(true);
            power.cut();
            server.kill()
        });
        power_is_going(false);
        assert!(!log.contains("panicked at"), "round {round}: the server panicked\n{log}");
        filesystem.unmount();
        filesystem.mount();
        if !peer() {
            verdict::sound(&data);
        }
    }
    let server = launch.start();
    verdict::kept(server.http(), (!peer()).then_some(data.as_path()), &mut load.writers, &load.common);
    server.stop();
    if !peer() {
        verdict::sound(&data);
    }
    load.acknowledged()
}
