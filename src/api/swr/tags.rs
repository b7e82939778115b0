//! `…/repos/{repository}/tags`: versions of an image, in the two spellings of this API: lists of version 2 say `Tag`, all
//! else says `tag`. What is about a version (`accessories`) and which tags name what a signature is about (`references`).
//!
//! A version was made when its tag was last pushed: nothing is kept of pushes before.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::errors::{Failure, Kind};
use super::query::{Direction, Paging};
use super::reply::{Reply, time};
use super::{Call, Swr};
use crate::services::images::{About, Accessory, OrderVersions, Version, WantedVersions};
use crate::services::names::{RepositoryName, Tag};

/// Parameters that may stand outside of `filter`.
const PLAIN: &[&str] = &["limit", "offset", "order_column", "order_type", "tag"];
/// What versions can be ordered by.
pub const COLUMNS: &[(&str, OrderVersions)] = &[
    ("updated_at", OrderVersions::PushedAt),
    ("updated_time", OrderVersions::PushedAt),
    ("tag", OrderVersions::Tag),
];
/// Accessories of a page, if nothing is said and at most.
const ACCESSORIES: (usize, usize) = (10, 100);
/// Tags that refer to an image, of a page.
const REFERENCES: usize = 10;

/// A version, but for its tag.
#[derive(Serialize)]
struct Fields {
    id: u64,
    repo_id: u64,
    /// Hex of the config's digest; an index has none.
    image_id: String,
    manifest: String,
    digest: String,
    schema: u64,
    path: String,
    internal_path: String,
    size: u64,
    is_trusted: bool,
    created: String,
    updated: String,
    domain_id: String,
    /// 1 for an index.
    tag_type: u8,
}

/// As a list of version 2 has it.
#[derive(Serialize)]
struct ItemView {
    #[serde(rename = "Tag")]
    tag: String,
    #[serde(flatten)]
    fields: Fields,
    deleted: Option<String>,
    scanned: bool,
}

/// As everything else has it.
#[derive(Serialize)]
pub struct TagView {
    tag: String,
    #[serde(flatten)]
    fields: Fields,
}

impl Fields {
    fn new(version: Version, name: &RepositoryName, host: &str) -> Self {
        let path = format!("{host}/{name}:{}", version.tag);
        Self {
            id: version.id,
            repo_id: version.repository,
            image_id: version.config.map(|config| config.hex()).unwrap_or_default(),
            manifest: version.manifest,
            digest: version.digest.to_string(),
            schema: version.schema,
            path: path.clone(),
            internal_path: path,
            size: version.size,
            is_trusted: false,
            created: time(version.pushed_at),
            updated: time(version.pushed_at),
            domain_id: version.owner.map(|owner| owner.to_string()).unwrap_or_default(),
            tag_type: version.is_index.into(),
        }
    }
}

impl TagView {
    /// As clients see it.
    pub fn new(version: Version, name: &RepositoryName, host: &str) -> Self {
        Self { tag: version.tag.to_string(), fields: Fields::new(version, name, host) }
    }
}

#[derive(Serialize)]
struct AccessoryView {
    id: u64,
    domain_id: String,
    namespace_name: String,
    repo_name: String,
    sig_tag: String,
    sig_digest: String,
    target_digest: String,
    size: u64,
    #[serde(rename = "type")]
    kind: String,
    created_at: String,
    updated_at: String,
}

impl AccessoryView {
    fn new(accessory: Accessory, name: &RepositoryName) -> Self {
        Self {
            id: accessory.id,
            domain_id: accessory.owner.map(|owner| owner.to_string()).unwrap_or_default(),
            namespace_name: name.organisation().to_owned(),
            repo_name: super::rest(name).to_owned(),
            sig_tag: accessory.tag.unwrap_or_default(),
            sig_digest: accessory.digest.to_string(),
            target_digest: accessory.target.to_string(),
            size: accessory.size,
            kind: kind(&accessory.kind),
            created_at: time(accessory.pushed_at),
            updated_at: time(accessory.pushed_at),
        }
    }
}

