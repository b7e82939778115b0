//! Opening the store. The order is the proof: journal and snapshot are read before anything is
//! written; the index is asked whether it is ahead before a torn tail is given up; the journal
//! goes on in a new segment, which has the last frame again and excludes the torn tail, before the
//! index is changed and before the first commit. If that segment cannot be made, the index on the
//! disk is not changed.
//!
//! Reading every row of a large index, and of the snapshot, takes many seconds. A start leaves that for
//! later if the index is large (`check_at_once`) and a `mark` speaks for its files. What is seen when:
//!
//! - Always before it serves: damage to the journal since the snapshot, and a torn tail; an engine that
//!   does not open; an index that is ahead, of another history, or went back (its state row is written
//!   with the rows it tells of, so that rows that went back took it along; after a close in order it must
//!   be exactly at the journal's end). Rows the engine cannot read are an error whenever they are met,
//!   and have it rebuilt.
//! - Without a mark that fits, before it serves, too: every row against the sums. So after a power cut,
//!   which is what sled does not survive for certain, and for copies and backups.
//! - By the check beside the serving (`proving`): rows that are missing, stale or too many though all
//!   the above holds. No such fault is known to come of a close in order, nor of a process's death (the
//!   kernel has every byte). The index is then set aside and rebuilt: 503 meanwhile if that takes longer
//!   than readers wait, and a line in the log. The snapshot is read beside the serving as well; nothing is answered from it.
//!
//! Until the check has ended a client could be answered from such rows: a tag or blob that is there is
//! not found, or a tag has its former digest. Nothing of it may last. After a death commits wait for
//! the check, which then runs at full speed, so that nothing false gets into the journal; and what
//! would destroy by a row's absence asks for it (`Meta::wait_until_checked`). After a close in order
//! commits do not wait: what speaks against a fault is as much as ever speaks for sled between two starts.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use pierhead_storage_format::journal::Position;
use pierhead_storage_format::paths;
use tokio::sync::Semaphore;

use super::background::{Flusher, Keeper};
use super::chain::{Chain, Tail};
use super::engine::Factory;
use super::error::{MetaError, OpenError, TruthError};
use super::follow::Follower;
use super::index::Index;
use super::journal::{Journal, Sealed};
use super::mark::{Marks, Trust};
use super::mending::Attempts;
use super::proving::Proving;
use super::recovery::{IndexOutcome, Recovery};
use super::shared::{Shared, View};
use super::snapshots::{self, Pace, Snapshot};
use super::status::{Opened, Status};
use super::truth::Truth;
use super::writer::{Message, Writer, refusal};
use super::{Inner, Meta, Options, Threads, is_absent};
use crate::stores::disk::is_full;

/// Commits that wait for the writer; more wait in their callers.
const QUEUE: usize = 4096;
const SEGMENT_BYTES: u64 = 16 << 20;
const SMALLEST_SEGMENT: u64 = 16 << 10;

/// What was found on the disk.
struct Found {
    fresh: bool,
    truth: Truth,
    tail: Option<Tail>,
}

impl Found {
    fn end(&self) -> Position {
        self.tail.as_ref().map_or_else(|| self.truth.base(), |tail| tail.position)
    }

    /// Bytes of sealed segments since the snapshot.
    fn sealed_bytes(&self) -> u64 {
        self.truth.chain.segments.iter().rev().skip(1).map(|segment| segment.len).sum()
    }
}

/// [`Meta::open`] over any engine.
pub(super) fn open(options: Options, factory: Factory) -> Result<(Meta, Opened), OpenError> {
    let stop = Arc::new(AtomicBool::new(false));
    let fresh = prepare(&options)?;
    let trust = marks(&options).trust();
    if trust != Trust::Nothing {
        match attempt(&options, &factory, &stop, fresh, trust) {
            Ok(ready) => return start(options, ready),
            Err(error) => tracing::info!(%error, "the index is not taken as it is: everything is read first"),
        }
    }
    let ready = attempt(&options, &factory, &stop, fresh, Trust::Nothing)?;
    start(options, ready)
}

