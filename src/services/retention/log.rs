//! What policies of a repository removed.

use pierhead_storage_format::Digest;
use pierhead_storage_format::retention::{
    LOG_ROWS, RULE, RetentionLogKey, RetentionLogRecord, RetentionStateKey,
};
use serde_json::{Value, json};

use super::Retention;
use super::rules::{Keep, Policy, Selector};
use super::stored::Held;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::images::{Tagged, permitted};
use crate::services::names::RepositoryName;
use crate::stores::meta::Tx;

/// A version that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its place in the repository's log, from 1.
    pub number: u64,
    /// The repository.
    pub name: RepositoryName,
    /// The policy's number.
    pub retention: u64,
    /// The tag.
    pub tag: String,
    /// What it named.
    pub digest: Digest,
    /// When it had been pushed last: UTC milliseconds.
    pub pushed_at: u64,
    /// When it was removed.
    pub removed_at: u64,
    /// The rule as SWR spells it, JSON.
    pub rule: String,
}

impl Policy {
    /// The rule as SWR spells it.
    pub fn rule(&self) -> Value {
        let (template, params) = match self.keep {
            Keep::Days(days) => ("date_rule", json!({"days": days.to_string()})),
            Keep::Versions(versions) => ("tag_rule", json!({"num": versions.to_string()})),
        };
        let selectors: Vec<Value> = self.exempt.iter().map(selector).collect();
        json!({"template": template, "params": params, "tag_selectors": selectors})
    }

    /// The same, as many selectors left out as it takes to fit a row of the log.
    pub(super) fn short_rule(&self) -> String {
        let bare = Self { keep: self.keep, exempt: Vec::new() }.rule().to_string();
        let mut left = RULE.saturating_sub(bare.len());
        let fitting = self.exempt.iter().take_while(|exempt| {
            let bytes = selector(exempt).to_string().len() + 1;
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        });
        Self { keep: self.keep, exempt: fitting.cloned().collect() }.rule().to_string()
    }
}

fn selector(selector: &Selector) -> Value {
    let (kind, pattern) = selector.parts();
    json!({"kind": kind, "pattern": pattern})
}

/// Writes down what a change set removes, and lets the oldest go that are too many.
pub fn write(tx: &mut Tx<'_>, held: &Held, rule: &str, gone: &[Tagged], now: u64) -> Result<(), Error> {
    let repository = held.repository;
    let key = RetentionStateKey { repository };
    let mut state = tx.get(&key)?.unwrap_or_default();
    let mut number = state.next.max(1);
    for version in gone {
        let record = RetentionLogRecord {
            retention: held.number,
            tag: version.tag.as_str().to_owned(),
            digest: version.digest,
            pushed_at: version.pushed_at,
            removed_at: now,
            rule: rule.to_owned(),
        };
        tx.put(&RetentionLogKey { repository, number }, &record)?;
        if let Some(old) = number.checked_sub(LOG_ROWS).filter(|old| *old > 0) {
            tx.delete(&RetentionLogKey { repository, number: old })?;
        }
        number += 1;
    }
    state.next = number;
    Ok(tx.put(&key, &state)?)
}

impl Retention {
    /// A page of what was removed from a repository, the newest first, and how many there are on record.
    pub fn histories(
        &self,
        permit: &Permit,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<Removed>, usize), Error> {
        let name = permitted(permit, Action::ListRetentionHistories)?;
        let most = usize::try_from(LOG_ROWS).unwrap_or(usize::MAX);
        let prefix = RetentionLogKey::prefix(self.there(name)?);
        let rows = self.0.parts.meta.page::<RetentionLogKey>(&prefix, None, most)?;
        let total = rows.len();
        let page = rows.into_iter().rev().skip(offset).take(limit).map(|(key, record)| Removed {
            number: key.number,
            name: name.clone(),
            retention: record.retention,
            tag: record.tag,
            digest: record.digest,
            pushed_at: record.pushed_at,
            removed_at: record.removed_at,
            rule: record.rule,
        });
        Ok((page.collect(), total))
    }
}
