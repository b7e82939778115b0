//! `/v3/manage/`: lists that go on after a marker. A marker is a repository's number, which fits what clients have, or
//! what the last version on the page is.
//!
//! V1: on the last page there is no marker at all, in neither spelling: clients go on as long as there is one.

use serde::Serialize;
use serde_json::{Value, json};

use super::errors::{Failure, Kind};
use super::query::{Asked, Direction};
use super::reply::{Reply, time};
use super::tags::{COLUMNS, TagView};
use super::{Call, Swr, path, rest, words};
use crate::services::images::{Mark, OrderBy, OrderVersions, RepositoryFacts, Wanted, WantedVersions};

const PLAIN: &[&str] = &["namespace", "name", "category", "is_public", "limit", "marker"];
const SHARED_PLAIN: &[&str] = &["shared_by", "namespace", "name", "domain_name", "status", "limit", "marker"];
const TAGS_PLAIN: &[&str] = &["limit", "marker", "tag", "order_column", "order_type", "with_manifest"];
/// The largest number clients take for a marker.
const MOST: u64 = i32::MAX as u64;

#[derive(Serialize)]
struct RepositoryView {
    id: u64,
    name: String,
    category: &'static str,
    description: String,
    size: u64,
    is_public: bool,
    num_images: u64,
    num_download: u64,
    created_at: String,
    updated_at: String,
    domain_name: String,
    namespace_name: String,
    /// Of what is shared with the one who asks: it still is.
    status: bool,
}

impl RepositoryView {
    fn new(facts: RepositoryFacts, status: bool) -> Self {
        Self {
            id: facts.id,
            name: rest(&facts.name).to_owned(),
            category: words::word(facts.category),
            size: facts.bytes,
            is_public: facts.public,
            num_images: facts.versions,
            num_download: facts.pulls,
            created_at: time(facts.created_at),
            updated_at: time(facts.updated_at),
            domain_name: facts.owner.map(|(_, name)| name).unwrap_or_default(),
            namespace_name: facts.name.organisation().to_owned(),
            description: facts.description,
            status,
        }
    }
}

fn page(views: Vec<RepositoryView>, more: bool) -> Reply {
    let next = views.last().map(|view| view.id).filter(|id| more && *id <= MOST);
    let mut page = json!({"repos": views});
    if let Some(next) = next {
        page["nextMarker"] = json!(next);
    }
    Reply::ok(&page)
}

/// The repository's number that a list goes on after.
fn marker(asked: &Asked) -> Result<u64, Failure> {
    match asked.get("marker").map(str::parse::<u64>) {
        None => Ok(0),
        Some(Ok(marker)) if marker <= MOST => Ok(marker),
        Some(_) => Err(Failure::about(Kind::PageInvalid, "marker is one that a page gave")),
    }
}

/// Those of the own account, and those one was granted something in.
pub async fn repositories(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let asked = call.asked(PLAIN)?;
    let wanted = Wanted {
        organisation: asked.get("namespace").map(str::to_owned),
        name: asked.get("name").map(path::slashed),
        category: words::category(asked.get("category"))?,
        public: asked.flag("is_public")?,
        order: (OrderBy::Number, false),
        after: marker(&asked)?,
        limit: asked.paging()?.limit,
        ..Wanted::default()
    };
    let found = swr.0.images.catalogue(&call.permit, &wanted).await?;
    let more = found.total > found.items.len();
    Ok(page(found.items.into_iter().map(|facts| RepositoryView::new(facts, false)).collect(), more))
}

/// Those the own account shares, or those shared with it.
pub async fn shared(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let asked = call.asked(SHARED_PLAIN)?;
    let (after, limit) = (marker(&asked)?, asked.paging()?.limit);
    let is_mine = match asked.get("shared_by").or_else(|| call.query.some("shared_by")) {
        Some("self") => true,
        Some("thirdparty") => false,
        Some(_) => return Err(Failure::about(Kind::QueryInvalid, "shared_by is self or thirdparty")),
        None => return Err(Failure::about(Kind::ParameterMissing, "shared_by")),
    };
    let shares = match is_mine {
        true => swr.0.organisations.shared_by(&call.permit)?,
        false => swr.0.organisations.shared_with(&call.permit)?,
    };
    let mut shared = swr.wanted_shares(&call, &asked, shares, is_mine).await?;
    shared.sort_by_key(|shared| shared.facts.id);
    // An image is one item, whoever it is shared with.
    shared.dedup_by_key(|shared| shared.facts.id);
    shared.retain(|shared| shared.facts.id > after);
    let more = shared.len() > limit;
    let mut views = Vec::new();
    for shared in shared.into_iter().take(limit) {
        let status = !is_mine && shared.share.valid;
        views.push(RepositoryView::new(swr.shared_facts(&call, shared, is_mine)?, status));
    }
    Ok(page(views, more))
}

/// The versions of an image.
pub async fn tags(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let asked = call.asked(TAGS_PLAIN)?;
    let order = asked.order(COLUMNS)?.unwrap_or((OrderVersions::Tag, Direction::Ascending));
    let wanted = WantedVersions {
        tag: asked.get("tag").map(str::to_owned),
        order: (order.0, order.1 == Direction::Descending),
        after: asked.get("marker").map(mark).transpose()?,
        offset: 0,
        limit: asked.paging()?.limit,
        manifests: asked.flag("with_manifest")?.unwrap_or(false),
    };
    let page = swr.0.images.versions(&call.permit, &wanted).await?;
    let name = call.repository()?;
    let views: Vec<TagView> =
        page.items.into_iter().map(|version| TagView::new(version, name, call.host())).collect();
    let mut view: Value = json!({"tags": views, "has_more": page.next.is_some()});
    if let Some(next) = page.next {
        let marker = written(&next);
        (view["nextMarker"], view["next_marker"]) = (json!(marker), json!(marker));
    }
    Ok(Reply::ok(&view))
}

/// A number before the first dot, then the tag, which may have dots.
fn mark(text: &str) -> Result<Mark, Failure> {
    let wrong = || Failure::about(Kind::PageInvalid, "marker is one that a page gave");
    let (at, tag) = text.split_once('.').ok_or_else(wrong)?;
    let pushed_at = at.parse().map_err(|_| wrong())?;
    Ok(Mark { pushed_at, tag: super::tags::tag(tag)?.to_string() })
}

fn written(mark: &Mark) -> String {
    format!("{}.{}", mark.pushed_at, mark.tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_marker_that_no_page_gave_is_refused() {
        for text in ["", "v1", "1", "1.", ".v1", "x.v1", "-1.v1", "1.v 1"] {
            assert!(mark(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_page_has_no_marker() {
        assert_eq!(MOST, 2_147_483_647);
        let reply = page(Vec::new(), true).into_response();
        assert_eq!(reply.status(), 200);
    }

    proptest! {
        #[test]
        fn a_marker_comes_back(pushed_at in any::<u64>(), tag in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}") {
            let before = Mark { pushed_at, tag };
            prop_assert_eq!(mark(&written(&before)).ok(), Some(before));
        }

        #[test]
        fn no_text_makes_the_reader_of_markers_panic(text in ".{0,20}|[0-9.]{0,30}") {
            let _ = mark(&text);
        }
    }
}
