//! What start-up does with uploads of an earlier run: one with a journal is cut back to its last
//! checkpoint that the bytes prove and goes on from there; all others are leftovers.
//!
//! The proof reads every chunk from the start and compares it, on all cores and past the page cache,
//! in which little of it would be found: 10 GiB take as long as the disk needs to read them. So `open`
//! only looks at names and headers, and whoever has the uploads has each proved when it suits
//! ([`Resumable::prove`]). Nothing is written before the proof is done: it may be stopped at any time.
//! Nothing that fails for one upload keeps the store from opening: what does not hold is a leftover, and what the
//! disk (or a limit of the process) keeps from being looked at is left to the next start.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pierhead_storage_format::upload::{self, CHUNK, Checkpoint, Header, MAX_HEADER, State};
use pierhead_storage_format::{Algorithm, Digest, FormatError, paths};

use super::error::{BlobError, io};
use super::hash::Hasher;
use super::journal::{Hashing, Journal, Owner};
use super::pipe::Pipe;
use super::pool::{BLOCK, Pool};
use super::readers::together;
use super::upload::Upload;
use super::{Leftover, Store};
use crate::stores::disk::Entry;

/// The longest journal that is read: of an upload of about 1.8 TiB.
const MAX_JOURNAL: u64 = 64 << 20;
/// Threads that read and hash.
const READERS: usize = 4;

/// An upload of an earlier run that may go on: its journal says whose it is, and its bytes are there.
/// Dropped, it is left to the next start.
pub struct Resumable {
    /// Whose it is.
    pub owner: Owner,
    /// 32 hex digits.
    pub id: String,
    /// Bytes in its file, not all of which need hold.
    pub len: u64,
    intents: Vec<Digest>,
    store: Arc<Store>,
}

/// What a proof came to.
pub enum Proved {
    /// The upload, at an offset that was proved.
    GoesOn {
        /// It.
        upload: Upload,
        /// Bytes that were read.
        read: u64,
    },
    /// Its bytes do not hold; to be cleared.
    Leftover(Leftover),
    /// It was stopped, or the disk failed, which was logged: it is left to the next start, and no byte that
    /// may hold is gone.
    Stopped,
}

/// What an earlier run left.
#[derive(Default)]
pub struct Found {
    /// To be cleared.
    pub leftovers: Vec<Leftover>,
    /// To be proved and gone on with, or given up.
    pub resumables: Vec<Resumable>,
}

/// Looks at every folder of `uploads/`. Blocks.
pub(super) fn find(store: &Arc<Store>) -> Result<Found, BlobError> {
    let listing = io("listing uploads of an earlier run");
    let mut found = Found::default();
    let folders = store.disk.list(Path::new(paths::UPLOADS)).map_err(listing)?;
    for Entry { name: id, .. } in folders.into_iter().filter(|entry| entry.is_dir) {
        let files = match store.disk.list(&paths::upload_dir(&id)) {
            Ok(files) => files,
            Err(error) => {
                left_alone(&id, &error);
                continue;
            }
        };
        let intents: Vec<_> = files.iter().filter_map(|file| paths::parse_intent(&file.name)).collect();
        let journal = paths::upload_journal(&id);
        if files.iter().any(|file| Path::new(&file.name) == journal.file_name().unwrap_or_default()) {
            match Resumable::open(store, &id, &intents) {
                Ok(resumable) => {
                    found.resumables.push(resumable);
                    continue;
                }
                Err(Why::Disk(error)) => {
                    left_alone(&id, &error);
                    continue;
                }
                Err(Why::Bad(why)) => tracing::warn!(upload = id, why, "an upload cannot be gone on with"),
            }
        }
        found.leftovers.push(Leftover { id, published: intents });
    }
    Ok(found)
}

/// Why an upload with a journal does not go on.
enum Why {
    /// What is there does not hold, or is not all there: it never will.
    Bad(String),
    /// Nobody could look: it may hold.
    Disk(io::Error),
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Self::Bad(error.to_string()),
            _ => Self::Disk(error),
        }
    }
}

