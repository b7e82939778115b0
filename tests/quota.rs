//! Storage quotas over real sockets: many pushers fill an organisation, in every way clients push, and never a byte over;
//! with SIGKILLs in between; reservations of uploads that go on; and the commands.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod endurance;
mod support;

use endurance::calls::{Outcome, Place, WAYS};
use endurance::{Daemon, Launch, sizes, verdict};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::http::PATIENCE;
use support::server::binary;
use support::wait::until_true;
use support::{Http, Rng, sha256};

const REPOSITORIES: [&str; 8] =
    ["acme/a", "acme/b", "acme/c", "acme/d/e", "acme/f", "acme/g", "acme/h/i/j", "acme/k"];
const QUOTA: u64 = 6_000_000;
/// A pusher gives up after so many refusals.
const REFUSALS: usize = 4;

/// What became of pushes: content by digest with its length.
#[derive(Default)]
struct Ledger {
    accepted: Mutex<BTreeMap<String, u64>>,
    /// No answer came: it may be there.
    unknown: Mutex<BTreeMap<String, u64>>,
    refused: AtomicUsize,
}

impl Ledger {
    /// Bytes of what is there for certain, each digest once.
    fn certain(&self) -> u64 {
        self.accepted.lock().unwrap().values().sum()
    }

    /// Those and what may be there.
    fn at_most(&self) -> u64 {
        let mut all = self.unknown.lock().unwrap().clone();
        all.extend(self.accepted.lock().unwrap().clone());
        all.values().sum()
    }

    fn note(&self, bytes: &[u8], outcome: Outcome) -> bool {
        let (digest, length) = (sha256(bytes), bytes.len() as u64);
        match outcome {
            Outcome::Acknowledged => {
                self.accepted.lock().unwrap().insert(digest, length);
            }
            Outcome::Refused(why) => {
                assert!(why.contains("403") && why.contains("has a storage quota of 0.006 GB"), "{why}");
                self.refused.fetch_add(1, Ordering::SeqCst);
                return false;
            }
            Outcome::Unanswered(_) => {
                self.unknown.lock().unwrap().insert(digest, length);
            }
            Outcome::NotSent(_) => {}
            other => panic!("{other:?}"),
        }
        true
    }
}

fn command(data: &Path, words: &[&str]) -> Output {
    binary().args(words).arg("--data").arg(data).output().expect("the binary starts")
}

