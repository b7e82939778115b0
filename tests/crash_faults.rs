//! Writes that fail, on the real binary: strace makes the n-th call of a kind fail with EIO or
//! ENOSPC while a script of pushes, tag moves, mounts and deletes runs. The process must not die;
//! after a restart everything acknowledged is there and `fsck` is clean. One store goes through
//! all of it, so that damage would add up.
//!
//! strace counts calls for each thread, so the n-th call fails in every thread that gets so far: a
//! run has several faults.
//!
//! CI size: two steps a kind and error, and one disk that keeps failing; about 60 s. Full size:
//! every step of the script, about 5 min:
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
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::clients::{find, require};
use support::server::signal;
use support::wait::until_true;

/// What fails: a name, and the calls it is made of. `write` is left out: it is also what wakes
/// threads, and no file of a store is written with it after its first bytes.
const KINDS: [(&str, &str); 10] = [
    ("sync of data", "fdatasync"),
    ("sync", "fsync"),
    ("sync of the filesystem", "syncfs"),
    ("write", "pwrite64,pwritev,pwritev2"),
    ("rename", "rename,renameat,renameat2"),
    ("allocation", "fallocate"),
    ("cut or extension", "ftruncate"),
    ("new folder", "mkdir,mkdirat"),
    ("removal", "unlink,unlinkat,rmdir"),
    ("write-out", "sync_file_range"),
];
/// Within this a server is back after its disk is.
const MENDED: Duration = Duration::from_secs(60);
const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];

/// Requests of each of the two writers in one run.
const STEPS: usize = 20;

/// Steps of a kind tried at CI size.
const FEW: usize = 2;
/// And at full size: beyond it are calls that a start repeats for each of its folders.
const MANY: usize = 120;

#[derive(Default)]
struct Tally {
    runs: usize,
    refused_starts: usize,
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
                "{kind} fails with {error}: {} runs over {count} steps, {} starts refused",
                tally.runs, tally.refused_starts
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
    // Without --seccomp-bpf: a filter would stay after the tracer has let go, and fail every call.
    let fixed = ["-D", "-f", "-qq"];
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
            release(&server);
            goes_on(&server, load, inject);
            end(server, tally.runs, inject);
        }
    }
    check(data, load);
}

/// Ends the tracer, which lets the server go on (SIGTERM it would hand on to it): from here on the
/// disk works.
fn release(server: &Daemon) {
    let tracer = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
        let line =
            status.lines().find(|line| line.starts_with("TracerPid:")).expect("a line of it").to_owned();
        line.split_whitespace().nth(1).and_then(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid > 0)
    };
    signal(tracer().expect("the tracer is there"), Signal::KILL);
    until_true("the tracer lets go", MENDED, || tracer().is_none());
}

/// A disk that works again is used again, without a restart; and pulls work.
fn goes_on(server: &Daemon, load: &Load, inject: &str) {
    let probe = Place { http: server.http(), name: "probe/probe".to_owned() };
    until_true(&format!("pushes work again after {inject}"), MENDED, || {
        matches!(probe.push_blob(Way::Two, PROBE), Outcome::Acknowledged)
    });
    let place = Place { http: server.http(), name: load.writers[0].shelves[0].name.clone() };
    if let Some(state) = load.writers[0].shelves[0].ledger.certain() {
        for digest in state.manifests.keys().take(3) {
            place.request("GET", &format!("manifests/{digest}")).send().expect(200);
        }
    }
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
