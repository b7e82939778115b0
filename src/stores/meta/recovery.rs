//! Bringing the index to the journal's end: as found, by replay, or rebuilt from snapshot and
//! journal in a new folder, the old one set aside. Used at start and when the engine breaks while
//! running. Writes nothing but the index itself (T3).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use pierhead_storage_format::journal::Position;
use pierhead_storage_format::paths;

use super::engine::{EngineError, Factory, MemoryEngine, guarded};
use super::error::{OpenError, TruthError};
use super::index::{Filling, Index};
use super::mark::Marks;
use super::truth::{Overlay, Truth, changes_of, row_key};
use crate::seams::Clock;
use crate::stores::disk::{Disk, is_full};

/// An engine that makes no progress for this long is taken for broken.
const STUCK: Duration = Duration::from_secs(180);
const UNSETTLED: &str = "it lacks the end of a journal that cannot be written, which may not be durable";

/// How the index was brought up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexOutcome {
    /// It was right.
    AsFound,
    /// It was behind by this many change sets.
    Replayed(u64),
    /// It was rebuilt from snapshot and journal.
    Rebuilt {
        /// What was wrong; empty for a new store.
        why: String,
        /// Rows.
        rows: u64,
        /// Milliseconds.
        took_ms: u64,
    },
    /// There is none on the disk: it is too full, or the journal cannot be written and the index
    /// lacks a last frame that may not be durable. Reads are answered from memory, nothing can be
    /// written.
    InMemory {
        /// What was wrong.
        why: String,
    },
}

/// Makes the truth durable and opens it again where that moved it; false if its last frame may not
/// be durable.
pub(super) type Settle<'a> = dyn FnMut(&mut Truth) -> Result<bool, TruthError> + 'a;

/// What bringing up needs.
pub(super) struct Recovery {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) index_dir: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cache_bytes: u64,
    pub(super) factory: Factory,
    pub(super) on_full: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) marks: Marks,
}

/// Why a found index is not used.
enum Unfit {
    Rebuild(String),
    Full(String),
    /// The index lacks a last frame that may not be durable.
    Unsettled,
    Fatal(OpenError),
}

impl From<EngineError> for Unfit {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Full(what) => Self::Full(what),
            other => Self::Rebuild(other.to_string()),
        }
    }
}

impl From<TruthError> for Unfit {
    fn from(error: TruthError) -> Self {
        if let TruthError::Io { source, .. } = &error
            && is_full(source)
        {
            return Self::Full(source.to_string());
        }
        match receiver_error(error) {
            Ok(engine) => engine.into(),
            Err(error) => Self::Fatal(error.into()),
        }
    }
}

impl From<Unfit> for OpenError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Rebuild(why) => Self::Index(EngineError::Broken(why)),
            Unfit::Full(why) => Self::Index(EngineError::Full(why)),
            Unfit::Unsettled => Self::Index(EngineError::Broken(UNSETTLED.into())),
            Unfit::Fatal(error) => error,
        }
    }
}

/// The engine's error that was handed through the truth's reader, or the reader's own.
fn receiver_error(error: TruthError) -> Result<EngineError, TruthError> {
    match error {
        TruthError::Receiver(source) => match source.downcast::<EngineError>() {
            Ok(engine) => Ok(*engine),
            Err(source) => Err(TruthError::Receiver(source)),
        },
        other => Err(other),
    }
}

fn handed(error: EngineError) -> TruthError {
    TruthError::Receiver(Box::new(error))
}

impl Recovery {
    /// An index at `end`, the end of `truth`; one in memory only if `memory`, and the disk is full or
    /// `settle` says no. That makes all of `truth` durable: it is called before the index is changed
    /// and after it was asked whether it is ahead, perhaps more than once. (An index that has applied
    /// what then is lost in a power cut would be ahead. One without it would not do either: it may
    /// have been acknowledged.)
    pub(super) fn bring_up(
        &self,
        truth: &mut Truth,
        end: Position,
        memory: bool,
        settle: &mut Settle<'_>,
    ) -> Result<(Index, IndexOutcome), OpenError> {
        self.marks.remove();
        match self.bring_up_on_disk(truth, end, settle) {
            Ok(found) => {
                self.marks.opened();
                Ok(found)
            }
            Err(Unfit::Full(why)) if memory => {
                settle(truth)?;
                self.in_memory(truth, end, why)
            }
            Err(Unfit::Unsettled) if memory => self.in_memory(truth, end, UNSETTLED.into()),
            Err(unfit) => Err(unfit.into()),
        }
    }

