//! `/v2/<name>/tags/list` (end-8).
//!
//! Many clients ask without `n` and do not know `Link`, so that a page has 10,000 tags unless they
//! ask for fewer: more than any repository in ordinary use has, and still a bounded answer.

use hyper::{StatusCode, header};
use serde_json::json;

use super::errors::Failure;
use super::paging::Paging;
use super::reply::Reply;
use super::{Call, Registry};

/// Tags of a page, without `n` or at most.
const PAGE: usize = 10_000;

/// Tags in byte order.
pub async fn list(registry: &Registry, call: Call<'_>) -> Result<Reply, Failure> {
    let paging = Paging::of(&call.query, PAGE)?;
    let page = registry.images.tags(&call.permit, paging.last, paging.limit)?;
    let tags: Vec<&str> = page.items.iter().map(|tag| tag.as_str()).collect();
    // The name is the client's own spelling: it compares.
    let reply = Reply::json(StatusCode::OK, &json!({"name": call.name, "tags": tags}));
    Ok(match tags.last() {
        Some(last) if page.more => {
            reply.with(header::LINK, &paging.link(&format!("/v2/{}/tags/list", call.name), last))
        }
        _ => reply,
    })
}
