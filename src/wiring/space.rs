//! Looking after the disk: where less is free than the soft mark, stale uploads are removed, and the log says
//! when a mark is passed, either way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::rooms::system;
use super::store::Store;
use crate::causes;
use crate::jobs::{Job, Jobs};
use crate::seams::tasks;
use crate::services::access::Access;
use crate::services::uploads::Uploads;
use crate::stores::space::Standing;

/// How often the disk is looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Lets `jobs` look after the disk.
pub fn watch(store: &Arc<Store>, access: &Access, uploads: &Uploads, jobs: &Jobs) {
    let (store, access, uploads) = (Arc::clone(store), access.clone(), uploads.clone());
    let said = Arc::new(AtomicU8::new(WELL));
    let job = Job::every("space", "removes stale uploads while the disk is short of space", EVERY);
    jobs.every(job, move |_| {
        let (store, access, uploads, said) =
            (Arc::clone(&store), access.clone(), uploads.clone(), Arc::clone(&said));
        async move {
            let standing = tasks::blocking(move || store.reserve.standing()).await;
            let standing = standing.map_err(|panicked| panicked.to_string())?;
            say(&standing, &said);
            if standing.is_low() { reclaim(&access, &uploads).await } else { Ok(String::new()) }
        }
    });
}

async fn reclaim(access: &Access, uploads: &Uploads) -> Result<String, String> {
    let reclaimed = match system(access, "space") {
        Ok(permit) => uploads.reclaim(&permit).await,
        Err(refusal) => Err(refusal.into()),
    };
    let reclaimed = reclaimed.map_err(|error| causes::chain(&error))?;
    let (sessions, bytes) = (reclaimed.sessions, reclaimed.bytes);
    if sessions == 0 {
        return Ok(String::new());
    }
    tracing::warn!(sessions, bytes, "stale uploads were removed: space is low");
    Ok(format!("removed {sessions} stale uploads, {bytes} bytes"))
}

const WELL: u8 = 0;
const LOW: u8 = 1;
const FULL: u8 = 2;

/// Tells the log of a mark that was passed since it was last told.
fn say(standing: &Standing, said: &AtomicU8) {
    let Standing { free, promised, soft, hard, .. } = *standing;
    let now = match (standing.is_full(), standing.is_low()) {
        (true, _) => FULL,
        (false, true) => LOW,
        (false, false) => WELL,
    };
    let before = said.swap(now, Ordering::Relaxed);
    if now == before {
        return;
    }
    match now {
        FULL => tracing::error!(free, promised, hard, "the disk is full: uploads are refused"),
        LOW => tracing::warn!(free, promised, soft, "space is low: stale uploads are removed"),
        _ => tracing::info!(free, promised, soft, "there is space again"),
    }
}
