//! `…/repos`, `/v2/manage/repos` and `/v2/manage/shared-repositories`: images.
//!
//! The lists tell the first [`TAGS`] tags of each image; `num_images` is how many there are. Pulls are not counted
//! in this version: `num_download` is 0. The list of shared images looks at every share of an account, which is in
//! memory anyway, and reads descriptions and tags for its page only; of an image whose share ended it tells
//! that it was shared, and nothing of what became of it.

use serde::{Deserialize, Serialize};

use super::errors::{Failure, Kind};
use super::path::slashed;
use super::query::{Asked, Direction, Paging};
use super::reply::{Reply, time};
use super::{Call, Swr, rest, words};
use crate::services::access::{Action, Resource};
use crate::services::images::{OrderBy, RepositoryFacts, Wanted};
use crate::services::names::RepositoryName;
use crate::services::organisations::{Changed, Share};

/// Tags that a list tells of an image.
const TAGS: usize = 1000;
/// Parameters that may stand outside of `filter`.
const PLAIN: &[&str] =
    &["namespace", "name", "category", "is_public", "limit", "offset", "order_column", "order_type"];
const SHARED_PLAIN: &[&str] = &[
    "center",
    "namespace",
    "name",
    "domain_name",
    "status",
    "limit",
    "offset",
    "order_column",
    "order_type",
];
/// What lists can be ordered by: the union of what SWR's documents say.
const COLUMNS: &[(&str, OrderBy)] = &[
    ("updated_at", OrderBy::UpdatedAt),
    ("updated_time", OrderBy::UpdatedAt),
    ("name", OrderBy::Name),
    ("tag_count", OrderBy::Versions),
    ("namespace", OrderBy::Organisation),
    ("is_public", OrderBy::Public),
];

#[derive(Clone, Copy)]
enum SharedBy {
    Name,
    Organisation,
    UpdatedAt,
    Versions,
    Domain,
}

const SHARED_COLUMNS: &[(&str, SharedBy)] = &[
    ("updated_at", SharedBy::UpdatedAt),
    ("updated_time", SharedBy::UpdatedAt),
    ("name", SharedBy::Name),
    ("tag_count", SharedBy::Versions),
    ("namespace", SharedBy::Organisation),
    ("domain_name", SharedBy::Domain),
];

/// Shares looked at before others get their turn.
const SHARES_AT_ONCE: usize = 200;

#[derive(Serialize)]
struct RepositoryView {
    id: u64,
    ns_id: u64,
    name: String,
    category: &'static str,
    description: String,
    creator_id: String,
    creator_name: String,
    size: u64,
    is_public: bool,
    num_images: u64,
    num_download: u64,
    url: String,
    path: String,
    internal_path: String,
    created: String,
    updated: String,
    domain_id: String,
    priority: i32,
}

/// An image in a list.
#[derive(Serialize)]
pub struct ItemView {
    name: String,
    category: &'static str,
    description: String,
    size: u64,
    is_public: bool,
    num_images: u64,
    num_download: u64,
    created_at: String,
    updated_at: String,
    /// Not used, by SWR neither.
    logo: &'static str,
    /// Not used, by SWR neither.
    url: &'static str,
    path: String,
    internal_path: String,
    domain_name: String,
    namespace: String,
    tags: Vec<String>,
    /// Of what is shared with the one who asks: it still is.
    status: bool,
    /// How many there are on all pages.
    total_range: usize,
}

impl RepositoryView {
    fn new(facts: RepositoryFacts, host: &str) -> Self {
        let path = format!("{host}/{}", facts.name);
        let creator = facts.creator.map(|creator| (creator.id.to_string(), creator.name));
        let (creator_id, creator_name) = creator.unwrap_or_default();
        Self {
            id: facts.id,
            ns_id: facts.organisation,
            name: rest(&facts.name).to_owned(),
            category: words::word(facts.category),
            description: facts.description,
            creator_id,
            creator_name,
            size: facts.bytes,
            is_public: facts.public,
            num_images: facts.versions,
            num_download: facts.pulls,
            url: String::new(),
            path: path.clone(),
            internal_path: path,
            created: time(facts.created_at),
            updated: time(facts.updated_at),
            domain_id: facts.owner.map(|(id, _)| id.to_string()).unwrap_or_default(),
            priority: 0,
        }
    }
}

