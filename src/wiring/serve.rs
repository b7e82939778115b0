//! Running the appliance. What is opened first is closed last: store, services, sockets; then the
//! sockets finish, the jobs end, and the metadata is closed.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use super::admin::Administration;
use super::gauges::Gauges;
use super::people::People;
use super::store::{self, Store};
use super::surfaces::{Surfaces, recorder};
use super::tls::Certificates;
use super::upkeep::Upkeep;
use super::{StartError, admin, audit};
use crate::api::admin::Services;
use crate::api::health::Health;
use crate::api::metrics::Monitoring;
use crate::api::trust::Trust;
use crate::config::Settings;
use crate::jobs::Jobs;
use crate::seams::{OsRandom, SystemClock, tasks};
use crate::server::metrics::Metrics;
use crate::server::{self, Ended, Phase, Server, Stop, Tls};
use crate::services;
use crate::services::access::{Access, Action, Actor, Permit, Refusal, Resource};
use crate::services::audit::Audit;
use crate::services::counters::Counters;
use crate::services::images::{Images, PushRules, Shelves};
use crate::services::uploads::{Limits, Uploads, clear_leftovers};
use crate::stores::blobs::Resumable;

/// How often the ballast and the gauges are looked after.
const DISK_EVERY: Duration = Duration::from_secs(2);
/// How often idle upload sessions are looked for.
const SESSIONS_EVERY: Duration = Duration::from_secs(30);

/// How often what was pulled and pushed is added to the store.
const COUNTERS_EVERY: Duration = Duration::from_secs(5);
/// How often is looked how much repositories hold.
const HELD_EVERY: Duration = Duration::from_secs(15 * 60);

/// For making open uploads durable at the end.
const PARK_LIMIT: Duration = Duration::from_secs(10);

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
    listening: impl FnOnce(&Listening),
) -> Result<Arc<Store>, StartError> {
    let stop = Stop::default();
    let certificates = Certificates::begin(&settings, lab)?;
    // Taken before anything listens: a signal from here on is a stop, not a death.
    let reload = admin::reload(&certificates);
    let hangup = reload.clone();
    let signals =
        server::signals(stop.clone(), move || admin::log_reload(&tokio::task::block_in_place(|| hangup())))
            .map_err(StartError::Host)?;
    let storage = settings.storage.clone();
    let opened = tasks::blocking(move || store::open(&storage)).await.map_err(services_panicked)??;
    let (store, resumables) = (Arc::new(opened.0), opened.1);
    let opening = Arc::clone(&certificates);
    let tls = tasks::blocking(move || opening.open()).await.map_err(services_panicked)??;
    let (opened, own) = (settings.clone(), Arc::clone(&store));
    let (people, audit) =
        tasks::blocking(move || who_and_what(&opened, lab, &own)).await.map_err(services_panicked)??;
    people.put_in_order().await?;
    let recorder = recorder(&settings, Some(audit.clone()));
    let access = people.access.clone();
    let shelves = shelves(&settings, &store, &access);
    let (images, uploads) = services(&settings, &shelves);
    let proofs = prove(&stop, &store, &uploads, resumables);
    let gauges = Gauges::default();
    let upkeep = Upkeep::begin(&settings, &store, &access, (&stop, &gauges)).await?;
    let mut jobs = jobs((&store, &audit), access.clone(), &uploads, &gauges);
    certificates.watch(&mut jobs);
    people.watch(&mut jobs);
    audit::watch(&audit, &mut jobs);
    count(&mut jobs, &shelves);
    let counting = Arc::clone(&shelves);
    let appliance = services::appliance::Appliance::new(shelves, uploads.clone(), reload);
    let administration = Services {
        access,
        appliance,
        uploads: uploads.clone(),
        identity: people.identity.clone(),
        organisations: people.organisations.clone(),
        audit: audit.clone(),
        recorder: recorder.clone(),
        holds: upkeep.watch(&mut jobs),
        scrub: upkeep.scrub(),
    };
    let trust = Trust::new(certificates.ca());
    let told = (health(&stop, &store), trust);
    let surfaces = Surfaces::new(&settings, &people, (images, uploads.clone()), told, &recorder);
    let app = Arc::new(surfaces);

    let metrics = Metrics::new(|registry| gauges.register(registry));
    let edge = Edge { tls, signals, stop: stop.clone(), metrics, administration };
    let ended = run(&settings, app, edge, listening).await;
    stop.begin(); // if it was never reached
    jobs.stop().await;
    proofs.join_all().await;
    upkeep.end().await;
    uploads.park(PARK_LIMIT).await;
    people.settle().await;
    audit.settle().await;
    add_counted(&counting).await;
    close(&store).await;
    match ended? {
        Ended::Finished => tracing::info!("stopped: every request was finished"),
        Ended::Cut(connections) => tracing::warn!(connections, "stopped: what was under way was cut"),
    }
    Ok(store)
}

