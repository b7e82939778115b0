//! Blob files that are cut, or cannot be read, before and while they are pulled: the client sees a
//! cut connection and never a whole answer with wrong bytes, the log says so, the file is set aside,
//! a push heals the blob, and all the while the server answers others.
//!
//! Bytes come past the page cache at the first pull, through it at later ones (as maps to a plain
//! socket), so that each fault meets both. Read errors are made by strace (`inject=`), attached to
//! the server in the middle of a pull, for the calls that name the blob's file. Without strace, or
//! without the right to attach, those tests say so and do nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use rustls::pki_types::{CertificateDer, ServerName};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::certificates::{renew, settings};
use support::clients::require;
use support::wait::{until, until_true};
use support::{Rng, Server, Settings, sha256};

/// More than sockets and the server hold on the way: what is spoilt after the first bytes have come is
/// met by the pull.
const SIZE: usize = 48 << 20;
const SOON: Duration = Duration::from_secs(60);

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A server with a blob in it, and how to talk to it.
struct Stand {
    server: Server,
    tls: Option<CertificateDer<'static>>,
    bytes: Vec<u8>,
    _folder: tempfile::TempDir,
}

struct Pulled {
    status: u16,
    length: usize,
    body: Vec<u8>,
}

impl Stand {
    /// `warm`: pulled so often that it comes from the page cache.
    fn new(name: &str, tls: bool, warm: bool) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let certificate = tls.then(|| renew(folder.path()));
        let settings = if tls { settings(folder.path()) } else { Settings::default() };
        let server = Server::own(settings)?;
        let bytes = Rng::named(name).bytes(SIZE);
        let stand = Self { server, tls: certificate, bytes, _folder: folder };
        stand.push();
        for _ in 0..if warm { 2 } else { 0 } {
            stand.pull_whole();
        }
        Some(stand)
    }

    fn connect(&self) -> Box<dyn Stream> {
        let socket = self.server.http().connect().expect("the server accepts connections");
        let Some(trusted) = &self.tls else { return Box::new(socket) };
        let mut roots = rustls::RootCertStore::empty();
        roots.add(trusted.clone()).expect("a certificate");
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
        Box::new(rustls::StreamOwned::new(connection, socket))
    }

    /// Sends a request and reads its head: the stream, status and length.
    fn ask(&self, method: &str, target: &str, body: &[u8]) -> (Box<dyn Stream>, String) {
        let mut stream = self.connect();
        let request = self.server.http().request(method, target).header("Content-Length", body.len());
        stream.write_all(&request.head_bytes()).expect("the head goes");
        stream.write_all(body).expect("the body goes");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "the answer has a head");
            head.push(byte[0]);
        }
        (stream, String::from_utf8_lossy(&head).to_ascii_lowercase())
    }

    fn status(&self, method: &str, target: &str) -> u16 {
        status(&self.ask(method, target, b"").1)
    }

    fn blob(&self) -> String {
        format!("/v2/faults/faults/blobs/{}", sha256(&self.bytes))
    }

    fn push(&self) {
        let (_, head) = self.ask("POST", "/v2/faults/faults/blobs/uploads/", b"");
        let location = field(&head, "location").expect("a session");
        let target = location.find("/v2/").map(|at| &location[at..]).expect("a path").to_owned();
        let target = support::http::with_query(&target, &format!("digest={}", sha256(&self.bytes)));
        assert_eq!(status(&self.ask("PUT", &target, &self.bytes).1), 201);
    }

    /// Pulls the blob, and does `meanwhile` after its first bytes.
    fn pull(&self, meanwhile: impl FnOnce()) -> Pulled {
        let (mut stream, head) = self.ask("GET", &self.blob(), b"");
        let mut body = vec![0; 1000];
        let length = field(&head, "content-length").and_then(|text| text.parse().ok()).expect("a length");
        if status(&head) == 200 {
            stream.read_exact(&mut body).expect("the first bytes");
            meanwhile();
            if let Err(error) = stream.read_to_end(&mut body) {
                let cut = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
                assert!(cut.contains(&error.kind()), "a cut connection, not {error}");
            }
        }
        Pulled { status: status(&head), length, body }
    }

    fn pull_whole(&self) {
        let pulled = self.pull(|| ());
        assert!(pulled.status == 200 && pulled.body == self.bytes, "{} bytes came", pulled.body.len());
    }

    /// The pull that met the fault.
    fn assert_cut(&self, pulled: &Pulled) {
        assert_eq!((pulled.status, pulled.length), (200, SIZE));
        assert!(pulled.body.len() < SIZE, "the connection is cut");
    }

    fn path(&self) -> PathBuf {
        let hex = sha256(&self.bytes)["sha256:".len()..].to_owned();
        self.server.data().join("blobs/sha256").join(&hex[..2]).join(hex)
    }

    fn cut(&self, length: usize) {
        let file = OpenOptions::new().write(true).open(self.path()).expect("the blob's file");
        file.set_len(length as u64).expect("cuts");
    }

    fn assert_lives(&self) {
        assert_eq!(self.status("GET", "/v2/"), 200);
    }

    /// Says that the file was set aside, answers 404, and is healed by a push.
    fn assert_set_aside_and_heals(&self) {
        self.assert_lives();
        until_true("the log says it", SOON, || self.server.log().contains("set aside in quarantine"));
        until_true("nobody is told it is there", SOON, || self.status("HEAD", &self.blob()) == 404);
        self.push();
        self.pull_whole();
        assert!(!self.server.log().contains("panicked at"));
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line")
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

const KINDS: [(&str, bool, bool); 4] = [
    ("plain, from the disk", false, false),
    ("plain, from maps", false, true),
    ("TLS, from the disk", true, false),
    ("TLS, from memory", true, true),
];

#[test]
fn a_file_cut_before_a_pull_is_not_found_and_healed_by_a_push() {
    for (name, tls, warm) in KINDS {
        eprintln!("{name}");
        let Some(stand) = Stand::new(name, tls, warm) else { return };
        stand.cut(SIZE - 1);
        assert_eq!(stand.pull(|| ()).status, 404);
        stand.assert_set_aside_and_heals();
    }
}

#[test]
fn a_file_cut_under_a_pull_cuts_its_connection_and_no_other() {
    for (name, tls, warm) in KINDS {
        for left in [20 << 20, SIZE - 1] {
            eprintln!("{name}, cut to {left}");
            let Some(stand) = Stand::new(name, tls, warm) else { return };
            let pulled = stand.pull(|| {
                stand.cut(left);
                stand.assert_lives();
            });
            stand.assert_cut(&pulled);
            stand.assert_set_aside_and_heals();
        }
    }
}

/// A tracer that makes calls of the running server fail until it is dropped.
struct Injection(Child);

impl Injection {
    fn new(stand: &Stand, words: &[&str]) -> Option<Self> {
        let pid = stand.server.pid();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-p", &pid.to_string()]).args(words);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace starts");
        let attached = until("the tracer is there, or refused", SOON, || {
            if child.try_wait().expect("it is ours").is_some() {
                Some(false)
            } else {
                all_traced(pid).then_some(true)
            }
        });
        if !attached {
            support::skipped("strace may not attach to a running process here");
        }
        attached.then_some(Self(child))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn all_traced(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks.flatten().all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|by| by.trim() == "0"))
    })
}

