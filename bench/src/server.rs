//! Registries started by a run: each on an empty store of its own, on a free port, its output kept in a file.
//! A registry that is dropped is killed and its store removed.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::call::Call;
use crate::client::Connection;
use crate::error::BenchError;
use crate::payload::Payload;
use crate::target::Target;
use crate::tls::Identity;

const READY_WITHIN: Duration = Duration::from_secs(20);
/// A stop finishes what began: far less than this.
const STOPPED_WITHIN: Duration = Duration::from_secs(120);
/// How often it is asked whether it serves; start times are not known more exactly.
const POLL: Duration = Duration::from_millis(2);
const LOG_TAIL: usize = 1500;

/// The registries a run can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// This product.
    Pierhead,
    /// Debian's docker-registry.
    Peer,
}

impl Kind {
    /// As in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pierhead => "pierhead",
            Self::Peer => "peer",
        }
    }
}

/// Where the registries' programs and the stores are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Pierhead's binary.
    pub pierhead: PathBuf,
    /// The peer's binary.
    pub peer: PathBuf,
    /// The folder stores are made in; the system's temporary folder if not given.
    pub scratch: Option<PathBuf>,
    /// Settings of Pierhead's, as environment variables.
    pub environment: Vec<(&'static str, &'static str)>,
}

impl Programs {
    /// The program of a registry.
    pub fn of(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Pierhead => &self.pierhead,
            Kind::Peer => &self.peer,
        }
    }

    /// What a registry's program says its version is.
    pub async fn version(&self, kind: Kind) -> Result<String, BenchError> {
        let program = self.of(kind);
        let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().await;
        let output = output.map_err(not_started(program))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or("unknown").trim().to_owned())
    }

    /// A new empty folder for a store, removed when dropped.
    pub fn folder(&self) -> Result<TempDir, BenchError> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("pierhead-bench-");
        let made = match &self.scratch {
            Some(scratch) => builder.tempdir_in(scratch),
            None => builder.tempdir(),
        };
        made.map_err(BenchError::io("making a folder for a store"))
    }
}

/// How a registry is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM, and waited for: it must say that all went well.
    Stop,
    /// SIGKILL.
    Kill,
}

/// A registry that runs.
pub struct Server {
    child: Child,
    program: String,
    target: Arc<Target>,
    ready_after: Duration,
    // Declared last: the folder goes after the process.
    store: TempDir,
}

impl Server {
    /// Starts a registry on an empty store and waits until it serves: HTTPS if it gets a certificate.
    pub async fn start(
        kind: Kind,
        programs: &Programs,
        identity: Option<&Identity>,
    ) -> Result<Self, BenchError> {
        Self::start_on(programs.folder()?, kind, programs, identity, READY_WITHIN).await
    }

