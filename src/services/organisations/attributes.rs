//! What a repository says of itself: public or private, category, description, whether its tags are immutable.

use pierhead_storage_format::identity::keys::{GrantKey, RepositorySettingsKey, TextKey, TextOwner};
use pierhead_storage_format::identity::limits::TEXT_PART;
use pierhead_storage_format::identity::records::{
    Category, Creator, GrantRecord, Level, RepositorySettingsRecord, TextRecord,
};
use pierhead_storage_format::keys::{CounterKey, RepositoryKey, TableKey};
use pierhead_storage_format::records::{CounterRecord, RepositoryRecord};

use super::lifecycle::clear_rights;
use super::{Organisations, repository, there};
use crate::services::access::{Action, Permit};
use crate::services::error::{Error, Thing};
use crate::stores::meta::{Meta, Tx};

/// Characters of a description.
const MAX_DESCRIPTION: usize = 30_000;
/// Parts of one text: no text is longer.
const MAX_PARTS: usize = 64;

/// A repository's attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Anybody may pull.
    pub public: bool,
    /// Its kind.
    pub category: Category,
    /// At most 30,000 characters.
    pub description: String,
    /// Who made it, if a user did.
    pub creator: Option<Creator>,
    /// When one of them was last changed; 0 for never.
    pub updated_at: u64,
    /// Its tags neither move to another manifest nor go.
    pub immutable_tags: bool,
}

/// Attributes to change; `None` leaves one as it is.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Anybody may pull.
    pub public: Option<bool>,
    /// Its kind.
    pub category: Option<Category>,
    /// At most 30,000 characters.
    pub description: Option<String>,
    /// Its tags neither move to another manifest nor go.
    pub immutable_tags: Option<bool>,
}

impl Organisations {
    /// Makes an empty repository with these attributes.
    pub async fn create_repository(&self, permit: &Permit, attributes: Changed) -> Result<(), Error> {
        let name = repository(permit, Action::CreateRepository)?;
        check(&attributes)?;
        let access = self.access.clone();
        let creator = self.author(permit)?.map(|author| author.creator);
        let now = self.clock.now_ms();
        self.commit(permit, move |tx| {
            let organisation = there(tx, name.organisation())?.number;
            let key = RepositoryKey { name: name.as_str().to_owned() };
            if tx.get(&key)?.is_some() {
                return Err(Error::Exists(Thing::Repository(key.name)));
            }
            let counter = CounterKey { name: "repository".to_owned() };
            let id = tx.get(&counter)?.map_or(1, |record| record.next);
            tx.put(&counter, &CounterRecord { next: id + 1 })?;
            tx.put(&key, &RepositoryRecord { id, created_at: now })?;
            clear_rights(tx, &access, &name)?;
            if let Some(creator) = &creator {
                let grant = GrantRecord { organisation, level: Level::Manage, granted_at: now };
                tx.put(&GrantKey { user: creator.id, name: key.name.clone() }, &grant)?;
            }
            // What an earlier repository of that name left must not decide who may pull this one.
            let fresh = RepositorySettingsRecord { creator, ..RepositorySettingsRecord::default() };
            change(tx, key.name, id, attributes, fresh, now)
        })
        .await
    }

    /// Changes a repository's attributes. A shared one that becomes public keeps its shares, which say
    /// nothing while it is.
    pub async fn update(&self, permit: &Permit, attributes: Changed) -> Result<(), Error> {
        let name = repository(permit, Action::UpdateRepository)?.as_str().to_owned();
        check(&attributes)?;
        let now = self.clock.now_ms();
        self.commit(permit, move |tx| {
            let record = tx.get(&RepositoryKey { name: name.clone() })?;
            let record = record.ok_or_else(|| Error::Missing(Thing::Repository(name.clone())))?;
            let key = RepositorySettingsKey { name };
            let old = tx.get(&key)?.unwrap_or_default();
            change(tx, key.name, record.id, attributes, old, now)
        })
        .await
    }

    /// A repository's attributes.
    pub fn attributes(&self, permit: &Permit) -> Result<Attributes, Error> {
        let name = repository(permit, Action::ShowRepository)?.as_str().to_owned();
        let record = self.meta.get(&RepositoryKey { name: name.clone() })?;
        let record = record.ok_or_else(|| Error::Missing(Thing::Repository(name.clone())))?;
        let settings = self.meta.get(&RepositorySettingsKey { name })?.unwrap_or_default();
        let RepositorySettingsRecord { public, category, creator, updated_at, immutable_tags } = settings;
        let description = text(&self.meta, TextOwner::Repository(record.id))?;
        Ok(Attributes { public, category, description, creator, updated_at, immutable_tags })
    }
}

fn check(attributes: &Changed) -> Result<(), Error> {
    match &attributes.description {
        Some(text) if text.chars().count() > MAX_DESCRIPTION => {
            Err(Error::Invalid { field: "description", why: format!("at most {MAX_DESCRIPTION} characters") })
        }
        _ => Ok(()),
    }
}

fn change(
    tx: &mut Tx<'_>,
    name: String,
    id: u64,
    attributes: Changed,
    old: RepositorySettingsRecord,
    now: u64,
) -> Result<(), Error> {
    let record = RepositorySettingsRecord {
        public: attributes.public.unwrap_or(old.public),
        category: attributes.category.unwrap_or(old.category),
        creator: old.creator,
        updated_at: now,
        immutable_tags: attributes.immutable_tags.unwrap_or(old.immutable_tags),
    };
    tx.put(&RepositorySettingsKey { name }, &record)?;
    match attributes.description {
        Some(description) => put_text(tx, TextOwner::Repository(id), &description),
        None => Ok(()),
    }
}

/// Sets a long text, in parts.
pub fn put_text(tx: &mut Tx<'_>, owner: TextOwner, text: &str) -> Result<(), Error> {
    let mut part = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.floor_char_boundary(TEXT_PART));
        tx.put(&TextKey { owner, part }, &TextRecord { part: head.to_owned() })?;
        (part, rest) = (part + 1, tail);
    }
    let after = part.checked_sub(1).map(|last| TextKey { owner, part: last }.encode());
    for (key, _) in tx.page::<TextKey>(&TextKey::prefix(owner), after.as_deref(), MAX_PARTS)? {
        tx.delete(&key)?;
    }
    Ok(())
}

/// A long text; empty if there is none.
pub fn text(meta: &Meta, owner: TextOwner) -> Result<String, Error> {
    let parts = meta.page::<TextKey>(&TextKey::prefix(owner), None, MAX_PARTS)?;
    Ok(parts.into_iter().map(|(_, record)| record.part).collect())
}
