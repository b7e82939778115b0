//! `/` and `/{api_version}`: the versions of this API.

use serde::Serialize;
use serde_json::json;

use super::errors::{Failure, Kind};
use super::reply::Reply;
use super::{Call, Swr};

/// The only version there is to ask about; its lists of version 3 belong to it.
const VERSION: &str = "v2";

#[derive(Serialize)]
struct VersionView {
    id: &'static str,
    links: LinkView,
    version: &'static str,
    min_version: &'static str,
    status: &'static str,
    updated: &'static str,
}

#[derive(Serialize)]
struct LinkView {
    href: String,
    rel: &'static str,
}

fn version(call: &Call<'_>) -> VersionView {
    VersionView {
        id: VERSION,
        links: LinkView { href: format!("{}/{VERSION}", call.origin), rel: "self" },
        version: "2.26",
        min_version: "2.0",
        status: "CURRENT",
        updated: "2024-01-01T00:00:00Z",
    }
}

/// Every version.
pub async fn list(_: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&json!({"versions": [version(&call)]})))
}

/// One version.
pub async fn show(_: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    match call.param("api_version") {
        VERSION => Ok(Reply::ok(&json!({"version": version(&call)}))),
        _ => Err(Failure::new(Kind::PathUnknown)),
    }
}
