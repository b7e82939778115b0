//! Reading blobs. Small ranges are one read; larger ones come in pieces of up to 1 MiB, each made
//! ready on a blocking thread while the one before is sent, so that neither a slow disk nor a bad
//! page is met on an async thread.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use pierhead_storage_format::{Digest, paths};
use tokio::task::{JoinHandle, spawn_blocking};

use super::error::{BlobError, io, worker_died};
use super::map::{self, Window};
use super::pool::{BLOCK, Pool};
use super::{Store, hash};

/// Up to this many bytes are read at once and never mapped.
const SMALL: u64 = 64 << 10;
/// Bytes of a piece; pieces end at multiples of it.
const PIECE: u64 = BLOCK as u64;

/// How the bytes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As maps, without copying: for a plain socket, whose writes fail where a touch would signal.
    /// Not for bytes this process looks at.
    Mapped,
    /// Read into buffers: for TLS, and for anything that looks at the bytes.
    Buffered,
}

/// A range of a blob, piece by piece.
pub struct BlobReader {
    ready: Option<Bytes>,
    source: Option<Source>,
    ahead: Option<JoinHandle<(Source, Result<Bytes, BlobError>)>>,
}

impl BlobReader {
    /// The next piece; `None` after the last one and after an error. May be dropped while waiting.
    pub async fn next(&mut self) -> Option<Result<Bytes, BlobError>> {
        let piece = match self.ready.take() {
            Some(piece) => Ok(piece),
            None => self.awaited().await?,
        };
        match (&piece, self.source.take()) {
            (Ok(_), Some(mut source)) if source.at < source.end => {
                self.ahead = Some(spawn_blocking(move || {
                    let piece = source.piece();
                    (source, piece)
                }));
            }
            _ => {}
        }
        Some(piece)
    }

    async fn awaited(&mut self) -> Option<Result<Bytes, BlobError>> {
        let joined = self.ahead.as_mut()?.await;
        self.ahead = None;
        match joined {
            Ok((source, piece)) => {
                self.source = Some(source);
                Some(piece)
            }
            Err(error) => Some(Err(worker_died(error))),
        }
    }
}

/// Opens a range and makes its first piece ready. Blocks.
pub(super) fn open(
    store: &Store,
    digest: &Digest,
    size: u64,
    range: Range<u64>,
    how: Reading,
) -> Result<BlobReader, BlobError> {
    if range.start > range.end || range.end > size {
        return Err(io("reading outside a blob")(ErrorKind::InvalidInput.into()));
    }
    let file = open_whole(store, digest, size)?;
    let how = if range.end - range.start <= SMALL { Reading::Buffered } else { how };
    let pool = Arc::clone(&store.pool);
    let mut source =
        Source { file, digest: *digest, how, pool, window: None, at: range.start, end: range.end };
    let ready = if range.is_empty() { None } else { Some(source.piece()?) };
    Ok(BlobReader { ready, source: Some(source), ahead: None })
}

/// The whole blob, verified. Blocks.
pub(super) fn whole(store: &Store, digest: &Digest, size: u64) -> Result<Bytes, BlobError> {
    let file = open_whole(store, digest, size)?;
    let len = usize::try_from(size).map_err(|_| io("reading a blob")(ErrorKind::OutOfMemory.into()))?;
    let mut bytes = vec![0; len];
    read_exact(&file, digest, &mut bytes, 0)?;
    if hash::of(digest.algorithm(), &bytes) != *digest {
        return Err(BlobError::Damaged { digest: *digest });
    }
    Ok(bytes.into())
}

fn open_whole(store: &Store, digest: &Digest, size: u64) -> Result<File, BlobError> {
    let file = store.disk.open_read(&paths::blob(digest)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => BlobError::NotFound,
        _ => io("opening a blob")(error),
    })?;
    let len = file.metadata().map_err(io("looking at a blob"))?.len();
    if len == size { Ok(file) } else { Err(BlobError::Damaged { digest: *digest }) }
}

/// A file that has become shorter than it was when opened is damaged.
fn read_exact(file: &File, digest: &Digest, bytes: &mut [u8], at: u64) -> Result<(), BlobError> {
    file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => BlobError::Damaged { digest: *digest },
        _ => io("reading a blob")(error),
    })
}

struct Source {
    file: File,
    digest: Digest,
    how: Reading,
    pool: Arc<Pool>,
    window: Option<Window>,
    at: u64,
    end: u64,
}

impl Source {
    /// Reads or populates the next piece; there is one. Blocks.
    fn piece(&mut self) -> Result<Bytes, BlobError> {
        let len = (PIECE - self.at % PIECE).min(self.end - self.at);
        let piece = match self.how {
            Reading::Mapped => self.mapped(len),
            Reading::Buffered => None,
        };
        let piece = match piece {
            Some(piece) => piece,
            None => self.buffered(len)?,
        };
        self.at += len;
        Ok(piece)
    }

    /// `None` where the map fails for any reason (an unreadable page, an old kernel, no address
    /// space): an ordinary read then gives the bytes, or says what is wrong.
    fn mapped(&mut self, len: u64) -> Option<Bytes> {
        let len = usize::try_from(len).ok()?;
        if let Some(slice) = self.window.as_ref().and_then(|window| window.slice(self.at, len)) {
            return slice.ok();
        }
        let upto = (self.at - self.at % map::WINDOW + map::WINDOW).min(self.end);
        let mapped = usize::try_from(upto - self.at).ok()?;
        self.window = Window::new(&self.file, self.at, mapped).ok();
        self.window.as_ref()?.slice(self.at, len)?.ok()
    }

    fn buffered(&self, len: u64) -> Result<Bytes, BlobError> {
        let len = usize::try_from(len).unwrap_or(BLOCK).min(BLOCK);
        if self.end - self.at <= SMALL {
            let mut bytes = vec![0; len];
            read_exact(&self.file, &self.digest, &mut bytes, self.at)?;
            return Ok(bytes.into());
        }
        let mut block = self.pool.block();
        read_exact(&self.file, &self.digest, block.space(len), self.at)?;
        Ok(Bytes::from_owner(block))
    }
}
