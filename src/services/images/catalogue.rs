//! Repositories as management lists them: those of the own account and those somebody was granted something in, with
//! what is known of each; and sums of them.
//!
//! L1: what one who asks may not look at is neither listed nor counted. Public and shared images of other accounts
//!     are not his, and are listed elsewhere.
//! L2: a page keeps in memory its own items and, where it is not in the order of names, a name and a
//!     number for each item before it. Whoever asks for the total of a substring has every name looked at, some hundred at
//!     a time.
//! L3: a page ends early rather than hold more than [`MAX_TEXT`] bytes of descriptions and tags.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{RepositorySettingsKey, TextOwner};
use pierhead_storage_format::identity::records::{Category, Creator};
use pierhead_storage_format::keys::{RepositoryCountersKey, RepositoryKey, TableKey, TagKey};
use pierhead_storage_format::records::RepositoryRecord;

use super::{Images, permitted};
use crate::services::access::{Action, Actor, Permit, Resource};
use crate::services::error::Error;
use crate::services::names::RepositoryName;
use crate::services::organisations;

/// Repositories looked at in one go.
const BATCH: usize = 500;
/// Bytes of descriptions and tags of a page; one item may pass it.
const MAX_TEXT: usize = 16 << 20;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// Its name.
    pub name: RepositoryName,
    /// Never used again.
    pub id: u64,
    /// The number of its organisation; 0 if that went meanwhile.
    pub organisation: u64,
    /// The account that owns it, and its name.
    pub owner: Option<(Id, String)>,
    /// Who made it, if a user did.
    pub creator: Option<Creator>,
    /// Anybody may pull.
    pub public: bool,
    /// Its kind.
    pub category: Category,
    /// At most 30,000 characters.
    pub description: String,
    /// UTC milliseconds.
    pub created_at: u64,
    /// When something was last pushed or an attribute changed: UTC milliseconds.
    pub updated_at: u64,
    /// How many tags it has.
    pub versions: u64,
    /// Bytes of its manifests and blobs, each digest once.
    pub bytes: u64,
    /// Images pulled; may lag by seconds after a crash.
    pub pulls: u64,
    /// The first of its tags, as many as were asked for.
    pub tags: Vec<String>,
}

/// What a list is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderBy {
    /// The organisation, then the name in it.
    #[default]
    Organisation,
    /// The name without the organisation.
    Name,
    /// When it last changed.
    UpdatedAt,
    /// How many tags it has.
    Versions,
    /// Private ones, then public ones.
    Public,
    /// The number, which is the order in which they were made.
    Number,
}

/// What is asked of a list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Part of the organisation's name.
    pub organisation: Option<String>,
    /// Part of the name without the organisation.
    pub name: Option<String>,
    /// The kind.
    pub category: Option<Category>,
    /// Public or private ones.
    pub public: Option<bool>,
    /// The order, and whether it is the other way round.
    pub order: (OrderBy, bool),
    /// Only those with a greater number.
    pub after: u64,
    /// Items before the page, of those.
    pub offset: usize,
    /// Items of the page at most.
    pub limit: usize,
    /// Tags that are told of each at most.
    pub tags: usize,
}

/// A page, and how many there are.
#[derive(Debug)]
pub struct Catalogue {
    /// In the order asked for.
    pub items: Vec<RepositoryFacts>,
    /// With those on other pages, but for those that [`Wanted::after`] leaves out.
    pub total: usize,
}

/// Sums over an account's repositories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Organisations.
    pub organisations: u64,
    /// Repositories.
    pub repositories: u64,
    /// Tags of all of them.
    pub versions: u64,
    /// Bytes of all of them, each digest once a repository.
    pub bytes: u64,
}

/// Where an item stands in an order: a number or a name, then the whole name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, String, RepositoryName);

impl Images {
    /// What is known of a repository.
    pub fn facts(&self, permit: &Permit) -> Result<RepositoryFacts, Error> {
        let name = permitted(permit, Action::ShowRepository)?;
        let facts = self.facts_of(permit.actor(), name, Some(0))?;
        facts.ok_or_else(|| Error::RepositoryUnknown(name.clone()))
    }

