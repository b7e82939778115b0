//! What is pushed: bytes that do not compress or text that does, made before the clock runs and sent without copying.
//! A body is a unique head followed by slices of one shared pool, so that 10 GiB of it need 16 MiB of memory.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const POOL: usize = 16 << 20;
const SLICE: u64 = 1 << 20;
const HEAD: u64 = 4096;

/// What bodies are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Filling {
    /// Bytes that do not compress
    #[default]
    Random,
    /// Words, which compress about as an image's layers do
    Text,
}

impl Filling {
    /// Bytes of this kind; the same seed gives the same bytes.
    pub fn bytes(self, seed: u64, length: usize) -> Bytes {
        match self {
            Self::Random => random(seed, length),
            Self::Text => text(seed, length),
        }
    }
}

/// The bytes all bodies of a run are cut from.
#[derive(Clone)]
pub struct Pool {
    filling: Filling,
    bytes: Bytes,
}

impl Pool {
    /// Fills a pool; the same seed gives the same bytes.
    pub fn new(seed: u64, filling: Filling) -> Self {
        Self { filling, bytes: filling.bytes(seed, POOL) }
    }

    /// A body of `length` bytes; bodies of different seeds differ from the first bytes on.
    pub fn content(&self, seed: u64, length: u64) -> Content {
        let head = self.small(seed, length.min(HEAD) as usize);
        Content { head, pool: self.bytes.clone(), length }
    }

    /// A small body in one piece, made anew: different seeds share nothing.
    pub fn small(&self, seed: u64, length: usize) -> Bytes {
        self.filling.bytes(seed, length)
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

impl Chunks {
    /// Bytes at hand as one piece.
    pub fn one(bytes: Bytes) -> Self {
        Self { head: Some(bytes), pool: Bytes::new(), at: 0, rest: 0 }
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.rest + self.head.as_ref().map_or(0, |head| head.len() as u64)
    }
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

/// Bytes without a pattern; the same seed gives the same bytes.
pub fn random(seed: u64, length: usize) -> Bytes {
    let mut mixer = Mixer(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&mixer.next().to_le_bytes());
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

/// Lines of made-up words and numbers; the same seed gives the same text.
fn text(seed: u64, length: usize) -> Bytes {
    const PARTS: [&[u8]; 16] = [
        b"lib", b"usr", b"share", b"doc", b"pack", b"age", b"ver", b"sion", b"con", b"fig", b"re", b"ad",
        b"port", b"in", b"stall", b"er",
    ];
    let mut mixer = Mixer(seed);
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        let mixed = mixer.next();
        for part in 0..=mixed % 3 {
            bytes.extend_from_slice(PARTS[(mixed >> (8 * part + 8)) as usize % PARTS.len()]);
        }
        match mixed >> 60 {
            0 => bytes.push(b'\n'),
            1 => bytes.extend_from_slice(format!("-{:04x} ", mixed >> 32 & 0xffff).as_bytes()),
            _ => bytes.push(b' '),
        }
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

/// SplitMix64.
struct Mixer(u64);

impl Mixer {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
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

    const FILLINGS: [Filling; 2] = [Filling::Random, Filling::Text];

    #[test]
    fn a_body_has_its_length_and_its_digest() {
        for filling in FILLINGS {
            let pool = Pool::new(1, filling);
            for length in [0, 1, HEAD - 1, HEAD, HEAD + 1, SLICE + HEAD, (17 << 20) + 5] {
                let content = pool.content(2, length);
                let bytes: Vec<u8> = content.chunks().flatten().collect();
                assert_eq!(bytes.len() as u64, length, "{filling:?}");
                assert_eq!(content.digest(), digest(&bytes), "{filling:?}, {length}");
                assert_eq!(content.chunks().left(), length);
            }
        }
    }

    #[test]
    fn bodies_differ_by_seed_alone() {
        for filling in FILLINGS {
            let pool = Pool::new(1, filling);
            assert_eq!(pool.content(2, 5000).digest(), pool.content(2, 5000).digest());
            assert_ne!(pool.content(2, 5000).digest(), pool.content(3, 5000).digest());
            assert_ne!(pool.small(2, 64), pool.small(3, 64));
        }
    }

    #[test]
    fn text_compresses_and_random_bytes_do_not() {
        let packed = |filling: Filling| {
            let bytes = filling.bytes(7, 1 << 20);
            bytes.len() as f64 / zstd::bulk::compress(&bytes, 3).expect("bytes at hand").len() as f64
        };
        let (random, text) = (packed(Filling::Random), packed(Filling::Text));
        assert!(random < 1.01 && (2.0..6.0).contains(&text), "random {random:.2}, text {text:.2}");
    }
}