/// The order of the head. With trust, the index's rows and the snapshot's are left to be read later.
fn attempt(
    options: &Options,
    factory: &Factory,
    stop: &Arc<AtomicBool>,
    fresh: bool,
    trust: Trust,
) -> Result<Ready, OpenError> {
    let mut found = find(options, stop, fresh, trust)?;
    let (end, sealed_bytes) = (found.end(), found.sealed_bytes());
    let segment_bytes = (options.snapshot_after / 4).clamp(SMALLEST_SEGMENT, SEGMENT_BYTES);
    let recovery = recovery(options, Arc::clone(factory), stop);
    let mut journal = Journal::new(
        Arc::clone(&options.disk),
        segment_bytes,
        found.truth.base(),
        &found.truth.chain,
        found.tail.as_ref(),
    )?;
    let mut trouble = None;
    let mut settle = |truth: &mut Truth| {
        match start_segment(&mut journal, options) {
            Ok(()) => truth.chain = Chain::open(options.disk.as_ref(), truth.base().sequence)?,
            Err(error) => trouble = Some(error),
        }
        Ok(journal.is_durable())
    };
    let (index, outcome) = match trust {
        Trust::Nothing => recovery.bring_up(&mut found.truth, end, true, &mut settle)?,
        _ => {
            let (closed, at_once) = (trust == Trust::Closed, options.check_at_once);
            recovery.trusted(&mut found.truth, end, closed, at_once, &mut settle)?
        }
    };
    // What is so small that its index was checked just now has a snapshot that is soon read, too.
    let unproved = found.truth.snapshot.take().filter(|_| trust != Trust::Nothing);
    let unproved = match unproved {
        Some(snapshot) if index.proof.is_none() => {
            snapshot.verify(&snapshots::until(stop), Pace::Full).map(|_| None)?
        }
        unproved => unproved,
    };
    let trouble = trouble.filter(|_| !journal.is_ready());
    let opened = report(&found, &index, &outcome, trouble.as_ref());
    let in_memory = matches!(outcome, IndexOutcome::InMemory { .. });
    let parts = Parts { journal, index, in_memory, trouble, trust, unproved };
    Ok(Ready { recovery, parts, sealed_bytes, opened })
}

fn marks(options: &Options) -> Marks {
    Marks {
        disk: Arc::clone(&options.disk),
        index_dir: options.index_dir.clone(),
        boot: options.boot.clone(),
    }
}

/// Makes the folders that are missing and removes what a stop left; whether there was no metadata.
fn prepare(options: &Options) -> Result<bool, OpenError> {
    let fresh = is_absent(options.disk.as_ref()).map_err(TruthError::io("listing", Path::new("meta")))?;
    for folder in [paths::JOURNAL, paths::SNAPSHOT, paths::INDEX].map(Path::new) {
        match options.disk.create_dir(folder) {
            Err(error) if is_full(&error) && (options.on_full)() => options.disk.create_dir(folder),
            result => result,
        }
        .map_err(TruthError::io("making", folder))?;
    }
    if let Err(error) = snapshots::remove_leftovers(options.disk.as_ref()) {
        tracing::warn!(%error, "what an earlier run left stays until the next start");
    }
    Ok(fresh)
}

fn find(options: &Options, stop: &AtomicBool, fresh: bool, trust: Trust) -> Result<Found, OpenError> {
    let truth = match trust {
        Trust::Nothing => Truth::open(options.disk.as_ref(), &snapshots::until(stop))?,
        Trust::Process | Trust::Closed => Truth::open_unproved(options.disk.as_ref())?,
    };
    let tail = truth.frames(&mut |_, _, _| Ok(()))?;
    Ok(Found { fresh, truth, tail })
}

fn recovery(options: &Options, factory: Factory, stop: &Arc<AtomicBool>) -> Recovery {
    Recovery {
        disk: Arc::clone(&options.disk),
        index_dir: options.index_dir.clone(),
        clock: Arc::clone(&options.clock),
        cache_bytes: options.cache_bytes,
        factory,
        on_full: Arc::clone(&options.on_full),
        stop: Arc::clone(stop),
        marks: marks(options),
    }
}