    /// What is known of a repository that another list named, if it is there and the one who asks may look at it
    /// now: with its description and so many tags, or with neither.
    pub fn listed(
        &self,
        permit: &Permit,
        name: &RepositoryName,
        tags: Option<usize>,
    ) -> Result<Option<RepositoryFacts>, Error> {
        lists(permit)?;
        if !self.may(permit.actor(), Action::ShowRepository, name) {
            return Ok(None);
        }
        self.facts_of(permit.actor(), name, tags)
    }

    /// A page of the repositories that are the business of the one who asks.
    pub async fn catalogue(&self, permit: &Permit, wanted: &Wanted) -> Result<Catalogue, Error> {
        let (page, total) = self.catalogue_names(permit, wanted).await?;
        Ok(Catalogue { items: self.described(permit.actor(), &page, wanted.tags).await?, total })
    }

    /// The names of such a page, and how many there are in all.
    pub async fn catalogue_names(
        &self,
        permit: &Permit,
        wanted: &Wanted,
    ) -> Result<(Vec<RepositoryName>, usize), Error> {
        lists(permit)?;
        let (order, reversed) = wanted.order;
        let mut walk = Walk::of(self, permit.actor(), wanted.organisation.as_deref());
        let mut total = 0;
        let mut page = Vec::new();
        let (mut first, mut last) = (BTreeSet::new(), BTreeSet::new());
        let until = wanted.offset.saturating_add(wanted.limit);
        while let Some(batch) = walk.next(self)? {
            for (name, record) in batch {
                if record.id <= wanted.after || !self.fits(permit.actor(), &name, wanted)? {
                    continue;
                }
                total += 1;
                match (order, reversed) {
                    (OrderBy::Organisation, false) if total > wanted.offset && total <= until => {
                        page.push(name)
                    }
                    (OrderBy::Organisation, false) => {}
                    (_, false) => keep(&mut first, self.place(name, &record, order)?, until),
                    (_, true) => keep(&mut last, Reverse(self.place(name, &record, order)?), until),
                }
            }
            tokio::task::yield_now().await;
        }
        page.extend(first.into_iter().skip(wanted.offset).map(|place| place.2));
        page.extend(last.into_iter().skip(wanted.offset).map(|Reverse(place)| place.2));
        Ok((page, total))
    }

    /// How many repositories each of these organisations has that the one who asks may look at.
    pub async fn counts(&self, permit: &Permit, organisations: &[&str]) -> Result<Vec<u64>, Error> {
        if !permit.covers_registry(Action::ListOrganisations) {
            return Err(Error::Bug("a permit for something else"));
        }
        let mut counts = Vec::new();
        for organisation in organisations {
            let mut walk = Walk { organisations: vec![(*organisation).to_owned()], after: None };
            let mut count = 0;
            while let Some(batch) = walk.next(self)? {
                let seen =
                    batch.iter().filter(|(name, _)| self.may(permit.actor(), Action::ShowRepository, name));
                count += seen.count() as u64;
                tokio::task::yield_now().await;
            }
            counts.push(count);
        }
        Ok(counts)
    }

    /// Sums over the repositories of the account of the one who asks.
    pub async fn totals(&self, permit: &Permit) -> Result<Totals, Error> {
        if !permit.covers_registry(Action::ShowOverview) && !permit.covers_registry(Action::ShowReports) {
            return Err(Error::Bug("a permit for something else"));
        }
        let mut totals = Totals::default();
        let Actor::User(user) = permit.actor() else { return Ok(totals) };
        let organisations: Vec<String> = {
            let directory = self.shelves.access.directory();
            let account = directory.user(*user).map(|user| user.account);
            account
                .into_iter()
                .flat_map(|account| directory.organisations_of(account))
                .map(str::to_owned)
                .collect()
        };
        totals.organisations = organisations.len() as u64;
        let mut walk = Walk::over(organisations);
        while let Some(batch) = walk.next(self)? {
            totals.repositories += batch.len() as u64;
            for (_, record) in batch {
                let counters = self.shelves.meta.get(&RepositoryCountersKey { repository: record.id })?;
                let counters = counters.unwrap_or_default();
                totals.versions += counters.tags;
                totals.bytes += counters.bytes;
            }
            tokio::task::yield_now().await;
        }
        Ok(totals)
    }

