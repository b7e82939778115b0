//! `/v2/_catalog`: the repositories the caller may pull from (Docker API, "Listing Repositories").

use hyper::{StatusCode, header};
use serde_json::json;

use super::errors::Failure;
use super::paging::Paging;
use super::reply::Reply;
use super::{Call, Registry};

/// Repositories of a page, without `n` or at most.
const PAGE: usize = 1_000;

/// Repositories in byte order.
pub async fn list(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    let paging = Paging::of(&call.query, PAGE)?;
    let page = registry.images.repositories(&call.permit, paging.last, paging.limit).await?;
    let names: Vec<&str> = page.items.iter().map(|name| name.as_str()).collect();
    let reply = Reply::json(StatusCode::OK, &json!({"repositories": names}));
    Ok(match names.last() {
        Some(last) if page.more => reply.with(header::LINK, &paging.link("/v2/_catalog", last)),
        _ => reply,
    })
}
