//! Opening a data directory. Order: lock, `FORMAT` (written before anything of value is, if the
//! store is new), reserve, metadata, blobs, what an earlier run left is cleared or kept. Steps and what a
//! stop between them leaves: `FORMAT.md`, "A new store".

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use pierhead_storage_format::{Algorithm, paths, store};

use super::{StartError, io, level};
use crate::config::{Size, StorageSettings};
use crate::seams::{Clock, OsRandom, SystemClock};
use crate::services::uploads::{clear_leftovers, replay_small_blobs};
use crate::stores::blobs::{self, Blobs, Leftover, Resumable};
use crate::stores::disk::{Disk, RealDisk};
use crate::stores::lock::DataLock;
use crate::stores::meta::{self, IndexOutcome, Meta};
use crate::stores::space::Reserve;
use crate::stores::trail::{Leftovers, Trail};

/// What a store's making may have left before `FORMAT` was written.
const OURS: [&str; 10] = [
    FORMAT_PART,
    paths::LOCK,
    paths::ADMIN_SOCKET,
    paths::BALLAST,
    paths::BLOBS,
    paths::UPLOADS,
    paths::SMALL,
    paths::QUARANTINE,
    paths::AUDIT,
    "meta",
];
/// Rows that are read in a fraction of a second.
const CHECK_AT_ONCE: u64 = 100_000;
const FORMAT_PART: &str = "FORMAT.tmp";

/// An open data directory. Fields are dropped in this order: the lock is given up last.
pub struct Store {
    /// Rows.
    pub meta: Meta,
    /// Bytes.
    pub blobs: Blobs,
    /// What was done.
    pub trail: Trail,
    /// Space kept back.
    pub reserve: Arc<Reserve>,
    /// Blobs of an earlier run that may have no row: to be cleared when all rows are checked.
    pub unsure: Vec<Leftover>,
    lock: DataLock,
}

impl Store {
    /// Proof that nobody else uses the directory, also when the stores are closed.
    pub const fn lock(&self) -> &DataLock {
        &self.lock
    }

    /// Closes the metadata, then the log of small blobs: what was begun is finished. Blocks.
    pub fn close(&self) {
        self.meta.close();
        self.blobs.close();
    }
}

/// Opens, or makes, the store, with the uploads of an earlier run that may go on. Blocks.
pub fn open(settings: &StorageSettings) -> Result<(Store, Vec<Resumable>), StartError> {
    open_locked(settings, DataLock::create(&settings.data)?)
}

/// The same of one that is locked already.
pub fn open_locked(
    settings: &StorageSettings,
    lock: DataLock,
) -> Result<(Store, Vec<Resumable>), StartError> {
    open_on(settings, lock, Arc::new(RealDisk::new(&settings.data)), Arc::new(SystemClock))
}

/// The same on a disk, and by a clock, of the caller's own.
pub(super) fn open_on(
    settings: &StorageSettings,
    lock: DataLock,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
) -> Result<(Store, Vec<Resumable>), StartError> {
    let is_noted = prepare(disk.as_ref(), &settings.data)?;
    let listing = io("cannot list the data directory");
    if meta::is_absent(disk.as_ref()).map_err(&listing)? && holds_blobs(disk.as_ref()).map_err(&listing)? {
        return Err(StartError::MetadataLost(settings.data.clone()));
    }
    let reserve = Reserve::open(disk.clone(), settings.ballast.bytes(), settings.reserve.bytes());
    let reserve = reserve.map_err(io("cannot keep space back"))?;
    let reserve = reserve.with_soft_mark(settings.soft_mark.map(Size::bytes));
    let reserve = Arc::new(reserve.with_share(settings.upload_share));
    if !is_noted {
        note_level(disk.as_ref(), &reserve);
    }
    let meta = open_meta(settings, disk.clone(), clock, &reserve)?;
    let (random, checkpoint_every) = (Arc::new(OsRandom), blobs::CHECKPOINT_EVERY);
    let (blobs, found) = Blobs::open(blobs::Options { disk: disk.clone(), random, checkpoint_every })?;
    let small = replay_small_blobs(&meta, &blobs)?;
    let mut unsure = clear_leftovers(&meta, &blobs, found.leftovers)?;
    unsure.extend(small);
    let (trail, left) = Trail::open(disk, Arc::new(OsRandom))?;
    report_trail(&left);
    Ok((Store { meta, blobs, trail, reserve, unsure, lock }, found.resumables))
}

fn open_meta(
    settings: &StorageSettings,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    reserve: &Arc<Reserve>,
) -> Result<Meta, StartError> {
    let reserve = Arc::clone(reserve);
    let (meta, opened) = Meta::open(meta::Options {
        disk,
        index_dir: settings.data.join(paths::INDEX),
        clock,
        cache_bytes: settings.index_cache.bytes(),
        snapshot_after: settings.snapshot_after.bytes(),
        boot: boot_id(),
        check_at_once: CHECK_AT_ONCE,
        on_full: Arc::new(move || reserve.release()),
    })?;
    report(&opened);
    Ok(meta)
}

