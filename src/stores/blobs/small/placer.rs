//! Gives blobs whose records are durable their files. Nothing is synced here.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::Receiver;

use pierhead_storage_format::{Digest, paths};

use super::Ground;
use super::committer::Logged;
use crate::stores::blobs::error::io as failed;
use crate::stores::disk::Disk;

/// Serves until the committer ends.
pub(super) fn run(ground: &Ground, groups: &Receiver<Vec<Logged>>) {
    while let Ok(group) = groups.recv() {
        for (job, claim) in group {
            let placed = place(ground, &job.digest, &job.bytes).map_err(failed("making a small blob's file"));
            let _ = job.reply.send(placed.map(|()| Some(claim))); // a caller that has gone drops its claim
        }
    }
}

/// A file that is there and sound stays: most manifests are pushed more than once. Any other is
/// replaced, which heals it.
fn place(ground: &Ground, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
    let _place = ground.places.lock(digest);
    if is_there(ground.disk.as_ref(), digest, bytes)? {
        return Ok(());
    }
    write(ground.disk.as_ref(), digest, bytes)
}

fn is_there(disk: &dyn Disk, digest: &Digest, bytes: &[u8]) -> io::Result<bool> {
    let path = paths::blob(digest);
    if disk.file_len(&path)? != Some(bytes.len() as u64) {
        return Ok(false);
    }
    let mut there = vec![0; bytes.len()];
    let read = disk.open_read(&path).and_then(|file| file.read_exact_at(&mut there, 0));
    Ok(read.is_ok() && there == bytes)
}

/// Makes the file of a blob, or another in its place; the blob's place is held.
pub(super) fn write(disk: &dyn Disk, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
    let part = paths::small_part(digest);
    let made = match disk.create(&part) {
        // Of an attempt that failed.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            disk.remove_file(&part)?;
            disk.create(&part)
        }
        made => made,
    };
    let placed = made
        .and_then(|mut file| file.write_at(bytes, 0))
        .and_then(|()| disk.rename(&part, &paths::blob(digest)));
    if placed.is_err() {
        let _ = disk.remove_file(&part); // the next attempt, or the next start, removes it otherwise
    }
    placed
}
