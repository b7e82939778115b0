//! The real binary as a child process: started on a free port, waited for by what it logs, stopped
//! by signal, started again on the same data and port. Its output is kept and printed when the test
//! that owns it fails.

use super::wait::{until, until_true};
use super::{Http, Repository};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// A start rebuilds at most a small store; a stop finishes what began. Both far below this.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);

/// What a server is started with beyond the lab's defaults.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Without `--lab`.
    pub closed: bool,
}

impl Settings {
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Not a lab: everybody signs in. Plain HTTP on loopback, as the lab.
    pub fn closed(mut self) -> Self {
        self.closed = true;
        self.set("TLS_MODE", "off")
    }

    /// Sets `PIERHEAD_<key>`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.environment.push((format!("PIERHEAD_{key}"), value.to_owned()));
        self
    }
}

/// The address of a registry that runs already, if the caller named one.
pub fn external() -> Option<SocketAddr> {
    let named = std::env::var("PIERHEAD_TEST_REGISTRY").ok()?;
    let address = named.to_socket_addrs().ok().and_then(|mut all| all.next());
    Some(address.unwrap_or_else(|| panic!("PIERHEAD_TEST_REGISTRY={named} is not host:port")))
}

pub struct Server {
    address: SocketAddr,
    process: Option<Process>,
}

/// The part that only a server of our own has.
struct Process {
    child: Option<Child>,
    data: PathBuf,
    /// Removes the data when the server goes; none if the caller owns the folder.
    _folder: Option<tempfile::TempDir>,
    /// Bound to the server's port, so that nobody else gets it between a stop and the next start.
    _port: OwnedFd,
    log: Log,
    settings: Settings,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

/// The registry that tests without wishes share; it stops when the last of them lets go.
#[derive(Clone)]
pub struct Shared(Arc<Server>);

impl std::ops::Deref for Shared {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.print_log_when_failing();
    }
}

impl Server {
    /// The registry shared by the tests of this program that are running now.
    pub fn shared() -> Shared {
        static CURRENT: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut current = CURRENT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let server = current.upgrade().unwrap_or_else(|| {
            let server = match external() {
                Some(address) => Self { address, process: None },
                None => Self::launch(Settings::default(), None),
            };
            Arc::new(server)
        });
        *current = Arc::downgrade(&server);
        Shared(server)
    }

    /// A server of the test's own; none, loudly, if requests go to a registry that runs already.
    pub fn own(settings: Settings) -> Option<Self> {
        if external().is_some() {
            super::skipped("needs a server of its own, and PIERHEAD_TEST_REGISTRY is set");
            return None;
        }
        Some(Self::launch(settings, None))
    }

    /// As [`Server::own`], on a data folder the caller keeps.
    pub fn on_data(data: &Path, settings: Settings) -> Option<Self> {
        if external().is_some() {
            super::skipped("needs a server of its own, and PIERHEAD_TEST_REGISTRY is set");
            return None;
        }
        Some(Self::launch(settings, Some(data)))
    }

    fn launch(settings: Settings, data: Option<&Path>) -> Self {
        let folder = data.is_none().then(|| tempfile::Builder::new().prefix("pierhead-test-").tempdir());
        let folder = folder.map(|made| made.expect("a scratch folder"));
        let data = data.or(folder.as_ref().map(|made| made.path())).expect("one of both").to_owned();
        let (port, address) = reserved_port();
        let log = Log::default();
        let mut process = Process { child: None, data, _folder: folder, _port: port, log, settings };
        let address = process.start(&address.to_string());
        Self { address, process: Some(process) }
    }

