//! The threads beside the writer: one flushes the index about every second, so that a start has
//! little to replay; one makes snapshots of sealed segments and removes what they cover.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pierhead_storage_format::journal::Position;
use pierhead_storage_format::paths;

use super::chain;
use super::error::TruthError;
use super::journal::Sealed;
use super::shared::Shared;
use super::snapshots::{self, Pace, Snapshot};
use super::truth::Truth;
use crate::stores::disk::Disk;

const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// With less free space than so, what is kept back is given up before the engine writes: one that met a full
/// disk is of no use until it is opened again. Two of its segments.
const TIGHT: u64 = 1 << 20;
/// Two: if the newest turns out damaged, the other and the segments since stand in.
const KEPT: usize = 2;

/// Flushes the index.
pub(super) struct Flusher {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) shared: Arc<Shared>,
    /// Frees space kept back.
    pub(super) on_full: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Flusher {
    /// Serves while the other end of `stop` lives. Not `flush_async`: it deadlocks.
    pub(super) fn run(&self, stop: &Receiver<()>) {
        while stop.recv_timeout(FLUSH_EVERY) == Err(RecvTimeoutError::Timeout) {
            if self.shared.dirty.swap(false, Ordering::Relaxed) {
                if self.disk.space().is_ok_and(|space| space.free < TIGHT) {
                    (self.on_full)();
                }
                self.shared.flush(); // an error wakes the writer, which mends
            }
        }
    }
}

/// Makes snapshots.
pub(super) struct Keeper {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: Arc<AtomicBool>,
    /// Journal bytes between snapshots.
    pub(super) snapshot_after: u64,
    /// Sealed bytes since the last one.
    pub(super) since: u64,
    /// The newest snapshot, if the start has read no more than its header.
    pub(super) unproved: Option<Snapshot>,
}

impl Keeper {
    /// Serves while the writer lives.
    pub(super) fn run(mut self, sealed: &Receiver<Sealed>) {
        self.check_newest();
        while let Ok(first) = sealed.recv() {
            let mut newest = first.position;
            self.since = self.since.saturating_add(first.bytes);
            for more in sealed.try_iter() {
                newest = more.position;
                self.since = self.since.saturating_add(more.bytes);
            }
            if self.since >= self.snapshot_after && !self.stop.load(Ordering::Relaxed) {
                self.snapshot(newest);
            }
        }
    }

    /// What a start left unread. One that is damaged is stepped over by whoever needs its rows.
    fn check_newest(&mut self) {
        let Some(snapshot) = self.unproved.take() else { return };
        match snapshot.verify(&snapshots::until(&self.stop), Pace::Gentle) {
            Ok(_) | Err(TruthError::Stopped) => {}
            Err(error) => {
                tracing::warn!(%error, "a damaged metadata snapshot: an older one and the journal stand in");
                let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
                status.snapshot_error = Some(error.to_string());
            }
        }
    }

    /// A snapshot takes at most what the last one took and what was written since. It is not begun
    /// where that does not fit: the space it used up would fail commits.
    fn roomy(&self) -> Result<(), TruthError> {
        let folder = Path::new(paths::SNAPSHOT);
        let entries = self.disk.list(folder).map_err(TruthError::io("listing", folder))?;
        let needed = entries.iter().map(|entry| entry.len).max().unwrap_or(0).saturating_add(self.since);
        let free = self.disk.space().map_err(TruthError::io("asking for the free space of", folder))?.free;
        if free >= needed {
            return Ok(());
        }
        Err(TruthError::io("no room for a new file in", folder)(std::io::ErrorKind::StorageFull.into()))
    }

    fn snapshot(&mut self, position: Position) {
        let result = self.roomy().and_then(|()| make(self.disk.as_ref(), position, &self.stop));
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                self.since = 0;
                status.snapshot = Some(position.sequence);
                status.snapshot_error = None;
            }
            Err(TruthError::Stopped) => {}
            Err(error) => {
                let cause =
                    std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                let error = format!("{error}{cause}");
                tracing::warn!(error, "a metadata snapshot failed; the journal is kept");
                status.snapshot_error = Some(error);
            }
        }
    }
}

/// Makes the snapshot of `position`, where a sealed segment ends, then removes what two snapshots
/// cover.
pub(super) fn make(disk: &dyn Disk, position: Position, stop: &AtomicBool) -> Result<(), TruthError> {
    let truth = Truth::open(disk, &snapshots::until(stop))?;
    if truth.base().sequence < position.sequence {
        let until = Some(position);
        snapshots::write(disk, position, stop, &mut |each| truth.rows(until, each).map(drop))?;
    }
    remove_covered(disk, position, stop)
}

/// Keeps the snapshot just made and the next older one that holds; removes other snapshots, and
/// segments that the older one covers.
fn remove_covered(disk: &dyn Disk, made: Position, stop: &AtomicBool) -> Result<(), TruthError> {
    let mut kept = vec![made.sequence];
    for sequence in snapshots::names(disk)?.into_iter().rev().filter(|s| *s < made.sequence) {
        let holds = kept.len() < KEPT
            && match snapshots::open_checked(disk, sequence, &snapshots::until(stop)) {
                Ok(_) => true,
                Err(TruthError::Damaged { .. }) => false,
                Err(error) => return Err(error),
            };
        if holds {
            kept.push(sequence);
        } else {
            let path = paths::snapshot(sequence);
            disk.remove_file(&path).map_err(TruthError::io("removing", &path))?;
        }
    }
    if kept.len() < KEPT {
        return Ok(());
    }
    let covered = kept.last().copied().unwrap_or(0);
    let segments = chain::names(disk)?;
    for (first, next) in segments.iter().zip(segments.iter().skip(1)) {
        if *next <= covered + 1 {
            let path = paths::journal_segment(*first);
            disk.remove_file(&path).map_err(TruthError::io("removing", &path))?;
        }
    }
    for folder in [paths::SNAPSHOT, paths::JOURNAL].map(Path::new) {
        disk.sync_dir(folder).map_err(TruthError::io("syncing", folder))?;
    }
    Ok(())
}
