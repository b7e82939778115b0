//! The few exchanges of the registry protocol that workloads are made of. Each checks its answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, LINK};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::call::{Call, Reply};
use crate::client::Connection;
use crate::content::{self, Chunks, Content};
use crate::error::BenchError;
use crate::payload::Payload;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const OCTETS: &str = "application/octet-stream";

/// A blob as manifests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// `sha256:...`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

impl Blob {
    /// Names bytes at hand.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: content::digest(bytes), size: bytes.len() as u64 }
    }
}

/// The config of images of which nothing but a manifest counts.
pub const EMPTY_CONFIG: &[u8] =
    b"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";

/// Pushes a small blob with POST and one PUT; returns its digest.
pub async fn push_blob(
    connection: &mut Connection,
    repository: &str,
    bytes: Bytes,
) -> Result<String, BenchError> {
    let digest = content::digest(&bytes);
    let session = begin(connection, repository).await?;
    finish(connection, &session, &digest, Payload::Whole(bytes)).await?;
    Ok(digest)
}

/// Pushes a blob as docker does: POST, one PATCH of unannounced length, PUT; returns how long the PUT took.
pub async fn push_streamed(
    connection: &mut Connection,
    repository: &str,
    content: &Content,
    digest: &str,
) -> Result<Duration, BenchError> {
    let session = patch(connection, repository, Payload::Streamed(content.chunks())).await?;
    let begun = Instant::now();
    finish(connection, &session, digest, Payload::EMPTY).await?;
    Ok(begun.elapsed())
}

/// Pushes a small blob as docker does.
pub async fn push_small_streamed(
    connection: &mut Connection,
    repository: &str,
    bytes: Bytes,
    digest: &str,
) -> Result<(), BenchError> {
    let session = patch(connection, repository, Payload::Streamed(Chunks::one(bytes))).await?;
    finish(connection, &session, digest, Payload::EMPTY).await
}

/// Pushes a blob of any size with POST and one PUT that announces its length.
pub async fn push_announced(
    connection: &mut Connection,
    repository: &str,
    content: &Content,
    digest: &str,
) -> Result<(), BenchError> {
    let session = begin(connection, repository).await?;
    finish(connection, &session, digest, Payload::Announced(content.chunks())).await
}

/// Asks for a blob that must not be there yet, as docker does before it pushes one.
pub async fn ask_missing(
    connection: &mut Connection,
    repository: &str,
    digest: &str,
) -> Result<(), BenchError> {
    let call = Call::new(Method::HEAD, &blob_path(repository, digest))?;
    connection.ask(&call, Payload::EMPTY, StatusCode::NOT_FOUND).await.map(drop)
}

/// Takes a blob over from another repository.
pub async fn mount(
    connection: &mut Connection,
    repository: &str,
    from: &str,
    digest: &str,
) -> Result<(), BenchError> {
    let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
    let call = Call::new(Method::POST, &path)?;
    connection.ask(&call, Payload::EMPTY, StatusCode::CREATED).await.map(drop)
}

/// Pushes a manifest under a tag; returns its digest.
pub async fn push_manifest(
    connection: &mut Connection,
    repository: &str,
    tag: &str,
    manifest: &Bytes,
) -> Result<String, BenchError> {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let call = Call::new(Method::PUT, &path)?.with(CONTENT_TYPE, MANIFEST);
    connection.ask(&call, Payload::Whole(manifest.clone()), StatusCode::CREATED).await?;
    Ok(content::digest(manifest))
}

/// `GET` or `HEAD` of a manifest, as a client asks for it.
pub fn ask_manifest(method: Method, repository: &str, reference: &str) -> Result<Call, BenchError> {
    Ok(Call::new(method, &format!("/v2/{repository}/manifests/{reference}"))?.with(ACCEPT, MANIFEST))
}

/// The path of a blob.
pub fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// An image of the empty config and no layer; `note` makes it unlike others.
pub fn empty_manifest(note: &str) -> Bytes {
    manifest(&Blob::of(EMPTY_CONFIG), &[], note)
}

/// An image; `note` makes it unlike others.
pub fn manifest(config: &Blob, layers: &[Blob], note: &str) -> Bytes {
    let named =
        |kind: &str, blob: &Blob| json!({"mediaType": kind, "digest": blob.digest, "size": blob.size});
    let layers: Vec<_> = layers.iter().map(|layer| named(LAYER, layer)).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": named(CONFIG, config),
        "layers": layers,
        "annotations": {"bench.note": note},
    });
    Bytes::from(manifest.to_string())
}

