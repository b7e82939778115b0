//! The services of a running appliance: opened over one store, looked after by jobs, ended in their order.
//!
//! `serve` opens the store before and closes it after; the sockets are there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use super::gauges::Gauges;
use super::managed::Managed;
use super::people::People;
use super::protection::{self, ProtectionGauges};
use super::store::Store;
use super::surfaces::{Surfaces, recorder};
use super::tls::Certificates;
use super::upkeep::Upkeep;
use super::{StartError, audit, memory, retention, space};
use crate::api::Recorder;
use crate::api::admin::Services;
use crate::api::health::Health;
use crate::api::trust::Trust;
use crate::causes;
use crate::config::Settings;
use crate::jobs::{Job, Jobs};
use crate::seams::{Clock, SystemClock, tasks};
use crate::server::metrics::Metrics;
use crate::server::{Phase, Stop};
use crate::services;
use crate::services::access::{Access, Action, Actor, Permit, Refusal, Resource};
use crate::services::appliance::{Appliance, Reload};
use crate::services::audit::Audit;
use crate::services::counters::Counters;
use crate::services::guard::{Guard, slots};
use crate::services::images::{Images, PushRules, Shelves};
use crate::services::maintenance::{Checks, Served};
use crate::services::retention::Retention;
use crate::services::uploads::{Limits, Uploads};
use crate::stores::blobs::Resumable;
use crate::stores::disk::RealDisk;

/// How often the ballast and the gauges are looked after.
pub(super) const DISK_EVERY: Duration = Duration::from_secs(2);
/// How often idle upload sessions are looked for.
const SESSIONS_EVERY: Duration = Duration::from_secs(30);

/// How often what was pulled and pushed is added to the store.
const COUNTERS_EVERY: Duration = Duration::from_secs(5);
/// How often is looked how much repositories hold.
const HELD_EVERY: Duration = Duration::from_secs(15 * 60);

/// For making open uploads durable at the end.
pub(super) const PARK_LIMIT: Duration = Duration::from_secs(10);

/// The services, open.
pub struct Rooms {
    store: Arc<Store>,
    people: People,
    audit: Audit,
    guard: Guard,
    recorder: Recorder,
    shelves: Arc<Shelves>,
    images: Images,
    uploads: Uploads,
    retention: Retention,
    upkeep: Upkeep,
    checks: Checks,
    /// Uploads of an earlier run, being proved.
    proofs: JoinSet<()>,
    gauges: Gauges,
    protection_gauges: ProtectionGauges,
}

impl Rooms {
    /// Opens them. Uploads of an earlier run are proved, and blobs read again, until `stop`.
    pub async fn open(
        settings: &Settings,
        lab: bool,
        (store, resumables): (Arc<Store>, Vec<Resumable>),
        stop: &Stop,
    ) -> Result<Self, StartError> {
        let (opened, own) = (settings.clone(), Arc::clone(&store));
        let (people, audit, guard) =
            tasks::blocking(move || who_and_what(&opened, lab, &own)).await.map_err(panicked)??;
        people.put_in_order().await?;
        let recorder = recorder(settings, Some(audit.clone()));
        let shelves = shelves(settings, &store, &people, Arc::new(SystemClock));
        let (images, uploads) = services(settings, &shelves);
        let proofs = prove(stop, &store, &uploads, resumables);
        let retention = retention::open(settings, &store, &people, (&images, &audit), Arc::new(SystemClock))?;
        let (gauges, protection_gauges) = (Gauges::default(), ProtectionGauges::default());
        let upkeep = Upkeep::begin(settings, &store, &shelves, (stop, &gauges)).await?;
        let checks = checks(settings, &store, &uploads);
        Ok(Self {
            store,
            people,
            audit,
            guard,
            recorder,
            shelves,
            images,
            uploads,
            retention,
            upkeep,
            checks,
            proofs,
            gauges,
            protection_gauges,
        })
    }

    /// Who may come in.
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The work in the background, begun.
    pub fn watch(&self, settings: &Settings, certificates: &Arc<Certificates>, managed: &Managed) -> Jobs {
        let (jobs, access) = (Jobs::new(Arc::new(SystemClock)), &self.people.access);
        look_after(&jobs, (&self.store, &self.audit), (access, &self.uploads), &self.gauges);
        certificates.watch(&jobs);
        self.people.watch(&jobs);
        audit::watch(&self.audit, &jobs);
        retention::watch(&self.retention, settings, &jobs);
        count(&jobs, &self.shelves);
        protection::watch(&self.guard, access, &self.protection_gauges, &jobs);
        self.upkeep.watch(&jobs);
        memory::watch(&jobs);
        managed.watch(&self.store.meta, &jobs);
        jobs
    }

