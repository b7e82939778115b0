//! Reading a request's body, whole and bounded, after the caller was let in.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use super::errors::{Failure, Kind};
use super::route::{Row, Takes};
use crate::server::BodyStalled;
use crate::server::body::{Body, BoxError};

/// Bytes of a body at most.
pub const LIMIT: usize = 1 << 20;

/// The body, which is empty unless the row takes one.
pub async fn read(row: &Row, body: &mut Body) -> Result<Bytes, Failure> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let limit = if row.takes == Takes::Json { LIMIT } else { 0 };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers say nothing here.
        let Ok(bytes) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        if whole.len() + bytes.len() > limit {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.freeze())
}

fn too_large(limit: usize) -> Failure {
    if limit == 0 { Failure::new(Kind::BodyUnexpected) } else { Failure::about(Kind::BodyTooLarge, limit) }
}

fn broken(error: &BoxError) -> Failure {
    Failure::new(if error.is::<BodyStalled>() { Kind::BodyTimedOut } else { Kind::BodyCut })
}
