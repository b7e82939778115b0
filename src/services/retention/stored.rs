//! A policy as it is kept: a row, and its selectors as JSON in `text` rows.

use pierhead_storage_format::identity::keys::TextOwner;
use pierhead_storage_format::identity::limits::TEXT_PART;
use pierhead_storage_format::keys::CounterKey;
use pierhead_storage_format::keys::TableKey;
use pierhead_storage_format::records::CounterRecord;
use pierhead_storage_format::retention::{
    LOG_ROWS, RetentionKey, RetentionKind, RetentionLogKey, RetentionRecord, RetentionStateKey,
};
use serde::{Deserialize, Serialize};

use super::rules::{Keep, Policy, Selector};
use crate::services::error::Error;
use crate::services::names::RepositoryName;
use crate::services::organisations::{put_text, text};
use crate::services::patterns::Pattern;
use crate::stores::meta::{Meta, Tx};

/// Numbers policies.
const COUNTER: &str = "retention";
/// Parts that a text may have, and what each holds though it is cut between characters.
const MAX_SELECTORS: usize = 64 * (TEXT_PART - 3);

/// A policy that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number, below 2^31 for a long time.
    pub number: u64,
    /// The number of its repository.
    pub repository: u64,
    /// The repository.
    pub name: RepositoryName,
    /// What it says.
    pub policy: Policy,
    /// When it was made: UTC milliseconds.
    pub created_at: u64,
    /// When it was last changed.
    pub updated_at: u64,
}

/// A selector as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: String,
    pattern: String,
}

impl Keep {
    /// As a row has it.
    pub(super) const fn stored(self) -> (RetentionKind, u64) {
        match self {
            Self::Days(days) => (RetentionKind::Days, days),
            Self::Versions(versions) => (RetentionKind::Versions, versions),
        }
    }

    const fn of(kind: RetentionKind, amount: u64) -> Self {
        match kind {
            RetentionKind::Days => Self::Days(amount),
            RetentionKind::Versions => Self::Versions(amount),
        }
    }
}

impl Selector {
    /// SWR's kind, and the pattern.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Tag(tag) => ("label", tag),
            Self::Matching(pattern) => ("regexp", pattern.as_str()),
        }
    }

    fn written(&self) -> Written {
        let (kind, pattern) = self.parts();
        Written { kind: kind.to_owned(), pattern: pattern.to_owned() }
    }
}

/// Selectors as a text; else that they are too long.
pub fn selectors(policy: &Policy) -> Result<String, Error> {
    let written: Vec<Written> = policy.exempt.iter().map(Selector::written).collect();
    let text = serde_json::to_string(&written).map_err(|_| Error::Bug("selectors are no JSON"))?;
    if text.len() > MAX_SELECTORS {
        let why = format!("together they have at most {MAX_SELECTORS} bytes");
        return Err(Error::Invalid { field: "tag_selectors", why });
    }
    Ok(text)
}

/// The inverse of [`selectors`]; none if the text is not that.
pub fn read_selectors(text: &str) -> Option<Vec<Selector>> {
    let written: Vec<Written> = serde_json::from_str(text).ok()?;
    let read = written.into_iter().map(|Written { kind, pattern }| match kind.as_str() {
        "label" => Some(Selector::Tag(pattern)),
        "regexp" => Pattern::read(&pattern).ok().map(Selector::Matching),
        _ => None,
    });
    read.collect()
}

/// Sets the policy of a repository; its number, which stays that of the one there was.
pub fn put(
    tx: &mut Tx<'_>,
    (repository, name): (u64, &RepositoryName),
    policy: &Policy,
    now: u64,
) -> Result<u64, Error> {
    let key = RetentionKey { repository };
    let before = tx.get(&key)?;
    let number = match &before {
        Some(before) => before.number,
        None => next_number(tx)?,
    };
    let (kind, amount) = policy.keep.stored();
    let created_at = before.as_ref().map_or(now, |before| before.created_at);
    // Every change has a moment of its own, after any run that came to its end: by that a run knows of it.
    let ran = tx.get(&RetentionStateKey { repository })?.map_or(0, |state| state.started_at);
    let updated_at = now.max(ran + 1).max(before.map_or(0, |before| before.updated_at + 1));
    let name = name.as_str().to_owned();
    tx.put(&key, &RetentionRecord { number, name, kind, amount, created_at, updated_at })?;
    put_text(tx, TextOwner::Retention(repository), &selectors(policy)?)?;
    Ok(number)
}

fn next_number(tx: &mut Tx<'_>) -> Result<u64, Error> {
    let counter = CounterKey { name: COUNTER.to_owned() };
    let number = tx.get(&counter)?.map_or(1, |record| record.next);
    tx.put(&counter, &CounterRecord { next: number + 1 })?;
    Ok(number)
}

/// Removes the policy of a repository, if it has one.
pub fn remove(tx: &mut Tx<'_>, repository: u64) -> Result<(), Error> {
    tx.delete(&RetentionKey { repository })?;
    put_text(tx, TextOwner::Retention(repository), "")
}

/// Removes all there is about a repository that goes: some thousand rows at most.
pub fn forget(tx: &mut Tx<'_>, repository: u64) -> Result<(), Error> {
    remove(tx, repository)?;
    tx.delete(&RetentionStateKey { repository })?;
    let most = usize::try_from(LOG_ROWS).unwrap_or(usize::MAX);
    for (key, _) in tx.page::<RetentionLogKey>(&RetentionLogKey::prefix(repository), None, most)? {
        tx.delete(&key)?;
    }
    Ok(())
}

/// The policy of a repository, if it has one.
pub fn held(meta: &Meta, repository: u64) -> Result<Option<Held>, Error> {
    let record = meta.get(&RetentionKey { repository })?;
    record.map(|record| read(meta, repository, record)).transpose()
}

/// A policy of its row. What cannot be read removes nothing.
pub fn read(meta: &Meta, repository: u64, record: RetentionRecord) -> Result<Held, Error> {
    let exempt = read_selectors(&text(meta, TextOwner::Retention(repository))?);
    let name = record.name.parse().map_err(|_| Error::Bug("a retention policy's repository has no name"))?;
    Ok(Held {
        number: record.number,
        repository,
        name,
        policy: Policy {
            keep: Keep::of(record.kind, record.amount),
            exempt: exempt
                .ok_or(Error::Bug("a retention policy's selectors cannot be read: set it again"))?,
        },
        created_at: record.created_at,
        updated_at: record.updated_at,
    })
}

/// The encoded key that comes before every policy after this repository's.
pub fn after(repository: u64) -> Vec<u8> {
    RetentionKey { repository }.encode()
}