impl ItemView {
    /// As clients see it; `total` is how many there are on all pages.
    pub fn new(facts: RepositoryFacts, host: &str, total: usize) -> Self {
        let path = format!("{host}/{}", facts.name);
        Self {
            name: rest(&facts.name).to_owned(),
            category: words::word(facts.category),
            description: facts.description,
            size: facts.bytes,
            is_public: facts.public,
            num_images: facts.versions,
            num_download: facts.pulls,
            created_at: time(facts.created_at),
            updated_at: time(facts.updated_at),
            logo: "",
            url: "",
            path: path.clone(),
            internal_path: path,
            domain_name: facts.owner.map(|(_, name)| name).unwrap_or_default(),
            namespace: facts.name.organisation().to_owned(),
            tags: facts.tags,
            status: false,
            total_range: total,
        }
    }
}

#[derive(Deserialize)]
struct NewBody {
    is_public: bool,
    category: Option<String>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct ChangeBody {
    is_public: Option<bool>,
    category: Option<String>,
    description: Option<String>,
}

/// Makes an empty one; 200, as its manual has it.
pub async fn create(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let NewBody { is_public, category, description } = call.body()?;
    let category = words::category(category.as_deref())?;
    let attributes = Changed { public: Some(is_public), category, description, immutable_tags: None };
    swr.0.organisations.create_repository(&call.permit, attributes).await?;
    Ok(Reply::done())
}

/// One image.
pub async fn show(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    Ok(Reply::ok(&RepositoryView::new(swr.0.images.facts(&call.permit)?, call.host())))
}

/// Changes what it says of itself.
pub async fn update(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let ChangeBody { is_public, category, description } = call.body()?;
    let category = words::category(category.as_deref())?;
    let attributes = Changed { public: is_public, category, description, immutable_tags: None };
    swr.0.organisations.update(&call.permit, attributes).await?;
    Ok(Reply::created())
}

/// Removes it with all in it.
pub async fn delete(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    swr.0.images.delete_repository(&call.permit).await?;
    Ok(Reply::nothing())
}

/// Those of the own account, and those one was granted something in.
pub async fn list(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let asked = call.asked(PLAIN)?;
    let Paging { offset, limit } = asked.paging()?;
    let order = asked.order(COLUMNS)?.unwrap_or((OrderBy::Organisation, Direction::Ascending));
    let wanted = Wanted {
        organisation: asked.get("namespace").map(str::to_owned),
        name: asked.get("name").map(slashed),
        category: words::category(asked.get("category"))?,
        public: asked.flag("is_public")?,
        order: (order.0, order.1 == Direction::Descending),
        after: 0,
        offset,
        limit,
        tags: TAGS,
    };
    let page = swr.0.images.catalogue(&call.permit, &wanted).await?;
    let items = page.items.into_iter().map(|facts| ItemView::new(facts, call.host(), page.total));
    Ok(Reply::page(&items.collect::<Vec<_>>(), offset, page.total))
}

/// An image that is shared, once for each account it is shared with.
pub struct Shared {
    /// How it is shared.
    pub share: Share,
    /// The image.
    pub name: RepositoryName,
    /// What is known of it, without description and tags.
    pub facts: RepositoryFacts,
}

/// Those the own account shares, or those shared with it.
pub async fn list_shared(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let asked = call.asked(SHARED_PLAIN)?;
    let Paging { offset, limit } = asked.paging()?;
    // What names the list may stand beside a filter too.
    let center = asked.get("center").or_else(|| call.query.some("center"));
    let (shares, is_mine) = match center {
        Some("self") => (swr.0.organisations.shared_by(&call.permit)?, true),
        Some("thirdparty") => (swr.0.organisations.shared_with(&call.permit)?, false),
        Some(_) => return Err(Failure::about(Kind::QueryInvalid, "center is self or thirdparty")),
        None => return Err(Failure::about(Kind::ParameterMissing, "center")),
    };
    let mut shared = swr.wanted_shares(&call, &asked, shares, is_mine).await?;
    if let Some((column, direction)) = asked.order(SHARED_COLUMNS)? {
        shared.sort_by_cached_key(|shared| sort_key(shared, column));
        if direction == Direction::Descending {
            shared.reverse();
        }
    }
    if is_mine {
        // An image is one item, whoever it is shared with.
        let mut seen = std::collections::HashSet::new();
        shared.retain(|shared| seen.insert(shared.name.clone()));
    }
    let total = shared.len();
    let mut items = Vec::new();
    for shared in shared.into_iter().skip(offset).take(limit) {
        let status = !is_mine && shared.share.valid;
        let facts = swr.shared_facts(&call, shared, is_mine)?;
        items.push(ItemView { status, ..ItemView::new(facts, call.host(), total) });
    }
    Ok(Reply::page(&items, offset, total))
}

impl Swr {
    /// What is told of an image that is shared: of one that no longer is, only that it was.
    pub(super) fn shared_facts(
        &self,
        call: &Call<'_>,
        shared: Shared,
        is_mine: bool,
    ) -> Result<RepositoryFacts, Failure> {
        if !is_mine && !shared.share.valid {
            let (updated_at, creator) = (shared.share.updated_at, None);
            return Ok(RepositoryFacts {
                bytes: 0,
                versions: 0,
                pulls: 0,
                updated_at,
                creator,
                ..shared.facts
            });
        }
        let facts = self.0.images.listed(&call.permit, &shared.name, Some(TAGS))?;
        Ok(facts.unwrap_or(shared.facts))
    }

