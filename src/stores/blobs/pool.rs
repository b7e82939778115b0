//! Buffers that are used again: a fresh one costs a page fault per page, which is more than copying
//! into a warm one. A buffer returns by itself when its [`Block`] is dropped; few wait here, the rest
//! go back to the system. There are two sizes: 1 MiB, for reading, and the 2 MiB of a huge page, for
//! uploads. A huge page saves most of what a write past the page cache costs (one page is pinned and
//! one segment sent, not 512), and some of every pass over it. Where the system grants none the
//! buffer is of ordinary pages. What an upload of a few KiB gathers is in neither, but on the heap.
//! Scant ones, for reading when large ones are scarce, are made and given back each time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use memmap2::{Advice, MmapMut};

use super::lock;

/// Bytes in a block for reading.
pub(super) const BLOCK: usize = 1 << 20;
/// Bytes in a block of an upload.
pub(super) const LARGE: usize = 2 << 20;
/// What writes past the page cache ask of an address.
pub(super) const ALIGN: usize = 4096;
/// Up to this many bytes a block for reading has a buffer of just this size.
pub(super) const SCANT: usize = 128 << 10;
/// Up to this length a block of an upload is on the heap.
const SMALL: usize = 64 << 10;
/// Bytes of buffers of one size that wait.
const KEPT: usize = 16 << 20;
/// With this many bytes in use, nobody takes more than he must.
const PLENTY: usize = 48 << 20;

/// The waiting buffers.
pub(super) struct Pool {
    blocks: Mutex<Vec<Raw>>,
    large: Mutex<Vec<Raw>>,
    in_use: AtomicUsize,
}

impl Pool {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { blocks: Mutex::default(), large: Mutex::default(), in_use: AtomicUsize::new(0) })
    }

    /// Whether so little is in use that one may take another block for speed alone.
    pub(super) fn is_plenty(&self) -> bool {
        self.in_use.load(Ordering::Relaxed) < PLENTY
    }

    /// An empty block for [`BLOCK`] bytes.
    pub(super) fn block(self: &Arc<Self>) -> Block {
        self.take(BLOCK, self.raw(BLOCK))
    }

    /// An empty block for reading `room` bytes, at most [`BLOCK`].
    pub(super) fn block_of(self: &Arc<Self>, room: usize) -> Block {
        let size = if room > SCANT { BLOCK } else { SCANT };
        self.take(room.min(BLOCK), self.raw(size))
    }

    /// An empty block of an upload for `room` bytes, at most [`LARGE`]. It takes a buffer with its
    /// first bytes, and a larger one when it must.
    pub(super) fn large_of(self: &Arc<Self>, room: usize) -> Block {
        self.take(room.min(LARGE), Raw::none())
    }

    fn take(self: &Arc<Self>, room: usize, raw: Raw) -> Block {
        self.in_use.fetch_add(room, Ordering::Relaxed);
        Block { raw, len: 0, room, pool: Arc::clone(self) }
    }

    fn waiting(&self, size: usize) -> Option<&Mutex<Vec<Raw>>> {
        match size {
            BLOCK => Some(&self.blocks),
            LARGE => Some(&self.large),
            _ => None,
        }
    }

    fn raw(&self, size: usize) -> Raw {
        self.waiting(size).and_then(|waiting| lock(waiting).pop()).unwrap_or_else(|| Raw::new(size))
    }

    fn keep(&self, raw: Raw) {
        let Some(waiting) = self.waiting(raw.size) else { return };
        let mut waiting = lock(waiting);
        if waiting.len() < KEPT / raw.size {
            waiting.push(raw);
        }
    }
}

/// Memory of `size` bytes from `start`, aligned to [`ALIGN`] but for small ones.
struct Raw {
    memory: Memory,
    start: usize,
    size: usize,
}

enum Memory {
    Heap(Box<[u8]>),
    Map(MmapMut),
}

impl Raw {
    fn none() -> Self {
        Self { memory: Memory::Heap(Box::new([])), start: 0, size: 0 }
    }

