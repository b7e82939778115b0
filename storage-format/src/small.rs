//! The log of small blobs: blobs that were just published, whose own files may not be durable yet. A
//! segment is a header and records; a record is a digest and the bytes it addresses. All numbers are
//! little-endian. Layout in `FORMAT.md`.
//!
//! - L1: headers and the fronts of records carry BLAKE3 checks; a record's is keyed by its segment's
//!   header and bound to its place, so that bytes copied from elsewhere, or a blob made to look like
//!   a record, never pass for one.
//! - L2: what proves the bytes of a record is its digest. Whoever reads a record compares the two
//!   before he uses it: nothing here hashes with SHA-2.
//!
//! Pure: nothing here opens a file. Who writes and reads them: `src/stores/blobs/small`.

use std::ops::Range;

use crate::codec::FormatError;
use crate::digest::{Algorithm, Digest};
use crate::journal::{Fields, short};

/// The most bytes of a blob that has a record.
pub const MAX_BLOB: usize = 64 << 10;
/// Bytes of an encoded [`Header`].
pub const HEADER: usize = 8 + 4 + 8 + 16 + CHECK;
/// No segment is longer, in bytes.
pub const MAX_SEGMENT: usize = 64 << 20;

const HEADER_MAGIC: [u8; 8] = *b"PhSmBlob";
const VERSION: u32 = 1;
const RECORD_MAGIC: [u8; 4] = *b"PhSb";
const CHECK: usize = 16;
const KEY_CONTEXT: &str = "pierhead small blobs 1: record checks";

/// The front of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The segment's number, which names its file.
    pub number: u64,
    /// Random: another segment of that number is told apart.
    pub id: [u8; 16],
}

/// Keys the checks of one segment's records.
#[derive(Clone, Copy, Debug)]
pub struct Key([u8; 32]);

/// A record whose front holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What its bytes should hash to.
    pub digest: Digest,
    /// Where in the segment they are.
    pub bytes: Range<usize>,
}

impl Header {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&HEADER_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.number.to_le_bytes());
        bytes[20..36].copy_from_slice(&self.id);
        let check = short(blake3::Hasher::new().update(&bytes[..36]));
        bytes[36..].copy_from_slice(&check);
        bytes
    }

    /// The header at the front of `bytes`; what follows is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields(bytes);
        if fields.array()? != HEADER_MAGIC {
            return Err(FormatError::Damaged("not a log of small blobs"));
        }
        fields.version(VERSION)?;
        let header = Self { number: fields.u64()?, id: fields.array()? };
        if fields.array()? != short(blake3::Hasher::new().update(&bytes[..HEADER - CHECK])) {
            return Err(FormatError::Damaged("the header's checksum does not hold"));
        }
        Ok(header)
    }

    /// What the checks of its records are keyed by.
    pub fn key(&self) -> Key {
        Key(blake3::derive_key(KEY_CONTEXT, &self.encode()))
    }
}

impl Key {
    fn check(&self, at: u64, front: &[u8]) -> [u8; CHECK] {
        short(blake3::Hasher::new_keyed(&self.0).update(&at.to_le_bytes()).update(front))
    }

    /// Adds the record of `bytes`, whose digest is `digest`, to `log`, whose first byte lies at `from`
    /// of the segment. An error for more than [`MAX_BLOB`] bytes.
    pub fn encode(
        &self,
        log: &mut Vec<u8>,
        from: u64,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<(), FormatError> {
        let len = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_BLOB);
        let len = len.ok_or(FormatError::TooLarge)?;
        let start = log.len();
        log.extend_from_slice(&RECORD_MAGIC);
        log.extend_from_slice(&len.to_le_bytes());
        log.push(digest.algorithm().code());
        log.extend_from_slice(digest.raw());
        let check = self.check(from + start as u64, &log[start..]);
        log.extend_from_slice(&check);
        log.extend_from_slice(bytes);
        Ok(())
    }

    /// The record at `at` of `segment`.
    fn decode(&self, segment: &[u8], at: usize) -> Result<Record, FormatError> {
        let rest = segment.get(at..).unwrap_or_default();
        let mut fields = Fields(rest);
        if fields.array()? != RECORD_MAGIC {
            return Err(FormatError::Damaged("no record starts here"));
        }
        let len = fields.u32()? as usize;
        let algorithm = Algorithm::from_code(fields.u8()?).ok_or(FormatError::Record)?;
        let digest = Digest::new(algorithm, fields.take(algorithm.raw_len())?).ok_or(FormatError::Record)?;
        let front = rest.len() - fields.0.len();
        if fields.array()? != self.check(at as u64, &rest[..front]) {
            return Err(FormatError::Damaged("the record's checksum does not hold"));
        }
        if len > MAX_BLOB {
            return Err(FormatError::TooLarge);
        }
        fields.take(len)?;
        let start = at + front + CHECK;
        Ok(Record { digest, bytes: start..start + len })
    }
}

/// Every record of `segment` whose front holds, in order, also those after bytes that are none: a
/// group that was being written, or damage. An error if the header does not hold.
pub fn read(segment: &[u8]) -> Result<(Header, Vec<Record>), FormatError> {
    let header = Header::decode(segment)?;
    let (key, mut at, mut found) = (header.key(), HEADER, Vec::new());
    while let Some(start) = next_magic(segment, at) {
        match key.decode(segment, start) {
            Ok(record) => {
                at = record.bytes.end;
                found.push(record);
            }
            Err(_) => at = start + 1,
        }
    }
    Ok((header, found))
}

/// Where the next thing that may be a record starts, from `at` on.
fn next_magic(segment: &[u8], at: usize) -> Option<usize> {
    let rest = segment.get(at..)?;
    let first = |from: usize| rest[from..].iter().position(|byte| *byte == RECORD_MAGIC[0]).map(|p| from + p);
    let mut from = first(0)?;
    while !rest[from..].starts_with(&RECORD_MAGIC) {
        from = first(from + 1)?;
    }
    Some(at + from)
}

#[cfg(test)]
#[path = "small_tests.rs"]
mod tests;
