//! Content-addressed files. A blob here is complete, durable, equal to its digest and never written
//! again; an upload is the one thing that grows. Layout: `FORMAT.md`, "Blobs".
//!
//! C1: a path under `blobs/` appears only by rename, after its bytes are durable: from `uploads/`, or
//!     for a small blob from `small/`, where the log has them.
//! C2: a published file is never written or truncated; it goes by unlink or by rename into
//!     `quarantine/`. Readers that hold it open (or mapped) keep what they had.
//! C3: an upload's offset counts bytes the file really has; after a failed write it goes back to the
//!     last byte known written, and the file is cut there.
//! C4: memory per upload is at most `pipe::BLOCKS` blocks of 2 MiB, and less while many are under way; an
//!     upload at rest holds neither a thread nor a buffer. Folder and file are made with its first write.
//!
//! Steps of a publish, what each leaves when it is the last, and what start-up does with that, are
//! in `publish`. An upload with an [`Owner`] writes checkpoints (`journal`) and outlives a crash from
//! a first checkpoint on: `open` gives it back as [`Resumable`], to be proved, and lists all others as
//! [`Leftover`]s. Every async function here does its disk work on blocking threads, and work once begun
//! runs to its end though the caller is dropped.
//!
//! Must not know what a manifest, a repository or a record is. Look next at `pipe` (how bytes get to
//! the disk), `publish`, `small` (the log of small blobs), `read`.

mod collect;
mod error;
mod hash;
mod journal;
mod look;
mod map;
mod mend;
mod outboard;
mod pipe;
mod pool;
mod publish;
mod read;
mod readers;
mod recent;
mod recovery;
mod removals;
mod small;
mod source;
mod unmade;
mod upload;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pierhead_storage_format::{Algorithm, Digest, paths};

use self::error::{blocking, io};
use self::journal::{Hashing, Journal};
use self::pipe::Pipe;
use self::pool::Pool;
use self::recent::Recent;
use self::removals::Removals;
use self::small::Small;
use self::unmade::Unmade;
use super::disk::{Disk, DiskReader};
use crate::seams::Random;

pub use error::BlobError;
pub use hash::{Hasher, of as digest_of};
pub use journal::Owner;
pub use look::{Look, Looked};
pub use publish::Published;
pub use read::{BlobReader, Reading};
pub use recovery::{Found, Proved, Resumable};
pub use removals::{Hold, Removing};
pub use small::{Named, Replayed};
pub use upload::Upload;

/// What the store works with.
pub struct Options {
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// Makes upload ids.
    pub random: Arc<dyn Random>,
    /// Bytes an upload receives between two checkpoints.
    pub checkpoint_every: u64,
}

/// What [`Options::checkpoint_every`] is but in tests: half of what a client should ever have to send
/// again.
pub const CHECKPOINT_EVERY: u64 = 32 << 20;

/// The blobs of a data directory. Clones share it.
#[derive(Clone)]
pub struct Blobs(Arc<Store>);

/// What an upload of an earlier run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The upload's id.
    pub id: String,
    /// Blobs it was about to become, or became; those without a record are nobody's.
    pub published: Vec<Digest>,
}

/// Locks that all digests share. Held, by digest, while the name of a blob gets another file, or loses
/// it.
struct Places([Mutex<()>; 64]);

impl Places {
    fn lock(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        lock(&self.0[usize::from(digest.raw()[0]) % self.0.len()])
    }
}

struct Store {
    disk: Arc<dyn Disk>,
    random: Arc<dyn Random>,
    pool: Arc<Pool>,
    recent: Recent,
    places: Arc<Places>,
    small: Small,
    checkpoint_every: u64,
    removals: Removals,
}