    /// Whether a repository is one that is wanted, of those that are the business of the one who asks.
    fn fits(&self, actor: &Actor, name: &RepositoryName, wanted: &Wanted) -> Result<bool, Error> {
        let rest = name.as_str().get(name.organisation().len() + 1..).unwrap_or_default();
        let (is_public, is_own) = {
            let directory = self.shelves.access.directory();
            let is_own = match actor {
                Actor::User(user) => {
                    let account = directory.user(*user).map(|user| user.account);
                    let organisation = directory.organisation(name.organisation());
                    organisation.is_some_and(|organisation| organisation.owner == account)
                        || directory.grant(*user, name.organisation()).is_some()
                        || directory.grant(*user, name.as_str()).is_some()
                }
                _ => true,
            };
            (directory.is_public(name.as_str()), is_own)
        };
        let is_wanted = wanted.name.as_ref().is_none_or(|part| rest.contains(part.as_str()))
            && wanted.public.is_none_or(|public| public == is_public);
        if !is_wanted || !is_own {
            return Ok(false);
        }
        if let Some(category) = wanted.category {
            let settings =
                self.shelves.meta.get(&RepositorySettingsKey { name: name.as_str().to_owned() })?;
            if settings.unwrap_or_default().category != category {
                return Ok(false);
            }
        }
        Ok(self.may(actor, Action::ShowRepository, name))
    }

    fn may(&self, actor: &Actor, action: Action, name: &RepositoryName) -> bool {
        self.shelves.access.authorise(actor, action, Resource::Repository(name.clone())).is_ok()
    }

    fn place(&self, name: RepositoryName, record: &RepositoryRecord, order: OrderBy) -> Result<Place, Error> {
        let counters = || self.shelves.meta.get(&RepositoryCountersKey { repository: record.id });
        Ok(match order {
            OrderBy::Organisation => Place(0, name.organisation().to_owned(), name),
            OrderBy::Name => {
                let rest = name.as_str().get(name.organisation().len() + 1..).unwrap_or_default();
                Place(0, rest.to_owned(), name)
            }
            OrderBy::Number => Place(record.id, String::new(), name),
            OrderBy::Versions => Place(counters()?.unwrap_or_default().tags, String::new(), name),
            OrderBy::Public => {
                let is_public = self.shelves.access.directory().is_public(name.as_str());
                Place(is_public.into(), String::new(), name)
            }
            OrderBy::UpdatedAt => {
                let pushed = counters()?.unwrap_or_default().pushed_at;
                let settings = RepositorySettingsKey { name: name.as_str().to_owned() };
                let changed = self.shelves.meta.get(&settings)?.unwrap_or_default().updated_at;
                Place(record.created_at.max(pushed).max(changed), String::new(), name)
            }
        })
    }

