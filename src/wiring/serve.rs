//! Running the appliance. What is opened first is closed last: store, services, sockets; then the
//! sockets finish, the jobs end, and the metadata is closed. The services are in `rooms`.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::StartError;
use super::admin::Administration;
use super::managed::Managed;
use super::reload::{Reloading, Reread};
use super::rooms::{PARK_LIMIT, Rooms, panicked};
use super::store::{self, Store};
use super::surfaces::Surfaces;
use super::tls::Certificates;
use crate::api::admin::Services;
use crate::api::health::Health;
use crate::api::metrics::Monitoring;
use crate::api::trust::Trust;
use crate::config::Settings;
use crate::seams::{OsRandom, tasks};
use crate::server::metrics::Metrics;
use crate::server::{self, Ended, Manager, Phase, Server, Stop, Tls};

/// What `serve` listens on.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Addresses, as bound.
    pub addresses: Vec<SocketAddr>,
    /// Whether they speak TLS.
    pub tls: bool,
    /// Addresses of the listener for monitoring.
    pub metrics: Vec<SocketAddr>,
    /// The socket for administrators.
    pub admin: Option<PathBuf>,
}

/// Runs the appliance until it is stopped. `listening` is called once, when requests are taken. The
/// store is given back closed: it keeps the data directory locked, and work that a cut stop left on
/// the runtime's threads may still write, so it is dropped after the runtime.
pub async fn serve(
    settings: Settings,
    lab: bool,
    (manager, reread): (Manager, Reread),
    listening: impl FnOnce(&Listening),
) -> Result<Arc<Store>, StartError> {
    let stop = Stop::default();
    let to_finish = settings.server.stop_timeout.duration() + PARK_LIMIT;
    let managed = Managed::begin(manager, &stop, to_finish);
    let certificates = Certificates::begin(&settings, lab)?;
    // Taken before anything listens: a signal from here on is a stop, not a death.
    let reloading = Reloading::new(&certificates, &settings, reread);
    let reload = reloading.ask();
    let hangup = managed.hangup(reload.clone());
    let signals = server::signals(stop.clone(), hangup).map_err(StartError::Host)?;
    let storage = settings.storage.clone();
    let opened = tasks::blocking(move || store::open(&storage)).await.map_err(panicked)??;
    let (store, resumables) = (Arc::new(opened.0), opened.1);
    let opening = Arc::clone(&certificates);
    let tls = tasks::blocking(move || opening.open()).await.map_err(panicked)??;
    let rooms = Rooms::open(&settings, lab, (Arc::clone(&store), resumables), &stop).await?;
    reloading.tell(rooms.guard());
    let jobs = rooms.watch(&settings, &certificates, &managed);
    let told = (health(&stop, &store), Trust::new(certificates.ca()));
    let app = Arc::new(rooms.surfaces(&settings, told));
    let (metrics, administration) = (rooms.metrics(), rooms.administration(&jobs, reload));
    let edge = Edge { tls, signals, stop: stop.clone(), metrics, administration, managed };
    let ended = run(&settings, app, edge, listening).await;
    stop.begin(); // if it was never reached
    rooms.end(&jobs).await;
    close(&store).await;
    tell(&ended?);
    Ok(store)
}

fn tell(ended: &Ended) {
    match ended {
        Ended::Finished => tracing::info!("stopped: every request was finished"),
        Ended::Cut(connections) => tracing::warn!(connections, "stopped: what was under way was cut"),
    }
}

async fn close(store: &Arc<Store>) {
    let closing = Arc::clone(store);
    if tasks::blocking(move || closing.close()).await.is_err() {
        tracing::error!("closing the store ended in a panic; the next start recovers");
    }
}

/// What the sockets need beside the app.
struct Edge<S> {
    tls: Option<Arc<Tls>>,
    signals: S,
    stop: Stop,
    metrics: Metrics,
    administration: Services,
    managed: Managed,
}

async fn run<S: Future<Output = ()> + Send + 'static>(
    settings: &Settings,
    app: Arc<Surfaces>,
    mut edge: Edge<S>,
    listening: impl FnOnce(&Listening),
) -> Result<Ended, StartError> {
    let metrics = edge.metrics;
    let (listen, inherited) = (settings.server.listen.clone(), edge.managed.inherited());
    let server = Server::bind(options(settings, listen, edge.tls.clone(), &metrics), &inherited)?;
    let monitoring = match settings.metrics.listen {
        Some(address) => Some(Server::bind(options(settings, vec![address], None, &metrics), &inherited)?),
        None => None,
    };
    let monitoring_addresses = monitoring.as_ref().map(Server::addresses).unwrap_or_default();
    let now = Listening {
        addresses: server.addresses(),
        tls: edge.tls.is_some(),
        metrics: monitoring_addresses,
        admin: settings.admin_socket(),
    };
    let crowd = server.crowd();
    let administration = Administration::bind(settings, edge.administration, (&now, crowd), &metrics)?;

    let mut beside = JoinSet::new();
    beside.spawn(edge.signals);
    // Monitoring goes on while the rest stops: it says so, then ends with `beside`.
    let monitoring_stop = Stop::default();
    if let Some(monitoring) = monitoring {
        let monitor = Arc::new(Monitoring::new(metrics.clone(), app.health().clone()));
        let stop = monitoring_stop.clone();
        beside.spawn(async move {
            let _ = monitoring.run(monitor, stop).await;
        });
    }
    let administration = administration.map(|bound| bound.run(&mut beside, &edge.stop));
    listening(&now);
    edge.managed.ready(&now);
    for address in &now.addresses {
        tracing::info!(listening = %address, tls = now.tls, "serving");
    }
    if let Some(path) = &now.admin {
        tracing::info!(socket = %path.display(), "taking administrators");
    }
    for address in &now.metrics {
        tracing::info!(monitoring = %address, "serving metrics");
    }
    let ended = server.run(app, edge.stop).await;
    edge.managed.end().await;
    if let Some(administration) = administration {
        administration.end(ended == Ended::Finished).await;
    }
    monitoring_stop.cut();
    Ok(ended)
}

/// What a server of these settings is made of.
pub(super) fn options(
    settings: &Settings,
    listen: Vec<SocketAddr>,
    tls: Option<Arc<Tls>>,
    metrics: &Metrics,
) -> server::Options {
    let settings = settings.server.clone();
    server::Options { listen, settings, tls, metrics: metrics.clone(), random: Arc::new(OsRandom) }
}

fn health(stop: &Stop, store: &Store) -> Health {
    let stop = stop.clone();
    let serving = move || match stop.phase() {
        Phase::Running => Ok(()),
        Phase::Finishing | Phase::Cut => Err("stopping".to_owned()),
    };
    let meta = store.meta.clone();
    let metadata = move || {
        let status = meta.status();
        status.read_only.map_or(Ok(()), Err)
    };
    Health::new(vec![("server", Box::new(serving)), ("metadata", Box::new(metadata))])
}