    pub fn http(&self) -> Http {
        Http { address: self.address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn repository(&self) -> Repository {
        Repository::fresh(self.http())
    }

    pub fn data(&self) -> &Path {
        &self.process().data
    }

    pub fn pid(&self) -> u32 {
        self.process().child.as_ref().expect("a running server").id()
    }

    /// What it has printed since its first start.
    pub fn log(&self) -> String {
        self.process().log.text()
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        let child = self.process_mut().child.take();
        let mut child = child.expect("a running server");
        child.kill().expect("SIGKILL is delivered");
        child.wait().expect("the child is ours");
    }

    /// Asks it to stop, without waiting.
    pub fn terminate(&self) {
        signal(self.pid(), Signal::TERM);
    }

    /// Asks it to stop and waits: its exit status.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait_for_exit()
    }

    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let process = self.process_mut();
        let mut child = process.child.take().expect("a running server");
        let status = until("the server ends", STOP, || child.try_wait().expect("the child is ours"));
        until_true("all it said is read", STOP, || process.log.is_at_its_end());
        status
    }

    /// Waits until it has said this: what it prints is read beside the test.
    pub fn until_logged(&self, words: &str) {
        until_true(&format!("the log says {words:?}"), START, || self.log().contains(words));
    }

    /// Starts it again on the same data and port.
    pub fn start(&mut self) {
        let address = self.address.to_string();
        let now = self.process_mut().start(&address);
        assert_eq!(now, self.address, "the same port again");
    }

    /// Runs another command of the binary against this server's data.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = binary();
        command.args(arguments).arg("--data").arg(self.data());
        command.output().expect("the binary starts")
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a server of our own")
    }

    fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("a server of our own")
    }

    fn print_log_when_failing(&self) {
        if let Some(process) = self.process.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("--- the server's log ---\n{}--- end of log ---", process.log.tail());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.print_log_when_failing();
        if let Some(mut child) = self.process.as_mut().and_then(|process| process.child.take()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A free port of loopback that nobody is given while the socket is there. A listener can be bound to it as well, since
/// this one does not listen.
fn reserved_port() -> (OwnedFd, SocketAddr) {
    let reserve = || {
        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = getsockname(&socket)?.try_into()?;
        Ok::<_, rustix::io::Errno>((socket, address))
    };
    reserve().expect("a port")
}

/// The binary under test with a clean environment: nothing of the caller's settings leaks in.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pierhead"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PIERHEAD_") {
            command.env_remove(name);
        }
    }
    command
}

/// `serve --lab` on this data and a free port, not started yet: for starts that are refused, or looked at.
pub fn lab(data: &Path) -> Command {
    let mut command = binary();
    command.args(["serve", "--lab", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    command
}

impl Process {
    fn start(&mut self, listen: &str) -> SocketAddr {
        let mut command = binary();
        let lab = (!self.settings.closed).then_some("--lab");
        command.arg("serve").args(lab).args(["--listen", listen, "--data"]).arg(&self.data);
        command.args(&self.settings.arguments).env("PIERHEAD_LOG_FORMAT", "json");
        command.envs(self.settings.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let start_of_log = self.log.text().len();
        self.log.follow(child.stdout.take().expect("piped"));
        self.log.follow(child.stderr.take().expect("piped"));
        let log = self.log.clone();
        let address = until("the server listens", START, || {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                panic!("the server ended at start ({status}):\n{}", log.tail());
            }
            log.text()[start_of_log..].lines().find_map(listening)
        });
        self.child = Some(child);
        address
    }
}

/// The address in the lab's "listening on http://127.0.0.1:5000".
fn listening(line: &str) -> Option<SocketAddr> {
    let (_, url) = line.split_once("listening on ")?;
    let (_, address) = url.split_once("://")?;
    address.trim().parse::<SocketAddr>().ok().filter(SocketAddr::is_ipv4)
}

impl Log {
    fn follow(&self, from: impl Read + Send + 'static) {
        let log = Arc::clone(&self.0);
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = log.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                text.push_str(&line);
                text.push('\n');
            }
        });
    }

    /// Whether its readers have come to the ends of what they read.
    fn is_at_its_end(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// The last lines: enough to see why, not a shared server's whole life.
    fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(60)..];
        shown.iter().map(|line| format!("{line}\n")).collect()
    }
}

pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("the signal is delivered");
}
