//! Upload slots on the real binary: so many bodies of an account at once, the next unread until its turn.
//!
//! A client that asks `Expect: 100-continue` is told to send when its body is read first: that is how these
//! tests see whose turn it is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

mod support;

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde_json::Value;
use support::http::{Request, Response, read_response};
use support::wait::{until, until_true};
use support::{Image, Kind, Repository, Rng, Server, Settings, sha256};

const SOON: Duration = Duration::from_secs(60);
const SLOTS: usize = 20;
/// Larger than what gives its slot back before the blob is kept.
const LAYER: usize = 200_000;

/// A whole layer on its way, its body held back.
struct Upload {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Upload {
    fn begin(repository: &Repository, login: Option<&str>, rng: &mut Rng) -> Self {
        let bytes = rng.bytes(LAYER);
        let target = format!("blobs/uploads/?digest={}", sha256(&bytes));
        let head = signed(repository.request("POST", &target), login)
            .header("Content-Length", bytes.len())
            .header("Expect", "100-continue");
        let mut stream = repository.http.connect().expect("a connection");
        stream.write_all(&head.head_bytes()).expect("the head is sent");
        Self { stream, bytes }
    }

    /// Whether it was told to send.
    fn has_its_turn(&self) -> bool {
        let mut told = [0; 12];
        self.stream.set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut told);
        self.stream.set_nonblocking(false).expect("a socket");
        match peeked {
            Ok(12) => assert_eq!(String::from_utf8_lossy(&told), "HTTP/1.1 100", "no other answer yet"),
            Ok(0) => panic!("the connection was closed"),
            Ok(_) => return false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("the connection broke: {error}"),
        }
        true
    }

    fn finish(mut self) -> Response {
        self.stream.write_all(&self.bytes).expect("the body is sent");
        self.answer()
    }

    fn answer(self) -> Response {
        read_response(&mut BufReader::new(self.stream), "POST", "POST a layer".to_owned()).expect("an answer")
    }
}

fn signed(request: Request, login: Option<&str>) -> Request {
    match login {
        Some(login) => request.header("Authorization", login),
        None => request,
    }
}

