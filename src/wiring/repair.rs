//! `fsck --repair`: a check, the store opened as a start opens it, the repair, the store closed, and a check again.
//! The lock is held from the first to the last. What was done is one event of the audit trail.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Builder;

use super::audit::rate;
use super::offline::{check_locked, existing, permit};
use super::store::{self, Store};
use super::{StartError, io};
use crate::config::{Settings, Size, StorageSettings};
use crate::seams::{OsRandom, SystemClock};
use crate::services::access::{Access, Actor, LoadError, Options, Resource, Rules};
use crate::services::audit::{self, Audit, Operation, Parts, Source};
use crate::services::fsck::{Report, Stage};
use crate::services::maintenance::{self, RepairError, Steps, Workshop};
use crate::services::quota::Quotas;
use crate::stores::disk::Disk;

/// What it is in the audit trail.
static REPAIR: Operation = Operation::change("repairStore", "appliance", 200);
/// Who asks: a process of this host.
const SOURCE: &str = "fsck --repair";
/// The answer of one that came to its end.
const DONE: u16 = 200;

/// How a store is repaired.
#[derive(Clone, Copy, Debug)]
pub struct RepairOptions {
    /// Every byte is read.
    pub deep: bool,
    /// Nothing is changed.
    pub dry_run: bool,
}

/// What became of a repair.
pub struct Repair {
    /// What was found.
    pub before: Report,
    /// What was done; `None` if nothing was to be, or was not to be done, or could not be: then it is not known what all
    /// rows are.
    pub steps: Option<Steps>,
    /// What is left, if something was done.
    pub after: Option<Report>,
    /// Why it ended before its end, after those steps.
    pub failed: Option<StartError>,
}

/// Repairs the data directory, which no other process may be using, as the user that owns it: a server of that user
/// could not read what another leaves there.
pub fn repair(
    settings: &Settings,
    options: RepairOptions,
    progress: &mut dyn FnMut(Stage, u64),
) -> Result<Repair, StartError> {
    let (data, deep) = (&settings.storage.data, options.deep);
    let (disk, lock) = existing(data)?;
    if !options.dry_run {
        refuse_others(data)?;
    }
    let before = check_locked(data, &disk, &lock, deep, progress)?;
    if options.dry_run || before.has_unknown_rows() || before.findings.is_empty() {
        return Ok(Repair { before, steps: None, after: None, failed: None });
    }
    if before.clears_what_may_be_needed() {
        let failed = Some(StartError::WouldClear);
        return Ok(Repair { before, steps: Some(Steps::default()), after: None, failed });
    }
    let none = Size::from_bytes(0);
    // The next start keeps space back again; a repair is done on a full disk, too.
    let storage = StorageSettings { ballast: none, reserve: none, ..settings.storage.clone() };
    let (store, resumables) = store::open_locked(&storage, lock)?;
    drop(resumables); // left to the next start
    let mut steps = Steps::default();
    let done = repair_open(settings, (&store, disk.clone()), (&before, &mut steps), progress);
    store.close();
    let checked = done.and_then(|()| check_locked(data, &disk, store.lock(), deep, progress));
    let (after, failed) = match checked {
        Ok(after) => (Some(after), None),
        Err(error) => (None, Some(error)),
    };
    if let Some(after) = &after {
        steps.add_opening(&before, after);
    }
    Ok(Repair { before, steps: Some(steps), after, failed })
}

fn refuse_others(data: &Path) -> Result<(), StartError> {
    let owner = std::fs::metadata(data).map_err(io("cannot look at the data directory"))?.uid();
    match owner == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(StartError::NotOwner { data: data.to_owned(), owner }),
    }
}

fn repair_open(
    settings: &Settings,
    (store, disk): (&Store, Arc<dyn Disk>),
    (before, steps): (&Report, &mut Steps),
    progress: &mut dyn FnMut(Stage, u64),
) -> Result<(), StartError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Host)?;
    let access = Access::without_accounts(Rules::Closed(Options::default()));
    let audit = trail(settings, store, &access)?;
    let clock = Arc::new(SystemClock);
    let quotas = Quotas::new(store.meta.clone(), access.clone()).map_err(RepairError::from)?;
    let (meta, blobs) = (store.meta.clone(), store.blobs.clone());
    let shop = Workshop { disk, meta, blobs, access, quotas, clock };
    let trace = audit.begin(&REPAIR, Source::Local(SOURCE.to_owned()), "");
    if let Some(trace) = &trace {
        let found = serde_json::to_value(&before.by_id).unwrap_or_default();
        trace.by(&Actor::LocalAdministrator).on(&Resource::Registry).asked("findings", found);
    }
    let permit = permit()?.traced(trace.as_ref());
    runtime.block_on(async {
        let done = maintenance::repair(&permit, &shop, (before, steps), progress).await;
        if let Some(trace) = &trace {
            trace.answered("done", serde_json::to_value(&steps.by_id).unwrap_or_default());
            trace.end(if done.is_ok() { DONE } else { 500 });
        }
        audit.settle().await;
        Ok(done?)
    })
}

fn trail(settings: &Settings, store: &Store, access: &Access) -> Result<Audit, StartError> {
    let parts = Parts {
        trail: store.trail.clone(),
        meta: store.meta.clone(),
        access: access.clone(),
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom),
        room: Arc::new(|_| true),
        options: audit::Options {
            reads: settings.audit.reads,
            pulls: settings.audit.pulls,
            keep_ms: settings.audit.keep.as_ms(),
            max_bytes: settings.audit.max_size.bytes(),
            refusals: rate(settings.audit.refusals),
        },
    };
    Ok(Audit::open(parts).map_err(LoadError::from)?)
}
