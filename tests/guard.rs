//! Rates and bans of the real binary over real sockets: who floods is told to wait, then banned, while another goes on.
//! Clients are told apart by addresses of the loopback network; every load here is bounded in count and time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::Signal;
use serde_json::Value;
use support::http::{PATIENCE, read_response};
use support::server::{binary, signal};
use support::wait::{until, until_true};
use support::{Image, Response, Rng, Server, Settings};

const BANNED: &str = "Not allow to login、upload or download image";
const FLOODER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const PATH: &str = "/v2/demo/none/manifests/latest";

/// Small rates that loopback is held to. A flood is four times as much: a busy machine takes that many requests, too.
fn small() -> Settings {
    Settings::default()
        .set("PROTECTION_TRUSTED", "")
        .set("PROTECTION_ADDRESS_READ", "10/s")
        .set("PROTECTION_FLOOD_FACTOR", "3")
        .set("PROTECTION_FLOOD_WINDOW", "1s")
}

/// A connection from an address of the loopback network.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn from(source: Ipv4Addr, to: SocketAddr) -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddr::from((source, 0))).expect("an address of loopback");
        connect(&socket, &to).expect("connected");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_nodelay(true).expect("set");
        Self { stream: BufReader::new(stream) }
    }

    fn get(&mut self, path: &str) -> Response {
        let head = format!("GET {path} HTTP/1.1\r\nHost: registry.example\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes()).expect("sent");
        read_response(&mut self.stream, "GET", format!("GET {path}")).expect("an answer")
    }
}

