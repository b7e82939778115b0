//! `/v2/<name>/blobs/<digest>` (end-2, end-10).
//!
//! A blob never changes, so that clients may keep it for ever; but only the client itself may, since
//! who may read it can change (`Cache-Control: private`).

use std::ops::Range;

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use pierhead_storage_format::Digest;

use super::errors::{Failure, Kind};
use super::range::{self, Wanted};
use super::reply::Reply;
use super::{Call, Registry, conditions, digest, stream};
use crate::server::body::Body;
use crate::services::images::Reading;

/// Length and address.
pub async fn head(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    let digest = digest(call.tail)?;
    let size = registry.images.blob_facts(&call.permit, &digest).await?;
    if conditions::is_known(call.headers, &digest) {
        return Ok(lasting(conditions::not_modified(&digest)));
    }
    Ok(described(StatusCode::OK, &digest, size))
}

/// The bytes, all or a range.
pub async fn get(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    let digest = digest(call.tail)?;
    let size = registry.images.blob_facts(&call.permit, &digest).await?;
    if conditions::is_known(call.headers, &digest) {
        return Ok(lasting(conditions::not_modified(&digest)));
    }
    match wanted(call.headers, &digest, size) {
        Wanted::Whole => {
            let body = bytes(registry, &call, digest, 0..size).await?;
            Ok(described(StatusCode::OK, &digest, size).containing(body))
        }
        Wanted::Part(range) => {
            let place = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let reply = described(StatusCode::PARTIAL_CONTENT, &digest, range.end - range.start);
            Ok(reply
                .with(header::CONTENT_RANGE, &place)
                .containing(bytes(registry, &call, digest, range).await?))
        }
        Wanted::Unsatisfiable => {
            Err(Failure::new(Kind::RangeUnsatisfiable).with(header::CONTENT_RANGE, format!("bytes */{size}")))
        }
    }
}

/// 202: the blob is not in the repository any more.
pub async fn delete(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    let digest = digest(call.tail)?;
    registry.images.delete_blob(call.permit, digest).await?;
    Ok(Reply::new(StatusCode::ACCEPTED).digest(&digest))
}

fn wanted(headers: &HeaderMap, digest: &Digest, size: u64) -> Wanted {
    let header = headers.get(header::RANGE).filter(|_| conditions::allows_range(headers, digest));
    header.and_then(|value| value.to_str().ok()).map_or(Wanted::Whole, |value| range::wanted(value, size))
}

/// A body that reads the range while it is sent. TLS has to copy bytes anyway, so that it gets them
/// from buffers; a plain socket takes them from the map.
async fn bytes(
    registry: &Registry,
    call: &Call<'_>,
    digest: Digest,
    range: Range<u64>,
) -> Result<Body, Failure> {
    let reading = if call.is_tls { Reading::Buffered } else { Reading::Mapped };
    let length = range.end - range.start;
    let reader = registry.images.read_blob(&call.permit, &digest, range, reading).await?;
    let state = (reader, call.request_id.to_owned());
    Ok(stream::unfold(length, state, move |(mut reader, request_id)| async move {
        let bytes = reader.next().await?;
        if let Err(error) = &bytes {
            let error: &(dyn std::error::Error + 'static) = error;
            tracing::error!(request_id, %digest, error, "a download broke off");
        }
        Some((bytes, (reader, request_id)))
    }))
}

fn described(status: StatusCode, digest: &Digest, length: u64) -> Reply {
    lasting(Reply::new(status))
        .digest(digest)
        .with(header::ETAG, &conditions::etag(digest))
        .with(header::CONTENT_LENGTH, &length.to_string())
        .with(header::CONTENT_TYPE, "application/octet-stream")
        .with(header::ACCEPT_RANGES, "bytes")
}

fn lasting(reply: Reply) -> Reply {
    reply.with(header::CACHE_CONTROL, "private, max-age=31536000, immutable")
}
