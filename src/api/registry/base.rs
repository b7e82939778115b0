//! `/v2/`: whether this is a registry, and whether the credentials are good (end-1).

use hyper::StatusCode;
use serde_json::json;

use super::errors::Failure;
use super::reply::Reply;
use super::{Call, Registry};

/// 200: having come here is the answer.
pub async fn ping(_: &Registry, _: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::json(StatusCode::OK, &json!({})))
}