async fn close(store: &Arc<Store>) {
    let closing = Arc::clone(store);
    if tasks::blocking(move || closing.close()).await.is_err() {
        tracing::error!("closing the store ended in a panic; the next start recovers");
    }
}

/// Who there is, and the trail of what is done.
fn who_and_what(settings: &Settings, lab: bool, store: &Store) -> Result<(People, Audit), StartError> {
    let people = People::open(settings, lab, store)?;
    let audit = audit::open(settings, store, &people, Arc::new(SystemClock))?;
    Ok((people, audit))
}

/// What the sockets need beside the app.
struct Edge<S> {
    tls: Option<Arc<Tls>>,
    signals: S,
    stop: Stop,
    metrics: Metrics,
    administration: Services,
}

async fn run<S: Future<Output = ()> + Send + 'static>(
    settings: &Settings,
    app: Arc<Surfaces>,
    edge: Edge<S>,
    listening: impl FnOnce(&Listening),
) -> Result<Ended, StartError> {
    let metrics = edge.metrics;
    let listen = settings.server.listen.clone();
    let server = Server::bind(options(settings, listen, edge.tls.clone(), &metrics))?;
    let monitoring = match settings.metrics.listen {
        Some(address) => Some(Server::bind(options(settings, vec![address], None, &metrics))?),
        None => None,
    };
    let monitoring_addresses = monitoring.as_ref().map(Server::addresses).unwrap_or_default();
    let now = Listening {
        addresses: server.addresses(),
        tls: edge.tls.is_some(),
        metrics: monitoring_addresses,
        admin: settings.admin_socket(),
    };
    let administration = Administration::bind(settings, edge.administration, &now, &metrics)?;

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
    if let Some(administration) = administration {
        administration.end(ended == Ended::Finished).await;
    }
    monitoring_stop.cut();
    Ok(ended)
}

pub(super) fn shelves(settings: &Settings, store: &Store, access: &Access) -> Arc<Shelves> {
    Arc::new(Shelves {
        meta: store.meta.clone(),
        blobs: store.blobs.clone(),
        clock: Arc::new(SystemClock),
        reserve: Arc::clone(&store.reserve),
        rules: PushRules {
            create_organisations: settings.registry.create_organisations,
            organisations: settings.identity.organisations_per_account.into(),
            sparse_manifests: settings.registry.sparse_manifests,
        },
        access: access.clone(),
        counters: Counters::new(store.meta.clone(), access.clone(), Arc::new(SystemClock)),
        suspects: Mutex::default(),
    })
}

pub(super) fn services(settings: &Settings, shelves: &Arc<Shelves>) -> (Images, Uploads) {
    let limits = Limits {
        layer: settings.registry.max_layer.bytes(),
        sessions: settings.registry.max_sessions as usize,
        idle_ms: settings.registry.session_idle.as_ms(),
    };
    (Images::new(Arc::clone(shelves)), Uploads::new(Arc::clone(shelves), limits))
}

