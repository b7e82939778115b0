//! The journal of an upload: a header that says whose it is, then checkpoints. A checkpoint says that
//! the upload's bytes were durable up to an offset, what the running digest was there, and what the
//! bytes since the checkpoint before hash to, so that the claim can be proved. All numbers are
//! little-endian. Layout in `FORMAT.md`.
//!
//! - U1: header and checkpoints carry BLAKE3 checks; a checkpoint's is keyed by its header and bound to
//!   its place in the file, so that bytes copied from elsewhere never pass for one.
//! - U2: a checkpoint has a hash for every whole chunk since the one before, and if its offset is no
//!   multiple of [`CHUNK`], for what is beyond the last. The next one has that chunk again, whole. One
//!   that does not continue the one before is an error.
//!
//! Pure: nothing here opens a file. Who reads and writes them: `src/stores/blobs`.

use crate::codec::FormatError;
use crate::digest::Algorithm;
use crate::journal::{Fields, short};

/// Bytes that one chunk hash is of.
pub const CHUNK: u64 = 1 << 20;
/// The longest encoded [`Header`], in bytes.
pub const MAX_HEADER: usize = 8 << 10;
/// The most chunks a checkpoint covers.
pub const MAX_CHUNKS: usize = 4096;

const HEADER_MAGIC: [u8; 8] = *b"PhUpload";
const HEADER_VERSION: u32 = 1;
const CHECKPOINT_MAGIC: [u8; 4] = *b"PhCk";
const WITH_TAIL_MAGIC: [u8; 4] = *b"PhCt";
const MAX_REPOSITORY: usize = 255;
const MAX_ACTOR: usize = 4096;
const MAX_STATE: usize = 1024;
const CHECK: usize = 16;
const KEY_CONTEXT: &str = "pierhead upload journal 1: checkpoint checks";

/// Whose upload it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The upload's id: what its 32 hex digits say.
    pub id: u128,
    /// The running digest's algorithm.
    pub algorithm: Algorithm,
    /// UTC milliseconds since 1970.
    pub created_at: u64,
    /// The repository it goes to, at most 255 bytes.
    pub repository: String,
    /// Who began it, as the service spells it; at most 4096 bytes.
    pub actor: Vec<u8>,
}

/// A running digest that can be taken up again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Names the program part that wrote it; another one may not be able to read it.
    pub version: u8,
    /// Its bytes, at most 1024.
    pub bytes: Vec<u8>,
}

/// A claim: the bytes up to `offset` are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Bytes.
    pub offset: u64,
    /// The running digest there.
    pub state: State,
    /// BLAKE3 of every whole chunk since the checkpoint before, the one included that it ended in.
    pub chunks: Vec<[u8; 32]>,
    /// BLAKE3 of the bytes beyond the last whole chunk; there if and only if there are any.
    pub tail: Option<[u8; 32]>,
}

/// Keys the checks of one journal's checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct Key([u8; 32]);

impl Header {
    /// Its bytes. An error if a part is too long.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        if self.repository.len() > MAX_REPOSITORY || self.actor.len() > MAX_ACTOR {
            return Err(FormatError::TooLarge);
        }
        let mut bytes = HEADER_MAGIC.to_vec();
        bytes.extend_from_slice(&HEADER_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.push(self.algorithm.code());
        bytes.extend_from_slice(&self.created_at.to_le_bytes());
        put_short(&mut bytes, self.repository.as_bytes())?;
        put_short(&mut bytes, &self.actor)?;
        let check = short(blake3::Hasher::new().update(&bytes));
        bytes.extend_from_slice(&check);
        Ok(bytes)
    }

    /// The header at the front of `bytes` and its length; what follows is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), FormatError> {
        let mut fields = Fields(bytes);
        if fields.array()? != HEADER_MAGIC {
            return Err(FormatError::Damaged("not the journal of an upload"));
        }
        fields.version(HEADER_VERSION)?;
        let id = u128::from_be_bytes(fields.array()?);
        let algorithm = fields.u8()?;
        let created_at = fields.u64()?;
        let repository = take_short(&mut fields, MAX_REPOSITORY)?;
        let actor = take_short(&mut fields, MAX_ACTOR)?.to_vec();
        let checked = bytes.len() - fields.0.len();
        if fields.array()? != short(blake3::Hasher::new().update(&bytes[..checked])) {
            return Err(FormatError::Damaged("the header's checksum does not hold"));
        }
        let repository = std::str::from_utf8(repository).map_err(|_| FormatError::Record)?.to_owned();
        let algorithm = Algorithm::from_code(algorithm).ok_or(FormatError::Record)?;
        Ok((Self { id, algorithm, created_at, repository, actor }, checked + CHECK))
    }

    /// What the checks of its checkpoints are keyed by.
    pub fn key(&self) -> Result<Key, FormatError> {
        Ok(Key(blake3::derive_key(KEY_CONTEXT, &self.encode()?)))
    }
}

