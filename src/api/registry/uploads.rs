//! `/v2/<name>/blobs/uploads/` and below: pushing blobs (end-4 to end-6, end-11, end-13, end-14).
//!
//! A session's location needs no state of its own: the session is on this host, and where it ends is
//! asked, not remembered. A chunk at the wrong place is refused with 416 and told where to go on.

use std::future::pending;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::header::{self, HeaderName};
use pierhead_storage_format::{Algorithm, Digest};

use super::errors::{Failure, Kind};
use super::incoming::{Incoming, declared};
use super::reply::Reply;
use super::{Call, Registry, digest, path, range, repository};
use crate::api::guarded::Passage;
use crate::server::body::Body;
use crate::services::access::{Action, Resource};
use crate::services::error::Error;
use crate::services::guard::Uploading;
use crate::services::guard::slots::{Paced, Slot};
use crate::services::images::Sources;
use crate::services::names::RepositoryName;
use crate::services::uploads::{Chunk, SessionView};

const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Mounts a blob, takes a whole one, or opens a session.
pub async fn start(registry: &Registry, call: Call<'_>, body: &mut Body) -> Result<Reply, Failure> {
    if let Some(wanted) = call.query.some("mount") {
        let wanted = digest(wanted)?;
        if mount(registry, &call, wanted).await? {
            return Ok(created(&call, &wanted));
        }
        return open(registry, &call, wanted.algorithm()).await;
    }
    if let Some(text) = call.query.some("digest") {
        let digest = digest(text)?;
        let chunk = Chunk { first: None, length: declared(call.headers), address: call.address };
        let (mut slot, _counted) = turn(registry, &call, body).await?;
        let body = Paced::new(Incoming(body), &mut slot);
        registry.uploads.put_whole(&call.permit, digest, chunk, body).await?;
        return Ok(created(&call, &digest));
    }
    let algorithm = match call.query.some("digest-algorithm") {
        Some(name) => name.parse().map_err(|error| Failure::about(Kind::DigestInvalid, error))?,
        None => Algorithm::Sha256,
    };
    open(registry, &call, algorithm).await
}

/// Where a session ends.
pub async fn status(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    let view = registry.uploads.status(&call.permit, session(&call)?).await?;
    Ok(told(&call, StatusCode::NO_CONTENT, &view))
}

/// Appends a chunk, or a stream.
pub async fn append(registry: &Registry, call: Call<'_>, body: &mut Body) -> Result<Reply, Failure> {
    let id = session(&call)?;
    let chunk = chunk(registry, &call).await?;
    let (mut slot, _counted) = turn(registry, &call, body).await?;
    let body = Paced::new(Incoming(body), &mut slot);
    let outcome = registry.uploads.append(&call.permit, id, chunk, body).await;
    match outcome {
        Ok(view) => Ok(told(&call, StatusCode::ACCEPTED, &view)),
        Err(error) => Err(refused(&call, error)),
    }
}

/// Appends what the request brings and makes the session a blob.
pub async fn finish(registry: &Registry, call: Call<'_>, body: &mut Body) -> Result<Reply, Failure> {
    let id = session(&call)?;
    let text = call.query.some("digest").ok_or_else(|| Failure::new(Kind::DigestMissing))?;
    let digest = digest(text)?;
    let chunk = chunk(registry, &call).await?;
    let (mut slot, _counted) = turn(registry, &call, body).await?;
    let body = Paced::new(Incoming(body), &mut slot);
    let outcome = registry.uploads.finish(&call.permit, id, chunk, body, digest).await;
    match outcome {
        Ok(_) => Ok(created(&call, &digest)),
        Err(error) => Err(refused(&call, error)),
    }
}

/// Ends a session.
pub async fn cancel(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    registry.uploads.cancel(&call.permit, session(&call)?).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT).with(DOCKER_UPLOAD_UUID, call.tail))
}

/// The slot that a request with a body needs before a byte of it is read: a client that waits for
/// `100 Continue` is not told to send meanwhile. It counts as an upload of its address once it has its turn.
async fn turn(
    registry: &Registry,
    call: &Call<'_>,
    body: &mut Body,
) -> Result<(Option<Slot>, Option<Uploading>), Failure> {
    if body.is_end_stream() {
        return Ok((None, None));
    }
    let left = async {
        match call.departure {
            Some(departure) => departure.awaited().await,
            None => pending().await,
        }
    };
    let slot = registry.uploads.slot(&call.permit, call.address, left).await?;
    Ok((Some(slot), Passage::uploading(call.passage)))
}

