//! The outboard of a blob: BLAKE3 of each of its chunks, in a file beside it. It proves a blob at
//! memory speed and tells which part of a damaged one is. Layout in `FORMAT.md`.
//!
//! - O1: an outboard says of which blob it is, and carries a BLAKE3 check of all of itself.
//! - O2: it is advice. It is never made durable on purpose, and one that is missing, torn or wrong
//!   takes nothing from the blob: what the digest says, holds.
//!
//! Pure: nothing here opens a file. Who writes them: `src/stores/blobs`; who reads: `src/services/fsck`.

use std::ops::Range;

use crate::codec::FormatError;
use crate::digest::Digest;
use crate::journal::{Fields, short};

/// Bytes that one hash is of; the last may be of fewer.
pub const CHUNK: u64 = crate::upload::CHUNK;

const MAGIC: [u8; 8] = *b"PhOutbrd";
const VERSION: u32 = 1;
const CHECK: usize = 16;

/// What an outboard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outboard {
    /// The blob it is of.
    pub digest: Digest,
    /// Bytes of the blob; more than [`CHUNK`]: smaller ones have no outboard.
    pub len: u64,
    /// BLAKE3 of every chunk, in order.
    pub chunks: Vec<[u8; 32]>,
}

/// How many chunks a blob of `len` bytes has.
pub const fn chunks_of(len: u64) -> u64 {
    len.div_ceil(CHUNK)
}

/// Bytes of the outboard of a blob: what a reader needs to take at most.
pub fn encoded_len(digest: &Digest, len: u64) -> u64 {
    let fixed = MAGIC.len() + 4 + 1 + digest.raw().len() + 4 + 8 + CHECK;
    chunks_of(len).saturating_mul(32).saturating_add(fixed as u64)
}

impl Outboard {
    /// Of a blob whose chunks hash to `chunks`; `None` if that is not their number, or the blob is too
    /// small to have an outboard.
    pub fn new(digest: Digest, len: u64, chunks: Vec<[u8; 32]>) -> Option<Self> {
        let fits = len > CHUNK && chunks_of(len) == chunks.len() as u64;
        fits.then_some(Self { digest, len, chunks })
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        self.digest.write_key(&mut bytes);
        bytes.extend_from_slice(&(CHUNK as u32).to_le_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes.extend(self.chunks.iter().flatten());
        let check = short(blake3::Hasher::new().update(&bytes));
        bytes.extend_from_slice(&check);
        bytes
    }

    /// What `bytes`, all of a file, say.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields(bytes);
        if fields.array()? != MAGIC {
            return Err(FormatError::Damaged("not an outboard"));
        }
        fields.version(VERSION)?;
        let body = bytes.len().saturating_sub(CHECK);
        if bytes.get(body..) != Some(&short(blake3::Hasher::new().update(&bytes[..body]))[..]) {
            return Err(FormatError::Damaged("the outboard's checksum does not hold"));
        }
        let (digest, rest) = Digest::read_key(fields.0)?;
        let mut fields = Fields(rest);
        if u64::from(fields.u32()?) != CHUNK {
            return Err(FormatError::Damaged("the outboard is of chunks of another size"));
        }
        let len = fields.u64()?;
        let hashes = fields.take(fields.0.len().saturating_sub(CHECK))?;
        let (chunks, rest) = hashes.as_chunks();
        match Self::new(digest, len, chunks.to_vec()) {
            Some(outboard) if rest.is_empty() => Ok(outboard),
            _ => Err(FormatError::Damaged("the outboard has not one hash a chunk")),
        }
    }

    /// Where chunk `number` lies in the blob.
    pub fn place(&self, number: usize) -> Range<u64> {
        let start = CHUNK.saturating_mul(number as u64).min(self.len);
        start..start.saturating_add(CHUNK).min(self.len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Algorithm;

    #[test]
    fn a_blob_of_one_chunk_and_a_wrong_number_of_hashes_make_no_outboard() {
        let digest = Digest::new(Algorithm::Sha256, &[7; 32]).expect("length matches");
        let cases = [
            ("nothing", 0, 0, false),
            ("one chunk", CHUNK, 1, false),
            ("a byte more", CHUNK + 1, 2, true),
            ("two chunks", 2 * CHUNK, 2, true),
            ("a hash missing", 2 * CHUNK + 1, 2, false),
            ("a hash too many", 2 * CHUNK, 3, false),
            ("a length of nothing there is", u64::MAX, 3, false),
        ];
        for (name, len, chunks, fits) in cases {
            assert_eq!(Outboard::new(digest, len, vec![[1; 32]; chunks]).is_some(), fits, "{name}");
        }
        let outboard = Outboard::new(digest, CHUNK + 5, vec![[1; 32]; 2]).expect("fits");
        assert_eq!((outboard.place(0), outboard.place(1)), (0..CHUNK, CHUNK..CHUNK + 5));
        assert!(outboard.place(usize::MAX).is_empty());
    }

    proptest! {
        #[test]
        fn every_outboard_survives_and_every_damage_is_an_error(
            raw in any::<[u8; 64]>(), long in any::<bool>(), short_by in 0..CHUNK,
            chunks in prop::collection::vec(any::<[u8; 32]>(), 2..20), place in any::<prop::sample::Index>(),
        ) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = Digest::new(algorithm, &raw[..algorithm.raw_len()]).expect("length matches");
            let len = chunks.len() as u64 * CHUNK - short_by;
            let outboard = Outboard::new(digest, len, chunks).expect("fits");
            let mut bytes = outboard.encode();
            prop_assert_eq!(bytes.len() as u64, encoded_len(&digest, len));
            prop_assert_eq!(Outboard::decode(&bytes), Ok(outboard));
            prop_assert!(Outboard::decode(&bytes[..place.index(bytes.len())]).is_err());
            let bit = place.index(8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Outboard::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), version in 0u32..3) {
            let _ = Outboard::decode(&bytes);
            let head = [&MAGIC[..], &version.to_le_bytes()].concat();
            bytes.splice(..0, head);
            let check = short(blake3::Hasher::new().update(&bytes));
            bytes.extend(check);
            let _ = Outboard::decode(&bytes);
        }
    }
}
