//! `…/sync_repo`, `…/sync_images`, `…/sync_job` and `/v2/manage/regions`: copies in other regions. This part of the API
//! writes its fields in camel case.

use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::{Failure, Kind};
use super::query::Paging;
use super::reply::Reply;
use super::{Call, Swr};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetBody {
    remote_region_id: String,
    remote_namespace: String,
}

/// What else may be said has to be what it should be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AutomaticBody {
    #[serde(flatten)]
    target: TargetBody,
    #[serde(rename = "syncAuto")]
    _automatic: Option<bool>,
    #[serde(rename = "override")]
    _overwrite: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CopyBody {
    image_tag: Vec<String>,
    #[serde(flatten)]
    target: TargetBody,
    #[serde(rename = "override")]
    _overwrite: Option<bool>,
}

/// Has an image copied from now on.
pub async fn create(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let AutomaticBody { target, .. } = call.body()?;
    swr.0.sync.create_automatic(&call.permit, &target.remote_region_id, &target.remote_namespace)?;
    Ok(Reply::done())
}

/// Where an image is copied.
pub async fn list(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.sync.list_automatic(&call.permit)?;
    Ok(Reply::ok(&json!([])))
}

/// Has it copied no longer. Terraform knows by the code that it was not (swr-api §12.2).
pub async fn delete(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let target: TargetBody = call.body()?;
    swr.0.sync.delete_automatic(&call.permit, &target.remote_region_id, &target.remote_namespace)?;
    Ok(Reply::done())
}

/// Copies versions now: the answer names those that failed.
pub async fn copy(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let CopyBody { image_tag, target, .. } = call.body()?;
    let TargetBody { remote_region_id, remote_namespace } = target;
    swr.0.sync.copy(&call.permit, &image_tag, &remote_region_id, &remote_namespace)?;
    Ok(Reply::ok(&json!([])))
}

/// What was copied. The filter has to be there.
pub async fn jobs(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    if call.query.some("filter").is_none() {
        return Err(Failure::about(Kind::ParameterMissing, "filter"));
    }
    let asked = call.asked(&[])?;
    let Paging { offset, .. } = asked.paging()?;
    if asked.get("order").is_some_and(|order| !["asc", "desc"].contains(&order)) {
        return Err(Failure::about(Kind::QueryInvalid, "order is asc or desc"));
    }
    swr.0.sync.jobs(&call.permit)?;
    Ok(Reply::page::<Value>(&[], offset, 0))
}

/// The regions there are: none.
pub async fn regions(_: &Swr, _: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&json!([])))
}