impl From<FormatError> for Why {
    fn from(error: FormatError) -> Self {
        Self::Bad(error.to_string())
    }
}

fn bad(why: &str) -> Why {
    Why::Bad(why.to_owned())
}

fn left_alone(upload: &str, error: &io::Error) {
    tracing::error!(upload, %error, "an upload cannot be looked at; it is left to the next start");
}

impl Resumable {
    fn open(store: &Arc<Store>, id: &str, intents: &[Digest]) -> Result<Self, Why> {
        let mut start = Vec::new();
        let file = store.disk.open_read(&paths::upload_journal(id))?;
        file.take(MAX_HEADER as u64).read_to_end(&mut start)?;
        let (header, _) = Header::decode(&start)?;
        if format!("{:032x}", header.id) != id {
            return Err(bad("its journal is another upload's"));
        }
        let len = store.disk.file_len(&paths::upload_data(id))?;
        let len = len.ok_or_else(|| bad("its bytes are gone, or a blob"))?;
        let owner = owner(&header);
        Ok(Self { owner, id: id.to_owned(), len, intents: intents.to_vec(), store: Arc::clone(store) })
    }

    /// Reads the bytes and goes on from what holds, unless `stop` says to end. Blocks.
    pub fn prove(self, stop: &AtomicBool) -> Proved {
        match self.resume(stop) {
            Ok(Some((upload, read))) => Proved::GoesOn { upload, read },
            _ if stop.load(Ordering::Relaxed) => Proved::Stopped,
            Ok(None) => Proved::Stopped,
            Err(Why::Disk(error)) => {
                left_alone(&self.id, &error);
                Proved::Stopped
            }
            Err(Why::Bad(why)) => {
                tracing::warn!(upload = self.id, why, "an upload cannot be gone on with");
                Proved::Leftover(self.give_up())
            }
        }
    }

    /// What to clear of one that nobody goes on with. Its intents came to nothing: its bytes are still
    /// its own.
    pub fn give_up(self) -> Leftover {
        Leftover { id: self.id, published: Vec::new() }
    }

    fn resume(&self, stop: &AtomicBool) -> Result<Option<(Upload, u64)>, Why> {
        let (store, id) = (&self.store, self.id.as_str());
        let mut journal = Vec::new();
        let file = store.disk.open_read(&paths::upload_journal(id))?;
        file.take(MAX_JOURNAL).read_to_end(&mut journal)?;
        let (header, checkpoints) = upload::read(&journal)?;
        let data = store.disk.open_read(&paths::upload_data(id))?;
        let direct = store.disk.open_read_direct(&paths::upload_data(id))?;
        let claims: Vec<_> =
            checkpoints.into_iter().take_while(|(claim, _)| claim.offset <= self.len).collect();
        let chunks = chunks(&claims);
        let direct = direct.read_at(store.pool.block().space(BLOCK), 0).map_or(&data, |_| &direct);
        let holding = holding(direct, &chunks, &store.pool, stop)?;
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let read = (holding as u64 + 1).min(chunks.len() as u64) * CHUNK;
        let (place, end) = last_proved(&data, claims, holding as u64)?
            .ok_or_else(|| bad("its bytes are not those of its journal"))?;
        let Some(digest) = running_digest(&data, header.algorithm, &place, stop)? else { return Ok(None) };
        let start = beyond(&data, place.offset)?;
        let mut proved = chunks;
        proved.truncate(usize::try_from(place.offset / CHUNK).map_err(io::Error::other)?);
        let hashing = Hashing::after(digest, proved, &start);
        Ok(Some((self.cut_and_go_on(header, (place.offset, end), hashing)?, read)))
    }

