//! Buffers of 1 MiB, aligned to 4 KiB (what writes past the page cache ask for) and used again: a
//! fresh one costs a page fault per page, which is more than copying into a warm one. A buffer returns
//! by itself when its [`Block`] is dropped; at most [`KEPT`] wait here, the rest go back to the system.
//! Small ones, which are for when large ones are scarce, are made and given back each time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};

use super::lock;

/// Bytes in a block.
pub(super) const BLOCK: usize = 1 << 20;
pub(super) const ALIGN: usize = 4096;
const KEPT: usize = 16;
/// Up to this many bytes a block has a buffer of just its size.
pub(super) const SCANT: usize = 128 << 10;
/// With this many in use, nobody takes more than he must.
const PLENTY: usize = 64;

/// The waiting buffers.
pub(super) struct Pool {
    waiting: Mutex<Vec<Box<[u8]>>>,
    in_use: AtomicUsize,
}

impl Pool {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), in_use: AtomicUsize::new(0) })
    }

    /// Whether few enough are in use that one may take another for speed alone.
    pub(super) fn is_plenty(&self) -> bool {
        self.in_use.load(Ordering::Relaxed) < PLENTY
    }

    /// An empty block for [`BLOCK`] bytes.
    pub(super) fn block(self: &Arc<Self>) -> Block {
        self.block_of(BLOCK)
    }

    /// An empty block for `room` bytes, at most [`BLOCK`].
    pub(super) fn block_of(self: &Arc<Self>, room: usize) -> Block {
        let raw = if room > SCANT {
            self.in_use.fetch_add(1, Ordering::Relaxed);
            let waiting = lock(&self.waiting).pop();
            waiting.unwrap_or_else(|| vec![0; BLOCK + ALIGN].into_boxed_slice())
        } else {
            vec![0; room + ALIGN].into_boxed_slice()
        };
        let start = raw.as_ptr().align_offset(ALIGN).min(ALIGN);
        Block { raw, start, len: 0, room: room.min(BLOCK), pool: Arc::clone(self) }
    }
}

/// Up to [`BLOCK`] bytes.
pub(super) struct Block {
    raw: Box<[u8]>,
    start: usize,
    len: usize,
    room: usize,
    pool: Arc<Pool>,
}

impl Block {
    /// Takes from the front of `bytes` what fits; says how much that was.
    pub(super) fn take_from(&mut self, bytes: &mut Bytes) -> usize {
        let taken = bytes.len().min(self.room - self.len);
        let at = self.start + self.len;
        self.raw[at..at + taken].copy_from_slice(&bytes[..taken]);
        bytes.advance(taken);
        self.len += taken;
        taken
    }

    /// Makes the block `len` bytes long (at most its room) and gives them to be filled; they hold
    /// whatever was there.
    pub(super) fn space(&mut self, len: usize) -> &mut [u8] {
        self.len = len.min(self.room);
        &mut self.raw[self.start..self.start + self.len]
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.room
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.raw[self.start..self.start + self.len]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.room <= SCANT {
            return;
        }
        self.pool.in_use.fetch_sub(1, Ordering::Relaxed);
        let mut waiting = lock(&self.pool.waiting);
        if waiting.len() < KEPT {
            waiting.push(std::mem::take(&mut self.raw));
        }
    }
}
