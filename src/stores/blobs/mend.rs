//! What checks and repairs do to files, beside `Blobs::quarantine_wrong`: a blob is proved by its digest, an outboard
//! is made anew from a blob that was proved, a file that nobody names goes to `quarantine/`. Nothing is unlinked but
//! what this room itself began.
//!
//! An outboard: its bytes go to `uploads/<id>/outboard`, `fdatasync`, rename to its place, `fsync` of the folder, then
//! `uploads/<id>/` goes. A stop leaves that folder, which start-up clears, and the old outboard or the new one.
//! A file set aside: one rename, then `fsync` of `quarantine/` and of the folder it was in. A stop leaves it in one of
//! the two places.

use std::path::Path;

use pierhead_storage_format::outboard::{CHUNK, Outboard};
use pierhead_storage_format::{Digest, paths};

use super::error::{BlobError, io};
use super::hash::Hasher;
use super::pool::BLOCK;
use super::{Blobs, Store, outboard, read};

/// The work was told to stop.
const STOPPED: &str = "a check that was told to stop";

impl Blobs {
    /// Whether the bytes of a blob's file hash to its digest; `None` if there is none. An error if it cannot be
    /// read to its end, or if `goes_on`, asked at least once a MiB, says no. Blocks.
    pub fn prove(&self, digest: &Digest, goes_on: &dyn Fn() -> bool) -> Result<Option<bool>, BlobError> {
        let Some(file) = self.0.open_if_there(digest)? else { return Ok(None) };
        let ends = || io(STOPPED)(std::io::ErrorKind::Interrupted.into());
        let mut ask = || if goes_on() { Ok(()) } else { Err(ends()) };
        read::is_sound(&self.0, digest, file.as_ref(), &mut ask).map(Some)
    }

    /// Makes the outboard of a blob of `size` bytes anew from its bytes, durably; a blob too small for one loses the
    /// one it has. Whether the blob was as its digest says: nothing is changed otherwise. Blocks.
    pub fn make_outboard(&self, digest: &Digest, size: u64) -> Result<bool, BlobError> {
        let store = &self.0;
        let Some(chunks) = store.chunks_of(digest, size)? else { return Ok(false) };
        let made = if size > CHUNK { Outboard::new(*digest, size, chunks) } else { None };
        let Some(made) = made else {
            outboard::remove(store.disk.as_ref(), digest).map_err(io("removing an outboard"))?;
            return store.sync_folder_of(digest).map(|()| true);
        };
        let id = store.random.id().map_err(io("making an upload id"))?;
        let done = store.place_outboard(&id, digest, &made.encode());
        store.drop_upload(&id);
        done.map(|()| true)
    }

    /// Moves a file that nobody names, a blob's or an outboard's, to `quarantine/`, durably; its name there, or
    /// `None` if it has gone. Only for a store that nobody serves. Blocks.
    pub fn set_extra_aside(&self, digest: &Digest, is_outboard: bool) -> Result<Option<String>, BlobError> {
        let store = &self.0;
        let id = store.random.id().map_err(io("making a quarantine name"))?;
        let (from, to) = match is_outboard {
            true => (paths::outboard(digest), paths::quarantined_outboard(digest, &id)),
            false => (paths::blob(digest), paths::quarantined(digest, &id)),
        };
        let _place = store.places.lock(digest);
        if store.disk.file_len(&from).map_err(io("looking at a file that nobody names"))?.is_none() {
            return Ok(None);
        }
        store.disk.rename(&from, &to).map_err(io("moving a file to quarantine"))?;
        store.disk.sync_dir(Path::new(paths::QUARANTINE)).map_err(io("syncing the quarantine"))?;
        store.sync_folder_of(digest)?;
        Ok(Some(to.display().to_string()))
    }
}

impl Store {
    /// BLAKE3 of each chunk of a blob whose bytes its digest proves; `None` if it does not.
    fn chunks_of(&self, digest: &Digest, size: u64) -> Result<Option<Vec<[u8; 32]>>, BlobError> {
        let Some(file) = self.open_if_there(digest)? else { return Ok(None) };
        if file.len().map_err(io("looking at a blob"))? != size {
            return Ok(None);
        }
        file.past_cache();
        let (mut hasher, mut block) = (Hasher::new(digest.algorithm()), self.pool.block());
        let (mut chunks, mut at) = (Vec::new(), 0);
        while at < size {
            let most = usize::try_from((size - at).min(CHUNK)).unwrap_or(BLOCK);
            let read = read::fill(file.as_ref(), block.space(BLOCK), at, most)?.min(most);
            if read < most {
                return Ok(None);
            }
            let bytes = &block.as_ref()[..read];
            hasher.update(bytes);
            chunks.push(*blake3::hash(bytes).as_bytes());
            at += read as u64;
        }
        Ok((hasher.digest() == *digest).then_some(chunks))
    }

    fn place_outboard(&self, id: &str, digest: &Digest, bytes: &[u8]) -> Result<(), BlobError> {
        let part = paths::upload_outboard(id);
        self.disk.create_dir(&paths::upload_dir(id)).map_err(io("making an upload folder"))?;
        let mut file = self.disk.create(&part).map_err(io("making an outboard"))?;
        file.write_at(bytes, 0).and_then(|()| file.sync_data()).map_err(io("writing an outboard"))?;
        self.disk.rename(&part, &paths::outboard(digest)).map_err(io("placing an outboard"))?;
        self.sync_folder_of(digest)
    }
}
