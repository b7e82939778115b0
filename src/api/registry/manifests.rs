//! `/v2/<name>/manifests/<tag or digest>` (end-3, end-7, end-9).
//!
//! `Accept` is not negotiated: a manifest is answered in the bytes and type it was pushed in, since
//! any other bytes would have another digest. Clients that cannot read the type say so.

use hyper::StatusCode;
use hyper::header::{self, HeaderName};

use super::errors::{Failure, Kind};
use super::reply::Reply;
use super::{Call, Registry, conditions, digest, incoming, path};
use crate::server::body::{self, Body};
use crate::services::images::{ManifestFacts, PutManifest};
use crate::services::names::{MediaType, Reference, Tag};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// Tags one request can set beside its path's; the specification asks for 10.
const MAX_TAGS: usize = 100;

/// Type, length and address.
pub async fn head(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    let facts = registry.images.manifest_facts(&call.permit, &reference(call.tail)?).await?;
    if conditions::is_known(call.headers, &facts.digest) {
        return Ok(conditions::not_modified(&facts.digest));
    }
    Ok(described(&facts))
}

/// The bytes as pushed.
pub async fn get(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    let manifest = registry.images.manifest(&call.permit, &reference(call.tail)?).await?;
    if conditions::is_known(call.headers, &manifest.facts.digest) {
        return Ok(conditions::not_modified(&manifest.facts.digest));
    }
    Ok(described(&manifest.facts).containing(body::full(manifest.bytes)))
}

/// Stores a manifest and tags it.
pub async fn put(registry: &Registry, call: Call<'_>, body: &mut Body) -> Result<Reply, Failure> {
    let reference = reference(call.tail)?;
    let tags = further_tags(&call)?;
    let media_type = media_type(&call)?;
    let bytes = incoming::whole(body, registry.settings.manifest_limit).await?;
    let put = PutManifest { reference, tags, media_type, bytes };
    let stored = registry.images.put_manifest(call.permit, put).await?;
    let mut reply = Reply::new(StatusCode::CREATED)
        .with(header::LOCATION, &call.origin.url(&path::manifest(call.name, stored.digest)))
        .digest(&stored.digest);
    if let Some(subject) = stored.subject {
        reply = reply.with(OCI_SUBJECT, &subject.to_string());
    }
    Ok(stored.tags.iter().fold(reply, |reply, tag| reply.with(OCI_TAG, tag.as_str())))
}

/// 202: the tag, or the manifest with all its tags, is gone.
pub async fn delete(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    match reference(call.tail)? {
        Reference::Tag(tag) => registry.images.delete_tag(call.permit, tag).await?,
        Reference::Digest(digest) => registry.images.delete_manifest(call.permit, digest).await?,
    }
    Ok(Reply::new(StatusCode::ACCEPTED))
}

/// No tag has a colon and every digest has one, so that a wrong digest is told as such.
fn reference(text: &str) -> Result<Reference, Failure> {
    if text.contains(':') {
        return digest(text).map(Reference::Digest);
    }
    tag(text).map(Reference::Tag)
}

fn tag(text: &str) -> Result<Tag, Failure> {
    text.parse().map_err(|_| Failure::new(Kind::TagInvalid))
}

fn further_tags(call: &Call<'_>) -> Result<Vec<Tag>, Failure> {
    let tags: Vec<Tag> = call.query.all("tag").map(tag).collect::<Result<_, _>>()?;
    if tags.len() > MAX_TAGS {
        return Err(Failure::about(Kind::TooManyTags, MAX_TAGS));
    }
    Ok(tags)
}

/// None at all is allowed: the document may say its own type.
fn media_type(call: &Call<'_>) -> Result<Option<MediaType>, Failure> {
    let Some(value) = call.headers.get(header::CONTENT_TYPE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed
        .map(Some)
        .ok_or_else(|| Failure::about(Kind::ManifestInvalid, "the Content-Type is not a media type"))
}

fn described(facts: &ManifestFacts) -> Reply {
    Reply::new(StatusCode::OK)
        .digest(&facts.digest)
        .with(header::ETAG, &conditions::etag(&facts.digest))
        .with(header::CONTENT_LENGTH, &facts.size.to_string())
        .with(header::CONTENT_TYPE, &facts.media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_that_is_none_says_what_it_should_have_been() {
        let long = "x".repeat(129);
        let cases = [
            ("sha256:baddigeststring", Kind::DigestInvalid),
            ("md5:d41d8cd98f00b204e9800998ecf8427e", Kind::DigestInvalid),
            (":", Kind::DigestInvalid),
            (".hidden", Kind::TagInvalid),
            ("", Kind::TagInvalid),
            (&long, Kind::TagInvalid),
        ];
        for (text, kind) in cases {
            assert_eq!(reference(text).err().map(|failure| failure.kind()), Some(kind), "{text}");
        }
    }
}