    /// The index that is there, brought to `end` with its rows not read: for one that a mark speaks for.
    /// An error says why it has to be brought up in the usual way; nothing is changed then but what
    /// that would change too. One with up to `at_once` rows is checked here.
    pub(super) fn trusted(
        &self,
        truth: &mut Truth,
        end: Position,
        closed: bool,
        at_once: u64,
        settle: &mut Settle<'_>,
    ) -> Result<(Index, IndexOutcome), OpenError> {
        self.marks.remove();
        let open = move |factory: &Factory, folder: &Path, cache_bytes: u64, progress: &AtomicU64| {
            Index::unproved(factory(folder, cache_bytes)?).and_then(|mut index| {
                while index.state.sums.total() <= at_once && !index.prove_some()? {
                    progress.fetch_add(1, Ordering::Relaxed);
                }
                Ok(index)
            })
        };
        let opened = watched(&self.factory, &self.index_dir, self.cache_bytes, open);
        let mut index = opened.map_err(Unfit::from)?;
        let result = not_ahead(&index, end).and_then(|()| {
            if closed && index.state.position != end {
                return Err(Unfit::Rebuild("it is not where it was when it was closed".into()));
            }
            match settle(truth)? {
                false if index.state.position != end => Err(Unfit::Unsettled),
                _ => catch_up(&mut index, truth, end),
            }
        });
        if result.is_err() {
            index.engine.close();
        }
        let outcome = result?;
        self.marks.opened();
        Ok((index, outcome))
    }

    fn bring_up_on_disk(
        &self,
        truth: &mut Truth,
        end: Position,
        settle: &mut Settle<'_>,
    ) -> Result<(Index, IndexOutcome), Unfit> {
        let found = match self.found(truth, end, settle) {
            Err(Unfit::Full(_)) if (self.on_full)() => self.found(truth, end, settle),
            result => result,
        };
        let why = match found {
            Err(Unfit::Rebuild(why)) => why,
            other => return other,
        };
        let fresh = end == Position::default() && !self.exists().map_err(Unfit::Fatal)?;
        if !fresh {
            tracing::warn!(%why, "the metadata index is rebuilt from snapshot and journal");
        }
        if !settle(truth)? {
            return Err(Unfit::Unsettled);
        }
        let (index, outcome) = match self.rebuild(truth, end) {
            Err(Unfit::Full(_)) if (self.on_full)() => self.rebuild(truth, end)?,
            result => result?,
        };
        Ok((index, outcome.because(if fresh { String::new() } else { why })))
    }

    fn exists(&self) -> Result<bool, OpenError> {
        let folder = Path::new(paths::INDEX);
        Ok(!self.disk.list(folder).map_err(TruthError::io("listing", folder))?.is_empty())
    }

    /// The index that is there, checked and brought to `end`.
    fn found(
        &self,
        truth: &mut Truth,
        end: Position,
        settle: &mut Settle<'_>,
    ) -> Result<(Index, IndexOutcome), Unfit> {
        if !self.exists().map_err(Unfit::Fatal)? {
            return Err(Unfit::Rebuild("there is no index".into()));
        }
        let mut index = open_checked(&self.factory, &self.index_dir, self.cache_bytes)?;
        let result = not_ahead(&index, end).and_then(|()| match settle(truth)? {
            // What it has was synced before it got it.
            false if index.state.position != end => Err(Unfit::Unsettled),
            _ => catch_up(&mut index, truth, end),
        });
        if result.is_err() {
            index.engine.close();
        }
        Ok((index, result?))
    }

    fn rebuild(&self, truth: &Truth, end: Position) -> Result<(Index, IndexOutcome), Unfit> {
        let started = Instant::now();
        self.set_aside()?;
        let open = || guarded(|| (self.factory)(&self.index_dir, self.cache_bytes));
        let engine = open()?;
        match self.fill(Filling::new(Arc::clone(&engine), Some(&open)), truth, end) {
            Ok(index) => {
                let rows = index.state.sums.total();
                let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                Ok((index, IndexOutcome::Rebuilt { why: String::new(), rows, took_ms }))
            }
            Err(unfit) => {
                engine.close();
                Err(unfit)
            }
        }
    }

    fn fill(&self, mut filling: Filling<'_>, truth: &Truth, end: Position) -> Result<Index, Unfit> {
        truth.rows(Some(end), &mut |table, key, value| {
            if self.stop.load(Ordering::Relaxed) {
                return Err(TruthError::Stopped);
            }
            filling.row(table.number(), row_key(table, key), value).map_err(handed)
        })?;
        Ok(filling.finish(end)?)
    }

    fn in_memory(
        &self,
        truth: &Truth,
        end: Position,
        why: String,
    ) -> Result<(Index, IndexOutcome), OpenError> {
        tracing::warn!(%why, "no metadata index on the disk: read-only, reads are answered from memory");
        let index = self.fill(Filling::new(Arc::new(MemoryEngine::default()), None), truth, end)?;
        Ok((index, IndexOutcome::InMemory { why }))
    }

