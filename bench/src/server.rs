//! Registries started by a run: each on an empty store of its own, on a free port, its output kept in a file.
//! A registry that is dropped is killed and its store removed.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::call::Call;
use crate::client::Connection;
use crate::error::BenchError;
use crate::payload::Payload;
use crate::target::Target;
use crate::tls::Identity;

const READY_WITHIN: Duration = Duration::from_secs(20);
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

/// A registry that runs.
pub struct Server {
    child: Child,
    program: String,
    target: Arc<Target>,
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
        let store = programs.folder()?;
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
        command.stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true);
        let child = command.spawn().map_err(not_started(programs.of(kind)))?;
        let mut server = Self { child, program, target: Arc::new(Target::local(address, identity)), store };
        server.ready().await?;
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

    /// Ends it and removes its store.
    pub async fn stop(mut self) -> Result<(), BenchError> {
        self.child.kill().await.map_err(BenchError::io(format!("ending {}", self.program)))?;
        self.store.close().map_err(BenchError::io("removing a store"))
    }

    async fn ready(&mut self) -> Result<(), BenchError> {
        let call = Call::get("/v2/")?;
        let deadline = Instant::now() + READY_WITHIN;
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
                return Err(self.failed(format!("did not serve within {} s", READY_WITHIN.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
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

fn pierhead(command: &mut Command, store: &Path, address: SocketAddr, tls: Option<&Pair>) {
    command.args(["serve", "--lab", "--data"]).arg(store.join("data"));
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
    let root = store.join("data");
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
        Programs { pierhead: PathBuf::from(path), peer: PathBuf::from(path), scratch: None }
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
