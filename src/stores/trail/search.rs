//! Finding events: frames that may have fitting ones are read in the order of their trace ids, newest or
//! oldest first, until a page is full. Frames of different segments may overlap a little, since what was
//! recorded in a change set comes later than what was not.

use std::collections::BTreeMap;
use std::sync::Arc;

use pierhead_storage_format::FormatError;
use pierhead_storage_format::audit::{Entry, EventRecord, EventView, Field, Hashed, Item, Rating, items};
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::identity::Id;

use super::sealed::Segment;
use super::{Batch, Trail, TrailError, View, lock};

/// Frames read for one page at most: a search for what is rare goes on with the next page.
const READS: usize = 400;

/// Which end comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The highest trace id.
    #[default]
    Newest,
    /// The lowest.
    Oldest,
}

/// Which events are wanted: those that fit everything that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In whose trail.
    pub account: Option<Id>,
    /// The user's id (32 hex digits) or name.
    pub user: Option<String>,
    /// The resource's type.
    pub resource_type: Option<String>,
    /// The resource's name or id.
    pub resource: Option<String>,
    /// The trace name.
    pub name: Option<String>,
    /// How it ended.
    pub rating: Option<Rating>,
    /// Not before, UTC milliseconds.
    pub from: Option<u64>,
    /// Before, UTC milliseconds.
    pub until: Option<u64>,
}

/// An event with its trace id.
pub type Event = (Id, EventRecord);

/// A page of events.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order asked for. May be fewer than asked for, even none, and there may be more.
    pub events: Vec<Event>,
    /// Where the next page begins after; none if this is the last.
    pub next: Option<Id>,
    /// Frames that could not be read: what was in them is missing here.
    pub unreadable: usize,
}

/// A filter with what filters of frames are asked.
struct Wanted<'a> {
    filter: &'a Filter,
    hashed: Vec<Hashed>,
    user: Option<Id>,
}

impl<'a> Wanted<'a> {
    fn new(filter: &'a Filter) -> Self {
        let texts = [
            (Field::User, &filter.user),
            (Field::ResourceType, &filter.resource_type),
            (Field::Resource, &filter.resource),
            (Field::Name, &filter.name),
        ];
        let texts = texts.iter().filter_map(|(field, text)| Some((*field, text.as_deref()?)));
        let mut hashed: Vec<_> = texts.map(|(field, text)| Hashed::new(field, text.as_bytes())).collect();
        hashed.extend(filter.account.map(|id| Hashed::new(Field::Account, id.as_bytes())));
        Self { filter, hashed, user: filter.user.as_deref().and_then(|text| text.parse().ok()) }
    }

    fn may_be_in(&self, from: u64, to: u64, ratings: u8) -> bool {
        let Filter { rating, from: wanted_from, until, .. } = self.filter;
        wanted_from.is_none_or(|wanted| to >= wanted)
            && until.is_none_or(|until| from < until)
            && rating.is_none_or(|rating| ratings & rating.bit() != 0)
    }

    fn fits(&self, event: &EventView<'_>) -> bool {
        let Filter { account, user, resource_type, resource, name, rating, .. } = self.filter;
        let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        self.may_be_in(event.at, event.at, event.rating.bit())
            && account.is_none_or(|account| event.account == Some(account))
            && (is(user, event.user_name) || (self.user.is_some() && event.user == self.user))
            && is(resource_type, event.resource_type)
            && (is(resource, event.resource) || is(resource, event.resource_id))
            && is(name, event.name)
            && rating.is_none_or(|rating| event.rating == rating)
    }
}

/// Something that is read as a whole.
enum Unit {
    Frame(Arc<Segment>, usize),
    Batch(Arc<Batch>),
}

/// A place in the order asked for: for newest first, ids turned round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place([u8; 16]);

impl Order {
    fn place(self, id: Id) -> Place {
        match self {
            Self::Oldest => Place(*id.as_bytes()),
            Self::Newest => Place(id.as_bytes().map(|byte| !byte)),
        }
    }

    fn id(self, place: Place) -> Id {
        match self {
            Self::Oldest => Id::from_bytes(place.0),
            Self::Newest => Id::from_bytes(place.0.map(|byte| !byte)),
        }
    }
}

impl Place {
    /// The place right before this one.
    fn before(self) -> Option<Self> {
        u128::from_be_bytes(self.0).checked_sub(1).map(|before| Self(before.to_be_bytes()))
    }
}

impl Trail {
    /// Up to `limit` events that fit, from the one after `after` on. Reads at most [`READS`] frames.
    pub fn page(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Id>,
        limit: usize,
    ) -> Result<Page, TrailError> {
        let view = lock(&self.0.view).clone();
        let wanted = Wanted::new(filter);
        let after = after.map(|id| order.place(id));
        let mut units = units(&view, &wanted, order, after).into_iter().peekable();
        let (mut found, mut reads, mut page) = (BTreeMap::<Place, Box<[u8]>>::new(), 0, Page::default());
        loop {
            let next = units.peek().map(|(place, _)| *place);
            while page.events.len() < limit
                && let Some((place, record)) = found.first_key_value().map(|(place, record)| (*place, record))
                && next.is_none_or(|next| place < next)
            {
                page.events.push((order.id(place), EventRecord::decode(record)?));
                found.remove(&place);
            }
            let is_full = page.events.len() >= limit;
            match next {
                None if found.is_empty() => return Ok(page),
                _ if is_full => {
                    page.next = page.events.last().map(|event| event.0);
                    return Ok(page);
                }
                Some(next) if reads >= READS => {
                    page.next = next.before().map(|place| order.id(place));
                    return Ok(page);
                }
                _ => {}
            }
            let Some((_, unit)) = units.next() else { continue };
            self.read(&unit, &wanted, (order, after), &mut found, &mut reads).or_else(
                |error| match error {
                    TrailError::Damaged { .. } | TrailError::Io { .. } => {
                        tracing::error!(%error, "a part of the audit trail cannot be read");
                        page.unreadable += 1;
                        Ok(())
                    }
                    other => Err(other),
                },
            )?;
            // No more than a page of them will be asked for.
            while found.len() > limit.saturating_add(1) {
                found.pop_last();
            }
        }
    }