fn json(server: &Server, line: &str) -> Value {
    let arguments: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    let output = server.command(&arguments);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn is_banned_on_disk(server: &Server, subject: &str) -> bool {
    let list = json(server, "ban list");
    let found = list["items"].as_array().expect("a list").iter().any(|ban| ban["subject"] == subject);
    // What is listed holds in memory; its event comes with the change set that has it durable.
    found
        && json(server, "audit list --name createBan")["items"].as_array().is_some_and(|all| !all.is_empty())
}

/// Asks until it is banned; how often it was let in and told to wait before.
fn flood(server: &Server, most: usize) -> (usize, usize) {
    let (mut client, mut let_in, mut told) = (Client::from(FLOODER, server.address()), 0, 0);
    for _ in 0..most {
        let answer = client.get(PATH);
        match answer.status {
            404 => let_in += 1,
            429 => {
                assert_eq!(
                    (answer.need("retry-after"), answer.error_code().as_str()),
                    ("1", "TOOMANYREQUESTS")
                );
                told += 1;
            }
            _ => {
                let body = answer.refused(403, "DENIED").json();
                assert_eq!(body["errors"][0]["message"], BANNED);
                return (let_in, told);
            }
        }
    }
    panic!("{let_in} let in, {told} told to wait, and no ban within {most}");
}

/// Who is banned, until when, and how many were told to wait, in words and for programs.
fn is_told_by_the_status(server: &Server, told: usize) {
    let guard = json(server, "status")["guard"].clone();
    let (newest, limited) = (&guard["newest"][0], &guard["limited"]);
    assert_eq!((&guard["banned"], &guard["bans"], &guard["exemptions"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!((&newest["subject"], &newest["reason"]), (&"127.0.0.2".into(), &"flood".into()), "{guard}");
    assert_eq!((&limited["read"], &limited["sign_in"]), (&told.into(), &0.into()), "{guard}");
    let words = String::from_utf8(server.command(&["status"]).stdout).expect("text");
    let until = newest["until"].as_str().expect("a time");
    let lines = [
        "guard      1 banned, 0 exempt; 1 turned away as banned".to_owned(),
        format!("over a rate since the start: {told} reads\n"),
        format!("BANNED 127.0.0.2: flood, until {until}"),
    ];
    assert!(lines.iter().all(|line| words.contains(line)), "{words}");
}

#[test]
fn a_flooder_gets_429_then_the_ban_another_goes_on_and_after_it_he_is_served() {
    let Some(server) = Server::own(small().set("PROTECTION_BAN", "20s")) else { return };
    let (let_in, told) = flood(&server, 20_000);
    assert!(let_in >= 10 && told >= 30, "{let_in} let in, {told} told to wait");
    let mut other = Client::from(OTHER, server.address());
    assert_eq!(other.get(PATH).status, 404, "another is let in");
    is_told_by_the_status(&server, told);
    let served = || (Client::from(FLOODER, server.address()).get(PATH).status == 404).then_some(());
    assert!(served().is_none(), "banned on another connection, too");
    until("the ban ends", PATIENCE, served);
}

#[test]
fn a_ban_survives_a_crash_and_is_lifted_by_hand() {
    let Some(mut server) = Server::own(small()) else { return };
    flood(&server, 20_000);
    until_true("the ban is durable", PATIENCE, || is_banned_on_disk(&server, "127.0.0.2"));
    server.kill();
    server.start();
    let status = |from| Client::from(from, server.address()).get(PATH).status;
    assert_eq!((status(FLOODER), status(OTHER)), (403, 404));
    let lifted = json(&server, "ban lift 127.0.0.2");
    assert_eq!(lifted["removed"], "127.0.0.2");
    assert_eq!(status(FLOODER), 404);
    assert!(!server.command(&["ban", "lift", "127.0.0.2"]).status.success(), "there is none");
    let ban = json(&server, "ban add 127.0.0.3 --for 2h --reason test");
    assert_eq!((ban["reason"].as_str(), ban["note"].as_str()), (Some("administrator"), Some("test")));
    assert_eq!(status(OTHER), 403);
    json(&server, "ban lift 127.0.0.3");
    json(&server, "ban exempt 127.0.0.0/29");
    let mut client = Client::from(FLOODER, server.address());
    assert!((0..1000).all(|_| client.get(PATH).status == 404), "exempt from rates");
    json(&server, "ban exempt 127.0.0.0/29 --end");
    flood(&server, 20_000);
    assert!(server.stop().success());
    let fsck = binary().args(["fsck", "--data"]).arg(server.data()).output().expect("runs");
    assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stdout));
}

#[test]
fn a_reload_applies_other_rates_at_once_and_says_what_it_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pierhead.toml");
    let write = |rate: &str, level: &str| {
        let text =
            format!("[protection]\ntrusted = []\naddress_read = \"{rate}\"\n[log]\nlevel = \"{level}\"\n");
        std::fs::write(&file, text).expect("written");
    };
    write("5/h", "info");
    let settings = Settings::default().argument("--config").argument(file.to_str().expect("a plain path"));
    let Some(server) = Server::own(settings) else { return };
    let mut client = Client::from(OTHER, server.address());
    let served = |client: &mut Client| (0..20).filter(|_| client.get(PATH).status == 404).count();
    assert_eq!(served(&mut client), 5);
    let reload = || json(&server, "reload")["message"].as_str().expect("text").to_owned();
    let message = reload();
    assert!(message.contains("[protection] is as it was; no other setting was changed"), "{message}");
    assert_eq!(served(&mut client), 0, "nobody begins anew");
    write("off", "debug");
    let message = reload();
    assert!(message.contains("[protection] applied: address_read;"), "{message}");
    assert!(message.contains("what was changed in [log] needs a restart"), "{message}");
    assert_eq!(served(&mut client), 20);
    write("nonsense", "debug");
    let refused = server.command(&["reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("protection.address_read"), "{said}");
    assert_eq!(served(&mut client), 20, "what is in use stays");
    write("1/h", "info");
    signal(server.pid(), Signal::HUP);
    until_true("the signal was heard", PATIENCE, || client.get(PATH).status == 429);
}

#[test]
fn a_client_that_is_banned_is_told_so_in_its_own_words() {
    let has_skopeo = Command::new("skopeo").arg("--version").output().is_ok_and(|ran| ran.status.success());
    if !has_skopeo {
        support::skipped("no skopeo");
        return;
    }
    let Some(server) = Server::own(Settings::default().set("PROTECTION_TRUSTED", "")) else { return };
    let repository = server.repository();
    repository.push("v1", &Image::small(&mut Rng::named("banned")));
    json(&server, "ban add 127.0.0.1");
    let image = format!("docker://{}/{}:v1", server.address(), repository.name);
    let output =
        Command::new("skopeo").args(["inspect", "--tls-verify=false", &image]).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("skopeo: {said}");
    assert!(!output.status.success() && said.contains(BANNED), "{said}");
}

#[test]
fn uploads_at_once_count_however_their_path_is_written() {
    let Some(server) = Server::own(small().set("PROTECTION_PARALLEL_UPLOADS", "1")) else { return };
    let digest = format!("sha256:{}", "0".repeat(64));
    let spellings = [
        "/v2/a/b/blobs/uploads/",
        "/v2/a/b/blobs/uploads",
        "/v2/a%2Fb/blobs/%75ploads/",
        "/v2/%61/b/%62lobs%2fuploads%2F",
    ];
    for (path, last) in spellings.into_iter().zip(10..) {
        let source = Ipv4Addr::new(127, 0, 0, last);
        let mut under_way = Vec::new();
        for _ in 0..2 {
            let mut client = Client::from(source, server.address());
            let head = format!(
                "POST {path}?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
            );
            client.stream.get_mut().write_all(head.as_bytes()).expect("sent");
            let mut line = String::new();
            client.stream.read_line(&mut line).expect("an answer");
            assert!(line.starts_with("HTTP/1.1 100"), "{path}: {line}");
            under_way.push(client);
        }
        Client::from(source, server.address()).get(PATH).refused(403, "DENIED");
    }
    assert_eq!(json(&server, "status")["guard"]["newest"][0]["reason"], "parallel_uploads");
}

/// The 50th and 99th of a hundred.
fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Pulls by tag, paced: how long each took.
fn paced(client: &mut Client, path: &str, requests: u32, gap: Duration) -> Vec<Duration> {
    let begun = Instant::now();
    let times = (0..requests).map(|number| {
        let due = begun + gap * number;
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
        let asked = Instant::now();
        assert_eq!(client.get(path).status, 200);
        asked.elapsed()
    });
    times.collect()
}

#[test]
fn a_flood_is_turned_away_while_another_client_pulls() {
    // The other asks far less than the rate, the flooder more than twice as much even where every request is slow.
    let rates = small().set("PROTECTION_ADDRESS_READ", "60/s").set("PROTECTION_FLOOD_FACTOR", "1");
    let Some(server) = Server::own(rates) else { return };
    let repository = server.repository();
    repository.push("v1", &Image::small(&mut Rng::named("flooded")));
    let path = format!("/v2/{}/manifests/v1", repository.name);
    let (requests, gap) = (60, Duration::from_millis(50));
    let mut other = Client::from(OTHER, server.address());
    paced(&mut other, &path, 10, gap);
    let idle = percentiles(paced(&mut other, &path, requests, gap));
    let (stop, statuses) = (AtomicBool::new(false), [0; 3].map(AtomicUsize::new));
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut flooder = Client::from(FLOODER, server.address());
            // Bounded in count as well as by the other's end, and paced, so that it does not take the processors.
            for number in 0..50_000 {
                if number % 20 == 0 {
                    std::thread::park_timeout(Duration::from_millis(10));
                }
                let kind = match flooder.get(PATH).status {
                    429 => 1,
                    403 => 2,
                    _ => 0,
                };
                statuses[kind].fetch_add(1, Ordering::Relaxed);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let times = paced(&mut other, &path, requests, gap);
        stop.store(true, Ordering::Relaxed);
        percentiles(times)
    });
    let [let_in, told, banned] = statuses.map(AtomicUsize::into_inner);
    println!("idle p50 {:?} p99 {:?}; beside a flood p50 {:?} p99 {:?}", idle.0, idle.1, beside.0, beside.1);
    println!("the flooder: {let_in} let in, {told} told to wait, {banned} turned away as banned");
    assert!(told > 0 && banned > 0, "{told} told to wait, {banned} banned");
}
