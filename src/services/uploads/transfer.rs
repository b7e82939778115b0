//! Moving a request's body into an upload, within limits, keeping what arrived.

use super::{Chunk, Source, Uploads};
use crate::services::error::Error;
use crate::stores::blobs::Upload;

/// A request that is dropped leaves nothing of an upload in memory.
struct Receiving<'a>(&'a mut Upload);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.0.rest();
    }
}

impl Uploads {
    /// Appends `body` to a session's upload; returns where it ends then. Nothing is taken from the disk
    /// for a length that is only declared: a client that breaks off would keep it.
    pub(super) async fn transfer(
        &self,
        upload: &mut Upload,
        chunk: Chunk,
        body: &mut impl Source,
    ) -> Result<u64, Error> {
        // Whatever a dropped or failed request left is settled first: the offset is true after it.
        let offset = match upload.resume().await {
            Ok(offset) => offset,
            Err(error) => return Err(self.shelves.failed(error).await),
        };
        if chunk.first.is_some_and(|first| first != offset) {
            return Err(Error::WrongOffset { id: upload.id().to_owned(), offset });
        }
        self.receive(upload, chunk, body).await
    }

    /// Takes a body to its end. Whatever ends it early, the bytes before that stay.
    pub(super) async fn receive(
        &self,
        upload: &mut Upload,
        chunk: Chunk,
        body: &mut impl Source,
    ) -> Result<u64, Error> {
        let start = upload.offset();
        if let Some(length) = chunk.length {
            self.within_limit(start.saturating_add(length))?;
            self.shelves.reserve.admits(length).map_err(|_| Error::NoSpace)?;
        }
        let upload = Receiving(upload);
        let streamed = self.stream(upload.0, start, chunk, body).await;
        let settled = match upload.0.settle().await {
            Ok(offset) => Ok(offset),
            Err(error) => Err(self.shelves.failed(error).await),
        };
        streamed?;
        let offset = settled?;
        match chunk.length {
            Some(length) if offset - start != length => Err(Error::LengthMismatch),
            _ => Ok(offset),
        }
    }

    async fn stream(
        &self,
        upload: &mut Upload,
        start: u64,
        chunk: Chunk,
        body: &mut impl Source,
    ) -> Result<(), Error> {
        let mut received = 0u64;
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            received += bytes.len() as u64;
            if chunk.length.is_some_and(|length| received > length) {
                return Err(Error::LengthMismatch);
            }
            self.within_limit(start + received)?;
            if chunk.length.is_none() {
                self.shelves.reserve.admits(bytes.len() as u64).map_err(|_| Error::NoSpace)?;
            }
            if let Err(error) = upload.append(bytes).await {
                return Err(self.shelves.failed(error).await);
            }
        }
        Ok(())
    }

    fn within_limit(&self, size: u64) -> Result<(), Error> {
        let limit = self.limits.layer;
        if size > limit { Err(Error::LayerTooLarge { limit }) } else { Ok(()) }
    }
}