    /// Moves the index folder away and keeps only that one; removes it where space is short.
    fn set_aside(&self) -> Result<(), TruthError> {
        let (index, folder) = (Path::new(paths::INDEX), Path::new(paths::INDEX_SET_ASIDE));
        let entries = self.disk.list(index).map_err(TruthError::io("listing", index))?;
        let old = self.disk.list(folder).map_err(TruthError::io("listing", folder))?;
        let size: u64 = entries.iter().map(|e| e.len).sum();
        let roomy = self.disk.space().is_ok_and(|space| space.free > size.saturating_mul(2));
        if !entries.is_empty() && roomy {
            let newest = old.iter().filter_map(|e| e.name.parse::<u64>().ok()).max().unwrap_or(0);
            let to = folder.join(self.clock.now_ms().max(newest.saturating_add(1)).to_string());
            self.disk.create_dir(folder).map_err(TruthError::io("making", folder))?;
            self.disk.rename(index, &to).map_err(TruthError::io("setting aside", index))?;
            for entry in old {
                let path = folder.join(entry.name);
                self.disk.remove_dir(&path).map_err(TruthError::io("removing", &path))?;
            }
        }
        self.disk.remove_dir(index).map_err(TruthError::io("removing", index))?;
        self.disk.create_dir(index).map_err(TruthError::io("making", index))
    }
}

/// Opens and scans the index at `folder`, in a thread of its own: a damaged one may panic, or never
/// come back.
pub(super) fn open_checked(factory: &Factory, folder: &Path, cache_bytes: u64) -> Result<Index, EngineError> {
    watched(factory, folder, cache_bytes, |factory, folder, cache_bytes, progress| {
        let engine = factory(folder, cache_bytes)?;
        let inspected = Index::inspect(Arc::clone(&engine), progress);
        if inspected.is_err() {
            engine.close();
        }
        inspected
    })
}

/// Opens an index in a thread of its own, which is given up when its `progress` ends.
fn watched(
    factory: &Factory,
    folder: &Path,
    cache_bytes: u64,
    open: impl FnOnce(&Factory, &Path, u64, &AtomicU64) -> Result<Index, EngineError> + Send + 'static,
) -> Result<Index, EngineError> {
    let (factory, folder) = (Arc::clone(factory), folder.to_owned());
    let progress = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&progress);
    let (done, result) = sync_channel(1);
    let work = move || {
        let _ = done.send(guarded(|| open(&factory, &folder, cache_bytes, &counter)));
    };
    let thread = std::thread::Builder::new().name("meta-index-open".into()).spawn(work);
    thread.map_err(|e| EngineError::Broken(format!("no thread to open it in: {e}")))?;
    let mut seen = 0;
    loop {
        match result.recv_timeout(STUCK) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(EngineError::Broken("its thread ended without a word".into()));
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = progress.load(Ordering::Relaxed);
                if now == seen {
                    return Err(EngineError::Broken("it does not come back".into()));
                }
                seen = now;
            }
        }
    }
}

impl IndexOutcome {
    fn because(self, reason: String) -> Self {
        match self {
            Self::Rebuilt { rows, took_ms, .. } => Self::Rebuilt { why: reason, rows, took_ms },
            other => other,
        }
    }
}

/// An index cannot have applied what the journal does not have.
fn not_ahead(index: &Index, end: Position) -> Result<(), Unfit> {
    let (index, journal) = (index.state.position.sequence, end.sequence);
    if index > journal { Err(Unfit::Fatal(OpenError::LostTail { index, journal })) } else { Ok(()) }
}

/// Applies what the index has not; its position must lie on the journal's history.
fn catch_up(index: &mut Index, truth: &Truth, end: Position) -> Result<IndexOutcome, Unfit> {
    let start = index.state.position;
    if start == end {
        return Ok(IndexOutcome::AsFound);
    }
    let base = truth.base();
    let mut met = start == base;
    if start.sequence < base.sequence {
        return Err(Unfit::Rebuild("it is older than the newest snapshot".into()));
    }
    truth.frames(&mut |segment, offset, frame| {
        met |= frame.after == start || frame.before == start;
        if !met || frame.after.sequence <= start.sequence || frame.after.sequence > end.sequence {
            return Ok(());
        }
        let mut changes = Overlay::new();
        changes_of(segment, offset, frame, &mut |change| {
            changes.insert(row_key(change.table, change.key), change.value.map(<[u8]>::to_vec));
        })?;
        index.apply(frame.after, changes).map_err(handed)
    })?;
    if !met || index.state.position != end {
        return Err(Unfit::Rebuild("it is of another history than the journal".into()));
    }
    index.engine.flush()?;
    Ok(IndexOutcome::Replayed(end.sequence - start.sequence))
}