    /// The surfaces that the network reaches.
    pub fn surfaces(&self, settings: &Settings, told: (Health, Trust)) -> Surfaces {
        let shown = (self.images.clone(), self.uploads.clone(), self.retention.clone());
        Surfaces::new(settings, &self.people, shown, told, (&self.recorder, self.guard.clone()))
    }

    /// What is counted.
    pub fn metrics(&self) -> Metrics {
        Metrics::new(|registry| {
            self.gauges.register(registry);
            self.protection_gauges.register(registry);
            self.upkeep.collected().register(registry);
        })
    }

    /// What administrators work with.
    pub fn administration(&self, jobs: &Jobs, reload: Reload) -> Services {
        let People { access, identity, organisations, quotas } = self.people.clone();
        Services {
            access,
            appliance: Appliance::new(Arc::clone(&self.shelves), self.uploads.clone(), reload),
            uploads: self.uploads.clone(),
            identity,
            organisations,
            quotas,
            audit: self.audit.clone(),
            guard: self.guard.clone(),
            images: self.images.clone(),
            collector: self.upkeep.collector(),
            recorder: self.recorder.clone(),
            retention: self.retention.clone(),
            jobs: jobs.clone(),
            holds: self.upkeep.holds(),
            scrub: self.upkeep.scrub(),
            checks: self.checks.clone(),
        }
    }

    /// Lets the work in the background end, and makes durable what is in memory. The store is still open.
    pub async fn end(self, jobs: &Jobs) {
        self.upkeep.stop();
        self.retention.end();
        jobs.stop().await;
        protection::settle(&self.guard, &self.people.access).await;
        self.retention.settle().await;
        self.proofs.join_all().await;
        self.upkeep.end().await;
        self.uploads.park(PARK_LIMIT).await;
        self.people.settle().await;
        self.audit.settle().await;
        add_counted(&self.shelves).await;
    }
}

/// Who there is, the trail of what is done, and who may come in.
fn who_and_what(settings: &Settings, lab: bool, store: &Store) -> Result<(People, Audit, Guard), StartError> {
    let people = People::open(settings, lab, store)?;
    let audit = audit::open(settings, store, &people, Arc::new(SystemClock))?;
    let guard = protection::open(settings, store, &people, &audit, Arc::new(SystemClock))?;
    Ok((people, audit, guard))
}

pub(super) fn shelves(
    settings: &Settings,
    store: &Store,
    people: &People,
    clock: Arc<dyn Clock>,
) -> Arc<Shelves> {
    let access = &people.access;
    Arc::new(Shelves {
        meta: store.meta.clone(),
        blobs: store.blobs.clone(),
        clock: Arc::clone(&clock),
        reserve: Arc::clone(&store.reserve),
        rules: PushRules {
            create_organisations: settings.registry.create_organisations,
            organisations: settings.identity.organisations_per_account.into(),
            sparse_manifests: settings.registry.sparse_manifests,
        },
        access: access.clone(),
        counters: Counters::new(store.meta.clone(), access.clone(), clock),
        quotas: people.quotas.clone(),
        undo_ms: settings.collection.undo.as_ms(),
        leases: Arc::default(),
        suspects: Mutex::default(),
    })
}

pub(super) fn services(settings: &Settings, shelves: &Arc<Shelves>) -> (Images, Uploads) {
    let limits = Limits {
        layer: settings.registry.max_layer.bytes(),
        sessions: settings.registry.max_sessions as usize,
        sessions_per_account: settings.registry.sessions_per_account as usize,
        idle_ms: settings.registry.session_idle.as_ms(),
        stale_ms: settings.storage.stale_upload.as_ms(),
        slots: slots::Rules {
            slots: settings.registry.upload_slots as usize,
            wait: settings.registry.slot_wait.duration(),
            least_rate: settings.server.min_body_rate.bytes(),
        },
    };
    (Images::new(Arc::clone(shelves)), Uploads::new(Arc::clone(shelves), limits))
}

/// Checks of the store beside the serving.
fn checks(settings: &Settings, store: &Store, uploads: &Uploads) -> Checks {
    let uploads = uploads.clone();
    Checks::new(Served {
        disk: Arc::new(RealDisk::new(&settings.storage.data)),
        meta: store.meta.clone(),
        blobs: store.blobs.clone(),
        clock: Arc::new(SystemClock),
        is_open: Arc::new(move |id| uploads.is_open(id)),
    })
}

