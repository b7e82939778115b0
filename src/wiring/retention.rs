//! Retention in a running appliance: what it works with, and its jobs.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::people::People;
use super::store::Store;
use crate::causes;
use crate::config::Settings;
use crate::jobs::{Job, Jobs};
use crate::seams::Clock;
use crate::services::access;
use crate::services::audit::Audit;
use crate::services::images::Images;
use crate::services::retention::{Parts, Retention};

/// How often the time is put on record.
const CLOCK_EVERY: Duration = Duration::from_secs(3600);

/// Opens it. Blocks.
pub fn open(
    settings: &Settings,
    store: &Store,
    people: &People,
    (images, audit): (&Images, &Audit),
    clock: Arc<dyn Clock>,
) -> Result<Retention, StartError> {
    let parts = Parts {
        meta: store.meta.clone(),
        access: people.access.clone(),
        clock,
        images: images.clone(),
        audit: audit.clone(),
        at: settings.retention.at,
    };
    Ok(Retention::open(parts).map_err(access::LoadError::from)?)
}

/// Lets `jobs` run the policies each day, and look at the clock in between.
pub fn watch(retention: &Retention, settings: &Settings, jobs: &Jobs) {
    let about = "removes the versions that retention policies no longer keep";
    let running = retention.clone();
    jobs.every(Job::daily("retention", about, settings.retention.at).pausable(), move |handle| {
        let retention = running.clone();
        async move { retention.run_due(&handle).await }
    });
    let about = "puts on record what time it is, so that retention knows when the clock jumped";
    let looking = retention.clone();
    jobs.every(Job::every("retention-clock", about, CLOCK_EVERY), move |_| {
        let retention = looking.clone();
        async move {
            match retention.time().await {
                Ok(Ok(_)) => Ok(String::new()),
                Ok(Err(_)) => {
                    Ok("the clock jumped: nothing is removed until it went on for a day".to_owned())
                }
                Err(error) => Err(causes::chain(&error)),
            }
        }
    });
}