    /// The shares that are wanted of what one may see.
    pub(super) async fn wanted_shares(
        &self,
        call: &Call<'_>,
        asked: &Asked,
        shares: Vec<Share>,
        is_mine: bool,
    ) -> Result<Vec<Shared>, Failure> {
        let status = asked.flag("status")?;
        let name_part = asked.get("name").map(slashed);
        let mut wanted = Vec::new();
        for (number, share) in shares.into_iter().enumerate() {
            if number % SHARES_AT_ONCE == SHARES_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let Ok(name) = share.repository.parse::<RepositoryName>() else { continue };
            let fits = asked.get("namespace").is_none_or(|part| name.organisation().contains(part))
                && name_part.as_ref().is_none_or(|part| rest(&name).contains(part.as_str()))
                && status.is_none_or(|status| status == share.valid);
            if !fits {
                continue;
            }
            let resource = Resource::Repository(name.clone());
            let may = || self.0.access.authorise(call.actor(), Action::ShowRepository, resource).is_ok();
            if !is_mine && share.valid && !may() {
                continue;
            }
            let Some(facts) = self.0.images.listed(&call.permit, &name, None)? else { continue };
            let domain =
                if is_mine { Some(&share.account_name) } else { facts.owner.as_ref().map(|(_, n)| n) };
            if asked.get("domain_name").is_none_or(|part| domain.is_some_and(|domain| domain.contains(part)))
            {
                wanted.push(Shared { share, name, facts });
            }
        }
        Ok(wanted)
    }
}

fn sort_key(shared: &Shared, column: SharedBy) -> (u64, String, String) {
    let facts = &shared.facts;
    let (number, text) = match column {
        SharedBy::Name => (0, rest(&shared.name).to_owned()),
        SharedBy::Organisation => (0, shared.name.organisation().to_owned()),
        SharedBy::UpdatedAt => (facts.updated_at, String::new()),
        SharedBy::Versions => (facts.versions, String::new()),
        SharedBy::Domain => (0, facts.owner.as_ref().map(|(_, name)| name.clone()).unwrap_or_default()),
    };
    (number, text, shared.name.as_str().to_owned())
}