    async fn described(
        &self,
        actor: &Actor,
        names: &[RepositoryName],
        tags: usize,
    ) -> Result<Vec<RepositoryFacts>, Error> {
        let (mut items, mut text) = (Vec::new(), 0);
        for name in names {
            let Some(facts) = self.facts_of(actor, name, Some(tags))? else { continue };
            text += facts.description.len() + facts.tags.iter().map(String::len).sum::<usize>();
            items.push(facts);
            if text > MAX_TEXT {
                break;
            }
            if items.len() % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(items)
    }

    /// Tags only for who may list them.
    fn facts_of(
        &self,
        actor: &Actor,
        name: &RepositoryName,
        tags: Option<usize>,
    ) -> Result<Option<RepositoryFacts>, Error> {
        let meta = &self.shelves.meta;
        let Some(record) = meta.get(&RepositoryKey { name: name.as_str().to_owned() })? else {
            return Ok(None);
        };
        let counters = meta.get(&RepositoryCountersKey { repository: record.id })?.unwrap_or_default();
        let settings =
            meta.get(&RepositorySettingsKey { name: name.as_str().to_owned() })?.unwrap_or_default();
        let description = match tags {
            None => String::new(),
            Some(_) => organisations::text(meta, TextOwner::Repository(record.id))?,
        };
        let tags = match tags {
            None | Some(0) => Vec::new(),
            Some(_) if !self.may(actor, Action::ListTags, name) => Vec::new(),
            Some(tags) => meta.page::<TagKey>(&TagKey::prefix(record.id), None, tags)?,
        };
        let directory = self.shelves.access.directory();
        let organisation = directory.organisation(name.organisation());
        let owner = organisation.and_then(|organisation| organisation.owner);
        let owner = owner.and_then(|id| Some((id, directory.account(id)?.name.clone())));
        Ok(Some(RepositoryFacts {
            name: name.clone(),
            id: record.id,
            organisation: organisation.map_or(0, |organisation| organisation.number),
            owner,
            creator: settings.creator,
            public: settings.public,
            category: settings.category,
            description,
            created_at: record.created_at,
            updated_at: record.created_at.max(counters.pushed_at).max(settings.updated_at),
            versions: counters.tags,
            bytes: counters.bytes,
            pulls: self.shelves.counters.pulls(record.id)?,
            tags: tags.into_iter().map(|(key, _)| key.tag).collect(),
        }))
    }
}

/// Organisations still to be walked over, the next one last, and how far the one being walked is.
struct Walk {
    organisations: Vec<String>,
    after: Option<Vec<u8>>,
}

impl Walk {
    fn over(mut organisations: Vec<String>) -> Self {
        organisations.sort_unstable_by(|a, b| b.cmp(a));
        Self { organisations, after: None }
    }

    /// Over those that have `part` in their names and in which there may be something for `actor`.
    fn of(images: &Images, actor: &Actor, part: Option<&str>) -> Self {
        let directory = images.shelves.access.directory();
        let names: Vec<String> = match actor {
            Actor::User(user) => {
                let account = directory.user(*user).map(|user| user.account);
                let own = account.into_iter().flat_map(|account| directory.organisations_of(account));
                let granted = directory.grants_of(*user).filter_map(|(name, _)| name.split('/').next());
                own.chain(granted).map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
            }
            _ => directory.organisation_names(),
        };
        Self::over(names.into_iter().filter(|name| part.is_none_or(|part| name.contains(part))).collect())
    }

    /// Some more repositories, perhaps none; `None` at the end.
    fn next(&mut self, images: &Images) -> Result<Option<Vec<(RepositoryName, RepositoryRecord)>>, Error> {
        let Some(organisation) = self.organisations.last() else { return Ok(None) };
        let within = format!("{organisation}/");
        let rows =
            images.shelves.meta.page::<RepositoryKey>(within.as_bytes(), self.after.as_deref(), BATCH)?;
        if rows.len() < BATCH {
            self.organisations.pop();
            self.after = None;
        } else {
            self.after = rows.last().map(|(key, _)| key.encode());
        }
        Ok(Some(
            rows.into_iter().filter_map(|(key, record)| Some((key.name.parse().ok()?, record))).collect(),
        ))
    }
}

/// Keeps the first `most`.
fn keep<T: Ord>(kept: &mut BTreeSet<T>, item: T, most: usize) {
    kept.insert(item);
    if kept.len() > most {
        kept.pop_last();
    }
}

fn lists(permit: &Permit) -> Result<(), Error> {
    match permit.covers_registry(Action::ListRepositories) {
        true => Ok(()),
        false => Err(Error::Bug("a permit for something else")),
    }
}
