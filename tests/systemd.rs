//! Under a service manager: what it is told, sockets it listens on for us, its journal, and the unit files.
//! The manager is this test, in the same protocols; systemd's own tools look at the units.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use support::clients::{Scratch, find, require, skip_unless};
use support::server::{binary, lab, signal};
use support::wait::until;
use support::{Http, Server, Settings, text};

const SOON: Duration = Duration::from_secs(60);

/// The service manager's end of `$NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(SOON)).expect("a limit");
        Self(socket)
    }

    /// The next message that is not a plain ping or a wish for more time.
    fn news(&self) -> String {
        until("news", SOON, || Some(self.next()).filter(|text| !is_noise(text)))
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("a message in time");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }
}

fn is_noise(text: &str) -> bool {
    text == "WATCHDOG=1\n" || text.starts_with("STATUS=opening the store\nEXTEND_TIMEOUT_USEC=")
}

fn with(settings: Settings, name: &str, value: &str) -> Settings {
    let mut settings = settings;
    settings.environment.push((name.to_owned(), value.to_owned()));
    settings
}

#[test]
fn the_manager_hears_of_the_start_of_life_of_a_reload_and_of_the_stop() {
    let scratch = Scratch::new();
    let manager = Manager::at(&scratch.path("notify"));
    let settings = with(Settings::default(), "NOTIFY_SOCKET", &scratch.text("notify"));
    let Some(mut server) = Server::own(with(settings, "WATCHDOG_USEC", "1000000")) else { return };

    assert!(is_noise(&manager.next()), "more time is asked for before anything is opened");
    let ready = manager.news();
    assert_eq!(ready, format!("READY=1\nSTATUS=serving on http://{}\n", server.address()));
    server.http().get("/v2/").send().expect(200);
    for _ in 0..3 {
        until("a ping", SOON, || (manager.next() == "WATCHDOG=1\n").then_some(()));
    }
    signal(server.pid(), Signal::HUP);
    assert!(manager.news().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(manager.news(), ready);
    server.terminate();
    let stopping = manager.news();
    assert!(stopping.starts_with("STOPPING=1\n") && stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
    assert!(server.wait_for_exit().success());
}

#[test]
fn a_start_that_fails_is_never_called_ready() {
    let scratch = Scratch::new();
    let manager = Manager::at(&scratch.path("notify"));
    fs::write(scratch.path("somebodys"), "file").expect("a file");
    let mut command = lab(&scratch.path(""));
    command.env("NOTIFY_SOCKET", scratch.path("notify"));
    assert!(!command.output().expect("the binary starts").status.success());
    manager.0.set_nonblocking(true).expect("no more waiting");
    let mut buffer = [0; 4096];
    while let Ok(length) = manager.0.recv(&mut buffer) {
        let said = text(&buffer[..length]);
        assert!(!said.contains("READY"), "{said}");
    }
}

/// Listens on a port of loopback as systemd would, says which, and becomes the server.
const ACTIVATE: &str = "
import os, socket, sys
names, arguments = sys.argv[1], sys.argv[2:]
for number, name in enumerate(names.split(':')):
    made = socket.socket()
    made.bind(('127.0.0.1', 0))
    made.listen()
    print(made.getsockname()[1], flush=True)
    os.dup2(made.fileno(), 100 + number)
    made.close()
for number, name in enumerate(names.split(':')):
    os.dup2(100 + number, 3 + number)
    os.set_inheritable(3 + number, True)
    os.close(100 + number)
os.environ.update(LISTEN_FDS=str(number + 1), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.execv(arguments[0], arguments)
";

struct Activated(Child);

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn activated(names: &str, data: &Path) -> (Activated, Vec<SocketAddr>) {
    let server = binary();
    let mut command = Command::new(find("python3").expect("asked for"));
    command.args(["-c", ACTIVATE, names]).arg(server.get_program());
    // The address of the settings cannot be listened on: port 1 needs root, and TEST-NET is nowhere.
    command.args(["serve", "--lab", "--lab-open-to-network", "--listen", "192.0.2.1:1", "--data"]).arg(data);
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut child = command.stdout(Stdio::piped()).spawn().expect("python starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let addresses = names.split(':').map(|_| {
        let port = lines.next().expect("a port").expect("text");
        SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a number")))
    });
    let addresses = addresses.collect();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    (Activated(child), addresses)
}

#[test]
fn sockets_of_the_manager_are_served_in_place_of_those_of_the_settings() {
    if !require(&["python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let (_server, addresses) = activated("https:metrics", &scratch.path("data"));
    // Connected before the server takes it, and answered when it does.
    let waiting = TcpStream::connect(addresses[0]).expect("the manager listens");
    let http = Http { address: addresses[0] };
    http.get("/v2/").send().expect(200);
    drop(waiting);
    let monitoring = Http { address: addresses[1] };
    assert!(monitoring.get("/metrics").send().expect(200).body.starts_with(b"# HELP"));
}

#[test]
fn the_journal_gets_a_priority_with_every_line_where_it_has_no_socket() {
    if !skip_unless(
        !Path::new("/run/systemd/journal/socket").exists(),
        "a journal runs here, and gets it all",
    ) {
        return;
    }
    let scratch = Scratch::new();
    let (reading, writing) = std::io::pipe().expect("a pipe");
    let pipe = fs::File::from(std::os::fd::OwnedFd::from(writing));
    let about = pipe.metadata().expect("a pipe");
    let mut command = lab(&scratch.path("data"));
    command.env("JOURNAL_STREAM", format!("{}:{}", about.dev(), about.ino()));
    command.stdout(Stdio::null()).stderr(pipe);
    let mut server = Activated(command.spawn().expect("the binary starts"));
    drop(command);
    let mut lines = Vec::new();
    for line in BufReader::new(reading).lines().map_while(Result::ok) {
        if line.contains("serving") {
            signal(server.0.id(), Signal::TERM);
        }
        lines.push(line);
    }
    assert!(server.0.wait().expect("ours").success());
    assert!(lines.iter().any(|line| line.starts_with("<6>serving listening=127.0.0.1:")), "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with('<')), "{lines:#?}");
}

/// The units with a program that is here in place of the package's, and without its pages.
fn units(scratch: &Scratch) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let names = ["pierhead.service", "pierhead-backup.service", "pierhead.socket", "pierhead-backup.timer"];
    let units = names.map(|name| {
        let unit = fs::read_to_string(folder.join(name)).expect("a unit");
        let unit = unit.replace("/usr/bin/pierhead", binary().get_program().to_str().expect("a plain path"));
        let lines = unit.lines().filter(|line| !line.starts_with("Documentation="));
        scratch.write(name, lines.collect::<Vec<_>>().join("\n"));
        scratch.text(name)
    });
    units.to_vec()
}

fn analyze(arguments: &[&str], units: &[String]) -> String {
    let mut command = Command::new(find("systemd-analyze").expect("asked for"));
    let output = command.args(arguments).args(units).env("SYSTEMD_COLORS", "0").output().expect("it starts");
    let said = text(&[output.stdout, output.stderr].concat());
    assert!(output.status.success(), "systemd-analyze {arguments:?}:\n{said}");
    said
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !require(&["systemd-analyze"]) {
        return;
    }
    let scratch = Scratch::new();
    assert_eq!(analyze(&["verify"], &units(&scratch)).trim(), "");
}

#[test]
fn the_services_are_exposed_at_2_0_or_less() {
    if !require(&["systemd-analyze"]) {
        return;
    }
    let scratch = Scratch::new();
    // In tenths: the command fails above it.
    analyze(&["security", "--offline=true", "--threshold=20"], &units(&scratch)[..2]);
}
