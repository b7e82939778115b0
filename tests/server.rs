//! The real binary and its edge: limits on slow clients, the clean stop, TLS and its reload,
//! HTTP/2, the command line and the settings. What is served is tested elsewhere; here it is
//! `/healthz`, which is always there.
//! Rules: waits have a condition and a deadline; what is started is ended, also on a panic.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        park_timeout(Duration::from_millis(5));
    }
}

/// The binary, with nothing of the caller's settings.
fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pierhead"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PIERHEAD_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).output().expect("the binary starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A lab server with a settings file and data of its own.
struct Lab {
    child: Child,
    folder: tempfile::TempDir,
    log: Arc<Mutex<String>>,
    address: SocketAddr,
}

impl Lab {
    fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        Self::start_in(folder, settings)
    }

    /// `settings` may name files of `folder` as `{dir}`.
    fn start_in(folder: tempfile::TempDir, settings: &str) -> Self {
        Self::start_by(binary(), folder, settings)
    }

    fn start_by(mut command: Command, folder: tempfile::TempDir, settings: &str) -> Self {
        let path = folder.path().to_str().expect("a plain path");
        let config = folder.path().join("pierhead.toml");
        fs::write(&config, settings.replace("{dir}", path)).expect("the settings are written");
        let mut child = command
            .args(["serve", "--lab", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(folder.path().join("data"))
            .env("PIERHEAD_LOG_FORMAT", "json")
            .env("PIERHEAD_LOG_LEVEL", "debug")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, into) = (child.stderr.take().expect("piped"), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.lock().expect("no panic while writing").push_str(&(line + "\n"));
            }
        });
        let mut lab = Self { child, folder, log, address: ([127, 0, 0, 1], 0).into() };
        lab.address = until("the server listens", || {
            assert!(lab.child.try_wait().expect("ours").is_none(), "it ended: {}", lab.log());
            lab.logged("listening")
        });
        lab
    }

    fn log(&self) -> String {
        self.log.lock().expect("no panic while writing").clone()
    }

    /// The address in the field `name` of some line of the log.
    fn logged(&self, name: &str) -> Option<SocketAddr> {
        self.log().lines().find_map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("every line is JSON");
            record[name].as_str().map(|address| address.parse().expect("an address"))
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn send(&self, bytes: &[u8]) -> TcpStream {
        send(self.address, bytes)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the signal is delivered");
    }

    fn wait(&mut self) -> ExitStatus {
        until("the server ends", || self.child.try_wait().expect("ours"))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}--- end ---", self.log());
        }
    }
}

fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the server listens");
    socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
    socket.write_all(bytes).expect("the server takes it");
    socket
}

/// All that comes until the server closes.
fn rest(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("an end in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn get(address: SocketAddr, path: &str) -> String {
    rest(send(address, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()))
}

fn curl(arguments: &[&str]) -> Output {
    let fixed = ["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"];
    Command::new("curl").args(fixed).args(arguments).output().expect("curl is installed")
}

fn write_certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    fs::write(dir.join("cert.pem"), made.cert.pem()).expect("written");
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
}

const TLS: &str = "[tls]\ncertificate = \"{dir}/cert.pem\"\nkey = \"{dir}/key.pem\"\n";

fn tls_lab(settings: &str) -> Lab {
    let folder = tempfile::tempdir().expect("a scratch folder");
    write_certificate(folder.path());
    fs::copy(folder.path().join("cert.pem"), folder.path().join("ca.pem")).expect("copied");
    Lab::start_in(folder, &format!("{settings}{TLS}"))
}

impl Lab {
    /// Asks for `/healthz` over TLS, trusting the certificate in `ca`: HTTP version and status.
    fn over_tls(&self, ca: &str, more: &[&str]) -> Output {
        let port = self.address.port();
        let (resolve, url) =
            (format!("localhost:{port}:127.0.0.1"), format!("https://localhost:{port}/healthz"));
        let (ca, written) = (self.path(ca), "%{http_version} %{http_code}");
        let ca = ca.to_str().expect("a plain path");
        let fixed = ["--cacert", ca, "--resolve", &resolve, "--output", "/dev/null", "--write-out", written];
        curl(&[&fixed[..], more, &[&url]].concat())
    }
}