fn start_segment(journal: &mut Journal, options: &Options) -> Result<(), MetaError> {
    let result = match journal.ready() {
        Err(error) if is_full(&error) && (options.on_full)() => journal.ready(),
        result => result,
    };
    result.map_err(|error| {
        tracing::error!(%error, "the metadata journal cannot be written: read-only");
        refusal(&error)
    })
}

fn report(found: &Found, index: &Index, outcome: &IndexOutcome, trouble: Option<&MetaError>) -> Opened {
    Opened {
        fresh: found.fresh,
        sequence: found.end().sequence,
        torn_tail: found.tail.as_ref().and_then(|tail| tail.torn.clone()),
        index: outcome.clone(),
        unchecked: index.proof.as_ref().map(|_| index.state.sums.total()),
        damaged_snapshots: found.truth.damaged_snapshots.clone(),
        read_only: trouble.map(ToString::to_string),
    }
}

/// What the threads are started with.
struct Ready {
    recovery: Recovery,
    parts: Parts,
    sealed_bytes: u64,
    opened: Opened,
}

struct Parts {
    journal: Journal,
    index: Index,
    in_memory: bool,
    /// Why the journal is not ready.
    trouble: Option<MetaError>,
    trust: Trust,
    /// The newest snapshot, if only its header was read.
    unproved: Option<Snapshot>,
}

fn start(options: Options, ready: Ready) -> Result<(Meta, Opened), OpenError> {
    let Ready { recovery, mut parts, sealed_bytes, opened } = ready;
    let (messages, inbox) = channel();
    let (keeper, sealed) = channel();
    let (flusher, flusher_stop) = channel();
    let stop = Arc::clone(&recovery.stop);
    let rebuilds = u64::from(matches!(opened.index, IndexOutcome::Rebuilt { .. }));
    let shared = Arc::new(Shared {
        view: ArcSwap::from_pointee(View::up(Arc::clone(&parts.index.engine))),
        swapping: Mutex::new(()),
        swapped: Condvar::new(),
        writer: OnceLock::new(),
        messages,
        status: Mutex::new(Status { rebuilds, ..Status::default() }),
        closed: AtomicBool::new(false),
        dirty: AtomicBool::new(true),
        follower: Follower::default(),
    });
    let unproved = parts.unproved.take();
    let writer = writer(&shared, inbox, keeper, recovery, parts);
    writer.report(None);
    let flushes =
        Flusher { disk: Arc::clone(&options.disk), shared: Arc::clone(&shared), on_full: options.on_full };
    let keeper = Keeper {
        disk: options.disk,
        shared: Arc::clone(&shared),
        stop: Arc::clone(&stop),
        snapshot_after: options.snapshot_after,
        since: sealed_bytes,
        unproved,
    };
    let threads = Threads { handles: Vec::new(), flusher: Some(flusher), stop };
    let slots = Arc::new(Semaphore::new(QUEUE));
    let inner = Arc::new(Inner { shared, slots, threads: Mutex::new(threads) });
    let handles = [
        spawn("meta-writer", move || writer.run())?,
        spawn("meta-snapshot", move || keeper.run(&sealed))?,
        spawn("meta-flush", move || flushes.run(&flusher_stop))?,
    ];
    inner.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).handles.extend(handles);
    Ok((Meta { inner }, opened))
}

fn writer(
    shared: &Arc<Shared>,
    messages: std::sync::mpsc::Receiver<Message>,
    keeper: Sender<Sealed>,
    recovery: Recovery,
    parts: Parts,
) -> Writer {
    let Parts { mut journal, index, in_memory, trouble, trust, unproved: _ } = parts;
    for sealed in journal.take_sealed() {
        let _ = keeper.send(sealed); // its thread starts later and holds the other end
    }
    Writer {
        shared: Arc::clone(shared),
        messages,
        journal,
        index: Some(index),
        in_memory,
        recovery,
        keeper,
        segment_trouble: trouble,
        index_trouble: in_memory.then_some(MetaError::NoSpace),
        segments: Attempts::default(),
        indexes: Attempts::default(),
        untold: false,
        // Commits may rest on what is read: only an index that was closed in order is believed so far.
        proving: Proving::new(trust == Trust::Process),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|source| OpenError::Io { what: format!("starting the thread {name}"), source })
}
