//! Deleting repositories, tags and manifests, what that frees, and deleted manifests: `/api/v1/trash` and what is below
//! a repository.

use pierhead_storage_format::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::errors::{Failure, Kind};
use super::query::{Limit, parsed};
use super::reply::{Page, Removed, Reply, time};
use super::text::{Repository, Time};
use super::{Admin, Call};
use crate::services::access::{Action, Resource};
use crate::services::error::Error;
use crate::services::images::{Deleted, Frees};
use crate::services::names::{Reference, RepositoryName};

/// What a delete would free: bytes that nothing else keeps.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct FreesView {
    /// Tags that would go.
    pub tags: u64,
    /// Manifests that would go.
    pub manifests: u64,
    /// Blobs that nothing else keeps, manifests included.
    pub blobs: u64,
    /// Their bytes: free when the manifests cannot be restored any more and the collector has run.
    pub bytes: u64,
    /// Why the delete would be refused now: a tag is immutable.
    pub refused: Option<String>,
}

impl From<Frees> for FreesView {
    fn from(Frees { tags, manifests, blobs, bytes, refused }: Frees) -> Self {
        Self { tags, manifests, blobs, bytes, refused: refused.map(|tag| tag.to_string()) }
    }
}

/// Of what.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FreesQuery {
    /// A tag or a digest; the whole repository without.
    reference: Option<String>,
}

/// A deleted manifest that can be restored.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeletedView {
    /// Ascending as they were deleted.
    pub number: u64,
    /// Where it was.
    pub repository: String,
    /// Its address.
    pub digest: String,
    /// As pushed.
    pub media_type: String,
    /// Bytes of the manifest itself.
    pub size: u64,
    /// RFC 3339.
    #[schemars(with = "Time")]
    pub deleted_at: String,
    /// Who did.
    pub deleted_by: String,
    /// Tags that named it.
    pub tags: Vec<String>,
    /// How many more there were, which are not remembered.
    pub more_tags: u64,
}

impl From<Deleted> for DeletedView {
    fn from(Deleted { number, record }: Deleted) -> Self {
        Self {
            number,
            repository: record.repository,
            digest: record.digest.to_string(),
            media_type: record.media_type,
            size: record.size,
            deleted_at: time(record.deleted_at),
            deleted_by: record.deleted_by,
            tags: record.tags,
            more_tags: record.more_tags,
        }
    }
}

/// Which deleted manifests are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrashQuery {
    /// Items at most, 1 to 1,000.
    limit: Limit,
    /// The `next` of the page before.
    #[serde(deserialize_with = "parsed")]
    #[schemars(with = "Option<u64>")]
    after: Option<u64>,
    /// Only those of this repository.
    #[serde(deserialize_with = "parsed")]
    #[schemars(with = "Option<Repository>")]
    repository: Option<RepositoryName>,
}

/// What came back.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RestoredView {
    /// Where it is.
    pub repository: String,
    /// Its address.
    pub digest: String,
    /// Tags that name it again.
    pub tags: Vec<String>,
    /// Tags that name something else by now.
    pub taken: Vec<String>,
}

/// Which deleted manifests are given up: all, or those of one repository.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmptyBody {
    /// Only those of this repository.
    #[serde(deserialize_with = "parsed")]
    #[schemars(with = "Option<Repository>")]
    repository: Option<RepositoryName>,
    /// Only count them, 1,000 at most.
    dry_run: bool,
}

/// How many were given up, or would be.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct EmptiedView {
    /// Deleted manifests.
    pub manifests: u64,
    /// Whether they were only counted.
    pub dry_run: bool,
}

fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|error| Failure::about(Kind::Invalid, format!("reference {text:?}: {error}")))
}

/// What would be freed.
pub async fn frees(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let FreesQuery { reference: asked } = call.query()?;
    let asked = asked.map(|text| text.parse()).transpose();
    let asked = asked.map_err(|error| Failure::about(Kind::QueryInvalid, format!("reference: {error}")))?;
    Ok(Reply::ok(&FreesView::from(admin.0.services.images.frees(&call.permit, asked).await?)))
}

/// Removes a repository.
pub async fn repository(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    admin.0.services.images.delete_repository(&call.permit).await?;
    Ok(Reply::ok(&Removed { removed: named(&call, Action::DeleteRepository)? }))
}

/// As it is called whole: the path may leave `library` out.
fn named(call: &Call<'_>, action: Action) -> Result<String, Failure> {
    match call.permit.resource(action) {
        Some(Resource::Repository(name)) => Ok(name.to_string()),
        _ => Err(Error::Bug("a permit for something else").into()),
    }
}

/// Removes a tag.
pub async fn tag(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let Reference::Tag(tag) = reference(call.param("tag"))? else {
        return Err(Failure::about(Kind::Invalid, "a digest is no tag"));
    };
    let removed = format!("{}:{tag}", named(&call, Action::DeleteVersion)?);
    admin.0.services.images.delete_tag(call.permit, tag).await?;
    Ok(Reply::ok(&Removed { removed }))
}

/// Removes a manifest.
pub async fn manifest(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let text = call.param("digest");
    let digest: Digest =
        text.parse().map_err(|_| Failure::about(Kind::Invalid, format!("{text:?} is no digest")))?;
    let removed = format!("{}@{digest}", named(&call, Action::DeleteVersion)?);
    admin.0.services.images.delete_manifest(call.permit, digest).await?;
    Ok(Reply::ok(&Removed { removed }))
}

/// Brings one back.
pub async fn restore(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let text = call.param("number");
    let number: u64 =
        text.parse().map_err(|_| Failure::about(Kind::Invalid, format!("{text:?} is no number")))?;
    let restored = admin.0.services.images.restore(&call.permit, number).await?;
    Ok(Reply::ok(&RestoredView {
        repository: restored.repository,
        digest: restored.digest.to_string(),
        tags: restored.tags,
        taken: restored.taken,
    }))
}

/// A page of them.
pub async fn list(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let TrashQuery { limit, after, repository } = call.query()?;
    let images = &admin.0.services.images;
    let (items, more) = images.deleted(&call.permit, repository, after, limit.0).await?;
    let items: Vec<DeletedView> = items.into_iter().map(DeletedView::from).collect();
    let next = items.last().filter(|_| more).map(|last| last.number.to_string());
    Ok(Reply::ok(&Page { items, next }))
}

/// Gives them up.
pub async fn empty(admin: &Admin, call: Call<'_>) -> Result<Reply, Failure> {
    let EmptyBody { repository, dry_run } = call.body()?;
    let images = &admin.0.services.images;
    let manifests = if dry_run {
        let permit = admin.permit(&call, Action::ListDeleted, Resource::Registry)?;
        images.deleted(&permit, repository, None, 1000).await?.0.len() as u64
    } else {
        images.empty_trash(&call.permit, repository).await?
    };
    Ok(Reply::ok(&EmptiedView { manifests, dry_run }))
}