    fn read(
        &self,
        unit: &Unit,
        wanted: &Wanted<'_>,
        (order, after): (Order, Option<Place>),
        found: &mut BTreeMap<Place, Box<[u8]>>,
        reads: &mut usize,
    ) -> Result<(), TrailError> {
        let mut take = |id: Id, record: &[u8]| -> Result<(), FormatError> {
            let place = order.place(id);
            if after.is_none_or(|after| place > after) && wanted.fits(&EventView::of(record)?) {
                found.insert(place, record.into());
            }
            Ok(())
        };
        match unit {
            Unit::Batch(batch) => {
                batch.events.iter().try_for_each(|(id, record)| take(*id, record))?;
            }
            Unit::Frame(segment, frame) => {
                let Some(entry) = segment.index.entries.get(*frame) else { return Ok(()) };
                if !wanted.hashed.is_empty() {
                    let filters = self.0.filters_of(segment)?;
                    let filter = segment.filter(&filters, *frame);
                    if !wanted.hashed.iter().all(|hashed| hashed.may_be_in(filter)) {
                        return Ok(());
                    }
                }
                *reads += 1;
                let raw = segment.frame(self.0.disk.as_ref(), entry)?;
                for item in items(&raw) {
                    let Item { id, record } = item?;
                    take(id, record)?;
                }
            }
        }
        Ok(())
    }

    /// Whether an event is there.
    pub fn contains(&self, id: Id) -> Result<bool, TrailError> {
        let view = lock(&self.0.view).clone();
        if view.batches.iter().any(|batch| batch.events.binary_search_by_key(&id, |event| event.0).is_ok()) {
            return Ok(true);
        }
        for segment in view.segments.values() {
            for entry in segment.index.entries.iter().filter(|entry| (entry.first..=entry.last).contains(&id))
            {
                let raw = segment.frame(self.0.disk.as_ref(), entry)?;
                if items(&raw).any(|item| item.is_ok_and(|item| item.id == id)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// What may have fitting events, by where it begins in the order asked for.
fn units(view: &View, wanted: &Wanted<'_>, order: Order, after: Option<Place>) -> Vec<(Place, Unit)> {
    let place = |first: Id, last: Id| match order {
        Order::Newest => (order.place(last), order.place(first)),
        Order::Oldest => (order.place(first), order.place(last)),
    };
    let mut units = Vec::new();
    for segment in view.segments.values() {
        for (frame, entry) in segment.index.entries.iter().enumerate() {
            let (begins, ends) = place(entry.first, entry.last);
            if after.is_none_or(|after| ends > after) && wanted.may_be_in(entry.from, entry.to, entry.ratings)
            {
                units.push((begins, Unit::Frame(Arc::clone(segment), frame)));
            }
        }
    }
    for batch in &view.batches {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { continue };
        let (begins, ends) = place(first, last);
        if after.is_none_or(|after| ends > after) && wanted.may_be_in(batch.from, batch.to, u8::MAX) {
            units.push((begins, Unit::Batch(Arc::clone(batch))));
        }
    }
    units.sort_unstable_by_key(|(begins, _)| *begins);
    units
}

/// Whether the events of a frame are what its entry and its filter say.
pub(super) fn fits_its_entry<'a>(
    found: impl Iterator<Item = Result<Item<'a>, FormatError>>,
    entry: &Entry,
    filter: &[u8],
) -> bool {
    let (mut count, mut before, mut ratings) = (0u32, None, 0u8);
    let (mut from, mut to) = (u64::MAX, 0);
    for item in found {
        let Ok(Item { id, record }) = item else { return false };
        let Ok(event) = EventView::of(record) else { return false };
        let begins = before.is_none() && id != entry.first;
        if begins || before.is_some_and(|before| before >= id) || !is_in_filter(&event, filter) {
            return false;
        }
        (count, before, ratings) = (count + 1, Some(id), ratings | event.rating.bit());
        (from, to) = (from.min(event.at), to.max(event.at));
    }
    (count, before, ratings, from, to) == (entry.count, Some(entry.last), entry.ratings, entry.from, entry.to)
}

fn is_in_filter(event: &EventView<'_>, filter: &[u8]) -> bool {
    let user = event.user.map(|id| id.to_string());
    let texts = [
        (Field::User, Some(event.user_name)),
        (Field::User, user.as_deref()),
        (Field::ResourceType, Some(event.resource_type)),
        (Field::Resource, Some(event.resource)),
        (Field::Resource, Some(event.resource_id)),
        (Field::Name, Some(event.name)),
    ];
    let is_in = |field, bytes: &[u8]| Hashed::new(field, bytes).may_be_in(filter);
    texts.iter().all(|(field, text)| text.is_none_or(|text| is_in(*field, text.as_bytes())))
        && event.account.is_none_or(|id| is_in(Field::Account, id.as_bytes()))
}
