//! Lets full segments go: one sync of the filesystem makes durable all the files that a segment names,
//! in the background. The files of a short one are synced one by one: the filesystem may have much to
//! write for others, and whoever stops or starts a store waits.
//!
//! A sync that failed may have lost any of them, though they are read back from memory: each is then
//! compared past the page cache and written anew where it differs, and the next sync decides. If that
//! fails too, the segment stays until the next start.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use pierhead_storage_format::{Digest, paths};

use super::Ground;
use super::replay::{self, Missing};
use super::segment::{Segment, spare};

/// Up to so many files are synced one by one.
pub(super) const FEW: usize = 128;

/// Serves until the committer ends.
pub(super) fn run(ground: &Ground, sealed: &Receiver<(Arc<Segment>, usize)>) {
    while let Ok((segment, records)) = sealed.recv() {
        let Some(unrecorded) = segment.settled(ground) else { continue }; // start-up sees to it
        if ground.abandoned.load(Ordering::SeqCst) {
            continue;
        }
        match retire(ground, segment.number, records, &unrecorded) {
            Ok(()) => {
                ground.segments.fetch_sub(1, Ordering::SeqCst);
            }
            Err(error) => {
                let number = segment.number;
                tracing::error!(segment = number, %error, "small blobs cannot be made durable; their log stays");
            }
        }
    }
}

fn retire(ground: &Ground, number: u64, records: usize, unrecorded: &[Digest]) -> io::Result<()> {
    if !unrecorded.is_empty() {
        leave_intents(ground, unrecorded)?;
    }
    if let Err(error) = sync(ground, number, records) {
        tracing::error!(segment = number, %error, "writes of small blobs were lost; they are written anew");
        let segment = replay::Logged::read(ground.disk.as_ref(), number)?;
        segment.heal(ground, Missing::Leave, &mut |_| Ok::<_, io::Error>(true))?;
        ground.filesystem.sync()?;
    }
    remove(ground, number)
}

fn sync(ground: &Ground, number: u64, records: usize) -> io::Result<()> {
    if records > FEW {
        return ground.filesystem.sync();
    }
    let segment = replay::Logged::read(ground.disk.as_ref(), number)?;
    sync_files(ground, &segment.digests().collect())
}

/// Makes the files of blobs durable, where there are any, or that there are none.
pub(super) fn sync_files(ground: &Ground, digests: &BTreeSet<&Digest>) -> io::Result<()> {
    if digests.len() > FEW {
        return ground.filesystem.sync();
    }
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

/// Start-up looks for records of these, and removes the blobs that have none.
fn leave_intents(ground: &Ground, digests: &[Digest]) -> io::Result<()> {
    let id = ground.random.id()?;
    ground.disk.create_dir(&paths::upload_dir(&id))?;
    for digest in digests {
        match ground.disk.create(&paths::upload_intent(&id, digest)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    ground.disk.sync_dir(&paths::upload_dir(&id))?;
    ground.disk.sync_dir(Path::new(paths::UPLOADS))
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
