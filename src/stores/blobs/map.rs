//! Maps of published blobs: one of the two places with `unsafe`.
//!
//! A touch of a mapped page that cannot be read is a signal that would end the process. So every
//! piece is populated (MADV_POPULATE_READ, which returns an error instead) before it is handed on,
//! and is meant for a plain socket write, where the kernel touches it and answers EFAULT should the
//! page have gone again; whatever reads in user space (TLS, hashing) gets its bytes in buffers.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use memmap2::{Advice, Mmap, MmapOptions};

const PAGE: usize = 4096;
/// Pages that are looked at to tell whether a range is cached.
const SAMPLES: usize = 64;

#[expect(unsafe_code, reason = "a call of the C library")]
unsafe extern "C" {
    fn mincore(address: *mut c_void, length: usize, residency: *mut u8) -> c_int;
}

/// The bytes `range` of a published blob, populated. What unmapping costs (it happens on the thread
/// that drops the last of the bytes) goes with the length. Blocks.
pub(super) fn populated(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let map = map(file, range)?;
    map.advise(Advice::PopulateRead)?;
    Ok(Bytes::from_owner(map))
}

/// Whether most of a published blob's `range`, which is not empty, is in the page cache, from a
/// sample of its pages. Reads nothing.
pub(super) fn is_cached(file: &File, range: Range<u64>) -> io::Result<bool> {
    let map = map(file, range)?;
    let pages = map.len().div_ceil(PAGE);
    let samples = pages.min(SAMPLES);
    let mut cached = 0;
    for sample in 0..samples {
        let page = sample * pages / samples;
        cached += usize::from(is_resident(&map, page * PAGE)?);
    }
    Ok(cached * 2 > samples)
}

#[expect(unsafe_code, reason = "mapping a file")]
fn map(file: &File, range: Range<u64>) -> io::Result<Mmap> {
    let len = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // SAFETY: a map is sound while nobody changes the file under it. `file` is a published blob:
    // it is never written or truncated (C2), only unlinked or renamed, which leaves the mapped
    // inode as it is; and the data directory belongs to this process alone (its LOCK). The map
    // is read-only.
    unsafe { MmapOptions::new().offset(range.start).len(len).map(file) }
}

#[expect(unsafe_code, reason = "memmap2 has no mincore")]
fn is_resident(map: &Mmap, at: usize) -> io::Result<bool> {
    let address = map.as_ptr().map_addr(|start| (start + at.min(map.len())) & !(PAGE - 1));
    let mut residency = 0;
    // SAFETY: mincore reads and writes nothing of the address space but `residency`, one byte for
    // the one page asked about; an address that is not mapped is an error.
    match unsafe { mincore(address.cast_mut().cast(), 1, &raw mut residency) } {
        0 => Ok(residency & 1 == 1),
        _ => Err(io::Error::last_os_error()),
    }
}
