//! What the service manager is told while the appliance starts, runs and stops. `server::manager` knows
//! how it is told; what is alive is decided here.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::reload::log_reload;
use super::serve::Listening;
use crate::jobs::{Job, Jobs};
use crate::server::{Inherited, Manager, Notifier, Phase, Stop};
use crate::services::appliance::Reload;
use crate::stores::meta::{Meta, MetaError};

/// How often a start that goes on asks for more time.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// For how much it asks.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it asks, at most: after an hour a start is taken for hung.
const ASKS: u32 = 360;
/// What closing the store may take beyond the time that requests and uploads have to finish.
const CLOSING: Duration = Duration::from_secs(90);

/// The service manager of a running appliance.
pub struct Managed {
    manager: Manager,
    starting: JoinSet<()>,
    stopping: JoinSet<()>,
}

impl Managed {
    /// Asks for more time until the start is over, and tells of the stop when it begins, in which requests
    /// and uploads have so much time to finish.
    pub fn begin(manager: Manager, stop: &Stop, to_finish: Duration) -> Self {
        let (starting, stopping) =
            (starting(&manager.notifier), stopping(&manager.notifier, stop, to_finish));
        Self { manager, starting, stopping }
    }

    /// Sockets that are listened on for us.
    pub fn inherited(&self) -> Inherited {
        self.manager.inherited.clone()
    }

    /// What a SIGHUP does: `reload`, told to the manager and to the log.
    pub fn hangup(&self, reload: Reload) -> impl FnMut() + Send + use<> {
        let notifier = self.manager.notifier.clone();
        move || {
            notifier.around_reload(|| log_reload(&tokio::task::block_in_place(|| reload())));
        }
    }

    /// Pings the watchdog at half its period, as long as the runtime and the writer of the metadata are alive.
    pub fn watch(&self, meta: &Meta, jobs: &Jobs) {
        let Some(period) = self.manager.watchdog else { return };
        let (notifier, meta) = (self.manager.notifier.clone(), meta.clone());
        let job =
            Job::every("watchdog", "tells systemd that the writer of the metadata is alive", period / 2);
        jobs.every(job, move |_| {
            let (notifier, meta) = (notifier.clone(), meta.clone());
            async move {
                if !is_alive(&meta, period / 4).await {
                    return Err("the writer of the metadata does not answer: the watchdog is not told");
                }
                notifier.alive();
                Ok(String::new())
            }
        });
    }

    /// Requests are taken: the start is over.
    pub fn ready(&mut self, now: &Listening) {
        self.starting.abort_all();
        self.manager.notifier.ready(&serving(now));
    }

    /// Waits until the stop, which has begun, is told.
    pub async fn end(self) {
        self.stopping.join_all().await;
    }
}

/// An index that must be rebuilt takes what it takes.
fn starting(notifier: &Notifier) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    if notifier.is_heard() {
        let notifier = notifier.clone();
        asking.spawn(async move {
            for _ in 0..ASKS {
                notifier.patience("opening the store", PATIENCE);
                sleep(ASK_EVERY).await;
            }
        });
    }
    asking
}

fn stopping(notifier: &Notifier, stop: &Stop, to_finish: Duration) -> JoinSet<()> {
    let mut told = JoinSet::new();
    let (notifier, stop) = (notifier.clone(), stop.clone());
    told.spawn(async move {
        stop.reached(Phase::Finishing).await;
        notifier.stopping(to_finish + CLOSING);
    });
    told
}

/// What the manager shows of a running appliance.
fn serving(now: &Listening) -> String {
    let scheme = if now.tls { "https" } else { "http" };
    let addresses: Vec<_> = now.addresses.iter().map(|address| format!("{scheme}://{address}")).collect();
    format!("serving on {}", addresses.join(" "))
}

/// Whether the writer answers a change of nothing, in whatever way; one that mends the index answers
/// nobody meanwhile, and has said that nothing can be read.
async fn is_alive(meta: &Meta, within: Duration) -> bool {
    let pulse = meta.commit(|_| Ok::<(), MetaError>(()));
    timeout(within, pulse).await.is_ok() || !meta.status().readable
}
