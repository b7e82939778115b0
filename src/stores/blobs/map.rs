//! Maps of published blobs: the one place with `unsafe`.
//!
//! A touch of a mapped page that cannot be read is a signal that would end the process. So every
//! slice is populated (MADV_POPULATE_READ, which returns an error instead) before it is handed on,
//! and is meant for a plain socket write, where the kernel touches it and answers EFAULT should the
//! page have gone again; whatever reads in user space (TLS, hashing) uses `Reading::Buffered`.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Advice, Mmap, MmapOptions};

/// Bytes mapped at a time: bounds what an unmap costs, which happens on the thread that drops the
/// last slice.
pub(super) const WINDOW: u64 = 16 << 20;

/// A mapped part of a published blob.
pub(super) struct Window {
    map: Arc<Mmap>,
    bytes: Bytes,
    base: u64,
}

struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Window {
    /// Maps `len` bytes of `file` from `base`; the file has them.
    #[expect(unsafe_code, reason = "mapping a file")]
    pub(super) fn new(file: &File, base: u64, len: usize) -> io::Result<Self> {
        // SAFETY: a map is sound while nobody changes the file under it. `file` is a published blob:
        // it is never written or truncated (C2), only unlinked or renamed, which leaves the mapped
        // inode as it is; and the data directory belongs to this process alone (its LOCK). The map
        // is read-only.
        let map = unsafe { MmapOptions::new().offset(base).len(len).map(file)? };
        let map = Arc::new(map);
        let bytes = Bytes::from_owner(Owner(Arc::clone(&map)));
        Ok(Self { map, bytes, base })
    }

    /// The bytes from `at`, populated; `None` if they are not all in this window. Blocks.
    pub(super) fn slice(&self, at: u64, len: usize) -> Option<io::Result<Bytes>> {
        let from = usize::try_from(at.checked_sub(self.base)?).ok()?;
        let to = from.checked_add(len).filter(|to| *to <= self.bytes.len())?;
        let populated = self.map.advise_range(Advice::PopulateRead, from, len);
        Some(populated.map(|()| self.bytes.slice(from..to)))
    }
}
