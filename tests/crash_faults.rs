//! Writes that fail, on the real binary: strace makes the n-th call of a kind fail with EIO or
//! ENOSPC while a script of pushes, tag moves, mounts and deletes runs. The process must not die;
//! after a restart everything acknowledged is there and `fsck` is clean. One store goes through
//! all of it, so that damage would add up.
//!
//! strace counts calls for each thread, so the n-th call fails in every thread that gets so far: a
//! run has several faults.
//!
//! CI size: three steps a kind and error, and one disk that keeps failing; about 60 s. Full size:
//! every step of the script, about 20 min:
//! `PIERHEAD_FULL=1 cargo test --test crash_faults -- --nocapture`. Needs strace; without it the
//! test says so and does nothing, unless `PIERHEAD_REQUIRE_CLIENTS=1`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod endurance;
mod support;

use endurance::calls::{Outcome, Place, Way};
use endurance::{Daemon, Habits, Launch, Load, sizes, verdict};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::clients::{find, require};

/// What fails: a name, and the calls it is made of. `write` is left out: it is also what wakes
/// threads, and no file of a store is written with it after its first bytes.
const KINDS: [(&str, &str); 9] = [
    ("sync of data", "fdatasync"),
    ("sync", "fsync"),
    ("write", "pwrite64,pwritev,pwritev2"),
    ("rename", "rename,renameat,renameat2"),
    ("allocation", "fallocate"),
    ("cut or extension", "ftruncate"),
    ("new folder", "mkdir,mkdirat"),
    ("removal", "unlink,unlinkat,rmdir"),
    ("write-out", "sync_file_range"),
];
const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];

/// Requests of each of the two writers in one run.
const STEPS: usize = 20;

/// Steps of a kind tried at CI size.
const FEW: usize = 3;
/// And at full size: beyond it are calls that a start repeats for each of its folders.
const MANY: usize = 120;

#[derive(Default)]
struct Tally {
    runs: usize,
    refused_starts: usize,
    /// Runs after which pushes went on without a restart.
    went_on: usize,
}

#[test]
fn failing_writes_lose_nothing_acknowledged_and_do_not_end_the_server() {
    if !require(&["strace"]) {
        return;
    }
    let folder = tempfile::Builder::new().prefix("pierhead-faults-").tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    let mut load = Load::new(2, sizes::seed(), Habits { full_is_unknown: true, ..Habits::usual() });
    let last = steps(&data, folder.path(), &mut load);
    for (kind, calls) in KINDS {
        let count = calls.split(',').filter_map(|call| last.get(call)).copied().max().unwrap_or(0);
        for error in ERRORS {
            let mut tally = Tally::default();
            for when in chosen(count) {
                tally.runs += 1;
                run(&data, &mut load, &format!("{calls}:error={error}:when={when}"), &mut tally);
            }
            sizes::note(&format!(
                "{kind} fails with {error}: {} of {count} steps, {} starts refused, {} went on without a restart",
                tally.runs, tally.refused_starts, tally.went_on
            ));
        }
    }
}

/// The steps to try, and at the end one from which on everything fails.
fn chosen(count: usize) -> Vec<String> {
    let tried = if sizes::full() { count.min(MANY) } else { FEW.min(count) };
    let step = |number: usize| 1 + number * count.saturating_sub(1) / tried.max(2).saturating_sub(1);
    let mut all: Vec<String> = (0..tried).map(|number| step(number).to_string()).collect();
    if count > 0 {
        all.push(format!("{}+", count.div_ceil(3)));
    }
    all
}

/// Calls of a run without faults, by name: the most that one thread makes. Not of the first run,
/// which makes the store's hundreds of folders.
fn steps(data: &Path, scratch: &Path, load: &mut Load) -> BTreeMap<String, usize> {
    launch(data).start().stop();
    let trace = scratch.join("trace");
    let calls: Vec<&str> = KINDS.iter().map(|(_, calls)| *calls).collect();
    let words = strace(&["-o", &trace.to_string_lossy(), "-e", &format!("trace={}", calls.join(","))]);
    let server = launch(data).under(&words).start();
    load.script(server.http(), STEPS);
    server.stop();
    check(data, load);
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in std::fs::read_to_string(&trace).expect("strace writes a trace").lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        *counts.entry((thread.to_owned(), call.to_owned())).or_default() += 1;
    }
    assert!(!counts.is_empty(), "strace saw no call of the server");
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for ((_, call), count) in counts {
        let entry = most.entry(call).or_default();
        *entry = count.max(*entry);
    }
    most
}

/// Segments and snapshots come often, so that faults meet them.
fn launch(data: &Path) -> Launch {
    Launch::on(data).set("STORAGE_SNAPSHOT_AFTER", "64KiB")
}

/// The tracer beside the server, so that the child is the server itself.
fn strace(words: &[&str]) -> Vec<String> {
    let program: PathBuf = find("strace").expect("strace is required above");
    let fixed = ["-D", "-f", "-qq", "--seccomp-bpf"];
    let words = fixed.iter().chain(words).map(|word| (*word).to_owned());
    std::iter::once(program.to_string_lossy().into_owned()).chain(words).collect()
}

/// One run with one fault.
fn run(data: &Path, load: &mut Load, inject: &str, tally: &mut Tally) {
    let calls = inject.split(':').next().expect("calls come first");
    let words = ["-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")];
    match launch(data).under(&strace(&words)).try_start() {
        Err(refusal) => {
            let said = refusal.status.code().is_some() && !refusal.log.contains("panicked at");
            assert!(said, "{inject}: the start ended with {}\n{}", refusal.status, refusal.log);
            tally.refused_starts += 1;
        }
        Ok(server) => {
            load.script(server.http(), STEPS);
            tally.went_on += usize::from(goes_on(&server, load));
            end(server, tally.runs, inject);
        }
    }
    check(data, load);
}

/// Whether a push works now, and in any case that pulls do.
fn goes_on(server: &Daemon, load: &Load) -> bool {
    let place = Place { http: server.http(), name: load.writers[0].shelves[0].name.clone() };
    if let Some(state) = load.writers[0].shelves[0].ledger.certain() {
        for digest in state.manifests.keys().take(3) {
            place.request("GET", &format!("manifests/{digest}")).send().expect(200);
        }
    }
    let place = Place { http: server.http(), name: "probe/probe".to_owned() };
    matches!(place.push_blob(Way::Two, PROBE), Outcome::Acknowledged)
}

/// Pushed after each run; nobody's shelf holds it.
const PROBE: &[u8] = b"probe";

/// In turns a crash and an ordered stop, whose status a failing disk may spoil.
fn end(server: Daemon, number: usize, inject: &str) {
    let log = if number.is_multiple_of(2) { server.kill() } else { server.stop_somehow().1 };
    assert!(!log.contains("panicked at"), "{inject}: the server panicked\n{log}");
}

/// The store without faults.
fn check(data: &Path, load: &mut Load) {
    verdict::sound(data);
    let server = launch(data).start();
    load.writers[0].stored.insert(support::sha256(PROBE));
    verdict::kept(server.http(), Some(data), &mut load.writers, &load.common);
    load.script(server.http(), 2);
    server.stop();
}