/// The words clients know for what is signed in the two common ways; else what the manifest says.
fn kind(about: &About) -> String {
    let word = match about {
        About::Signature => "signature.cosign",
        About::Attestation => "attestation.cosign",
        About::Materials => "sbom.cosign",
        About::Other(Some(artifact)) if artifact.starts_with("application/vnd.dev.cosign") => {
            "signature.cosign"
        }
        About::Other(Some(artifact)) if artifact == "application/vnd.cncf.notary.signature" => {
            "signature.notation"
        }
        About::Other(artifact) => artifact.as_deref().unwrap_or_default(),
    };
    word.to_owned()
}

#[derive(Deserialize)]
struct NewBody {
    source_tag: String,
    destination_tag: String,
    #[serde(default, rename = "override")]
    overwrite: bool,
}

/// A version's name.
pub fn tag(text: &str) -> Result<Tag, Failure> {
    text.parse().map_err(|_| Failure::about(Kind::TagName, format!("{text:?}")))
}

/// The versions of an image, with their manifests.
pub async fn list(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let asked = call.asked(PLAIN)?;
    let Paging { offset, limit } = asked.paging()?;
    let order = asked.order(COLUMNS)?.unwrap_or((OrderVersions::Tag, Direction::Ascending));
    let wanted = WantedVersions {
        tag: asked.get("tag").map(str::to_owned),
        order: (order.0, order.1 == Direction::Descending),
        after: None,
        offset,
        limit,
        manifests: true,
    };
    let page = swr.0.images.versions(&call.permit, &wanted).await?;
    let name = call.repository()?;
    let view = |version: Version| ItemView {
        tag: version.tag.to_string(),
        fields: Fields::new(version, name, call.host()),
        deleted: None,
        scanned: false,
    };
    let items: Vec<ItemView> = page.items.into_iter().map(view).collect();
    Ok(Reply::page(&items, offset, page.total))
}

/// One version.
pub async fn show(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let version = swr.0.images.show_version(&call.permit, &tag(call.param("tag"))?).await?;
    Ok(Reply::ok(&TagView::new(version, call.repository()?, call.host())))
}

/// Gives a version another name.
pub async fn create(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let NewBody { source_tag, destination_tag, overwrite } = call.body()?;
    let (source, destination) = (tag(&source_tag)?, tag(&destination_tag)?);
    swr.0.images.create_tag(&call.permit, source, destination, overwrite).await?;
    Ok(Reply::created())
}

/// Removes a version's name.
pub async fn delete(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let tag = tag(call.param("tag"))?;
    swr.0.images.delete_tag(call.permit, tag).await?;
    Ok(Reply::nothing())
}

/// What is about a version: signatures and the like.
pub async fn accessories(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let (usual, most) = ACCESSORIES;
    let Paging { offset, limit } = call.asked(&["limit", "offset"])?.paging_of(usual, most)?;
    let tag = tag(call.param("tag"))?;
    let (found, total) = swr.0.images.accessories(&call.permit, &tag, offset, limit).await?;
    let name = call.repository()?;
    let views: Vec<AccessoryView> =
        found.into_iter().map(|accessory| AccessoryView::new(accessory, name)).collect();
    Ok(Reply::ok(&json!({"total": total, "accessories": views})))
}

/// The tags that name what a signature is about.
pub async fn references(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let asked = call.asked(&["limit", "marker"])?;
    let limit = asked.paging_of(REFERENCES, REFERENCES)?.limit;
    let after = asked.get("marker").map(tag).transpose()?;
    let (own, after) = (tag(call.param("tag"))?, after.as_ref().map(Tag::as_str));
    let page = swr.0.images.tags_referred_to(&call.permit, &own, after, limit)?;
    let mut view = json!({"has_more": page.more, "tags": page.items});
    if let Some(last) = page.items.last().filter(|_| page.more) {
        view["next_marker"] = json!(last);
    }
    Ok(Reply::ok(&view))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accessories_have_the_words_that_clients_know() {
        let other = |artifact: &str| About::Other(Some(artifact.to_owned()));
        let cases = [
            (About::Signature, "signature.cosign"),
            (other("application/vnd.dev.cosign.artifact.sig.v1+json"), "signature.cosign"),
            (other("application/vnd.cncf.notary.signature"), "signature.notation"),
            (other("application/spdx+json"), "application/spdx+json"),
            (About::Other(None), ""),
        ];
        for (about, expected) in cases {
            assert_eq!(kind(&about), expected, "{about:?}");
        }
    }
}
