//! Bodies to push: bytes that do not compress, made before the clock runs and sent without copying.
//! A body is a unique head followed by slices of one shared pool, so that 10 GiB of it need 16 MiB of memory.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};

const POOL: usize = 16 << 20;
const SLICE: u64 = 1 << 20;
const HEAD: u64 = 4096;

/// The random bytes all bodies of a run are cut from.
#[derive(Clone)]
pub struct Pool(Bytes);

impl Pool {
    /// Fills a pool; the same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        Self(random(seed, POOL))
    }

    /// A body of `length` bytes; bodies of different seeds differ from the first bytes on.
    pub fn content(&self, seed: u64, length: u64) -> Content {
        let head = random(seed, length.min(HEAD) as usize);
        Content { head, pool: self.0.clone(), length }
    }
}

/// One body, not yet sent.
#[derive(Clone)]
pub struct Content {
    head: Bytes,
    pool: Bytes,
    length: u64,
}

impl Content {
    /// Its digest. Reads all of it: seconds for gigabytes.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        self.chunks().for_each(|chunk| hash.update(&chunk));
        name(hash)
    }

    /// Its bytes in pieces that share the pool's memory.
    pub fn chunks(&self) -> Chunks {
        let rest = self.length - self.head.len() as u64;
        Chunks { head: Some(self.head.clone()), pool: self.pool.clone(), at: 0, rest }
    }
}

/// The pieces of a [`Content`], in order.
pub struct Chunks {
    head: Option<Bytes>,
    pool: Bytes,
    at: u64,
    rest: u64,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take().filter(|head| !head.is_empty()) {
            return Some(head);
        }
        let length = self.rest.min(SLICE);
        if length == 0 {
            return None;
        }
        let from = (self.at % self.pool.len() as u64) as usize;
        self.at += length;
        self.rest -= length;
        // POOL is a whole number of slices and only the last slice is shorter: none passes the pool's end.
        Some(self.pool.slice(from..from + length as usize))
    }
}

/// A request's body.
pub enum Payload {
    /// Sent with its length.
    Whole(Bytes),
    /// Sent in HTTP chunks, as docker does: the length is not announced.
    Streamed(Chunks),
}

impl Payload {
    /// No body.
    pub const EMPTY: Self = Self::Whole(Bytes::new());
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Self::Streamed(chunks) => chunks.next(),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(_) => SizeHint::default(),
        }
    }
}

/// The digest of bytes at hand.
pub fn digest(bytes: &[u8]) -> String {
    name(Sha256::new_with_prefix(bytes))
}

/// The digest a finished hash stands for, as the protocol writes it.
pub fn name(hash: Sha256) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in hash.finalize() {
        for half in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(half), 16));
        }
    }
    text
}

/// Bytes without a pattern (SplitMix64); the same seed gives the same bytes.
pub fn random(seed: u64, length: usize) -> Bytes {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

/// A seed no other run has had.
pub fn fresh_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_written_as_the_protocol_writes_it() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), empty);
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), abc);
    }

    #[test]
    fn a_body_has_its_length_and_its_digest() {
        let pool = Pool::new(1);
        for length in [0, 1, HEAD - 1, HEAD, HEAD + 1, SLICE + HEAD, (17 << 20) + 5] {
            let content = pool.content(2, length);
            let bytes: Vec<u8> = content.chunks().flatten().collect();
            assert_eq!(bytes.len() as u64, length);
            assert_eq!(content.digest(), digest(&bytes), "{length}");
        }
    }

    #[test]
    fn bodies_differ_by_seed_alone() {
        let pool = Pool::new(1);
        assert_eq!(pool.content(2, 5000).digest(), pool.content(2, 5000).digest());
        assert_ne!(pool.content(2, 5000).digest(), pool.content(3, 5000).digest());
    }
}
