//! What start-up does with uploads of an earlier run: one whose journal holds is cut back to its last
//! checkpoint that the bytes prove and goes on from there; all others are leftovers.
//!
//! Every chunk from the start is read and compared, on all cores and past the page cache, in which
//! little of it would be found: 10 GiB take as long as the disk needs to read them, and the operator
//! is told how much was read. Nothing that fails here keeps the store from opening: what cannot be
//! proved is a leftover.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pierhead_storage_format::upload::{self, CHUNK, Checkpoint, Header, State};
use pierhead_storage_format::{Algorithm, Digest, paths};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::error::{BlobError, io};
use super::hash::Hasher;
use super::journal::{Hashing, Journal, Owner};
use super::pipe::Pipe;
use super::pool::{BLOCK, Pool};
use super::upload::Upload;
use super::{Leftover, Store};
use crate::stores::disk::Entry;

/// The longest journal that is read: of an upload of about 1.8 TiB.
const MAX_JOURNAL: u64 = 64 << 20;
/// Threads that read and hash.
const READERS: usize = 4;

/// An upload of an earlier run that goes on.
pub struct Resumable {
    /// Whose it is.
    pub owner: Owner,
    /// The upload, at an offset that was proved.
    pub upload: Upload,
}

/// What an earlier run left.
#[derive(Default)]
pub struct Found {
    /// To be cleared.
    pub leftovers: Vec<Leftover>,
    /// To be gone on with, or discarded.
    pub resumables: Vec<Resumable>,
    /// Bytes read to prove them.
    pub proved: u64,
}

/// Looks at every folder of `uploads/`. Blocks.
pub(super) fn find(store: &Arc<Store>) -> Result<Found, BlobError> {
    let listing = io("listing uploads of an earlier run");
    let mut found = Found::default();
    let folders = store.disk.list(Path::new(paths::UPLOADS)).map_err(&listing)?;
    for Entry { name: id, .. } in folders.into_iter().filter(|entry| entry.is_dir) {
        let files = store.disk.list(&paths::upload_dir(&id)).map_err(&listing)?;
        let published = files.iter().filter_map(|file| paths::parse_intent(&file.name)).collect();
        let journal = paths::upload_journal(&id);
        if files.iter().any(|file| Path::new(&file.name) == journal.file_name().unwrap_or_default()) {
            match resume(store, &id, &published, &mut found.proved) {
                Ok(resumable) => {
                    found.resumables.push(resumable);
                    continue;
                }
                Err(why) => tracing::warn!(upload = id, why = %why.0, "an upload cannot be gone on with"),
            }
        }
        found.leftovers.push(Leftover { id, published });
    }
    Ok(found)
}

/// Why an upload with a journal does not go on.
struct Why(String);

