//! Bytes from one file to another, hashed on the way.

use std::io::{self, ErrorKind, Read, Write};

use pierhead_storage_format::Digest;
use pierhead_storage_format::backup::Part;

use crate::stores::blobs::Hasher;
use crate::stores::disk::DiskFile;

/// Bytes at a time.
const CHUNK: usize = 1 << 20;

/// What a blob's bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// Those of the digest.
    Sound,
    /// Others, or they could not be read to their end.
    Damaged,
}

/// Reads `size` bytes, and gives them to `write`, whose errors alone are errors. Where fewer can be read,
/// zeros stand in: a stream has announced its length by then.
pub(super) fn proved(
    mut from: impl Read,
    digest: &Digest,
    size: u64,
    write: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Bytes> {
    let mut hasher = Hasher::new(digest.algorithm());
    let mut chunk = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK).max(1))];
    let (mut left, mut readable) = (size, true);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(chunk.len());
        let part = &mut chunk[..wanted];
        if readable && let Err(error) = from.read_exact(part) {
            tracing::warn!(%digest, %error, "a blob cannot be read to its end");
            readable = false;
        }
        if !readable {
            part.fill(0);
        }
        hasher.update(part);
        write(part)?;
        left -= wanted as u64;
    }
    Ok(if readable && hasher.digest() == *digest { Bytes::Sound } else { Bytes::Damaged })
}

/// A file that is written from its beginning, hashed on the way.
pub(super) struct Out {
    file: Box<dyn DiskFile>,
    at: u64,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl Out {
    /// To an empty file.
    pub(super) fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, at: 0, hasher: blake3::Hasher::new(), buffer: Vec::with_capacity(CHUNK) }
    }

    /// Makes it durable; its length and hash.
    pub(super) fn finish(mut self) -> io::Result<Part> {
        self.flush()?;
        self.file.sync_data()?;
        Ok(Part { bytes: self.at, blake3: self.hasher.finalize().to_hex().to_string() })
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > CHUNK {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Length and hash of what can be read.
pub(super) fn part_of(mut from: impl Read) -> io::Result<Part> {
    let (mut hasher, mut bytes, mut chunk) = (blake3::Hasher::new(), 0, vec![0; CHUNK]);
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(Part { bytes, blake3: hasher.finalize().to_hex().to_string() }),
            Ok(read) => {
                hasher.update(&chunk[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