impl Blobs {
    /// Makes the folders that are missing and finds what an earlier run left. Blocks. Nothing else may
    /// use the store until every leftover has been cleared, and the log of small blobs gone through
    /// ([`replay`](Self::replay)); resumables may be proved later.
    pub fn open(options: Options) -> Result<(Self, Found), BlobError> {
        let Options { disk, random, checkpoint_every } = options;
        make_folders(disk.as_ref())?;
        let places = Arc::new(Places(std::array::from_fn(|_| Mutex::default())));
        let small = Small::open(&disk, &random, &places, None)?;
        let (pool, recent, removals) = (Pool::new(), Recent::default(), Removals::default());
        let store = Arc::new(Store { disk, random, pool, recent, places, small, checkpoint_every, removals });
        let found = recovery::find(&store)?;
        Ok((Self(store), found))
    }

    /// Unlinks the blobs of `leftover` that have no record (`unrecorded`; others are left alone) and
    /// removes its folder. Blocks. The folder goes last, so that a crash here is taken up again.
    /// While removals are held back nothing is done: the next start sees to it.
    pub fn clear_leftover(&self, leftover: &Leftover, unrecorded: &[Digest]) -> Result<(), BlobError> {
        let removing = if unrecorded.is_empty() { None } else { self.begin_removing() };
        if removing.is_none() && !unrecorded.is_empty() {
            return Ok(());
        }
        for digest in leftover.published.iter().filter(|digest| unrecorded.contains(digest)) {
            let removed = self.0.disk.remove_file(&paths::blob(digest));
            let removed = removed.and_then(|()| outboard::remove(self.0.disk.as_ref(), digest));
            removed.map_err(io("removing an unrecorded blob"))?;
            self.0.sync_folder_of(digest)?;
        }
        self.0.disk.remove_dir(&paths::upload_dir(&leftover.id)).map_err(io("removing a leftover upload"))
    }

    /// Has no blob removed as long as the answer lives: what the metadata named at any moment since then
    /// can be copied. Waits for the batch of removals that is under way. May be asked for by several.
    pub async fn hold_removals(&self) -> Hold {
        self.0.removals.hold().await
    }

    /// Leave to remove blobs; `None` while removals are held back. Ask for each batch: no hold begins, and
    /// no other batch, while the answer lives.
    pub fn begin_removing(&self) -> Option<Removing> {
        self.0.removals.begin()
    }

    /// Goes through the log of small blobs that an earlier run left: files that are missing or wrong
    /// are written anew, blobs that are not `recorded` are removed; those of which that is unsure get their files, and
    /// are among what the next start looks at, unless they are cleared before. An error of `recorded`, or of listing
    /// the log (made by `error`), ends it; what cannot be mended is logged and kept. Blocks.
    pub fn replay<E, N: Into<Named>>(
        &self,
        mut recorded: impl FnMut(&Digest) -> Result<N, E>,
        error: fn(BlobError) -> E,
    ) -> Result<Replayed, E> {
        self.0.small.replay(&mut recorded, error)
    }

    /// Ends the log of small blobs: the next start has nothing to do. Call it when the metadata takes
    /// nothing more. Small blobs published later go the ordinary way. Blocks.
    pub fn close(&self) {
        self.0.small.close();
    }

    /// Begins an upload whose bytes are hashed with `algorithm` as they come. With an owner it writes
    /// checkpoints, so that it outlives a crash. Nothing is on the disk before its first write.
    pub async fn begin(&self, algorithm: Algorithm, owner: Option<Owner>) -> Result<Upload, BlobError> {
        let store = &self.0;
        let id = store.random.id().map_err(io("making an upload id"))?;
        let made = Arc::new(AtomicBool::new(false));
        let file = Box::new(Unmade::new(store, &id, &made));
        let journal = owner.and_then(|owner| Journal::new(store, &id, algorithm, owner));
        let hashing = Hashing::new(Hasher::new(algorithm));
        let pipe = Pipe::new(store, file, 0, hashing, journal);
        Ok(Upload::unmade(Arc::clone(store), id, pipe, made))
    }