/// The kernel's name for the time since it was started.
fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Tells the operator what opening found and did.
fn report(opened: &meta::Opened) {
    tracing::info!(new = opened.fresh, change_sets = opened.sequence, "opened the metadata");
    if let Some(tail) = &opened.torn_tail {
        let meta::TornTail { segment, offset, bytes } = tail;
        tracing::warn!(%segment, offset, bytes, "a torn journal tail, never acknowledged, was cut");
    }
    if let Some(rows) = opened.unchecked {
        tracing::info!(
            rows,
            "the metadata index is used as it was left; its rows are checked while it serves"
        );
    }
    for snapshot in &opened.damaged_snapshots {
        tracing::warn!(%snapshot, "a damaged metadata snapshot: an older one and the journal stand in");
    }
    match &opened.index {
        IndexOutcome::AsFound => {}
        IndexOutcome::Replayed(sets) => tracing::info!(sets, "brought the metadata index up to the journal"),
        IndexOutcome::Rebuilt { why, .. } if why.is_empty() => {}
        IndexOutcome::Rebuilt { why, rows, took_ms } => {
            tracing::warn!(%why, rows, took_ms, "the index was rebuilt from snapshot and journal");
        }
        IndexOutcome::InMemory { why } => {
            tracing::error!(%why, "metadata is read from memory and cannot be changed for now");
        }
    }
    if let Some(why) = &opened.read_only {
        tracing::error!(%why, "metadata is read-only");
    }
}

/// Tells the operator what the audit trail's earlier run left.
fn report_trail(left: &Leftovers) {
    if left.sealed > 0 {
        tracing::info!(
            logs = left.sealed,
            torn_bytes = left.torn,
            "sealed what the audit trail's last run had not"
        );
    }
    for bad in &left.damaged {
        tracing::error!(file = %bad.path.display(), why = %bad.why, "a file of the audit trail cannot be read");
    }
}

/// With the ballast, what could not be noted without it. For packages alone: a start does not depend on it.
fn note_level(disk: &dyn Disk, reserve: &Reserve) {
    if let Err(error) = level::note_on_full(disk, || reserve.release()) {
        tracing::warn!(%error, "the store's level cannot be noted: an earlier package would not be refused");
    }
}

/// Makes sure that there is a store of this format, made if the directory is new. Whether its level could be noted.
fn prepare(disk: &dyn Disk, data: &Path) -> Result<bool, StartError> {
    if has_format(disk, data)? {
        let is_noted = level::note(disk).is_ok();
        // Of a restore that was stopped after its last step but this.
        disk.remove_dir(Path::new(paths::RESTORE)).map_err(io("cannot remove what a restore left"))?;
        return Ok(is_noted);
    }
    let listing = io("cannot list the data directory");
    let entries = disk.list(Path::new("")).map_err(&listing)?;
    if entries.iter().any(|entry| entry.name == paths::RESTORE) {
        return Err(StartError::Unrestored(data.to_owned()));
    }
    refuse_foreign(disk, data)?;
    if !meta::is_absent(disk).map_err(&listing)? || holds_blobs(disk).map_err(&listing)? {
        return Err(StartError::FormatLost(data.to_owned()));
    }
    write_format(disk).map_err(io("cannot write FORMAT"))?;
    Ok(true)
}

/// A directory without `FORMAT` in which somebody else keeps files is not made a store.
pub fn refuse_foreign(disk: &dyn Disk, data: &Path) -> Result<(), StartError> {
    let entries = disk.list(Path::new("")).map_err(io("cannot list the data directory"))?;
    // A filesystem of its own has its own folder; names that start with a dot are nobody's.
    let foreign = |name: &str| !OURS.contains(&name) && name != "lost+found" && !name.starts_with('.');
    match entries.iter().any(|entry| foreign(&entry.name)) {
        true => Err(StartError::Foreign(data.to_owned())),
        false => Ok(()),
    }
}

/// Whether there is a store; an error if it is not of this format.
pub fn has_format(disk: &dyn Disk, data: &Path) -> Result<bool, StartError> {
    let file = match disk.open_read(Path::new(paths::FORMAT)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io("cannot read FORMAT")(error)),
    };
    let mut text = Vec::new();
    file.take(store::MAX_FORMAT_FILE as u64 + 1).read_to_end(&mut text).map_err(io("cannot read FORMAT"))?;
    let check = store::decode(&text);
    check.map(|()| true).map_err(|source| StartError::Format { data: data.to_owned(), source })
}

fn holds_blobs(disk: &dyn Disk) -> std::io::Result<bool> {
    for algorithm in Algorithm::ALL {
        let parent = paths::algorithm_dir(algorithm);
        for folder in disk.list(&parent)? {
            if !disk.list(&parent.join(folder.name))?.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The file's content, then its name, are made durable; before it, the level of what is written then.
pub fn write_format(disk: &dyn Disk) -> std::io::Result<()> {
    level::note(disk)?;
    let part = Path::new(FORMAT_PART);
    disk.remove_file(part)?;
    let mut file = disk.create(part)?;
    file.write_at(store::encode().as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(part, Path::new(paths::FORMAT))?;
    disk.sync_dir(Path::new(""))
}
