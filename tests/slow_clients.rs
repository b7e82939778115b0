//! Slow and idle clients by the thousand, from a process of their own: others are served as before, and what the
//! server keeps for each is small. Prints its figures.
//!
//! `cargo test --test slow_clients -- --nocapture`; `PIERHEAD_FULL=1` has 10,000 connections under TLS as well.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::clients::{find, require};
use support::{Image, Kind, Rng, Server, Settings};

/// A connection of its own each, from so many addresses of loopback that none has too many. The slow ones
/// send a byte a second: half of them of a head, half of the body of an upload.
const CROWD: &str = r#"
import resource, socket, ssl, sys, time
address, port, idle, slow, tls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def connect(source):
    made = socket.create_connection((address, port), 60, (source, 0))
    return context.wrap_socket(made) if tls == 'tls' else made
def source(first, number, each):
    return '127.0.0.%d' % (first + number // each)
GET = b'GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n'
PATCH = b'POST /v2/slow/body/blobs/uploads/?digest=sha256:' + b'0' * 64 + b' HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n'
waiting = []
for number in range(idle):
    made = connect(source(10, number, 500))
    made.sendall(GET)
    made.recv(4096)
    waiting.append(made)
def begin(number):
    made = connect(source(100, number, 50))
    body = number % 2 == 1
    made.sendall(PATCH if body else b'G')
    made.setblocking(False)
    return made
slowly, cut = [begin(number) for number in range(slow)], 0
print('ready', flush=True)
sys.stdin.readline()
until = time.monotonic() + float(sys.argv[6])
while time.monotonic() < until:
    begun = time.monotonic()
    for number, one in enumerate(slowly):
        try:
            try:
                if one.recv(4096) is not None:
                    raise OSError('answered or closed')
            except (BlockingIOError, ssl.SSLWantReadError):
                pass
            one.send(b'E')
        except OSError:
            cut += 1
            one.close()
            slowly[number] = begin(number)
    time.sleep(max(0, begun + 1 - time.monotonic()))
alive = 0
for one in waiting:
    one.setblocking(False)
    try:
        one.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        alive += 1
    except OSError:
        pass
print(alive, cut, flush=True)
sys.stdin.readline()
"#;

struct Crowd {
    child: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Crowd {
    /// Connected when this returns.
    fn gather(server: &Server, idle: usize, slow: usize, tls: &str, seconds: u32) -> Self {
        let address = server.address();
        let mut command = Command::new(find("python3").expect("python3 is required"));
        command.args(["-c", CROWD, &address.ip().to_string(), &address.port().to_string()]);
        command.args([idle.to_string(), slow.to_string(), tls.to_owned(), seconds.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let says = BufReader::new(child.stdout.take().expect("piped"));
        let mut crowd = Self { child, says };
        assert_eq!(crowd.line(), "ready");
        crowd
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("it waits");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("it says something");
        line.trim_end().to_owned()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kilobytes of memory in use.
fn memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line of it");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("kilobytes")
}

/// Medians and p99 of `count` manifests pulled one after the other.
fn pulls(server: &Server, path: &str, count: usize) -> (Duration, Duration) {
    let pull = || {
        let begun = Instant::now();
        server.http().get(path).header("Accept", "*/*").send().expect(200);
        begun.elapsed()
    };
    let mut took: Vec<Duration> = (0..count).map(|_| pull()).collect();
    took.sort_unstable();
    (took[count / 2], took[count * 99 / 100])
}

fn connections(server: &Server) -> Value {
    let output = server.command(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    status["connections"].clone()
}

/// Others' p99 may be so many times what it is without the crowd, or this; a busy machine has a share in both.
const TIMES: u32 = 10;
const ALLOWED: Duration = Duration::from_secs(1);
/// Kilobytes a connection may cost: some 21 are seen, of which HTTP/1's buffer is 8; the rest is the allocator's freedom.
const EACH: u64 = 32;
const EACH_TLS: u64 = 64;

#[test]
fn ten_thousand_idle_and_500_slow_clients_harm_nobody_and_cost_little_memory() {
    if !require(&["python3"]) {
        return;
    }
    // The idle ones stay however long it takes until all of them are there.
    let Some(server) = Server::own(Settings::default().set("SERVER_KEEP_ALIVE", "1h")) else { return };
    let repository = server.repository();
    let mut rng = Rng::named("slow clients");
    repository.push("v1", &Image::random(&mut rng, Kind::Oci, &[3000]));
    let path = repository.path("manifests/v1");
    let alone = pulls(&server, &path, 1000);
    let before = memory(&server);

    let (idle, slow) = (10_000, 500);
    let mut crowd = Crowd::gather(&server, idle, slow, "plain", 20);
    crowd.go_on();
    let beside = pulls(&server, &path, 2000);
    // Pushes go on as well: what is slow has slots of its own addresses.
    repository.push("v2", &Image::random(&mut rng, Kind::Docker, &[300_000, 1000]));
    let seen = connections(&server);
    let during = memory(&server);
    let said = crowd.line();
    let (alive, cut) = said.split_once(' ').expect("two numbers");
    let (alive, cut): (usize, usize) = (alive.parse().expect("a number"), cut.parse().expect("a number"));
    let each = during.saturating_sub(before) / (idle + slow) as u64;
    eprintln!(
        "{idle} idle and {slow} slow: median {:?} and p99 {:?} alone, {:?} and {:?} beside them; {before} kB, then \
         {during} kB of memory: {each} kB each; {alive} idle ones are there, {cut} slow heads were cut; {seen}",
        alone.0, alone.1, beside.0, beside.1
    );
    assert!(seen["open"].as_u64().is_some_and(|open| open >= (idle + slow / 2) as u64), "{seen}");
    assert_eq!((alive, &seen["shed"], &seen["refused"]), (idle, &0.into(), &0.into()));
    assert!(cut >= slow / 4, "heads that do not end are cut: {cut}");
    assert!(beside.1 <= ALLOWED.max(alone.1 * TIMES), "{beside:?}");
    assert!(each <= EACH, "{each} kB a connection");
}

#[test]
fn idle_clients_under_tls_cost_little_memory() {
    if !require(&["python3"]) {
        return;
    }
    let Some(server) = Server::own(Settings::default().set("TLS_MODE", "auto")) else { return };
    let idle = if std::env::var("PIERHEAD_FULL").as_deref() == Ok("1") { 10_000 } else { 1_000 };
    drop(Crowd::gather(&server, 20, 0, "tls", 0));
    let before = memory(&server);
    let crowd = Crowd::gather(&server, idle, 0, "tls", 0);
    let during = memory(&server);
    let each = during.saturating_sub(before) / idle as u64;
    eprintln!("{idle} idle under TLS: {before} kB, then {during} kB of memory: {each} kB each");
    assert!(each <= EACH_TLS, "{each} kB a connection");
    drop(crowd);
}

#[test]
fn newcomers_are_served_though_idle_ones_have_taken_every_connection() {
    if !require(&["python3"]) {
        return;
    }
    let settings = Settings::default().set("SERVER_MAX_CONNECTIONS", "400");
    let Some(server) = Server::own(settings) else { return };
    let crowd = Crowd::gather(&server, 400, 0, "plain", 0);
    for _ in 0..50 {
        server.http().get("/v2/").send().expect(200);
    }
    let seen = connections(&server);
    assert!(seen["shed"].as_u64().is_some_and(|shed| (1..=400).contains(&shed)), "{seen}");
    drop(crowd);
}

#[test]
fn an_address_that_takes_more_connections_than_it_may_leaves_others_theirs() {
    let settings = Settings::default().set("SERVER_CONNECTIONS_PER_ADDRESS", "10");
    let Some(server) = Server::own(settings) else { return };
    let taken: Vec<_> = (0..10).map(|_| server.http().connect().expect("accepted")).collect();
    support::wait::until_true("ten are open", Duration::from_secs(60), || connections(&server)["open"] == 10);
    let mut more = server.http().connect().expect("the kernel accepts");
    assert!(matches!(more.read(&mut [0]), Ok(0) | Err(_)), "closed at once");
    let seen = connections(&server);
    assert_eq!((&seen["refused"], &seen["per_address"]), (&1.into(), &10.into()), "{seen}");
    drop(taken);
}
