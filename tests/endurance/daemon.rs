//! The server as a process: the real binary, maybe under a tracer, or a peer to compare with
//! (`PIERHEAD_TEST_PEER=docker-registry`: Debian's, to see that a harness finds losses).

use crate::support::server::{binary, signal};
use crate::support::wait::until;
use crate::support::{Http, clients};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A start under a tracer on a busy machine takes seconds; a hang ends the test.
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(60);

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    pub data: PathBuf,
    /// Words before the binary: a tracer that becomes its parent or runs beside it.
    pub before: Vec<String>,
    /// `PIERHEAD_<key>`.
    pub settings: Vec<(String, String)>,
}

/// A start that ended before the server listened.
#[derive(Debug)]
pub struct Refusal {
    pub status: ExitStatus,
    pub log: String,
}

pub struct Daemon {
    child: Child,
    log: Log,
    address: SocketAddr,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

/// Whether the rounds run against a peer.
pub fn peer() -> bool {
    std::env::var("PIERHEAD_TEST_PEER").as_deref() == Ok("docker-registry")
}

/// `pierhead fsck` on a stopped server's data.
pub fn fsck(data: &Path) -> Output {
    binary().arg("fsck").arg("--data").arg(data).output().expect("the binary starts")
}

impl Launch {
    pub fn on(data: &Path) -> Self {
        Self { data: data.to_owned(), ..Self::default() }
    }

    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((format!("PIERHEAD_{key}"), value.to_owned()));
        self
    }

    pub fn under(mut self, words: &[String]) -> Self {
        self.before = words.to_vec();
        self
    }

    /// A server that answers.
    pub fn start(&self) -> Daemon {
        self.try_start().unwrap_or_else(|refusal| {
            panic!("the server ended at start ({})\n{}", refusal.status, refusal.log)
        })
    }

    /// As [`Launch::start`], or how it ended.
    pub fn try_start(&self) -> Result<Daemon, Refusal> {
        if peer() { self.start_peer() } else { self.start_own() }
    }

    /// Starts and ends it by SIGKILL after `life`, wherever the start is then. What it said.
    pub fn start_and_kill(&self, life: Duration) -> String {
        let (mut child, log) = spawn(self.command());
        let end = Instant::now() + life;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
        let early = child.try_wait().expect("the child is ours");
        child.kill().expect("SIGKILL is delivered");
        child.wait().expect("the child is ours");
        log.wait_for_end();
        assert!(early.is_none(), "the server ended at start ({early:?})\n{}", log.text());
        log.text()
    }

    fn command(&self) -> Command {
        let plain = binary();
        let mut command = match self.before.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(plain.get_program());
                for (name, value) in plain.get_envs() {
                    match value {
                        Some(value) => command.env(name, value),
                        None => command.env_remove(name),
                    };
                }
                command
            }
            None => plain,
        };
        command.args(["serve", "--lab", "--listen", "127.0.0.1:0", "--data"]).arg(&self.data);
        command.env("PIERHEAD_LOG_FORMAT", "json").envs(self.settings.iter().cloned());
        command
    }

    fn start_own(&self) -> Result<Daemon, Refusal> {
        let (mut child, log) = spawn(self.command());
        let found = until("the server listens", START, || match log.text().lines().find_map(listening) {
            Some(address) => Some(Ok(address)),
            None => child.try_wait().expect("the child is ours").map(Err),
        });
        match found {
            Ok(address) => Ok(Daemon { child, log, address }),
            Err(status) => {
                log.wait_for_end();
                Err(Refusal { status, log: log.text() })
            }
        }
    }

    fn start_peer(&self) -> Result<Daemon, Refusal> {
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
        let settings = self.data.with_extension("yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: {free}}}\n",
            self.data.display()
        );
        std::fs::write(&settings, text).expect("the peer's settings");
        let mut command =
            Command::new(clients::find("docker-registry").expect("docker-registry is installed"));
        let (child, log) = spawn({
            command.arg("serve").arg(settings);
            command
        });
        until("the peer listens", START, || TcpStream::connect(free).ok());
        Ok(Daemon { child, log, address: free })
    }
}

fn spawn(mut command: Command) -> (Child, Log) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the server's program starts");
    let log = Log::default();
    log.follow(child.stdout.take().expect("piped"));
    log.follow(child.stderr.take().expect("piped"));
    (child, log)
}

/// The address in the lab's "listening on http://127.0.0.1:5000".
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, url) = line.split_once("listening on ")?;
    let address = url.trim().trim_start_matches("http://");
    address.parse::<SocketAddr>().ok().filter(SocketAddr::is_ipv4)
}

impl Daemon {
    pub fn http(&self) -> Http {
        Http { address: self.address }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Ends it as a crash does; panics if it had ended by itself. Its log.
    pub fn kill(mut self) -> String {
        self.assert_runs();
        self.child.kill().expect("SIGKILL is delivered");
        self.child.wait().expect("the child is ours");
        self.log.text()
    }

    /// Ends it in order and waits. Its log.
    pub fn stop(self) -> String {
        let (status, log) = self.stop_somehow();
        assert!(peer() || status.success(), "an ordered stop ends with {status}\n{log}");
        log
    }

    /// As [`Daemon::stop`], whatever status it ends with: its disk may be failing.
    pub fn stop_somehow(mut self) -> (ExitStatus, String) {
        self.assert_runs();
        signal(self.child.id(), Signal::TERM);
        let child = &mut self.child;
        let status = until("the server ends", STOP, || child.try_wait().expect("the child is ours"));
        self.log.wait_for_end();
        (status, self.log.text())
    }

    /// Panics if the process has ended, or has panicked inside.
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the child is ours") {
            self.log.wait_for_end();
            panic!("the server died by itself ({status})\n{}", self.log.text());
        }
        assert!(!self.log.text().contains("panicked at"), "the server panicked\n{}", self.log.text());
    }

    /// Kilobytes of memory in use and the most ever in use.
    pub fn memory(&self) -> (u64, u64) {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a line of /proc/…/status");
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("kilobytes")
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}--- end of log ---", self.log.tail());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn follow(&self, from: impl Read + Send + 'static) {
        let log = Arc::clone(&self.0);
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = log.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
            }
        });
    }

    /// Until the readers have seen the end of the pipes, so that the last lines are there. Bounded:
    /// a grandchild may hold a pipe open.
    fn wait_for_end(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Arc::strong_count(&self.0) > 1 && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(80)..].iter().map(|line| format!("{line}\n")).collect()
    }
}