#[test]
fn a_read_error_under_a_pull_cuts_its_connection_and_no_other() {
    if !require(&["strace"]) {
        return;
    }
    // What is mapped already goes on without a call that could fail: maps have a test of their own.
    for (name, tls, warm) in [KINDS[0], KINDS[2], KINDS[3]] {
        eprintln!("{name}");
        let Some(stand) = Stand::new(name, tls, warm) else { return };
        let file = stand.path();
        let words =
            ["-P", file.to_str().expect("a plain path"), "-e", "inject=pread64,preadv,preadv2:error=EIO"];
        let mut injection = None;
        let pulled = stand.pull(|| {
            injection = Injection::new(&stand, &words);
            stand.assert_lives();
        });
        if injection.is_none() {
            return;
        }
        stand.assert_cut(&pulled);
        assert!(pulled.body == stand.bytes[..pulled.body.len()], "what came is right");
        until_true("the log says it", SOON, || stand.server.log().contains("set aside in quarantine"));
        drop(injection);
        stand.server.until_logged("a download broke off");
        stand.assert_set_aside_and_heals();
    }
}

#[test]
fn a_read_error_that_passes_costs_one_pull_and_leaves_the_blob_where_it_is() {
    if !require(&["strace"]) {
        return;
    }
    let Some(stand) = Stand::new("passes", false, false) else { return };
    let file = stand.path();
    // The first read of each thread that reads: after all of them had theirs, reads work.
    let words = ["-P", file.to_str().expect("a plain path"), "-e", "inject=pread64:error=EIO:when=1"];
    let mut injection = None;
    let pulled = stand.pull(|| injection = Injection::new(&stand, &words));
    if injection.is_none() {
        return;
    }
    stand.assert_cut(&pulled);
    drop(injection);
    until_true("the file was looked into", SOON, || {
        let log = stand.server.log();
        log.contains("is whole now") || log.contains("set aside in quarantine")
    });
    if stand.server.log().contains("is whole now") {
        stand.pull_whole();
    } else {
        stand.assert_set_aside_and_heals(); // the look met the error, too
    }
}

#[test]
fn a_map_that_cannot_be_populated_is_read_instead() {
    if !require(&["strace"]) {
        return;
    }
    let Some(stand) = Stand::new("maps", false, true) else { return };
    let mut injection = None;
    let pulled = stand.pull(|| injection = Injection::new(&stand, &["-e", "inject=madvise:error=EIO"]));
    if injection.is_none() {
        return;
    }
    assert!(pulled.body == stand.bytes, "{} bytes came", pulled.body.len());
    stand.assert_lives();
    assert!(!stand.server.log().contains("panicked at"));
}
