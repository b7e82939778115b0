//! `/v2/<name>/referrers/<digest>`: manifests about a subject (end-12, "Listing Referrers").
//!
//! An answer is an image index. It ends after [`PAGE`] entries or [`BYTES`], and `Link` leads on:
//! annotations come from manifests, so that without the second limit a few hundred referrers
//! could make an answer of a gigabyte.

use hyper::{StatusCode, header};
use pierhead_storage_format::Digest;
use serde_json::{Value, json};

use super::errors::Failure;
use super::query::encoded;
use super::reply::Reply;
use super::{Call, Registry, digest};
use crate::services::images::Referrer;

/// Entries of a page.
const PAGE: usize = 1_000;
/// Bytes of a page's entries after which it ends: what clients take for a manifest.
const BYTES: usize = 4 << 20;
/// Entries asked for at a time, which is what may be in memory beyond `BYTES`.
const BATCH: usize = 20;

const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ARTIFACT_TYPE: &str = "artifactType";

/// Entries in the order of their digests.
pub async fn list(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    let subject = digest(call.tail)?;
    let filter = call.query.get(ARTIFACT_TYPE);
    let last = call.query.some("last").map(digest).transpose()?;
    let (entries, next) = page(registry, &call, &subject, filter, last).await?;
    let index = json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": entries});
    let mut reply = Reply::json(StatusCode::OK, &index).typed(IMAGE_INDEX);
    if filter.is_some() {
        reply = reply.with(super::OCI_FILTERS_APPLIED, ARTIFACT_TYPE);
    }
    if let Some(next) = next {
        let filter = filter.map(|f| format!("{ARTIFACT_TYPE}={}&", encoded(f))).unwrap_or_default();
        let link = format!("</v2/{}/referrers/{subject}?{filter}last={next}>; rel=\"next\"", call.name);
        reply = reply.with(header::LINK, &link);
    }
    Ok(reply)
}

/// The entries after `last`, and the last of them if more follow.
async fn page(
    registry: &Registry,
    call: &Call<'_>,
    subject: &Digest,
    filter: Option<&str>,
    mut last: Option<Digest>,
) -> Result<(Vec<Value>, Option<Digest>), Failure> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    loop {
        let batch = registry.images.referrers(&call.permit, subject, filter, last.as_ref(), BATCH).await?;
        for referrer in batch.items {
            last = Some(referrer.digest);
            let entry = descriptor(referrer);
            bytes += entry.to_string().len();
            entries.push(entry);
        }
        if !batch.more {
            return Ok((entries, None));
        }
        if entries.len() >= PAGE || bytes >= BYTES {
            return Ok((entries, last));
        }
    }
}

fn descriptor(referrer: Referrer) -> Value {
    let mut entry = json!({
        "mediaType": referrer.media_type,
        "digest": referrer.digest,
        "size": referrer.size,
    });
    if let Some(artifact_type) = referrer.artifact_type {
        entry[ARTIFACT_TYPE] = Value::String(artifact_type);
    }
    if let Some(annotations) = referrer.annotations {
        entry["annotations"] = Value::Object(annotations);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_leaves_out_what_the_manifest_does_not_say() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().expect("a digest");
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let bare = Referrer { digest, media_type, size: 7, artifact_type: None, annotations: None };
        let expected = json!({"mediaType": bare.media_type, "digest": digest.to_string(), "size": 7});
        assert_eq!(descriptor(bare), expected);
    }
}
