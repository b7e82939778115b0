//! Small blobs, which come by the thousand: what makes them durable is a log, not syncs of their own.
//! Whatever waits is appended to the log's open segment by one write and one sync; then each blob gets
//! its file under `blobs/`, not synced; a full segment goes when the filesystem has synced all that it
//! names. Start-up goes through the segments that are still there (`replay`). Steps, and what a stop
//! after each leaves: `FORMAT.md`, "Publishing a small blob".
//!
//! L1: a blob gets its name only when its record is durable, and a segment goes only when every file
//!     it names is. So a record is also the intent of a publish.
//! L2: after a write or sync that failed a segment takes nothing more; the blobs of that group go the
//!     ordinary way (`publish`), which has syncs of its own. The same when there is no room for a log, or
//!     too many segments wait to go.
//! L3: the kernel tells a failed write-back once, to whoever syncs next. So whoever is told doubts every
//!     segment there is, the open one included ([`Ground::raise_doubt`]); a doubted segment goes only after
//!     its files were compared with its records, past the page cache. Where a sync of the filesystem tells
//!     nothing (Linux before 5.8, overlayfs), every file is compared and synced by itself.
//! L4: what was not recorded in the metadata when its segment goes gets an intent below `uploads/`.
//!
//! Three threads: `committer` writes the log, `placer` makes the files, `retirer` lets segments go.
//! `segment` is one file of the log and who still needs it.

mod committer;
mod placer;
mod replay;
mod retirer;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use bytes::Bytes;
use pierhead_storage_format::{Digest, paths, small};
use tokio::sync::oneshot;

use self::committer::Committer;
pub(super) use self::segment::Claim;
use super::error::{BlobError, io as failed};
use super::{Places, lock};
use crate::seams::Random;
use crate::stores::disk::{Disk, Filesystem};

pub use replay::{Named, Replayed};

/// The most bytes of a small blob: up to here a sync of its own costs more than writing it twice.
pub(super) const SMALL: usize = small::MAX_BLOB;
/// A segment with this many bytes, or records, takes no more. Bounds what a start goes through.
const SEGMENT_BYTES: u64 = 32 << 20;
const SEGMENT_RECORDS: usize = 8192;
/// With so many segments there, blobs go the ordinary way until one has gone.
const SEGMENTS: usize = 4;

/// What the threads share.
struct Ground {
    disk: Arc<dyn Disk>,
    filesystem: Box<dyn Filesystem>,
    random: Arc<dyn Random>,
    places: Arc<Places>,
    /// Segments there, the open one included.
    segments: AtomicUsize,
    /// The highest number a segment got; set before it is made.
    newest: AtomicU64,
    /// Files of segments up to this number may not be what their records say (L3).
    doubt: AtomicU64,
    /// How many files went that the log may still have ([`Small::hold`]); locked while a segment goes.
    held: Mutex<u64>,
    /// Blobs that segments name and that are wanted, with the last segment that does: what was collected has no
    /// file to be given back. At most what segments can hold.
    logged: Mutex<HashMap<Digest, u64>>,
    /// Up to so many files are synced one by one; any number if that alone tells what is durable.
    few: usize,
    /// A segment that went and can be used again waits under [`spare`].
    spare: AtomicBool,
    /// The store closes: nobody is waited for.
    closing: AtomicBool,
    /// The store is dropped without being closed: segments stay for the next start.
    abandoned: AtomicBool,
    segment_bytes: u64,
}