fn command(server: &Server, line: &str) -> Value {
    let arguments: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    let output = server.command(&arguments);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn slots(server: &Server) -> (u64, u64) {
    let slots = command(server, "status")["slots"].clone();
    (slots["held"].as_u64().expect("a number"), slots["waiting"].as_u64().expect("a number"))
}

fn until_slots(server: &Server, held: usize, waiting: usize) {
    until_true("the slots are as expected", SOON, || slots(server) == (held as u64, waiting as u64));
}

fn turns(uploads: &[Upload]) -> usize {
    uploads.iter().filter(|upload| upload.has_its_turn()).count()
}

/// An account with its administrator and an organisation of its own; his Authorization.
fn account(server: &Server, name: &str) -> String {
    let made = command(server, &format!("account add {name} --user {name}-admin --generate-password"));
    command(server, &format!("org add {name} --account {name}"));
    let password = made["administrator"]["password"].as_str().or(made["password"].as_str());
    let login =
        format!("{name}/{name}-admin:{}", password.unwrap_or_else(|| panic!("no password in {made}")));
    let login = format!("Basic {}", Base64::encode_string(login.as_bytes()));
    // A password that was checked once is known for a while: many at once would wait for one another.
    server.http().get("/v2/").header("Authorization", &login).send().expect(200);
    login
}

#[test]
fn of_25_uploads_of_an_account_20_run_and_5_wait_unread_and_finish_and_another_account_is_not_held_up() {
    let Some(server) = Server::own(Settings::default().closed()) else { return };
    command(&server, "init --generate-password");
    let (greedy, other) = (account(&server, "greedy"), account(&server, "other"));
    let repository = Repository::named(server.http(), "greedy/image");
    let mut rng = Rng::named("25 uploads");
    let mut running: Vec<Upload> =
        (0..SLOTS).map(|_| Upload::begin(&repository, Some(&greedy), &mut rng)).collect();
    until_true("20 run", SOON, || turns(&running) == SLOTS);
    let mut waiting = Vec::new();
    for count in 1..=5 {
        waiting.push(Upload::begin(&repository, Some(&greedy), &mut rng));
        until_slots(&server, SLOTS, count);
    }
    assert_eq!(turns(&waiting), 0, "not a byte of these is asked for");
    let shown = String::from_utf8(server.command(&["status"]).stdout).expect("text");
    assert!(shown.contains("account greedy: 20 held, 5 waiting"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80 || line.starts_with("data")), "{shown}");

    let elsewhere = Repository::named(server.http(), "other/image");
    Upload::begin(&elsewhere, Some(&other), &mut rng).finish().expect(201);
    let bytes = rng.bytes(1 << 20);
    let target = format!("blobs/uploads/?digest={}", sha256(&bytes));
    signed(elsewhere.request("POST", &target), Some(&other)).body(bytes).send().expect(201);
    assert_eq!(slots(&server), (SLOTS as u64, 5), "the other account's is nothing to it");

    let mut digests = Vec::new();
    for number in 0..5 {
        let first = running.remove(0);
        digests.push(sha256(&first.bytes));
        first.finish().expect(201);
        until_true("the first who waits has his turn", SOON, || waiting[number].has_its_turn());
        assert_eq!(turns(&waiting), number + 1, "one for one, in their order");
    }
    for upload in running.into_iter().chain(waiting) {
        digests.push(sha256(&upload.bytes));
        upload.finish().expect(201);
    }
    for digest in digests {
        let asked = signed(repository.request("HEAD", &format!("blobs/{digest}")), Some(&greedy));
        asked.send().expect(200);
    }
    until_slots(&server, 0, 0);
}

#[test]
fn a_request_that_waited_too_long_is_told_to_come_again_and_those_with_a_slot_go_on() {
    let settings = Settings::default().set("REGISTRY_SLOT_WAIT", "1s").set("REGISTRY_UPLOAD_SLOTS", "2");
    let Some(server) = Server::own(settings) else { return };
    let (repository, mut rng) = (server.repository(), Rng::named("too long"));
    let running: Vec<Upload> = (0..2).map(|_| Upload::begin(&repository, None, &mut rng)).collect();
    until_true("two run", SOON, || turns(&running) == 2);
    let begun = Instant::now();
    let refused = Upload::begin(&repository, None, &mut rng).answer();
    assert!(begun.elapsed() >= Duration::from_secs(1), "not before its time");
    let refused = refused.refused(429, "TOOMANYREQUESTS");
    assert_eq!(refused.need("retry-after"), "10");
    // A body that is sent unasked is not read either, and its client sees the answer.
    let bytes = rng.bytes(8 << 20);
    let target = format!("blobs/uploads/?digest={}", sha256(&bytes));
    repository.request("POST", &target).body(bytes).send().refused(429, "TOOMANYREQUESTS");
    assert_eq!(command(&server, "status")["slots"]["refused"], 2);
    running.into_iter().for_each(|upload| drop(upload.finish().expect(201)));
}

#[test]
fn what_brings_no_layer_needs_no_slot() {
    let Some(server) = Server::own(Settings::default().set("REGISTRY_UPLOAD_SLOTS", "1")) else { return };
    let (repository, mut rng) = (server.repository(), Rng::named("no slot"));
    let image = Image::small(&mut rng);
    repository.push("v1", &image);
    let session = repository.begin();
    let held = Upload::begin(&repository, None, &mut rng);
    until_slots(&server, 1, 0);
    repository.put_manifest("v2", image.media_type, &image.manifest).expect(201);
    repository.get("manifests/v2").expect(200);
    server.http().get(&session).send().expect(204);
    server.http().delete(&session).send().expect(204);
    server.http().delete(&repository.begin()).send().expect(204);
    let empty = repository.begin();
    let digest = sha256(b"");
    let target = support::http::with_query(&empty, &format!("digest={digest}"));
    server.http().put(&target).send().expect(201);
    assert_eq!(slots(&server), (1, 0));
    held.finish().expect(201);
    let image = Image::random(&mut rng, Kind::Oci, &[1000, LAYER]);
    repository.push("v3", &image);
}

#[test]
fn a_client_that_leaves_gives_up_its_slot_or_its_place_and_the_next_goes_on() {
    let Some(server) = Server::own(Settings::default().set("REGISTRY_UPLOAD_SLOTS", "1")) else { return };
    let (repository, mut rng) = (server.repository(), Rng::named("leaves"));
    let held = Upload::begin(&repository, None, &mut rng);
    until_slots(&server, 1, 0);
    let mut leaves = Upload::begin(&repository, None, &mut rng);
    // With bytes that nobody reads behind it.
    leaves.stream.write_all(&leaves.bytes[..50_000]).expect("the kernel takes it");
    until_slots(&server, 1, 1);
    let next = Upload::begin(&repository, None, &mut rng);
    until_slots(&server, 1, 2);
    drop(leaves);
    until_slots(&server, 1, 1);
    drop(held);
    until("the next has its turn", SOON, || next.has_its_turn().then_some(()));
    next.finish().expect(201);
    until_slots(&server, 0, 0);
}

#[test]
fn a_chunk_cut_in_the_middle_gives_its_slot_back_and_the_upload_goes_on() {
    let Some(server) = Server::own(Settings::default().set("REGISTRY_UPLOAD_SLOTS", "1")) else { return };
    let (repository, mut rng) = (server.repository(), Rng::named("cut"));
    let (location, bytes) = (repository.begin(), rng.bytes(LAYER));
    let head = server.http().patch(&location).header("Content-Length", LAYER).head_bytes();
    let mut stream = server.http().connect().expect("a connection");
    stream.write_all(&[head.as_slice(), &bytes[..100_000]].concat()).expect("half of it");
    until_slots(&server, 1, 0);
    stream.shutdown(std::net::Shutdown::Write).expect("closed");
    let _ = stream.read(&mut [0; 1]);
    until_slots(&server, 0, 0);
    let there = until("the half is settled", SOON, || {
        let range = server.http().get(&location).send().expect(204).need("range").to_owned();
        let end: usize = range.split('-').nth(1)?.parse().ok()?;
        (end > 0).then_some(end + 1)
    });
    let target = support::http::with_query(&location, &format!("digest={}", sha256(&bytes)));
    server.http().put(&target).body(&bytes[there..]).send().expect(201);
}

#[test]
fn waiting_for_slots_and_being_refused_never_ban_and_receiving_too_many_uploads_does() {
    let limits = |slots| {
        let settings =
            Settings::default().set("PROTECTION_TRUSTED", "").set("PROTECTION_PARALLEL_UPLOADS", "3");
        settings.set("REGISTRY_UPLOAD_SLOTS", slots).set("REGISTRY_SLOT_WAIT", "1s")
    };
    let Some(server) = Server::own(limits("3")) else { return };
    let (repository, mut rng) = (server.repository(), Rng::named("waits, no ban"));
    let bans = |server: &Server| command(server, "status")["guard"]["bans"].clone();
    let running: Vec<Upload> = (0..3).map(|_| Upload::begin(&repository, None, &mut rng)).collect();
    until_true("three run", SOON, || turns(&running) == 3);
    for _ in 0..2 {
        let waiting: Vec<Upload> = (0..20).map(|_| Upload::begin(&repository, None, &mut rng)).collect();
        waiting.into_iter().for_each(|upload| drop(upload.answer().refused(429, "TOOMANYREQUESTS")));
    }
    running.into_iter().for_each(|upload| drop(upload.finish().expect(201)));
    Upload::begin(&repository, None, &mut rng).finish().expect(201);
    assert_eq!(bans(&server), 0, "43 at once, 3 of them received");

    let Some(server) = Server::own(limits("4")) else { return };
    let repository = server.repository();
    let running: Vec<Upload> = (0..4).map(|_| Upload::begin(&repository, None, &mut rng)).collect();
    until_true("four run", SOON, || turns(&running) == 4);
    assert_eq!(bans(&server), 1);
    Upload::begin(&repository, None, &mut rng).answer().refused(403, "DENIED");
    running.into_iter().for_each(|upload| drop(upload.finish().expect(201)));
}
