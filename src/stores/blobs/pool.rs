//! Buffers of 1 MiB, aligned to 4 KiB (what unbuffered writes will ask for) and used again: a fresh
//! one costs a page fault per page, which is more than copying into a warm one. A buffer returns by
//! itself when its [`Block`] is dropped; at most [`KEPT`] wait here, the rest go back to the system.

use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};

use super::lock;

/// Bytes in a block.
pub(super) const BLOCK: usize = 1 << 20;
const ALIGN: usize = 4096;
const KEPT: usize = 16;

/// The waiting buffers.
pub(super) struct Pool(Mutex<Vec<Box<[u8]>>>);

impl Pool {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Vec::new())))
    }

    /// An empty block.
    pub(super) fn block(self: &Arc<Self>) -> Block {
        let waiting = lock(&self.0).pop();
        let raw = waiting.unwrap_or_else(|| vec![0; BLOCK + ALIGN].into_boxed_slice());
        let start = raw.as_ptr().align_offset(ALIGN).min(ALIGN);
        Block { raw, start, len: 0, pool: Arc::clone(self) }
    }
}

/// Up to [`BLOCK`] bytes.
pub(super) struct Block {
    raw: Box<[u8]>,
    start: usize,
    len: usize,
    pool: Arc<Pool>,
}

impl Block {
    /// Takes from the front of `bytes` what fits; says how much that was.
    pub(super) fn take_from(&mut self, bytes: &mut Bytes) -> usize {
        let taken = bytes.len().min(BLOCK - self.len);
        let at = self.start + self.len;
        self.raw[at..at + taken].copy_from_slice(&bytes[..taken]);
        bytes.advance(taken);
        self.len += taken;
        taken
    }

    /// Makes the block `len` bytes long (at most [`BLOCK`]) and gives them to be filled; they hold
    /// whatever was there.
    pub(super) fn space(&mut self, len: usize) -> &mut [u8] {
        self.len = len.min(BLOCK);
        &mut self.raw[self.start..self.start + self.len]
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == BLOCK
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.raw[self.start..self.start + self.len]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut waiting = lock(&self.pool.0);
        if waiting.len() < KEPT {
            waiting.push(std::mem::take(&mut self.raw));
        }
    }
}
