//! Where the rooms are put together: what is opened in which order, and closed in which. Decides
//! nothing else. Called by `cli` only.

use std::future::{Future, ready};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;

use crate::api::body::{self, Body};
use crate::api::health::Health;
use crate::api::metrics::{Metrics, Monitoring, Route};
use crate::config::Settings;
use crate::seams::OsRandom;
use crate::server::{self, App, Ended, PeerFacts, Phase, Server, Stop, Tls, TlsError};
use crate::stores::lock::{DataLock, LockError};

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `serve` without `--lab`: nobody could sign in.
    #[error(
        "sign-in is not built yet in this version: use --lab, which is open to everybody it can be reached by"
    )]
    NoIdentity,
    /// The data directory cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] server::BindError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The host refuses something every process needs.
    #[error("cannot start: {0}")]
    Host(#[source] io::Error),
    /// Reading or writing what was asked for.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Not in this version.
    #[error("{0} is not built yet")]
    NotBuilt(&'static str),
}

/// What `serve` listens on.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Addresses, as bound.
    pub addresses: Vec<SocketAddr>,
    /// Whether they speak TLS.
    pub tls: bool,
    /// Addresses of the listener for monitoring.
    pub metrics: Vec<SocketAddr>,
}

/// Runs the appliance until it is stopped. `listening` is called once, when requests are taken.
pub async fn serve(
    settings: Settings,
    lab: bool,
    listening: impl FnOnce(&Listening),
) -> Result<(), StartError> {
    if !lab {
        return Err(StartError::NoIdentity);
    }
    let _lock = DataLock::create(&settings.storage.data)?;
    let stop = Stop::default();
    let metrics = Metrics::new(|_registry| ());
    let tls = open_tls(&settings)?;
    // Taken before anything listens: a signal from here on is a stop, not a death.
    let reload_tls = tls.clone();
    let signals =
        server::signals(stop.clone(), move || reload(reload_tls.as_deref())).map_err(StartError::Host)?;
    let health = health(&stop);

    let server = Server::bind(options(&settings, settings.server.listen.clone(), tls.clone(), &metrics))?;
    let monitoring = match settings.metrics.listen {
        Some(address) => Some(Server::bind(options(&settings, vec![address], None, &metrics))?),
        None => None,
    };
    let monitoring_addresses = monitoring.as_ref().map(Server::addresses).unwrap_or_default();
    let now = Listening { addresses: server.addresses(), tls: tls.is_some(), metrics: monitoring_addresses };

    let mut beside = JoinSet::new();
    beside.spawn(signals);
    // Monitoring goes on while the rest stops: it says so, then ends with `beside`.
    let monitoring_stop = Stop::default();
    if let Some(monitoring) = monitoring {
        let app = Arc::new(Monitoring::new(metrics.clone(), health.clone()));
        let stop = monitoring_stop.clone();
        beside.spawn(async move {
            let _ = monitoring.run(app, stop).await;
        });
    }
    listening(&now);
    tracing::info!(addresses = ?now.addresses, tls = now.tls, metrics = ?now.metrics, "serving");
    let app = Arc::new(Appliance { health });
    match server.run(app, stop).await {
        Ended::Finished => tracing::info!("stopped: every request was finished"),
        Ended::Cut(connections) => tracing::warn!(connections, "stopped: what was under way was cut"),
    }
    monitoring_stop.cut();
    Ok(())
}

fn open_tls(settings: &Settings) -> Result<Option<Arc<Tls>>, StartError> {
    let Some((certificate, key)) = settings.tls.files() else { return Ok(None) };
    Ok(Some(Arc::new(Tls::open(certificate, key, settings.server.http2)?)))
}

fn options(
    settings: &Settings,
    listen: Vec<SocketAddr>,
    tls: Option<Arc<Tls>>,
    metrics: &Metrics,
) -> server::Options {
    let settings = settings.server.clone();
    server::Options { listen, settings, tls, metrics: metrics.clone(), random: Arc::new(OsRandom) }
}

/// What SIGHUP does: the certificate is read again, the other settings need a restart.
fn reload(tls: Option<&Tls>) {
    match tls.map(Tls::reload) {
        None => tracing::info!("SIGHUP: there is no certificate to read again; settings need a restart"),
        Some(Ok(())) => {
            tracing::info!("SIGHUP: new connections use the new certificate; settings need a restart");
        }
        Some(Err(error)) => tracing::error!(%error, "SIGHUP: the certificate in use stays"),
    }
}

fn health(stop: &Stop) -> Health {
    let stop = stop.clone();
    let serving = move || match stop.phase() {
        Phase::Running => Ok(()),
        Phase::Finishing | Phase::Cut => Err("stopping".to_owned()),
    };
    Health::new(vec![("server", Box::new(serving))])
}

/// The surfaces, by path.
struct Appliance {
    health: Health,
}

impl App for Appliance {
    fn call(
        &self,
        request: Request<Body>,
        _: PeerFacts,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        if let Some(mut response) = self.health.answer(&request) {
            response.extensions_mut().insert(Route { surface: "health", route: "health" });
            return Box::pin(ready(response));
        }
        let nothing = json!({"errors": [{"code": "NOT_FOUND", "message": "there is nothing here"}]});
        Box::pin(ready(body::json(StatusCode::NOT_FOUND, &nothing)))
    }
}

/// What a check of a data directory found.
#[derive(Debug, Default, Serialize)]
pub struct FsckReport {
    /// What is wrong, one sentence each; none in a sound store.
    pub findings: Vec<String>,
    /// How many of each kind were looked at.
    pub checked: Vec<(String, u64)>,
}

/// Checks the data directory, which no other process may be using. `deep` reads every byte.
pub fn fsck(data: &Path, deep: bool) -> Result<FsckReport, StartError> {
    let _lock = DataLock::existing(data)?;
    let _ = deep;
    Err(StartError::NotBuilt("fsck"))
}

/// Writes the metadata, engine-neutral, to `output`; gives the number of rows.
pub fn export(data: &Path, output: &mut dyn Write) -> Result<u64, StartError> {
    let _lock = DataLock::existing(data)?;
    let _ = output;
    Err(StartError::NotBuilt("export-metadata"))
}

/// Puts exported metadata into a data directory that has none; gives the number of rows.
pub fn import(data: &Path, input: &mut dyn Read) -> Result<u64, StartError> {
    let _lock = DataLock::create(data)?;
    let _ = input;
    Err(StartError::NotBuilt("import-metadata"))
}