    /// Stores `bytes` under `digest` with the guarantees of [`Upload::publish`]; for manifests and
    /// other small blobs. [`BlobError::DigestMismatch`] if they are something else.
    pub async fn publish_bytes(&self, digest: &Digest, bytes: Bytes) -> Result<Published, BlobError> {
        let actual = hash::of(digest.algorithm(), &bytes);
        if actual != *digest {
            return Err(BlobError::DigestMismatch { actual });
        }
        if let Some(published) = publish::small(&self.0, digest, bytes.clone()).await? {
            return Ok(published);
        }
        let (store, digest) = (Arc::clone(&self.0), *digest);
        blocking(move || publish::bytes(&store, &digest, &bytes)).await
    }

    /// Bytes of the stored file; `None` if there is none. Says nothing about its content.
    pub async fn size_on_disk(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let (store, path) = (Arc::clone(&self.0), paths::blob(digest));
        blocking(move || store.disk.file_len(&path).map_err(io("looking up a blob"))).await
    }

    /// Opens `range` (bytes, within `size`) of a blob for reading. `size` is what the record says:
    /// a file of another length is [`BlobError::Damaged`]. The content is not hashed.
    pub async fn read(
        &self,
        digest: &Digest,
        size: u64,
        range: std::ops::Range<u64>,
        how: Reading,
    ) -> Result<BlobReader, BlobError> {
        let (store, digest) = (Arc::clone(&self.0), *digest);
        blocking(move || read::open(&store, &digest, size, range, how)).await
    }

    /// The whole blob, checked against its digest; for manifests: the caller bounds `size`.
    pub async fn read_whole(&self, digest: &Digest, size: u64) -> Result<Bytes, BlobError> {
        let (store, digest) = (Arc::clone(&self.0), *digest);
        blocking(move || read::whole(&store, &digest, size)).await
    }

    /// Removes the outboard of a blob, which is wrong; none is no error. It is advice.
    pub async fn drop_outboard(&self, digest: &Digest) -> Result<(), BlobError> {
        let (store, digest) = (Arc::clone(&self.0), *digest);
        blocking(move || outboard::remove(store.disk.as_ref(), &digest).map_err(io("removing an outboard")))
            .await
    }

    /// Moves a blob's file to `quarantine/`, durably, if it is damaged: whoever found it so may have
    /// looked at a file that was replaced since. Whether it was moved; a blob without a file is not.
    /// One that cannot be read to its end is damaged: a push heals it, since it makes a new file.
    pub async fn quarantine(&self, digest: &Digest) -> Result<bool, BlobError> {
        let (store, digest) = (Arc::clone(&self.0), *digest);
        blocking(move || store.quarantine(&digest, true)).await
    }

    /// The same, but for a file that cannot be read to its end: that is an error, and it stays where it is. For who
    /// looks at every blob: a disk that fails for a while must not cost them all.
    pub async fn quarantine_wrong(&self, digest: &Digest) -> Result<bool, BlobError> {
        let (store, digest) = (Arc::clone(&self.0), *digest);
        blocking(move || store.quarantine(&digest, false)).await
    }
}

/// What only tests do to a store.
#[cfg(test)]
impl Blobs {
    /// Unlinks a blob's file; none is no error. Not synced: a file that comes back after a power
    /// cut has no record and is swept by the next collection.
    pub async fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        let (store, path) = (Arc::clone(&self.0), paths::blob(digest));
        blocking(move || store.disk.remove_file(&path).map_err(io("removing a blob"))).await
    }

    /// The blobs of one folder with their lengths, by name; for `fsck`. Blocks. Names that are no
    /// digest of this folder are left out.
    pub fn list(&self, algorithm: Algorithm, first_byte: u8) -> Result<Vec<(Digest, u64)>, BlobError> {
        let folder = paths::blob_dir(algorithm, first_byte);
        let entries = self.0.disk.list(&folder).map_err(io("listing blobs"))?;
        let digest = |name: &str| format!("{}:{name}", algorithm.name()).parse::<Digest>().ok();
        Ok(entries
            .iter()
            .filter(|entry| !entry.is_dir)
            .filter_map(|entry| Some((digest(&entry.name)?, entry.len)))
            .filter(|(digest, _)| digest.raw().first() == Some(&first_byte))
            .collect())
    }
}

