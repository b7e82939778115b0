//! Lets full segments go: one sync of the filesystem makes durable all the files that a segment names,
//! in the background. The files of a short one are synced one by one: the filesystem may have much to
//! write for others, and whoever stops or starts a store waits.
//!
//! A sync that failed may have lost any file of any segment there is, though they are read back from memory:
//! each segment is then *doubted*. Its files are compared past the page cache and written anew where they
//! differ or are missing, and the next sync decides. If that fails again and again, the segment stays until
//! the next start. The files of a short segment are always compared: a descriptor opened now is not told
//! of a write-back that failed and was told to somebody before. A blob that goes to quarantine while its
//! segment is compared or synced has that done once more ([`Small::hold`](super::Small::hold)).
//!
//! A blob that was collected while its segment was there is not wanted any more, and gets no file back.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use pierhead_storage_format::{Digest, paths};

use super::Ground;
use super::replay;
use super::segment::{Segment, spare};
use crate::stores::blobs::lock;

/// Up to so many files are synced one by one.
pub(super) const FEW: usize = 128;
/// How often a sync that fails is done again, after what it may have lost was compared.
pub(super) const ROUNDS: usize = 3;

/// Serves until the committer ends.
pub(super) fn run(ground: &Ground, sealed: &Receiver<(Arc<Segment>, usize, u64)>) {
    while let Ok((segment, records, end)) = sealed.recv() {
        let Some(unrecorded) = segment.settled(ground) else { continue }; // start-up sees to it
        if ground.abandoned.load(Ordering::SeqCst) {
            continue;
        }
        let sealed = Sealed { number: segment.number, records, end };
        match retire(ground, &sealed, &unrecorded) {
            Ok(()) => {
                lock(&ground.logged).retain(|_, number| *number != segment.number);
                ground.segments.fetch_sub(1, Ordering::SeqCst);
            }
            Err(error) => {
                let number = segment.number;
                tracing::error!(segment = number, %error, "small blobs cannot be made durable; their log stays");
            }
        }
    }
}

/// A segment that takes nothing more.
struct Sealed {
    number: u64,
    /// How many are durable; records beyond `end` are of a group that failed: its blobs go the ordinary
    /// way, which must not find files here that are not durable yet.
    records: usize,
    end: u64,
}

fn retire(ground: &Ground, sealed: &Sealed, unrecorded: &[Digest]) -> io::Result<()> {
    let number = sealed.number;
    if !unrecorded.is_empty() {
        leave_intents(ground, unrecorded)?;
    }
    let mut failures = 0;
    loop {
        let before = *lock(&ground.held);
        let compares = sealed.records <= ground.few || ground.is_doubted(number);
        if let Err(error) = if compares { compare_and_sync(ground, sealed) } else { ground.sync() } {
            tracing::error!(segment = number, %error, "writes of small blobs may be lost; they are compared");
            failures += 1;
            if failures == ROUNDS {
                return Err(error);
            }
            continue;
        }
        let held = lock(&ground.held);
        if *held == before {
            return remove(ground, number);
        }
    }
}

fn compare_and_sync(ground: &Ground, sealed: &Sealed) -> io::Result<()> {
    let segment = replay::Logged::read(ground.disk.as_ref(), sealed.number, sealed.end)?;
    let healed =
        segment.heal(ground, &mut |_| Ok::<_, io::Error>(true), &|digest| ground.is_wanted(digest))?;
    if healed.rewritten > 0 {
        tracing::warn!(
            segment = sealed.number,
            blobs = healed.rewritten,
            "small blobs were lost and are written anew"
        );
    }
    if segment.found < sealed.records {
        let (there, written) = (segment.found, sealed.records);
        tracing::error!(segment = sealed.number, there, written, "a log of small blobs is damaged");
        ground.sync()?; // of what is missing nobody knows which file it was
    }
    sync_files(ground, &segment.digests().collect())
}

/// Makes the files of blobs durable, where there are any, or that there are none.
pub(super) fn sync_files(ground: &Ground, digests: &BTreeSet<&Digest>) -> io::Result<()> {
    if digests.len() > ground.few {
        return ground.sync();
    }
    sync_each(ground, digests).inspect_err(|_| ground.raise_doubt())
}

fn sync_each(ground: &Ground, digests: &BTreeSet<&Digest>) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for digest in digests {
        match ground.disk.open(&paths::blob(digest)) {
            Ok(mut file) => file.sync_data()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        folders.insert(paths::blob_dir(digest.algorithm(), digest.raw()[0]));
    }
    folders.iter().try_for_each(|folder| ground.disk.sync_dir(folder))
}

/// Start-up looks for records of these, and removes the blobs that have none; the folder of the intents.
pub(super) fn leave_intents(ground: &Ground, digests: &[Digest]) -> io::Result<String> {
    let id = ground.random.id()?;
    ground.disk.create_dir(&paths::upload_dir(&id))?;
    for digest in digests {
        match ground.disk.create(&paths::upload_intent(&id, digest)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    ground.disk.sync_dir(&paths::upload_dir(&id))?;
    ground.disk.sync_dir(Path::new(paths::UPLOADS))?;
    Ok(id)
}

/// One that a power cut brings back is gone through once more.
fn remove(ground: &Ground, number: u64) -> io::Result<()> {
    let path = paths::small_segment(number);
    if ground.closing.load(Ordering::SeqCst) || ground.spare.load(Ordering::SeqCst) {
        return ground.disk.remove_file(&path);
    }
    ground.disk.rename(&path, &spare())?;
    ground.spare.store(true, Ordering::SeqCst);
    Ok(())
}