    /// As [`Server::start`], on a folder that may hold a store, and with more patience.
    pub async fn start_on(
        store: TempDir,
        kind: Kind,
        programs: &Programs,
        identity: Option<&Identity>,
        within: Duration,
    ) -> Result<Self, BenchError> {
        let address = free_address()?;
        let program = programs.of(kind).display().to_string();
        let mut command = Command::new(programs.of(kind));
        let tls = identity.map(|identity| identity.write(store.path())).transpose()?;
        match kind {
            Kind::Pierhead => pierhead(&mut command, store.path(), address, tls.as_ref()),
            Kind::Peer => peer(&mut command, store.path(), address, tls.as_ref())?,
        }
        let out = File::create(store.path().join("log")).map_err(BenchError::io("making a log file"))?;
        let err = out.try_clone().map_err(BenchError::io("making a log file"))?;
        command.envs(programs.environment.iter().copied());
        command.stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true);
        let begun = Instant::now();
        let child = command.spawn().map_err(not_started(programs.of(kind)))?;
        let (target, ready_after) = (Arc::new(Target::local(address, identity)), Duration::ZERO);
        let mut server = Self { child, program, target, ready_after, store };
        server.ready(begun + within).await?;
        server.ready_after = begun.elapsed();
        Ok(server)
    }

    /// Where it listens.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Its process; `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Time from exec until it served.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Ends it and removes its store.
    pub async fn stop(self) -> Result<(), BenchError> {
        self.end(End::Kill).await?.close().map_err(BenchError::io("removing a store"))
    }

    /// Ends it and gives its store back.
    pub async fn end(mut self, end: End) -> Result<TempDir, BenchError> {
        let what = format!("ending {}", self.program);
        match end {
            End::Kill => self.child.kill().await.map_err(BenchError::io(what))?,
            End::Stop => {
                self.terminate().map_err(BenchError::io(what.as_str()))?;
                let ended = tokio::time::timeout(STOPPED_WITHIN, self.child.wait()).await;
                let ended =
                    ended.map_err(|_| BenchError::TooLong { what: what.clone(), limit: STOPPED_WITHIN });
                let status = ended?.map_err(BenchError::io(what))?;
                if !status.success() {
                    return Err(self.failed(format!("did not stop in order ({status})")));
                }
            }
        }
        Ok(self.store)
    }

    fn terminate(&self) -> std::io::Result<()> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        pid.map_or(Ok(()), |pid| Ok(kill_process(pid, Signal::TERM)?))
    }

    async fn ready(&mut self, deadline: Instant) -> Result<(), BenchError> {
        let call = Call::get("/v2/")?;
        loop {
            let asked = Connection::new(&self.target).try_ask(&call, Payload::EMPTY).await;
            if matches!(asked, Ok((StatusCode::OK, _))) {
                return Ok(());
            }
            let ended = self.child.try_wait().map_err(BenchError::io("waiting for a registry"))?;
            if let Some(status) = ended {
                return Err(self.failed(format!("ended at once ({status})")));
            }
            if Instant::now() >= deadline {
                return Err(self.failed("did not serve in time".to_owned()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn failed(&self, why: String) -> BenchError {
        let log = std::fs::read(self.store.path().join("log")).unwrap_or_default();
        let tail = log.get(log.len().saturating_sub(LOG_TAIL)..).unwrap_or_default();
        let log = String::from_utf8_lossy(tail).into_owned();
        BenchError::Start { program: self.program.clone(), why, log }
    }
}

fn not_started(program: &Path) -> impl FnOnce(std::io::Error) -> BenchError {
    let program = program.display();
    BenchError::io(format!("starting {program} (--pierhead and --peer say which programs are run)"))
}

/// The paths of a certificate and its key.
type Pair = (PathBuf, PathBuf);

/// Where a registry keeps its data below a store's folder.
pub fn data_folder(store: &Path) -> PathBuf {
    store.join("data")
}

fn pierhead(command: &mut Command, store: &Path, address: SocketAddr, tls: Option<&Pair>) {
    command.args(["serve", "--lab", "--data"]).arg(data_folder(store));
    command.args(["--listen", &address.to_string()]);
    if let Some((certificate, key)) = tls {
        command.env("PIERHEAD_TLS_CERTIFICATE", certificate).env("PIERHEAD_TLS_KEY", key);
    }
}

fn peer(
    command: &mut Command,
    store: &Path,
    address: SocketAddr,
    tls: Option<&Pair>,
) -> Result<(), BenchError> {
    let path = store.join("peer.yml");
    let root = data_folder(store);
    let settings = peer_settings(&root, address, tls);
    std::fs::write(&path, settings).map_err(BenchError::io("writing the peer's settings"))?;
    command.arg("serve").arg(path);
    Ok(())
}

/// The peer as its users run it: access log off, blob descriptors cached in memory.
fn peer_settings(root: &Path, address: SocketAddr, tls: Option<&Pair>) -> String {
    let tls = tls.map(|(certificate, key)| format!(", tls: {{certificate: {certificate:?}, key: {key:?}}}"));
    let tls = tls.unwrap_or_default();
    format!(
        "version: 0.1\n\
         log: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage:\n  filesystem: {{rootdirectory: {root:?}}}\n  cache: {{blobdescriptor: inmemory}}\n  \
         delete: {{enabled: true}}\n\
         http: {{addr: \"{address}\"{tls}}}\n"
    )
}

/// An address nobody listens on. Another process may take it before the registry does; starting then fails.
fn free_address() -> Result<SocketAddr, BenchError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(BenchError::io("looking for a free port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(path: &str) -> Programs {
        Programs {
            pierhead: PathBuf::from(path),
            peer: PathBuf::from(path),
            scratch: None,
            environment: Vec::new(),
        }
    }

    #[test]
    fn the_peers_settings_name_store_and_address() {
        let address = SocketAddr::from(([127, 0, 0, 1], 5000));
        let text = peer_settings(Path::new("/a b/data"), address, None);
        assert!(text.contains("rootdirectory: \"/a b/data\""), "{text}");
        assert!(text.contains("\nhttp: {addr: \"127.0.0.1:5000\"}\n"), "{text}");
        let pair = (PathBuf::from("/a b/cert.pem"), PathBuf::from("/a b/key.pem"));
        let text = peer_settings(Path::new("/a b/data"), address, Some(&pair));
        let tls = "http: {addr: \"127.0.0.1:5000\", tls: {certificate: \"/a b/cert.pem\", key: \"/a b/key.pem\"}}\n";
        assert!(text.ends_with(tls), "{text}");
    }

    #[tokio::test]
    async fn a_registry_that_ends_at_once_is_an_error_that_names_it() {
        let started = Server::start(Kind::Pierhead, &programs("/bin/false"), None).await;
        assert!(matches!(started, Err(BenchError::Start { program, .. }) if program == "/bin/false"));
    }

    #[tokio::test]
    async fn a_program_says_its_version_on_one_line() {
        let said = programs("/bin/echo").version(Kind::Peer).await.expect("echo is there");
        assert!(!said.contains('\n') && !said.is_empty(), "{said}");
        assert!(programs("/nowhere/at/all").version(Kind::Peer).await.is_err());
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_an_error() {
        let started = Server::start(Kind::Peer, &programs("/nowhere/at/all"), None).await;
        assert!(matches!(started, Err(BenchError::Io { .. })));
    }
}
