//! `/dockyard/v2/`: what Harbor and migration scripts ask the registry's host for, signed in as docker does.
//!
//! D1: an organisation that is not there, or that the one who asks may not see, is `{}`: Harbor makes it then, and ends
//!     its push at anything that is no success. D2: the list of images has no pages unless a limit is given, and is
//!     written while it is sent, so that it takes no more memory than a part of it.

use std::collections::VecDeque;

use bytes::Bytes;
use hyper::header;
use serde::Serialize;
use serde_json::json;

use super::errors::{Failure, Kind};
use super::query::Asked;
use super::reply::Reply;
use super::repositories::ItemView;
use super::words::Auth;
use super::{Call, Swr, path, pieces, words};
use crate::services::access::Permit;
use crate::services::error::Error;
use crate::services::images::{Images, Wanted};
use crate::services::names::RepositoryName;
use crate::services::organisations::Organisation;

/// Tags told of one image.
const TAGS: usize = 100_000;
/// Bytes from which on a part is sent; an image's item is never cut.
const PART: usize = 64 << 10;
const PLAIN: &[&str] = &["center", "namespace", "name", "category", "is_public", "limit", "offset"];

/// An organisation.
#[derive(Serialize)]
struct NamespaceView {
    id: u64,
    name: String,
    creator_name: String,
    domain_public: u8,
    auth: u8,
    domain_name: String,
    user_count: usize,
    image_count: u64,
}

impl Swr {
    async fn dockyard_views(
        &self,
        call: &Call<'_>,
        seen: Vec<Organisation>,
    ) -> Result<Vec<NamespaceView>, Failure> {
        let names: Vec<&str> = seen.iter().map(|organisation| organisation.name.as_str()).collect();
        let counts = self.0.images.counts(&call.permit, &names).await?;
        let view = |(organisation, image_count): (Organisation, u64)| {
            let users = self.users_of(call, &organisation.name);
            let domain = organisation.owner.and_then(|owner| self.account_name(owner)).unwrap_or_default();
            NamespaceView {
                id: organisation.number,
                name: organisation.name.to_string(),
                creator_name: organisation.creator.map_or_else(|| domain.clone(), |creator| creator.name),
                domain_public: 0,
                auth: organisation.level.map_or(0, |level| Auth(level).number()),
                domain_name: domain,
                user_count: users,
                image_count,
            }
        };
        Ok(seen.into_iter().zip(counts).map(view).collect())
    }
}

/// Organisations in which one may see something.
pub async fn visible(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let seen = swr.0.organisations.list(&call.permit, true)?;
    Ok(Reply::ok(&json!({"namespaces": swr.dockyard_views(&call, seen).await?})))
}

/// Organisations one may look at.
pub async fn namespaces(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let seen = swr.0.organisations.list(&call.permit, false)?;
    Ok(Reply::ok(&json!({"namespaces": swr.dockyard_views(&call, seen).await?})))
}

/// One of them, or nothing (D1).
pub async fn namespace(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let mut seen = swr.0.organisations.list(&call.permit, true)?;
    seen.retain(|organisation| organisation.name.as_str() == call.param("namespace"));
    let found = swr.dockyard_views(&call, seen).await?.pop();
    Ok(found.map_or_else(Reply::done, |found| Reply::ok(&found)))
}

/// Images of the own account, and those one was granted something in (D2).
pub async fn repositories(swr: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    let asked = call.asked(PLAIN)?;
    let offset = number(&asked, "offset")?.unwrap_or(0);
    let wanted = Wanted {
        organisation: asked.get("namespace").map(str::to_owned),
        name: asked.get("name").map(path::slashed),
        category: words::category(asked.get("category"))?,
        public: asked.flag("is_public")?,
        offset,
        limit: number(&asked, "limit")?.unwrap_or(usize::MAX),
        ..Wanted::default()
    };
    let (names, total) = swr.0.images.catalogue_names(&call.permit, &wanted).await?;
    let range = format!("{offset}-{}/{total}", names.len());
    let host = call.host().to_owned();
    let (images, permit) = (swr.0.images.clone(), call.permit);
    let state = Written { images, permit, host, total, left: names.into(), begun: false };
    Ok(Reply::streamed(pieces::body(state, Written::next)).with(header::CONTENT_RANGE, &range))
}

fn number(asked: &Asked, key: &str) -> Result<Option<usize>, Failure> {
    let read = asked.get(key).map(str::parse::<u32>).transpose();
    let read = read.map_err(|_| Failure::about(Kind::PageInvalid, format!("{key} is a number from 0")))?;
    Ok(read.map(|number| number as usize))
}

/// A list that is being written.
struct Written {
    images: Images,
    permit: Permit,
    host: String,
    total: usize,
    left: VecDeque<RepositoryName>,
    begun: bool,
}

impl Written {
    /// The next part; what went since the list was made is left out.
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        if self.begun && self.left.is_empty() {
            return None;
        }
        let part = self.part();
        Some((part, self))
    }

    fn part(&mut self) -> Result<Bytes, Error> {
        let mut text = Vec::new();
        while text.len() < PART {
            let Some(name) = self.left.pop_front() else { break };
            let Some(facts) = self.images.listed(&self.permit, &name, Some(TAGS))? else { continue };
            text.extend_from_slice(if self.begun { b"," } else { b"[" });
            self.begun = true;
            let view = ItemView::new(facts, &self.host, self.total);
            serde_json::to_writer(&mut text, &view).map_err(|_| Error::Bug("an item is no JSON"))?;
        }
        if self.left.is_empty() {
            text.extend_from_slice(if self.begun { b"]" } else { b"[]" });
            self.begun = true;
        }
        Ok(text.into())
    }
}
