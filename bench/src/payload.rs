//! Bodies of requests, as hyper sends them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::content::Chunks;

/// A request's body.
pub enum Payload {
    /// Sent with its length.
    Whole(Bytes),
    /// Sent in pieces, but with its length.
    Announced(Chunks),
    /// Sent in HTTP chunks, as docker does: the length is not announced.
    Streamed(Chunks),
}

impl Payload {
    /// No body.
    pub const EMPTY: Self = Self::Whole(Bytes::new());
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Self::Announced(chunks) | Self::Streamed(chunks) => chunks.next(),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Announced(chunks) => SizeHint::with_exact(chunks.left()),
            Self::Streamed(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::content::{Filling, Pool};

    #[tokio::test]
    async fn an_announced_body_has_the_length_it_says() {
        let pool = Pool::new(1, Filling::Random);
        for length in [0, 1, 5000, (17 << 20) + 5] {
            let chunks = pool.content(2, length).chunks();
            let payload = Payload::Announced(chunks);
            assert_eq!(payload.size_hint().exact(), Some(length));
            let Ok(sent) = payload.collect().await;
            assert_eq!(sent.to_bytes().len() as u64, length);
        }
    }

    #[test]
    fn a_streamed_body_does_not_say_its_length() {
        let chunks = Pool::new(1, Filling::Random).content(2, 9).chunks();
        assert_eq!(Payload::Streamed(chunks).size_hint().exact(), None);
    }
}