impl Ground {
    /// Files of the segments there are now may be lost, or gone. To be called after the call that told
    /// so: a segment made meanwhile is doubted with the others.
    fn raise_doubt(&self) {
        self.doubt.fetch_max(self.newest.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Whether a blob of a segment is still wanted; asked with its place locked.
    fn is_wanted(&self, digest: &Digest) -> bool {
        lock(&self.logged).contains_key(digest)
    }

    fn is_doubted(&self, number: u64) -> bool {
        number <= self.doubt.load(Ordering::SeqCst)
    }

    /// Makes the whole filesystem durable.
    fn sync(&self) -> io::Result<()> {
        self.filesystem.sync().inspect_err(|_| self.raise_doubt())
    }
}

/// A blob to be published, and whom to tell: nothing is to be done the ordinary way.
struct Job {
    digest: Digest,
    bytes: Bytes,
    reply: oneshot::Sender<Result<Option<Claim>, BlobError>>,
}

/// The log of a store.
pub(super) struct Small {
    ground: Arc<Ground>,
    jobs: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Small {
    /// Makes `small/` and starts the threads. Segments of an earlier run stay until
    /// [`replay`](Self::replay).
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        random: &Arc<dyn Random>,
        places: &Arc<Places>,
        segment_bytes: Option<u64>,
    ) -> Result<Self, BlobError> {
        let opening = failed("opening the log of small blobs");
        disk.create_dir(Path::new(paths::SMALL)).map_err(&opening)?;
        let numbers = segments(disk.as_ref()).map_err(&opening)?;
        let newest = numbers.last().copied().unwrap_or(0);
        let filesystem = disk.filesystem().map_err(&opening)?;
        let few = few(filesystem.as_ref());
        let ground = Arc::new(Ground {
            disk: Arc::clone(disk),
            filesystem,
            random: Arc::clone(random),
            places: Arc::clone(places),
            segments: AtomicUsize::new(numbers.len()),
            newest: AtomicU64::new(newest),
            doubt: AtomicU64::new(0),
            held: Mutex::default(),
            logged: Mutex::default(),
            few,
            spare: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            segment_bytes: segment_bytes.unwrap_or(SEGMENT_BYTES),
        });
        let (jobs, threads) = start(&ground, newest + 1).map_err(&opening)?;
        Ok(Self { ground, jobs: Mutex::new(Some(jobs)), threads: Mutex::new(threads) })
    }

    /// Makes `bytes` the blob `digest`, which they hash to, durably. `None`: nothing was done, it has
    /// to go the ordinary way. Once begun it runs to its end though the caller is dropped.
    pub(super) async fn publish(&self, digest: &Digest, bytes: Bytes) -> Result<Option<Claim>, BlobError> {
        let (reply, answer) = oneshot::channel();
        let job = Job { digest: *digest, bytes, reply };
        let sent = lock(&self.jobs).as_ref().map(|jobs| jobs.send(job));
        if !matches!(sent, Some(Ok(()))) {
            return Ok(None);
        }
        answer.await.unwrap_or(Ok(None)) // a thread panicked, and said so
    }

    /// To be held while the file of a blob goes that the log may still have: no segment goes meanwhile,
    /// and whichever is there is compared afterwards, which gives the blob its file back. Taken before
    /// the blob's place.
    pub(super) fn hold(&self) -> MutexGuard<'_, u64> {
        let mut held = lock(&self.ground.held);
        *held += 1;
        self.ground.raise_doubt();
        held
    }

    /// The blob was collected: whatever segment names it, it gets no file back. With its place locked.
    pub(super) fn forget(&self, digest: &Digest) {
        lock(&self.ground.logged).remove(digest);
    }

    /// Finishes what was begun; lets the log go if all it names can be made durable, and the next
    /// start has nothing to do. Later publishes go the ordinary way. Blocks.
    pub(super) fn close(&self) {
        self.ground.closing.store(true, Ordering::SeqCst);
        drop(lock(&self.jobs).take());
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log of small blobs ended in a panic");
            }
        }
    }
}

/// A log that was not closed stays, as a stop would leave it.
impl Drop for Small {
    fn drop(&mut self) {
        self.ground.abandoned.store(true, Ordering::SeqCst);
        self.close();
    }
}

fn few(filesystem: &dyn Filesystem) -> usize {
    if filesystem.tells_errors() {
        return retirer::FEW;
    }
    tracing::warn!(
        "this kernel, or the filesystem of the data directory, does not tell of writes that fail when all of it is synced: small blobs are compared and synced one by one, which takes longer"
    );
    usize::MAX
}

type Started = (Sender<Job>, Vec<JoinHandle<()>>);

/// The threads end in this order, each when the one before has gone.
fn start(ground: &Arc<Ground>, next: u64) -> io::Result<Started> {
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(work)
    };
    let (jobs, waiting) = mpsc::channel();
    let (placer, to_place) = mpsc::channel();
    let (retirer, to_retire) = mpsc::channel();
    let committer = Committer::new(Arc::clone(ground), waiting, placer, retirer, next);
    let (placing, retiring) = (Arc::clone(ground), Arc::clone(ground));
    let threads = vec![
        spawn("small-log", Box::new(move || committer.run()))?,
        spawn("small-place", Box::new(move || placer::run(&placing, &to_place)))?,
        spawn("small-retire", Box::new(move || retirer::run(&retiring, &to_retire)))?,
    ];
    Ok((jobs, threads))
}

/// The numbers of the segments there, ascending.
fn segments(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let entries = disk.list(Path::new(paths::SMALL))?;
    Ok(entries.iter().filter_map(|entry| paths::parse_numbered(&entry.name, ".log")).collect())
}