    /// The steps that make the upload what it was at the checkpoint: `FORMAT.md`, "A checkpoint of an
    /// upload".
    fn cut_and_go_on(
        &self,
        header: Header,
        (offset, end): (u64, u64),
        hashing: Hashing,
    ) -> Result<Upload, Why> {
        let (store, id) = (&self.store, self.id.as_str());
        let mut data = store.disk.open(&paths::upload_data(id))?;
        data.set_len(offset)?;
        data.sync_data()?;
        let mut file = store.disk.open(&paths::upload_journal(id))?;
        file.set_len(end)?;
        file.sync_data()?;
        for intent in &self.intents {
            store.disk.remove_file(&paths::upload_intent(id, intent))?;
        }
        let journal = Journal::open(store, id, header, file, end);
        let pipe = Pipe::new(store, data, offset, hashing, Some(journal));
        Ok(Upload::new(Arc::clone(store), id.to_owned(), pipe))
    }
}

fn owner(header: &Header) -> Owner {
    let Header { repository, actor, created_at, .. } = header.clone();
    Owner { repository, actor, created_at }
}

/// The hash of every whole chunk, in order.
fn chunks(claims: &[(Checkpoint, u64)]) -> Vec<[u8; 32]> {
    claims.iter().flat_map(|(claim, _)| &claim.chunks).copied().collect()
}

/// The last checkpoint that the bytes prove, and where it ends in the journal, if so many whole chunks
/// from the start hold.
fn last_proved(
    data: &File,
    claims: Vec<(Checkpoint, u64)>,
    holding: u64,
) -> io::Result<Option<(Checkpoint, u64)>> {
    for (claim, end) in claims.into_iter().rev().filter(|(claim, _)| claim.offset / CHUNK <= holding) {
        let holds = match claim.tail {
            Some(tail) => *blake3::hash(&beyond(data, claim.offset)?).as_bytes() == tail,
            None => true,
        };
        if holds {
            return Ok(Some((claim, end)));
        }
    }
    Ok(None)
}

/// The bytes from the last multiple of a chunk up to `offset`.
fn beyond(data: &File, offset: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(offset % CHUNK).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    data.read_exact_at(&mut bytes, offset - len as u64)?;
    Ok(bytes)
}

/// How many chunks from the start are what they should be. A chunk that is not all there is not; one
/// that cannot be read may be.
fn holding(data: &File, chunks: &[[u8; 32]], pool: &Arc<Pool>, stop: &AtomicBool) -> io::Result<usize> {
    let (next, bad) = (AtomicUsize::new(0), AtomicUsize::new(chunks.len()));
    let compare = || -> io::Result<()> {
        let mut block = pool.block();
        let buffer = block.space(BLOCK);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= bad.load(Ordering::Relaxed) || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let whole = match data.read_exact_at(buffer, number as u64 * CHUNK) {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    bad.store(0, Ordering::Relaxed); // the others need not go on
                    return Err(error);
                }
                read => read.is_ok(),
            };
            if !whole || blake3::hash(buffer).as_bytes() != &chunks[number] {
                bad.fetch_min(number, Ordering::Relaxed);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    together(cores.min(READERS).min(chunks.len()), compare, |error| error)?;
    Ok(bad.into_inner())
}

/// As it was saved; from the bytes if another version of this program saved it. `None` if stopped.
fn running_digest(
    data: &File,
    algorithm: Algorithm,
    checkpoint: &Checkpoint,
    stop: &AtomicBool,
) -> io::Result<Option<Hasher>> {
    if let Some(hasher) = Hasher::load(algorithm, &checkpoint.state) {
        return Ok(Some(hasher));
    }
    let State { version, .. } = checkpoint.state;
    tracing::info!(version, "an upload's running digest cannot be read; its bytes are hashed again");
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; BLOCK];
    for number in 0..checkpoint.offset / CHUNK {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        data.read_exact_at(&mut buffer, number * CHUNK)?;
        hasher.update(&buffer);
    }
    hasher.update(&beyond(data, checkpoint.offset)?);
    Ok(Some(hasher))
}
