//! Moving a request's body into an upload, within limits, keeping what arrived.

use super::{Chunk, Source, Uploads};
use crate::services::error::Error;
use crate::services::guard::slots::Holder;
use crate::services::quota::Reservation;
use crate::stores::blobs::Upload;

/// An upload, what is reserved for it, and whose the bytes are that come.
pub(super) type Target<'a> = (&'a mut Upload, &'a Reservation, Holder);

/// A request that is dropped leaves nothing of an upload in memory.
struct Receiving<'a> {
    upload: &'a mut Upload,
    /// It arrived whole and is published next.
    whole: bool,
}

impl<'a> Receiving<'a> {
    fn into(upload: &'a mut Upload) -> Self {
        Self { upload, whole: false }
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if !self.whole {
            self.upload.rest();
        }
    }
}

impl Uploads {
    /// Appends `body` to a session's upload; returns where it ends then. Nothing is taken from the disk
    /// for a length that is only declared: a client that breaks off would keep it. It is promised within the
    /// holder's share, for as long as the request lasts and makes progress.
    pub(super) async fn transfer(
        &self,
        (upload, room, holder): Target<'_>,
        chunk: Chunk,
        body: &mut impl Source,
    ) -> Result<u64, Error> {
        self.go_on(upload, chunk).await?;
        let start = upload.offset();
        let receiving = Receiving::into(upload);
        let streamed = self.stream((receiving.upload, room, holder), start, chunk, body).await;
        let settled = match receiving.upload.settle().await {
            Ok(offset) => Ok(offset),
            Err(error) => Err(self.shelves.failed(error).await),
        };
        streamed?;
        arrived(chunk, start, settled?)
    }

    /// The same for the body after which the upload is published: its end may still be in memory, so
    /// nothing is to be waited for between.
    pub(super) async fn transfer_last(
        &self,
        (upload, room, holder): Target<'_>,
        chunk: Chunk,
        body: &mut impl Source,
    ) -> Result<u64, Error> {
        self.go_on(upload, chunk).await?;
        self.receive_last((upload, room, holder), chunk, body).await
    }

    /// As [`transfer_last`](Self::transfer_last), into a new upload.
    pub(super) async fn receive_last(
        &self,
        (upload, room, holder): Target<'_>,
        chunk: Chunk,
        body: &mut impl Source,
    ) -> Result<u64, Error> {
        let start = upload.offset();
        let mut receiving = Receiving::into(upload);
        self.stream((receiving.upload, room, holder), start, chunk, body).await?;
        let offset = arrived(chunk, start, receiving.upload.offset())?;
        receiving.whole = true;
        Ok(offset)
    }

    /// Whatever a dropped or failed request left is settled first: the offset is true after it.
    async fn go_on(&self, upload: &mut Upload, chunk: Chunk) -> Result<(), Error> {
        let offset = match upload.resume().await {
            Ok(offset) => offset,
            Err(error) => return Err(self.shelves.failed(error).await),
        };
        match chunk.first {
            Some(first) if first != offset => Err(Error::WrongOffset { id: upload.id().to_owned(), offset }),
            _ => Ok(()),
        }
    }

    /// Takes a body to its end. Whatever ends it early, the bytes before that stay.
    async fn stream(
        &self,
        (upload, room, holder): Target<'_>,
        start: u64,
        chunk: Chunk,
        body: &mut impl Source,
    ) -> Result<(), Error> {
        let mut promise = match chunk.length {
            Some(length) => {
                self.within_limit(start.saturating_add(length))?;
                // The quota first: what it refuses must not have made others' stale sessions go.
                room.grow_to(start.saturating_add(length)).await?;
                Some(self.promised(holder, length).await?)
            }
            None => None,
        };
        let mut received = 0u64;
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            let length = bytes.len() as u64;
            received += length;
            if chunk.length.is_some_and(|length| received > length) {
                return Err(Error::LengthMismatch);
            }
            self.within_limit(start + received)?;
            match &mut promise {
                Some(promise) => self.with_room(length, || promise.written(length)).await?,
                None => {
                    self.room_for(length).await?;
                    room.stream_to(start + received).await?;
                }
            }
            if let Err(error) = upload.append(bytes).await {
                return Err(self.shelves.failed(error).await);
            }
        }
        Ok(())
    }

    pub(super) fn within_limit(&self, size: u64) -> Result<(), Error> {
        let limit = self.limits.layer;
        if size > limit { Err(Error::LayerTooLarge { limit }) } else { Ok(()) }
    }
}

/// Where a body ends that came whole.
fn arrived(chunk: Chunk, start: u64, offset: u64) -> Result<u64, Error> {
    match chunk.length {
        Some(length) if offset - start != length => Err(Error::LengthMismatch),
        _ => Ok(offset),
    }
}