/// Has the uploads of an earlier run proved while others are served, until the stop.
fn prove(stop: &Stop, store: &Arc<Store>, uploads: &Uploads, resumables: Vec<Resumable>) -> JoinSet<()> {
    let mut proofs = JoinSet::new();
    let (unproved, mut given_up) = uploads.take_up(resumables);
    given_up.extend(store.unsure.clone());
    let (ends, stop, uploads) = (Arc::new(AtomicBool::new(false)), stop.clone(), uploads.clone());
    let (told, clearing) = (Arc::clone(&ends), uploads.clone());
    proofs.spawn(async move {
        stop.reached(Phase::Finishing).await;
        told.store(true, Ordering::Relaxed);
    });
    proofs.spawn(async move {
        if let Err(error) = clearing.clear_leftovers(given_up).await {
            tracing::warn!(%error, "uploads that nobody goes on with stay until the next start");
        }
    });
    proofs.spawn(async move { uploads.prove(unproved, ends).await });
    proofs
}

/// The work that belongs to the store and the uploads.
fn look_after(
    jobs: &Jobs,
    (store, audit): (&Arc<Store>, &Audit),
    (access, uploads): (&Access, &Uploads),
    gauges: &Gauges,
) {
    space::watch(store, access, uploads, jobs);
    let (store, counted, gauges) = (Arc::clone(store), (uploads.clone(), audit.clone()), gauges.clone());
    let watched = jobs.clone();
    let job = Job::every("disk", "keeps space back, and brings what is measured up to date", DISK_EVERY);
    jobs.every(job, move |_| {
        let (store, counted, gauges) = (Arc::clone(&store), counted.clone(), gauges.clone());
        let views = watched.list();
        async move {
            let restored = tasks::blocking(move || {
                gauges.update(&store, &counted.0, &counted.1);
                gauges.jobs(&views, SystemClock.now_ms());
                store.reserve.restore()
            })
            .await;
            match restored {
                Ok(Ok(_)) => Ok(String::new()),
                Ok(Err(error)) => {
                    Err(format!("the space to keep back cannot be taken: {}", causes::chain(&error)))
                }
                Err(panicked) => Err(panicked.to_string()),
            }
        }
    });
    let (access, uploads) = (access.clone(), uploads.clone());
    let job = Job::every("upload-expiry", "ends upload sessions that nobody goes on with", SESSIONS_EVERY);
    jobs.every(job.pausable(), move |_| {
        let (access, uploads) = (access.clone(), uploads.clone());
        async move {
            match expire(access, &uploads).await {
                Ok(0) => Ok(String::new()),
                Ok(ended) => {
                    tracing::info!(ended, open = uploads.open_sessions(), "ended idle upload sessions");
                    Ok(format!("ended {ended} upload sessions"))
                }
                Err(error) => Err(causes::chain(&error)),
            }
        }
    });
}

/// Has what was pulled and pushed added to the store.
fn count(jobs: &Jobs, shelves: &Arc<Shelves>) {
    let counting = Arc::clone(shelves);
    let job = Job::every("pull-counters", "adds what was pulled and pushed to the store", COUNTERS_EVERY);
    jobs.every(job, move |_| {
        let counting = Arc::clone(&counting);
        async move {
            add_counted(&counting).await;
            Ok::<_, String>(String::new())
        }
    });
    let looking = Arc::clone(shelves);
    let job = Job::every("stored-bytes", "counts what accounts hold, for their reports", HELD_EVERY);
    jobs.every(job.pausable(), move |_| {
        let looking = Arc::clone(&looking);
        async move {
            let looked = match system(&looking.access, "counters") {
                Ok(permit) => looking.counters.look(&permit).await,
                Err(refusal) => Err(refusal.into()),
            };
            looked.map(|_| String::new()).map_err(|error| causes::chain(&error))
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

pub(super) fn system(access: &Access, name: &'static str) -> Result<Permit, Refusal> {
    access.authorise(&Actor::System(name), Action::MaintainStore, Resource::Registry)
}

async fn expire(access: Access, uploads: &Uploads) -> Result<usize, services::error::Error> {
    let permit = system(&access, "session expiry")?;
    uploads.expire(&permit).await
}

pub(super) fn panicked(panicked: tasks::Panicked) -> StartError {
    StartError::Service(panicked.into())
}