/// The path of the next page, if the answer names one.
pub fn next_page(reply: &Reply) -> Option<String> {
    let (target, parameters) = reply.header(LINK)?.trim().strip_prefix('<')?.split_once('>')?;
    let next = parameters.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
    let uri: hyper::Uri = target.parse().ok().filter(|_| next)?;
    uri.path_and_query().map(|path| path.as_str().to_owned())
}

async fn begin(connection: &mut Connection, repository: &str) -> Result<String, BenchError> {
    let call = Call::new(Method::POST, &format!("/v2/{repository}/blobs/uploads/"))?;
    let reply = connection.ask(&call, Payload::EMPTY, StatusCode::ACCEPTED).await?;
    location(&call, &reply)
}

/// Begins an upload and sends all of it; returns where it is finished.
async fn patch(
    connection: &mut Connection,
    repository: &str,
    payload: Payload,
) -> Result<String, BenchError> {
    let session = begin(connection, repository).await?;
    let call = Call::new(Method::PATCH, &session)?.with(CONTENT_TYPE, OCTETS);
    let reply = connection.ask(&call, payload, StatusCode::ACCEPTED).await?;
    location(&call, &reply)
}

async fn finish(
    connection: &mut Connection,
    session: &str,
    digest: &str,
    payload: Payload,
) -> Result<(), BenchError> {
    let call = Call::new(Method::PUT, &with_digest(session, digest))?.with(CONTENT_TYPE, OCTETS);
    connection.ask(&call, payload, StatusCode::CREATED).await.map(drop)
}

fn location(call: &Call, reply: &Reply) -> Result<String, BenchError> {
    reply.location().ok_or_else(|| BenchError::content(call.what(), "the answer has no Location"))
}

fn with_digest(session: &str, digest: &str) -> String {
    let separator = if session.contains('?') { '&' } else { '?' };
    format!("{session}{separator}digest={digest}")
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderValue, LOCATION};

    use super::*;

    fn reply(name: hyper::header::HeaderName, value: &'static str) -> Reply {
        Reply { headers: HeaderMap::from_iter([(name, HeaderValue::from_static(value))]), body: Bytes::new() }
    }

    #[test]
    fn the_next_page_is_read_from_any_link_a_registry_writes() {
        let table = [
            ("relative", "</v2/_catalog?last=b&n=2>; rel=\"next\"", Some("/v2/_catalog?last=b&n=2")),
            ("absolute", "<http://h:1/v2/a/tags/list?n=2>; rel=\"next\"", Some("/v2/a/tags/list?n=2")),
            ("no quotes", "</v2/_catalog?n=1>;rel=next", Some("/v2/_catalog?n=1")),
            ("another relation", "</v2/_catalog?n=1>; rel=\"prev\"", None),
            ("not closed", "</v2/_catalog?n=1", None),
            ("empty", "", None),
        ];
        for (row, link, expected) in table {
            assert_eq!(next_page(&reply(LINK, link)).as_deref(), expected, "{row}");
        }
        assert_eq!(next_page(&reply(LOCATION, "/x")), None, "no link, no next page");
    }

    #[test]
    fn a_session_is_followed_whether_or_not_its_location_names_the_host() {
        let absolute = reply(LOCATION, "http://127.0.0.1:5000/v2/a/blobs/uploads/1?_state=x");
        assert_eq!(absolute.location().as_deref(), Some("/v2/a/blobs/uploads/1?_state=x"));
        assert_eq!(
            reply(LOCATION, "/v2/a/blobs/uploads/1").location().as_deref(),
            Some("/v2/a/blobs/uploads/1")
        );
        assert_eq!(with_digest("/u/1", "sha256:0"), "/u/1?digest=sha256:0");
        assert_eq!(with_digest("/u/1?s=2", "sha256:0"), "/u/1?s=2&digest=sha256:0");
    }

    #[test]
    fn a_manifest_names_its_blobs_and_differs_by_note() {
        let (config, layer) = (Blob::of(EMPTY_CONFIG), Blob { digest: "sha256:0".to_owned(), size: 7 });
        let bytes = manifest(&config, std::slice::from_ref(&layer), "a");
        let read: serde_json::Value = serde_json::from_slice(&bytes).expect("it was written as JSON");
        assert_eq!(read["layers"][0]["size"], 7);
        assert_eq!(read["config"]["digest"], content::digest(EMPTY_CONFIG));
        assert_ne!(bytes, manifest(&config, &[layer], "b"));
    }
}