impl Key {
    fn check(&self, at: u64, bytes: &[u8]) -> [u8; CHECK] {
        short(blake3::Hasher::new_keyed(&self.0).update(&at.to_le_bytes()).update(bytes))
    }
}

impl Checkpoint {
    /// Its bytes at offset `at` of the journal. An error if a part is too long.
    pub fn encode(&self, key: &Key, at: u64) -> Result<Vec<u8>, FormatError> {
        if self.chunks.len() > MAX_CHUNKS || self.state.bytes.len() > MAX_STATE {
            return Err(FormatError::TooLarge);
        }
        let count = u32::try_from(self.chunks.len()).map_err(|_| FormatError::TooLarge)?;
        if self.tail.is_some() == self.offset.is_multiple_of(CHUNK) {
            return Err(FormatError::Record);
        }
        let mut bytes = if self.tail.is_some() { WITH_TAIL_MAGIC } else { CHECKPOINT_MAGIC }.to_vec();
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.push(self.state.version);
        put_short(&mut bytes, &self.state.bytes)?;
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend(self.chunks.iter().chain(&self.tail).flatten());
        let check = key.check(at, &bytes);
        bytes.extend_from_slice(&check);
        Ok(bytes)
    }

    /// The checkpoint at the front of `bytes`, which lie at `at` of the journal, and its length; it has
    /// to continue one at `previous` (0: none). What follows is not looked at.
    pub fn decode(key: &Key, at: u64, previous: u64, bytes: &[u8]) -> Result<(Self, usize), FormatError> {
        let mut fields = Fields(bytes);
        let has_tail = match fields.array()? {
            CHECKPOINT_MAGIC => false,
            WITH_TAIL_MAGIC => true,
            _ => return Err(FormatError::Damaged("no checkpoint starts here")),
        };
        let offset = fields.u64()?;
        let version = fields.u8()?;
        let state = State { version, bytes: take_short(&mut fields, MAX_STATE)?.to_vec() };
        let count = fields.u32()? as usize;
        if count > MAX_CHUNKS {
            return Err(FormatError::TooLarge);
        }
        let chunks = fields.take(count * 32)?.as_chunks().0.to_vec();
        let tail = if has_tail { Some(fields.array()?) } else { None };
        let checked = bytes.len() - fields.0.len();
        if fields.array()? != key.check(at, &bytes[..checked]) {
            return Err(FormatError::Damaged("the checkpoint's checksum does not hold"));
        }
        // A count is 4096 at most.
        let whole = (previous - previous % CHUNK).checked_add(CHUNK * count as u64);
        if offset <= previous
            || whole != Some(offset - offset % CHUNK)
            || has_tail == offset.is_multiple_of(CHUNK)
        {
            return Err(FormatError::Damaged("the checkpoint does not continue the one before"));
        }
        Ok((Self { offset, state, chunks, tail }, checked + CHECK))
    }
}

/// The checkpoints of a journal that hold, in order, each with where it ends in the file, up to the
/// first that does not. An error if the header does not hold.
pub fn read(journal: &[u8]) -> Result<(Header, Vec<(Checkpoint, u64)>), FormatError> {
    let (header, mut at) = Header::decode(journal)?;
    let key = header.key()?;
    let (mut found, mut previous) = (Vec::new(), 0);
    while let Ok((checkpoint, len)) = Checkpoint::decode(&key, at as u64, previous, &journal[at..]) {
        at += len;
        previous = checkpoint.offset;
        found.push((checkpoint, at as u64));
    }
    Ok((header, found))
}

fn put_short(bytes: &mut Vec<u8>, part: &[u8]) -> Result<(), FormatError> {
    let len = u16::try_from(part.len()).map_err(|_| FormatError::TooLarge)?;
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(part);
    Ok(())
}

fn take_short<'a>(fields: &mut Fields<'a>, most: usize) -> Result<&'a [u8], FormatError> {
    let len = usize::from(fields.u16()?);
    if len > most { Err(FormatError::TooLarge) } else { fields.take(len) }
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
