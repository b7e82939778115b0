//! Reading request bodies: streamed to a service, whole up to a limit, or away.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{self, HeaderMap};

use super::errors::{Failure, Kind};
use crate::server::BodyStalled;
use crate::server::body::{Body, BoxError};
use crate::services::error::{Error as ServiceError, SourceError};
use crate::services::uploads::Source;

/// Bytes of an unread body that are read away so that the connection can be used again, and so that
/// a client still sending sees the answer rather than a reset.
const DRAINED: u64 = 256 << 10;
/// Time that may take.
const DRAINING: Duration = Duration::from_secs(1);

/// A body as the services read it.
pub struct Incoming<'a>(pub &'a mut Body);

impl Source for Incoming<'_> {
    async fn next(&mut self) -> Option<Result<Bytes, SourceError>> {
        loop {
            match self.0.frame().await? {
                // Trailers say nothing here.
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return Some(Ok(bytes)),
                    Err(_) => {}
                },
                Err(error) => return Some(Err(source_error(&error))),
            }
        }
    }
}

fn source_error(error: &BoxError) -> SourceError {
    if error.is::<BodyStalled>() { SourceError::TimedOut } else { SourceError::Disconnected }
}

/// The `Content-Length`; `None` for a body whose length is not told beforehand.
pub fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body, which must not be larger than `limit`. Never holds more than a frame beyond it.
pub async fn whole(body: &mut Body, limit: usize) -> Result<Bytes, Failure> {
    let too_large = || Failure::about(Kind::ManifestTooLarge, limit);
    let mut source = Incoming(body);
    let mut all = BytesMut::new();
    while let Some(bytes) = source.next().await {
        let bytes = bytes.map_err(ServiceError::from)?;
        if all.len() + bytes.len() > limit {
            return Err(too_large());
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}

/// Reads away what is left of a body, within limits; whether it is at its end. A client that waits
/// for `100 Continue` is not asked to send what nobody wants.
pub async fn drain(headers: &HeaderMap, mut body: Body) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if headers.contains_key(header::EXPECT) || body.size_hint().lower() > DRAINED {
        return false;
    }
    let reading = async {
        let mut source = Incoming(&mut body);
        let mut read = 0;
        while let Some(Ok(bytes)) = source.next().await {
            read += bytes.len() as u64;
            if read > DRAINED {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(DRAINING, reading).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io;

    use hyper::header::HeaderValue;

    use super::super::stream;
    use super::*;
    use crate::server::body::{empty, full};

    fn endless() -> Body {
        stream::unfold(u64::MAX, (), |()| async {
            Some((Ok::<_, io::Error>(Bytes::from_static(&[0; 1024])), ()))
        })
    }

    fn failing(error: impl Into<BoxError> + Clone + Send + 'static) -> Body {
        stream::unfold(10, false, move |sent| {
            let error = error.clone();
            async move {
                Some((
                    if sent { Err(error.into()) } else { Ok::<_, BoxError>(Bytes::from_static(b"abc")) },
                    true,
                ))
            }
        })
    }

    #[tokio::test]
    async fn a_whole_body_is_taken_up_to_the_limit_and_not_beyond() {
        assert_eq!(whole(&mut full("1234"), 4).await.expect("fits"), "1234");
        let refused = whole(&mut full("12345"), 4).await.expect_err("too large");
        assert_eq!(refused.kind(), Kind::ManifestTooLarge);
        assert!(whole(&mut endless(), 1 << 20).await.is_err());
    }

    #[tokio::test]
    async fn a_broken_body_says_whether_it_was_cut_or_too_slow() {
        let cases = [
            (failing(BodyStalled(Duration::from_secs(1))), SourceError::TimedOut),
            (failing("reset"), SourceError::Disconnected),
        ];
        for (mut body, expected) in cases {
            let mut source = Incoming(&mut body);
            assert_eq!(source.next().await, Some(Ok(Bytes::from_static(b"abc"))));
            assert_eq!(source.next().await, Some(Err(expected)));
        }
    }

    #[tokio::test]
    async fn an_unread_body_is_read_away_within_bounds() {
        let none = HeaderMap::new();
        let mut waits = HeaderMap::new();
        waits.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        assert!(drain(&none, empty()).await);
        assert!(drain(&none, full(vec![0; 1000])).await);
        assert!(!drain(&none, endless()).await, "no end in sight");
        assert!(!drain(&none, full(vec![0; 1 << 20])).await, "known to be too long");
        assert!(!drain(&waits, full("x")).await, "the client has not been told to send");
    }
}