    fn new(size: usize) -> Self {
        if size <= SMALL {
            return Self { memory: Memory::Heap(vec![0; size].into_boxed_slice()), start: 0, size };
        }
        if size == LARGE
            && let Ok(huge) = Self::huge()
        {
            return huge;
        }
        let memory = vec![0; size + ALIGN].into_boxed_slice();
        let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { memory: Memory::Heap(memory), start, size }
    }

    /// What is mapped around the huge page is never touched, and so is no memory.
    fn huge() -> std::io::Result<Self> {
        let map = MmapMut::map_anon(LARGE * 2)?;
        let start = map.as_ptr().align_offset(LARGE).min(LARGE);
        let _ = map.advise_range(Advice::HugePage, start, LARGE); // else it is of ordinary pages
        Ok(Self { memory: Memory::Map(map), start, size: LARGE })
    }

    fn bytes(&self) -> &[u8] {
        let memory: &[u8] = match &self.memory {
            Memory::Heap(memory) => memory,
            Memory::Map(map) => map,
        };
        &memory[self.start..self.start + self.size]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let memory: &mut [u8] = match &mut self.memory {
            Memory::Heap(memory) => memory,
            Memory::Map(map) => map,
        };
        &mut memory[self.start..self.start + self.size]
    }
}

/// Up to [`BLOCK`] or [`LARGE`] bytes.
pub(super) struct Block {
    raw: Raw,
    len: usize,
    room: usize,
    pool: Arc<Pool>,
}

impl Block {
    /// Takes from the front of `bytes` what fits; says how much that was.
    pub(super) fn take_from(&mut self, bytes: &mut Bytes) -> usize {
        let taken = bytes.len().min(self.room - self.len);
        self.reach(self.len + taken);
        self.raw.bytes_mut()[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        bytes.advance(taken);
        self.len += taken;
        taken
    }

    /// Sees to a buffer of `len` bytes that begins with those gathered.
    fn reach(&mut self, len: usize) {
        if len <= self.raw.size {
            return;
        }
        let mut raw = self.pool.raw(if len <= SMALL { SMALL } else { LARGE });
        raw.bytes_mut()[..self.len].copy_from_slice(&self.raw.bytes()[..self.len]);
        self.pool.keep(std::mem::replace(&mut self.raw, raw));
    }

    /// Makes the block `len` bytes long (at most its room) and gives them to be filled; they hold
    /// whatever was there.
    pub(super) fn space(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(self.room);
        self.reach(len);
        self.len = len;
        &mut self.raw.bytes_mut()[..self.len]
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.room
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.raw.bytes()[..self.len]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.in_use.fetch_sub(self.room, Ordering::Relaxed);
        self.pool.keep(std::mem::replace(&mut self.raw, Raw::none()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_an_upload_keeps_its_bytes_as_it_grows_and_is_aligned_when_whole() {
        let pool = Pool::new();
        let bytes = Bytes::from((0..LARGE + 5).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        for frame in [1, 4096, SMALL, SMALL + 1, 400 << 10, LARGE] {
            let mut left = bytes.clone();
            let mut block = pool.large_of(LARGE);
            while !block.is_full() {
                let mut frame = left.split_to(frame.min(left.len()));
                block.take_from(&mut frame);
            }
            assert_eq!(block.as_ref(), &bytes[..LARGE]);
            assert_eq!(block.as_ref().as_ptr().align_offset(ALIGN), 0);
        }
        assert_eq!(pool.in_use.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn buffers_are_used_again_and_few_wait() {
        let pool = Pool::new();
        let fill = |block: &mut Block| block.space(LARGE).as_ptr();
        let first = fill(&mut pool.large_of(LARGE));
        assert_eq!(fill(&mut pool.large_of(LARGE)), first);
        let mut many: Vec<_> = (0..2 * KEPT / LARGE).map(|_| pool.large_of(LARGE)).collect();
        for block in &mut many {
            fill(block);
        }
        assert_eq!(pool.is_plenty(), 2 * KEPT < PLENTY);
        drop(many);
        assert_eq!(lock(&pool.large).len(), KEPT / LARGE);
        assert_eq!(lock(&pool.blocks).len(), 0);
    }
}