fn ask(data: &Path, words: &[&str]) -> Value {
    let output = command(data, &[words, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn say(data: &Path, words: &[&str]) -> String {
    let output = command(data, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} in {value}"))
}

/// Pushes until it was refused often enough, or `stop`.
fn push_on(http: Http, seed: u64, ledger: &Ledger, stop: &AtomicBool) {
    let mut rng = Rng::seeded(seed);
    let mut refusals = 0;
    while refusals < REFUSALS && !stop.load(Ordering::SeqCst) {
        let bytes = match rng.below(10) {
            0..2 => Rng::seeded(rng.below(40) as u64).bytes(20_000),
            2..9 => {
                let length = 1 + rng.below(60_000);
                rng.bytes(length)
            }
            _ => {
                let length = 100_000 + rng.below(300_000);
                rng.bytes(length)
            }
        };
        let name = REPOSITORIES[rng.below(REPOSITORIES.len())].to_owned();
        let outcome = Place { http, name }.push_blob(WAYS[rng.below(WAYS.len())], &bytes);
        if !ledger.note(&bytes, outcome) {
            refusals += 1;
        }
    }
}

fn fill(http: Http, pushers: u64, seed: u64, ledger: &Ledger, stop: &AtomicBool) {
    std::thread::scope(|scope| {
        for number in 0..pushers {
            scope.spawn(move || push_on(http, seed.wrapping_add(number), ledger, stop));
        }
    });
}

/// A lab whose organisation `acme` is there and has the quota.
fn limited(launch: &Launch, ledger: &Ledger) -> Daemon {
    let server = launch.start();
    let first = Place { http: server.http(), name: "acme/a".to_owned() };
    assert!(ledger.note(b"first", first.push_blob(WAYS[0], b"first")));
    ask(&launch.data, &["quota", "set", "acme", "6MB"]);
    server
}

/// A refused upload is answered before its files are gone.
fn nothing_is_left(data: &Path) {
    until_true("no upload is left", PATIENCE, || {
        let status = ask(data, &["status"]);
        let left = std::fs::read_dir(data.join("uploads")).expect("there").count();
        number(&status["uploads"], "open") == 0 && left == 0
    });
}

#[test]
fn sixty_four_pushers_fill_an_organisation_and_never_a_byte_over() {
    let folder = tempfile::Builder::new().prefix("pierhead-quota-").tempdir().expect("a scratch folder");
    let launch = Launch::on(&folder.path().join("data"));
    let (ledger, stop, full) = (Ledger::default(), AtomicBool::new(false), AtomicBool::new(false));
    let server = limited(&launch, &ledger);
    let http = server.http();
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut looks = 0;
            while !full.load(Ordering::SeqCst) {
                let storage = ask(&launch.data, &["quota", "show", "acme"]);
                assert!(number(&storage, "used") <= QUOTA, "{storage}");
                looks += 1;
            }
            looks
        });
        fill(http, 64, sizes::seed(), &ledger, &stop);
        full.store(true, Ordering::SeqCst);
        sizes::note(&format!("looked {} times", watching.join().expect("never over")));
    });
    nothing_is_left(&launch.data);
    let storage = ask(&launch.data, &["quota", "show", "acme"]);
    assert_eq!(number(&storage, "used"), ledger.certain(), "{storage}");
    assert_eq!(number(&storage, "left"), QUOTA - ledger.certain());
    assert_eq!(number(&storage, "reserved"), 0);
    assert!(ledger.certain() > QUOTA - 400_000, "it was filled: {storage}");
    let status = ask(&launch.data, &["status"]);
    assert_eq!(number(&status["quotas"], "refused"), ledger.refused.load(Ordering::SeqCst) as u64);
    server.stop();
    verdict::sound(&launch.data);
    sizes::note(&format!(
        "{} bytes of {QUOTA} accepted in {} blobs, {} pushes refused",
        ledger.certain(),
        ledger.accepted.lock().unwrap().len(),
        ledger.refused.load(Ordering::SeqCst)
    ));
}

#[test]
fn quota_and_what_is_used_survive_sigkill_under_many_pushers() {
    let (rounds, seed) = (sizes::rounds(4, 60), sizes::seed());
    let folder = tempfile::Builder::new().prefix("pierhead-quota-").tempdir().expect("a scratch folder");
    let launch = Launch::on(&folder.path().join("data"));
    let ledger = Ledger::default();
    let mut server = limited(&launch, &ledger);
    let mut rng = Rng::seeded(seed);
    for round in 0..rounds {
        let (stop, wanted) = (AtomicBool::new(false), 5 + rng.below(25));
        let before = ledger.accepted.lock().unwrap().len() + ledger.refused.load(Ordering::SeqCst);
        let http = server.http();
        let log = std::thread::scope(|scope| {
            let (ledger, stop) = (&ledger, &stop);
            let filling =
                scope.spawn(move || fill(http, 16, seed.wrapping_add(round as u64 * 100), ledger, stop));
            let answered = || ledger.accepted.lock().unwrap().len() + ledger.refused.load(Ordering::SeqCst);
            until_true("pushes are answered", PATIENCE, || {
                answered() >= before + wanted || filling.is_finished()
            });
            stop.store(true, Ordering::SeqCst);
            server.kill()
        });
        assert!(!log.contains("panicked at"), "round {round}: {log}");
        verdict::sound(&launch.data);
        server = launch.start();
        let storage = ask(&launch.data, &["quota", "show", "acme"]);
        let used = number(&storage, "used");
        assert_eq!(number(&storage, "quota"), QUOTA, "{storage}");
        assert_eq!(number(&storage, "reserved"), 0, "{storage}");
        assert!(used <= QUOTA && used >= ledger.certain() && used <= ledger.at_most(), "{storage}");
    }
    // What was left of the quota can be used to the last byte.
    let left = number(&ask(&launch.data, &["quota", "show", "acme"]), "left");
    let place = Place { http: server.http(), name: "acme/last".to_owned() };
    let rest = rng.bytes(usize::try_from(left).expect("small"));
    if left > 0 {
        assert!(ledger.note(&rest, place.push_blob(WAYS[2], &rest)));
    }
    assert!(!ledger.note(b"one more", place.push_blob(WAYS[0], b"one more")));
    assert_eq!(number(&ask(&launch.data, &["quota", "show", "acme"]), "used"), QUOTA);
    server.stop();
    verdict::sound(&launch.data);
}