impl Store {
    /// Makes the folder and the empty file of an upload.
    fn new_upload(&self) -> Result<(String, Box<dyn super::disk::DiskFile>), BlobError> {
        let id = self.random.id().map_err(io("making an upload id"))?;
        self.disk.create_dir(&paths::upload_dir(&id)).map_err(io("making an upload folder"))?;
        match self.disk.create(&paths::upload_data(&id)) {
            Ok(file) => Ok((id, file)),
            Err(error) => {
                self.drop_upload(&id);
                Err(io("making an upload file")(error))
            }
        }
    }

    /// Removes an upload's folder; if that fails, the next start clears it.
    fn drop_upload(&self, id: &str) {
        if let Err(error) = self.disk.remove_dir(&paths::upload_dir(id)) {
            tracing::warn!(upload = id, %error, "upload folder stays until the next start");
        }
    }

    fn sync_folder_of(&self, digest: &Digest) -> Result<(), BlobError> {
        let folder = paths::blob_dir(digest.algorithm(), digest.raw()[0]);
        self.disk.sync_dir(&folder).map_err(io("syncing a blob folder"))
    }

    fn quarantine(&self, digest: &Digest, unreadable: bool) -> Result<bool, BlobError> {
        let id = self.random.id().map_err(io("making a quarantine name"))?;
        let Some(suspect) = self.open_if_there(digest)? else { return Ok(false) };
        // All of it is read, which may take long: not while others wait for the place.
        match read::is_sound(self, digest, suspect.as_ref(), &mut || Ok(())) {
            Ok(true) => return Ok(false),
            Ok(false) => {}
            Err(BlobError::Io { source, .. }) if unreadable => {
                tracing::warn!(%digest, error = %source, "a blob cannot be read");
            }
            Err(error) => return Err(error),
        }
        let held = self.small.hold(); // the log may have the right bytes, and must not go now
        let _place = self.places.lock(digest);
        let looking = io("looking at a blob");
        let Some(there) = self.open_if_there(digest)? else { return Ok(false) };
        if there.id().map_err(&looking)? != suspect.id().map_err(&looking)? {
            return Ok(false); // replaced meanwhile
        }
        let to = paths::quarantined(digest, &id);
        self.disk.rename(&paths::blob(digest), &to).map_err(io("moving a blob to quarantine"))?;
        drop(held);
        outboard::set_aside(self.disk.as_ref(), digest, &id);
        self.disk.sync_dir(Path::new(paths::QUARANTINE)).map_err(io("syncing the quarantine"))?;
        self.sync_folder_of(digest)?;
        Ok(true)
    }

    fn open_if_there(&self, digest: &Digest) -> Result<Option<Box<dyn DiskReader>>, BlobError> {
        match read::open_file(self, digest) {
            Err(BlobError::NotFound) => Ok(None),
            opened => opened.map(Some),
        }
    }
}

/// All folders are made at once, so that no publish ever has to make one durable. The parents are
/// synced at every start: five syncs cost nothing, and the last run may have died before its own.
fn make_folders(disk: &dyn Disk) -> Result<(), BlobError> {
    let making = io("making the blob folders");
    let make = || {
        for algorithm in Algorithm::ALL {
            let parent = paths::algorithm_dir(algorithm);
            disk.create_dir(&parent)?;
            let there: BTreeSet<PathBuf> =
                disk.list(&parent)?.into_iter().filter(|e| e.is_dir).map(|e| parent.join(e.name)).collect();
            for folder in (0..=u8::MAX).map(|first| paths::blob_dir(algorithm, first)) {
                if !there.contains(&folder) {
                    disk.create_dir(&folder)?;
                }
            }
            disk.sync_dir(&parent)?;
        }
        disk.create_dir(Path::new(paths::UPLOADS))?;
        disk.create_dir(Path::new(paths::COLLECTED))?;
        disk.sync_dir(Path::new(paths::QUARANTINE))?;
        disk.sync_dir(Path::new(paths::BLOBS))?;
        disk.sync_dir(Path::new(""))
    };
    make().map_err(making)
}

/// A panic elsewhere never makes a lock unusable: what it guards is made whole by its owner.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
