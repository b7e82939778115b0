//! The few exchanges of the registry protocol that workloads are made of. Each checks its answer.

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, LINK};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::client::{Call, Connection, Reply};
use crate::content::{self, Content, Payload};
use crate::error::BenchError;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const OCTETS: &str = "application/octet-stream";

/// The config every image of this program has.
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

/// Pushes a blob as docker does: POST, one PATCH of unannounced length, PUT.
pub async fn push_streamed(
    connection: &mut Connection,
    repository: &str,
    content: &Content,
    digest: &str,
) -> Result<(), BenchError> {
    let session = begin(connection, repository).await?;
    let patch = Call::new(Method::PATCH, &session)?.with(CONTENT_TYPE, OCTETS);
    let reply = connection.ask(&patch, Payload::Streamed(content.chunks()), StatusCode::ACCEPTED).await?;
    let session = location(&patch, &reply)?;
    finish(connection, &session, digest, Payload::EMPTY).await
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

/// `GET` of a manifest, as a client asks for it.
pub fn get_manifest(repository: &str, reference: &str) -> Result<Call, BenchError> {
    Ok(Call::get(&format!("/v2/{repository}/manifests/{reference}"))?.with(ACCEPT, MANIFEST))
}

/// The path of a blob.
pub fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// An image of the empty config and at most one layer; `note` makes it unlike others.
pub fn manifest(layer: Option<(&str, u64)>, note: &str) -> Bytes {
    let config = content::digest(EMPTY_CONFIG);
    let layers: Vec<_> = layer
        .map(|(digest, size)| json!({"mediaType": LAYER, "digest": digest, "size": size}))
        .into_iter()
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config, "size": EMPTY_CONFIG.len()},
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
    fn a_manifest_names_its_layer_and_differs_by_note() {
        let bytes = manifest(Some(("sha256:0", 7)), "a");
        let read: serde_json::Value = serde_json::from_slice(&bytes).expect("it was written as JSON");
        assert_eq!(read["layers"][0]["size"], 7);
        assert_ne!(bytes, manifest(Some(("sha256:0", 7)), "b"));
    }
}