#[test]
fn what_an_upload_reserved_is_reserved_again_after_a_restart() {
    let folder = tempfile::Builder::new().prefix("pierhead-quota-").tempdir().expect("a scratch folder");
    let launch = Launch::on(&folder.path().join("data"));
    let ledger = Ledger::default();
    let server = limited(&launch, &ledger);
    let place = Place { http: server.http(), name: "acme/a".to_owned() };
    let location = place.request("POST", "blobs/uploads/").send().expect(202).location();
    let (bytes, kind) = (Rng::seeded(1).bytes(2_000_000), ("Content-Type", "application/octet-stream"));
    let patch = server.http().patch(&location).header(kind.0, kind.1).body(bytes.clone());
    let location = patch.send().expect(202).location();
    assert_eq!(number(&ask(&launch.data, &["quota", "show", "acme"]), "reserved"), 2_000_000);
    server.stop();
    let server = launch.start();
    let reserved = || number(&ask(&launch.data, &["quota", "show", "acme"]), "reserved");
    assert_eq!(reserved(), 2_000_000);
    let place = Place { http: server.http(), name: "acme/b".to_owned() };
    assert!(!ledger.note(&[7; 4_000_000], place.push_blob(WAYS[0], &[7; 4_000_000])), "no room beside it");
    let target = support::http::with_query(&location, &format!("digest={}", sha256(&bytes)));
    server.http().put(&target).send().expect(201);
    let storage = ask(&launch.data, &["quota", "show", "acme"]);
    assert_eq!((number(&storage, "used"), reserved()), (2_000_005, 0));
    server.stop();
    verdict::sound(&launch.data);
}

#[test]
fn quotas_are_listed_shown_set_and_cleared_by_commands() {
    let folder = tempfile::Builder::new().prefix("pierhead-quota-").tempdir().expect("a scratch folder");
    let launch = Launch::on(&folder.path().join("data"));
    let (ledger, data) = (Ledger::default(), launch.data.clone());
    let server = limited(&launch, &ledger);
    let place = Place { http: server.http(), name: "beta/a".to_owned() };
    assert!(ledger.note(&[1; 1_500_000], place.push_blob(WAYS[0], &[1; 1_500_000])));
    let table = "NAME          USED     QUOTA            LEFT  RESERVED  BLOBS\n\
                 acme  0.000000005 GB  0.006 GB  0.005999995 GB      0 GB      1\n\
                 beta       0.0015 GB         -               -      0 GB      1\n";
    let squeezed = |text: &str| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(squeezed(&say(&data, &["quota", "list"])), squeezed(table));
    let all = ask(&data, &["quota", "list"]);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2), "{all}");
    assert_eq!(ask(&data, &["quota", "set", "beta", "1500kB"])["left"], 0);
    assert!(!takes_more(&place));
    let shown = say(&data, &["org", "show", "beta"]);
    assert!(shown.contains("0.0015 GB  0.0015 GB"), "{shown}");
    assert_eq!(number(&ask(&data, &["org", "show", "beta"])["storage"], "used"), 1_500_000);
    let status = say(&data, &["status"]);
    assert!(status.contains("NEARLY FULL: organisation beta, 0.0015 GB of 0.0015 GB"), "{status}");
    assert_eq!(ask(&data, &["quota", "clear", "beta"])["quota"], Value::Null);
    assert!(takes_more(&place), "there is no quota any more");
    for (words, why) in [
        (&["quota", "set", "acme", "ten"][..], "expected a whole number"),
        (&["quota", "set", "10GB"], "give an organisation and a size"),
        (&["quota", "show", "nobody"], "does not exist"),
        (&["quota", "set", "acme", "1000000TB"], "at most"),
    ] {
        let output = command(&data, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{words:?}: {said}");
    }
    server.stop();
}

/// Whether one more byte is taken.
fn takes_more(place: &Place) -> bool {
    matches!(place.push_blob(WAYS[0], b"!"), Outcome::Acknowledged)
}
