//! The audit trail of a running appliance: opened after who there is, before anything listens; moved to the disk
//! every second, and at the end.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::people::People;
use super::store::Store;
use crate::causes;
use crate::config::Settings;
use crate::jobs::{Job, Jobs};
use crate::seams::{Clock, OsRandom};
use crate::services::access;
use crate::services::audit::{Audit, Options, Parts};
use crate::services::rates::Rate;

/// How often events are written down.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked for old ones.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);

/// Opens it. Blocks.
pub fn open(
    settings: &Settings,
    store: &Store,
    people: &People,
    clock: Arc<dyn Clock>,
) -> Result<Audit, StartError> {
    let reserve = Arc::clone(&store.reserve);
    let parts = Parts {
        trail: store.trail.clone(),
        meta: store.meta.clone(),
        access: people.access.clone(),
        clock,
        random: Arc::new(OsRandom),
        room: Arc::new(move |bytes| reserve.admits(bytes).is_ok()),
        options: Options {
            reads: settings.audit.reads,
            pulls: settings.audit.pulls,
            keep_ms: settings.audit.keep.as_ms(),
            max_bytes: settings.audit.max_size.bytes(),
            refusals: rate(settings.audit.refusals),
        },
    };
    Ok(Audit::open(parts).map_err(access::LoadError::from)?)
}

/// A rate as services have it.
pub(super) fn rate(rate: crate::config::Rate) -> Option<Rate> {
    rate.limit().map(|(count, period_ms)| Rate { count, period_ms })
}

/// Lets `jobs` write events down and remove old ones.
pub fn watch(audit: &Audit, jobs: &Jobs) {
    let keeping = audit.clone();
    let job = Job::every("audit-write", "moves events of the audit trail to the disk", KEEP_EVERY);
    jobs.every(job, move |_| {
        let audit = keeping.clone();
        async move {
            let kept = audit.keep().await.map(|()| String::new());
            kept.map_err(|error| format!("events wait: {}", causes::chain(&error)))
        }
    });
    let expiring = audit.clone();
    let job = Job::every("audit-expiry", "removes events that are older than they are kept", EXPIRE_EVERY);
    jobs.every(job.pausable(), move |_| {
        let audit = expiring.clone();
        async move {
            match audit.expire().await {
                Ok(0) => Ok(String::new()),
                Ok(files) => {
                    tracing::info!(files, "removed old events of the audit trail");
                    Ok(format!("removed {files} files of old events"))
                }
                Err(error) => Err(causes::chain(&error)),
            }
        }
    });
}
