//! Adding what is pending to the store, and looking at what the repositories hold.

use std::collections::HashMap;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::AccountKey;
use pierhead_storage_format::keys::{RepositoryCountersKey, RepositoryKey, TableKey};
use pierhead_storage_format::usage::{
    AccountDayKey, AccountDayRecord, RepositoryPullsKey, RepositoryPullsRecord,
};

use super::pending::{Batch, More, Pulls};
use super::{Counters, DAY_MS, DAYS, Day};
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::names::RepositoryName;
use crate::stores::meta::Tx;

/// What one change set adds at most, so that others do not wait for it.
const BATCH: usize = 2000;
/// Repositories looked at in one go.
const LOOKED_AT: usize = 500;

impl Counters {
    /// Adds what is pending to the store. What cannot be added stays pending.
    pub async fn flush(&self, permit: &Permit) -> Result<(), Error> {
        maintains(permit)?;
        let uncounted = self.pending().uncounted();
        if uncounted > 0 {
            tracing::warn!(uncounted, "more was pulled and pushed at once than is counted");
        }
        loop {
            let batch = self.pending().some(BATCH);
            let count = batch.repositories.len() + batch.days.len();
            if count == 0 {
                return Ok(());
            }
            let adding = batch.clone();
            self.0.meta.commit(move |tx| add(tx, &adding)).await?;
            self.pending().done(&batch);
            if count < BATCH {
                return Ok(());
            }
        }
    }

    /// Looks how much the repositories of every account hold, for the figures of today. Only what changed will be
    /// written.
    pub async fn look(&self, permit: &Permit) -> Result<(), Error> {
        maintains(permit)?;
        let mut held: HashMap<Id, u64> =
            self.0.access.directory().accounts().map(|(id, _)| (id, 0)).collect();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.0.meta.page::<RepositoryKey>(&[], after.as_deref(), LOOKED_AT)?;
            for (key, record) in &rows {
                let owner = key.name.parse().ok().and_then(|name: RepositoryName| self.owner(&name));
                let Some(held) = owner.and_then(|owner| held.get_mut(&owner)) else { continue };
                let counters = self.0.meta.get(&RepositoryCountersKey { repository: record.id })?;
                *held = held.saturating_add(counters.unwrap_or_default().bytes);
            }
            if rows.len() < LOOKED_AT {
                break;
            }
            after = rows.last().map(|(key, _)| key.encode());
            tokio::task::yield_now().await;
        }
        let day = self.0.clock.now_ms() / DAY_MS;
        for (account, held) in held {
            let known = self.0.meta.get(&AccountDayKey { account, day })?.and_then(|record| record.stored);
            if known != Some(held) {
                self.pending().day(Some(account), day, |more| more.stored = Some(held));
            }
        }
        Ok(())
    }
}

fn maintains(permit: &Permit) -> Result<(), Error> {
    match permit.covers_registry(Action::MaintainStore) {
        true => Ok(()),
        false => Err(Error::Bug("a permit for something else")),
    }
}

fn add(tx: &mut Tx<'_>, batch: &Batch) -> Result<(), Error> {
    for (id, name, pulls) in &batch.repositories {
        add_pulls(tx, *id, name, *pulls)?;
    }
    for ((account, day), more) in &batch.days {
        add_day(tx, AccountDayKey { account: *account, day: *day }, *more)?;
    }
    Ok(())
}

fn add_pulls(tx: &mut Tx<'_>, id: u64, name: &str, more: Pulls) -> Result<(), Error> {
    let repository = tx.get(&RepositoryKey { name: name.to_owned() })?;
    if repository.is_none_or(|repository| repository.id != id) {
        return Ok(());
    }
    let key = RepositoryPullsKey { repository: id };
    let before = tx.get(&key)?.unwrap_or_default();
    let pulls = before.pulls.saturating_add(more.pulls);
    let pulled_at = before.pulled_at.max(more.pulled_at);
    Ok(tx.put(&key, &RepositoryPullsRecord { pulls, pulled_at })?)
}

fn add_day(tx: &mut Tx<'_>, key: AccountDayKey, more: More) -> Result<(), Error> {
    if tx.get(&AccountKey { id: key.account })?.is_none() {
        return Ok(());
    }
    let before = tx.get(&key)?;
    if before.is_none() {
        // By number and not by age: a clock that jumped makes one odd day, and removes one.
        let days = tx.page::<AccountDayKey>(&AccountDayKey::prefix(key.account), None, DAYS + 1)?;
        for (old, _) in days.iter().take((days.len() + 1).saturating_sub(DAYS)) {
            tx.delete(old)?;
        }
    }
    Ok(tx.put(&key, &more.added_to(before.unwrap_or_default()))?)
}

/// Removes what is kept of an account that goes.
pub fn forget_account(tx: &mut Tx<'_>, account: Id) -> Result<(), Error> {
    for (key, _) in tx.page::<AccountDayKey>(&AccountDayKey::prefix(account), None, DAYS + 1)? {
        tx.delete(&key)?;
    }
    Ok(())
}

/// A row as it is shown.
pub(super) fn shown(day: u64, record: AccountDayRecord) -> Day {
    let AccountDayRecord { pulls, pulled, pushes, stored } = record;
    Day { day, pulls, pulled, pushes, stored }
}

/// The inverse of [`shown`].
pub(super) fn kept(day: &Day) -> AccountDayRecord {
    AccountDayRecord { pulls: day.pulls, pulled: day.pulled, pushes: day.pushes, stored: day.stored }
}