async fn open(registry: &Registry, call: &Call<'_>, algorithm: Algorithm) -> Result<Reply, Failure> {
    let view = registry.uploads.start(&call.permit, algorithm).await?;
    Ok(told(call, StatusCode::ACCEPTED, &view))
}

/// Whether the blob is in the repository now. A source that does not exist, may not be pulled from
/// or has no valid name is a source without the blob: the answer tells nothing of it.
async fn mount(registry: &Registry, call: &Call<'_>, wanted: Digest) -> Result<bool, Failure> {
    let (access, caller) = (registry.access.clone(), call.caller.clone());
    let may_pull = move |name: &RepositoryName| {
        access.admit(&caller, Action::Pull, Resource::Repository(name.clone())).ok()
    };
    let sources = match call.query.some("from").map(str::parse::<RepositoryName>) {
        None => Sources::Any(Arc::new(may_pull)),
        Some(from) => match from.ok().as_ref().and_then(may_pull) {
            Some(permit) => Sources::From(permit),
            None => return Ok(false),
        },
    };
    let target = Resource::Repository(repository(call.name)?);
    let permit = registry.access.admit(&call.caller, Action::Push, target)?;
    Ok(registry.images.mount(permit, wanted, sources).await?)
}

/// The session a path names. Ids are 32 lower-case hex digits; nothing else is one.
fn session<'a>(call: &Call<'a>) -> Result<&'a str, Failure> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let is_id = call.tail.len() == 32 && call.tail.bytes().all(hex);
    if is_id { Ok(call.tail) } else { Err(Failure::new(Kind::UploadUnknown)) }
}

/// What the request says of the bytes it brings. A `Content-Range` that is none, or contradicts the
/// `Content-Length`, is refused before a byte is read.
async fn chunk(registry: &Registry, call: &Call<'_>) -> Result<Chunk, Failure> {
    let (length, address) = (declared(call.headers), call.address);
    let Some(header) = call.headers.get(header::CONTENT_RANGE) else {
        return Ok(Chunk { first: None, length, address });
    };
    let Some(range) = header.to_str().ok().and_then(|text| range::chunk(text).ok()) else {
        let view = registry.uploads.status(&call.permit, call.tail).await?;
        return Err(misplaced(call, Failure::new(Kind::ChunkInvalid), &view));
    };
    if length.is_some_and(|length| length != range.length) {
        return Err(Failure::new(Kind::LengthMismatch));
    }
    Ok(Chunk { first: Some(range.first), length: Some(range.length), address })
}

fn refused(call: &Call<'_>, error: Error) -> Failure {
    match &error {
        Error::WrongOffset { id, offset } => {
            let view = SessionView { id: id.clone(), offset: *offset };
            misplaced(call, error.into(), &view)
        }
        _ => error.into(),
    }
}

/// 416 tells where to go on, as 202 does.
fn misplaced(call: &Call<'_>, failure: Failure, view: &SessionView) -> Failure {
    failure
        .with(header::LOCATION, call.origin.url(&path::upload(call.name, &view.id)))
        .with(header::RANGE, received(view.offset))
        .with(DOCKER_UPLOAD_UUID, &*view.id)
}

fn told(call: &Call<'_>, status: StatusCode, view: &SessionView) -> Reply {
    Reply::new(status)
        .with(header::LOCATION, &call.origin.url(&path::upload(call.name, &view.id)))
        .with(header::RANGE, &received(view.offset))
        .with(DOCKER_UPLOAD_UUID, &view.id)
}

fn created(call: &Call<'_>, digest: &Digest) -> Reply {
    Reply::new(StatusCode::CREATED)
        .with(header::LOCATION, &call.origin.url(&path::blob(call.name, digest)))
        .digest(digest)
}

/// `Range: 0-<last byte>`. Nothing received is `0-0`, like one byte: the protocol has no other way
/// to say it.
fn received(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_received_range_ends_at_the_last_byte() {
        for (offset, expected) in [(0, "0-0"), (1, "0-0"), (2, "0-1"), (10_000_000_000, "0-9999999999")] {
            assert_eq!(received(offset), expected);
        }
    }
}