#[test]
fn a_client_that_never_ends_its_head_is_cut_and_others_are_served() {
    let lab = Lab::start("[server]\nheader_timeout = \"2s\"\n");
    let slow = lab.send(b"GET /healthz HTTP/1.1\r\nHost:");
    assert!(get(lab.address, "/healthz").starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(slow), "");
}

#[test]
fn a_server_out_of_descriptors_serves_again_when_there_are_some() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 48 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_pierhead")]);
    let lab = Lab::start_by(limited, tempfile::tempdir().expect("a scratch folder"), "");
    let crowd: Vec<TcpStream> = (0..64).map(|_| lab.send(b"")).collect();
    until("the server says so", || lab.log().contains("cannot accept connections").then_some(()));
    drop(crowd);
    assert!(get(lab.address, "/healthz").starts_with("HTTP/1.1 200 "));
}

/// The status of an answer, and its `Location`.
fn ask(address: SocketAddr, head: &str) -> (String, Option<String>) {
    let answer = rest(send(address, format!("{head}\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()));
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    (answer.split(' ').nth(1).unwrap_or_default().to_owned(), location.map(str::to_owned))
}

#[test]
fn upload_sessions_never_take_the_descriptors_that_others_need() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 128 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_pierhead")]);
    let lab = Lab::start_by(limited, tempfile::tempdir().expect("a scratch folder"), "");
    let begin = "POST /v2/o/r/blobs/uploads/ HTTP/1.1\r\nContent-Length: 0";
    let (taken, refused) = (0..200)
        .map(|taken| (taken, ask(lab.address, begin).0))
        .find(|(_, status)| status != "202")
        .expect("more than there are descriptors");
    assert_eq!(refused, "429", "after {taken}");
    assert!(taken >= 16, "{taken}");
    assert_eq!(ask(lab.address, "GET /v2/ HTTP/1.1").0, "200");
    let line = until("it is said", || {
        let log = lab.log();
        log.lines().find(|line| line.contains("registry.max_sessions is lowered")).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&line["asked"], &line["max_sessions"]), (&10_000.into(), &taken.into()));
}

#[test]
fn every_answer_has_a_request_id_and_the_log_has_neither_query_nor_credentials() {
    let lab = Lab::start("");
    let request = "GET /nothing?token=hush-query HTTP/1.1\r\nHost: a\r\nAuthorization: Basic hush-header\r\nConnection: close\r\n\r\n";
    let answer = rest(lab.send(request.as_bytes()));
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("an id");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    until("the request is logged", || lab.log().contains(id).then_some(()));
    assert!(!lab.log().contains("hush"), "{}", lab.log());
}

#[test]
fn sigterm_closes_idle_connections_and_ends_with_success() {
    let mut lab = Lab::start("");
    let silent = lab.send(b"");
    let mut idle = lab.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    // Accepted in the order they came: an answer here means that the silent one is in, too.
    idle.read_exact(&mut [0; 15]).expect("an answer");
    lab.signal(Signal::TERM);
    assert_eq!(lab.wait().code(), Some(0));
    rest(idle);
    assert_eq!(rest(silent), "");
}

#[test]
fn a_head_under_way_holds_the_stop_and_monitoring_says_so_until_a_second_signal() {
    let settings = "[server]\nheader_timeout = \"10min\"\nstop_timeout = \"10min\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n";
    let mut lab = Lab::start(settings);
    let monitoring = until("monitoring listens", || lab.logged("monitoring"));
    assert!(get(monitoring, "/readyz").starts_with("HTTP/1.1 200 "));
    let mut slow = lab.send(b"GET /healthz HTTP/1.1\r\n");
    let ready = |status: &str| get(monitoring, "/readyz").starts_with(&format!("HTTP/1.1 {status} "));
    until("it is accepted", || get(monitoring, "/metrics").contains("connections 2").then_some(()));
    lab.signal(Signal::TERM);
    until("monitoring says that it stops", || ready("503").then_some(()));
    until("nobody listens any more", || TcpStream::connect(lab.address).is_err().then_some(()));
    slow.write_all(b"Host: a\r\n\r\n").expect("the connection is still there");
    assert!(rest(slow).starts_with("HTTP/1.1 200 "), "what began is finished");
    assert_eq!(lab.wait().code(), Some(0));

    let mut lab = Lab::start(settings);
    let _slow = lab.send(b"GET /healthz HTTP/1.1\r\n");
    let monitoring = until("monitoring listens", || lab.logged("monitoring"));
    until("it is accepted", || get(monitoring, "/metrics").contains("connections 2").then_some(()));
    lab.signal(Signal::INT);
    until("the stop has begun", || lab.log().contains("stopping:").then_some(()));
    lab.signal(Signal::INT);
    lab.wait();
}

#[test]
fn metrics_count_on_a_listener_of_their_own_only() {
    let lab = Lab::start("[metrics]\nlisten = \"127.0.0.1:0\"\n");
    let monitoring = until("monitoring listens", || lab.logged("monitoring"));
    assert!(get(lab.address, "/healthz").contains("\"ok\""));
    let text = get(monitoring, "/metrics");
    assert!(
        text.contains("pierhead_requests_total{surface=\"health\",route=\"health\",code=\"2xx\"} 1"),
        "{text}"
    );
    assert!(text.contains("pierhead_build_info{version="), "{text}");
    assert!(get(lab.address, "/metrics").starts_with("HTTP/1.1 404 "));
    assert!(get(monitoring, "/v2/").starts_with("HTTP/1.1 404 "));
}

#[test]
fn http2_with_prior_knowledge_works_where_it_is_switched_on() {
    for (http2, expected) in [(true, "2 200"), (false, "")] {
        let lab = Lab::start(&format!("[server]\nhttp2 = {http2}\n"));
        let url = format!("http://{}/healthz", lab.address);
        let written = ["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"];
        let output = curl(&[&["--http2-prior-knowledge"], &written[..], &[&url]].concat());
        if expected.is_empty() {
            assert!(!output.status.success(), "{}", stdout(&output));
        } else {
            assert_eq!(stdout(&output), expected, "{}", stderr(&output));
        }
        assert!(get(lab.address, "/healthz").starts_with("HTTP/1.1 200 "), "HTTP/1.1 always works");
    }
}

#[test]
fn tls_is_served_from_the_configured_pair() {
    for (settings, more, expected) in [
        ("", &["--tlsv1.3"][..], "1.1 200"),
        ("", &["--tls-max", "1.2"][..], "1.1 200"),
        ("[server]\nhttp2 = true\n", &[][..], "2 200"),
    ] {
        let lab = tls_lab(settings);
        let output = lab.over_tls("ca.pem", more);
        assert_eq!(stdout(&output), expected, "{settings} {more:?}: {}", stderr(&output));
    }
}

#[test]
fn sighup_swaps_the_certificate_and_a_bad_pair_changes_nothing() {
    let lab = tls_lab("");
    write_certificate(lab.folder.path());
    lab.signal(Signal::HUP);
    until("the new certificate is used", || lab.log().contains("use the new certificate").then_some(()));
    assert!(!lab.over_tls("ca.pem", &[]).status.success(), "the old certificate is no longer shown");
    let output = lab.over_tls("cert.pem", &[]);
    assert_eq!(stdout(&output), "1.1 200", "{}", stderr(&output));

    fs::write(lab.path("key.pem"), "nonsense").expect("written");
    lab.signal(Signal::HUP);
    until("the bad pair is reported", || lab.log().contains("SIGHUP: nothing was changed").then_some(()));
    assert_eq!(stdout(&lab.over_tls("cert.pem", &[])), "1.1 200");
}

#[test]
fn sighup_without_a_certificate_is_no_end() {
    let lab = Lab::start("");
    lab.signal(Signal::HUP);
    until("it is said", || lab.log().contains("no certificate to read again").then_some(()));
    assert!(get(lab.address, "/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_certificate_that_does_not_fit_is_named_at_the_start() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let missing = folder.path().join("none.pem");
    let output = binary()
        .args(["serve", "--lab", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .env("PIERHEAD_TLS_CERTIFICATE", &missing)
        .env("PIERHEAD_TLS_KEY", &missing)
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("none.pem"), "{}", stderr(&output));
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = folder.path().to_str().expect("a plain path");
    let output = run(&["serve", "--lab", "--data", data, "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    for words in [&address, "taken", "--listen 127.0.0.1:"] {
        assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output));
    }
}

#[test]
fn a_data_directory_has_one_owner_at_a_time() {
    let mut lab = Lab::start("");
    let data = lab.path("data");
    let data = data.to_str().expect("a plain path");
    for arguments in
        [&["serve", "--lab", "--listen", "127.0.0.1:0", "--data", data][..], &["fsck", "--data", data]]
    {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let words = format!("is in use by process {}", lab.child.id());
        assert!(stderr(&output).contains(&words), "{arguments:?}: {}", stderr(&output));
    }
    lab.child.kill().expect("ours");
    lab.wait();
    let folder = std::mem::replace(&mut lab.folder, tempfile::tempdir().expect("a scratch folder"));
    drop(Lab::start_in(folder, ""));
}

#[test]
fn lab_listens_beyond_loopback_only_when_told_twice() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = folder.path().to_str().expect("a plain path");
    let output = run(&["serve", "--lab", "--data", data, "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--lab-open-to-network"), "{}", stderr(&output));
    let output = binary()
        .args(["serve", "--lab", "--data", "/dev/null", "--listen", "127.0.0.1:0"])
        .env("PIERHEAD_METRICS_LISTEN", "0.0.0.0:0")
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(2), "monitoring says what is in the registry, too");
    assert!(stderr(&output).contains("metrics.listen"), "{}", stderr(&output));
    let output = run(&["serve", "--lab-open-to-network"]);
    assert_eq!(output.status.code(), Some(2), "it means nothing alone");
}

#[test]
fn wrong_settings_are_named_by_key_and_line_and_wrong_variables_by_name() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("p.toml");
    let rows = [
        ("[server]\nhttp3 = true\n", "line 2: server.http3: unknown field `http3`"),
        ("[storage]\n# so much\nreserve = \"10\"\n", "line 3: storage.reserve: expected one of the units"),
    ];
    for (text, words) in rows {
        fs::write(&file, text).expect("written");
        let path = file.to_str().expect("a plain path");
        for arguments in [&["config", "check", "--config", path][..], &["serve", "--lab", "--config", path]] {
            let output = run(arguments);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            assert!(stderr(&output).contains(words), "{words}: {}", stderr(&output));
        }
        let output = run(&["config", "check", "--json", "--config", path]);
        let answer: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        assert_eq!((output.status.code(), &answer["ok"]), (Some(1), &false.into()));
    }
    let output =
        binary().args(["config", "check"]).env("PIERHEAD_SERVER_HTTP3", "1").output().expect("starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("PIERHEAD_SERVER_HTTP3"), "{}", stderr(&output));
}

#[test]
fn the_sample_is_a_settings_file_that_is_right() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("p.toml");
    let sample = run(&["config", "sample"]);
    fs::write(&file, &sample.stdout).expect("written");
    let output = run(&["config", "check", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn help_and_version_are_answers_and_a_wrong_word_is_not() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["fsck", "--help"], &["--version"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(stdout(&output).contains("pierhead"), "{arguments:?}");
    }
    for arguments in [&[][..], &["sreve"], &["serve", "--listen", "nowhere"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