/// Has the uploads of an earlier run proved while others are served, until the stop.
fn prove(stop: &Stop, store: &Arc<Store>, uploads: &Uploads, resumables: Vec<Resumable>) -> JoinSet<()> {
    let mut proofs = JoinSet::new();
    let (unproved, given_up) = uploads.take_up(resumables);
    let (ends, stop, store, uploads) =
        (Arc::new(AtomicBool::new(false)), stop.clone(), Arc::clone(store), uploads.clone());
    let told = Arc::clone(&ends);
    proofs.spawn(async move {
        stop.reached(Phase::Finishing).await;
        told.store(true, Ordering::Relaxed);
    });
    proofs.spawn(async move {
        let cleared = tasks::blocking(move || clear_leftovers(&store.meta, &store.blobs, &given_up)).await;
        if let Ok(Err(error)) = cleared {
            tracing::warn!(%error, "uploads that nobody goes on with stay until the next start");
        }
    });
    proofs.spawn(async move { uploads.prove(unproved, ends).await });
    proofs
}

fn jobs((store, audit): (&Arc<Store>, &Audit), access: Access, uploads: &Uploads, gauges: &Gauges) -> Jobs {
    let mut jobs = Jobs::new();
    let (store, counted, gauges) = (Arc::clone(store), (uploads.clone(), audit.clone()), gauges.clone());
    jobs.every(DISK_EVERY, move || {
        let (store, counted, gauges) = (Arc::clone(&store), counted.clone(), gauges.clone());
        async move {
            let restored = tasks::blocking(move || {
                gauges.update(&store, &counted.0, &counted.1);
                store.reserve.restore()
            })
            .await;
            if let Ok(Err(error)) = restored {
                tracing::warn!(%error, "the space to keep back cannot be taken");
            }
        }
    });
    let uploads = uploads.clone();
    jobs.every(SESSIONS_EVERY, move || {
        let (access, uploads) = (access.clone(), uploads.clone());
        async move {
            match expire(access, &uploads).await {
                Ok(0) => {}
                Ok(ended) => {
                    tracing::info!(ended, open = uploads.open_sessions(), "ended idle upload sessions")
                }
                Err(error) => tracing::error!(%error, "idle upload sessions could not be ended"),
            }
        }
    });
    jobs
}

/// Has what was pulled and pushed added to the store.
fn count(jobs: &mut Jobs, shelves: &Arc<Shelves>) {
    let counting = Arc::clone(shelves);
    jobs.every(COUNTERS_EVERY, move || {
        let counting = Arc::clone(&counting);
        async move { add_counted(&counting).await }
    });
    let looking = Arc::clone(shelves);
    jobs.every(HELD_EVERY, move || {
        let looking = Arc::clone(&looking);
        async move {
            let looked = match system(&looking.access, "counters") {
                Ok(permit) => looking.counters.look(&permit).await,
                Err(refusal) => Err(refusal.into()),
            };
            if let Err(error) = looked {
                tracing::warn!(%error, "what the repositories hold could not be counted");
            }
        }
    });
}

async fn add_counted(shelves: &Shelves) {
    // What is left of a full disk is for what somebody waits for.
    if shelves.reserve.admits(0).is_err() {
        return;
    }
    let added = match system(&shelves.access, "counters") {
        Ok(permit) => shelves.counters.flush(&permit).await,
        Err(refusal) => Err(refusal.into()),
    };
    if let Err(error) = added {
        tracing::debug!(%error, "what was pulled and pushed stays in memory for now");
    }
}

fn system(access: &Access, name: &'static str) -> Result<Permit, Refusal> {
    access.authorise(&Actor::System(name), Action::MaintainStore, Resource::Registry)
}

async fn expire(access: Access, uploads: &Uploads) -> Result<usize, services::error::Error> {
    let permit = system(&access, "session expiry")?;
    uploads.expire(&permit).await
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

pub(super) fn services_panicked(panicked: tasks::Panicked) -> StartError {
    StartError::Service(panicked.into())
}