impl<E: std::fmt::Display> From<E> for Why {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

fn resume(store: &Arc<Store>, id: &str, intents: &Vec<Digest>, proved: &mut u64) -> Result<Resumable, Why> {
    let mut journal = Vec::new();
    let file = store.disk.open_read(&paths::upload_journal(id))?;
    file.take(MAX_JOURNAL).read_to_end(&mut journal)?;
    let (header, checkpoints) = upload::read(&journal)?;
    if format!("{:032x}", header.id) != id {
        return Err(Why("its journal is another upload's".to_owned()));
    }
    let data = store.disk.open_read(&paths::upload_data(id))?;
    let (checkpoint, end, read) = last_proved(&data, checkpoints, &store.pool)?;
    *proved += read;
    let checkpoint = checkpoint.ok_or_else(|| Why("its bytes are not those of its journal".to_owned()))?;
    let digest = running_digest(&data, header.algorithm, &checkpoint)?;
    cut_and_go_on(store, id, header, (checkpoint.offset, end), digest, intents)
}

/// The steps that make the upload what it was at the checkpoint: `FORMAT.md`, "A checkpoint of an
/// upload".
fn cut_and_go_on(
    store: &Arc<Store>,
    id: &str,
    header: Header,
    (offset, end): (u64, u64),
    digest: Hasher,
    intents: &Vec<Digest>,
) -> Result<Resumable, Why> {
    let mut data = store.disk.open(&paths::upload_data(id))?;
    data.set_len(offset)?;
    data.sync_data()?;
    let mut file = store.disk.open(&paths::upload_journal(id))?;
    file.set_len(end)?;
    file.sync_data()?;
    for intent in intents {
        store.disk.remove_file(&paths::upload_intent(id, intent))?;
    }
    let owner = Owner {
        repository: header.repository.clone(),
        actor: header.actor.clone(),
        created_at: header.created_at,
    };
    let journal = Journal::open(store, id, header, file, end);
    let pipe = Pipe::new(store, data, offset, Hashing::new(digest), Some(journal));
    Ok(Resumable { owner, upload: Upload::new(Arc::clone(store), id.to_owned(), pipe) })
}

/// The last checkpoint that the bytes prove, where it ends in the journal, and how much was read.
fn last_proved(
    data: &File,
    checkpoints: Vec<(Checkpoint, u64)>,
    pool: &Arc<Pool>,
) -> io::Result<(Option<Checkpoint>, u64, u64)> {
    let len = data.metadata()?.len();
    let claims: Vec<_> = checkpoints.into_iter().take_while(|(claim, _)| claim.offset <= len).collect();
    let chunks: Vec<[u8; 32]> = claims.iter().flat_map(|(claim, _)| &claim.chunks).copied().collect();
    past_cache(data, true);
    if data.read_at(pool.block().space(BLOCK), 0).is_err() {
        past_cache(data, false); // not on this filesystem
    }
    let holding = holding(data, &chunks, pool);
    past_cache(data, false);
    let proved = claims.into_iter().rfind(|(claim, _)| claim.offset / CHUNK <= holding as u64);
    let read = (holding as u64 + 1).min(chunks.len() as u64) * CHUNK;
    Ok(proved.map_or((None, 0, read), |(claim, end)| (Some(claim), end, read)))
}

/// Has the file read past the page cache, or through it again. Best effort: it is about speed.
pub(super) fn past_cache(data: &File, past: bool) {
    if let Ok(flags) = fcntl_getfl(data) {
        let flags = if past { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT };
        let _ = fcntl_setfl(data, flags);
    }
}

/// How many chunks from the start are what they should be.
fn holding(data: &File, chunks: &[[u8; 32]], pool: &Arc<Pool>) -> usize {
    let (next, bad) = (AtomicUsize::new(0), AtomicUsize::new(chunks.len()));
    let compare = || {
        let mut block = pool.block();
        let buffer = block.space(BLOCK);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= bad.load(Ordering::Relaxed) {
                return;
            }
            let read = data.read_exact_at(buffer, number as u64 * CHUNK);
            if read.is_err() || blake3::hash(buffer).as_bytes() != &chunks[number] {
                bad.fetch_min(number, Ordering::Relaxed);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 1..cores.min(READERS).min(chunks.len()) {
            scope.spawn(compare);
        }
        compare();
    });
    bad.into_inner()
}

/// As it was saved; from the bytes if another version of this program saved it.
fn running_digest(data: &File, algorithm: Algorithm, checkpoint: &Checkpoint) -> io::Result<Hasher> {
    if let Some(hasher) = Hasher::load(algorithm, &checkpoint.state) {
        return Ok(hasher);
    }
    let State { version, .. } = checkpoint.state;
    tracing::info!(version, "an upload's running digest cannot be read; its bytes are hashed again");
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; BLOCK];
    for number in 0..checkpoint.offset / CHUNK {
        data.read_exact_at(&mut buffer, number * CHUNK)?;
        hasher.update(&buffer);
    }
    Ok(hasher)
}
