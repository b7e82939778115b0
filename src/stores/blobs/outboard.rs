//! Outboards: the BLAKE3 of every chunk of a blob, beside it. They are advice, made from what the
//! upload was hashed with anyway: written once the blob is durable, and synced before they get their
//! name, so that a torn one is damage. Whatever fails here fails nothing else. Layout: `FORMAT.md`, "An outboard".

use std::io;

use pierhead_storage_format::outboard::Outboard;
use pierhead_storage_format::{Digest, paths};

use super::Store;
use crate::stores::disk::Disk;

/// Puts the outboard of the blob that upload `id` became beside it; no hash a chunk, no outboard.
/// Blocks.
pub(super) fn publish(store: &Store, id: &str, digest: &Digest, size: u64, chunks: Vec<[u8; 32]>) {
    let Some(outboard) = Outboard::new(*digest, size, chunks) else { return };
    let path = paths::upload_outboard(id);
    let written = store
        .disk
        .create(&path)
        .and_then(|mut file| file.write_at(&outboard.encode(), 0).and_then(|()| file.sync_data()))
        .and_then(|()| store.disk.rename(&path, &paths::outboard(digest)));
    if let Err(error) = written {
        tracing::warn!(%digest, %error, "a blob is without its outboard");
    }
}

/// Removes the outboard of a blob that goes; none is no error. Blocks.
pub(super) fn remove(disk: &dyn Disk, digest: &Digest) -> io::Result<()> {
    disk.remove_file(&paths::outboard(digest))
}

/// Moves the outboard along with a damaged blob: it tells which part of it is. Blocks.
pub(super) fn set_aside(disk: &dyn Disk, digest: &Digest, id: &str) {
    let from = paths::outboard(digest);
    let moved = match disk.file_len(&from) {
        Ok(Some(_)) => disk.rename(&from, &paths::quarantined_outboard(digest, id)),
        none => none.map(drop),
    };
    if let Err(error) = moved {
        tracing::warn!(%digest, %error, "the outboard of a damaged blob was left behind");
    }
}
