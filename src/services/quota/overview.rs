//! All organisations and accounts with what they hold and may hold: for lists, and in short for the status. Lists are
//! by page of names.

use pierhead_storage_format::keys::TableKey;
use pierhead_storage_format::quota::{OrganisationQuotaKey, OrganisationUsageKey};

use super::{Quotas, Storage};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;

/// Rows read at a time.
const PAGE: usize = 1000;
/// Organisations that are near their quota and named, at most.
const NAMED: usize = 10;
/// From this part of its quota on an organisation is near it, in percent.
const NEAR: u64 = 90;

/// A page of a list.
#[derive(Debug)]
pub struct Storages {
    /// By name.
    pub items: Vec<Storage>,
    /// Whether more follow.
    pub more: bool,
}

/// All of them in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Bytes the organisations hold, each digest once in each of them.
    pub used: u64,
    /// Bytes reserved by uploads under way.
    pub reserved: u64,
    /// Organisations with a quota.
    pub quotas: u64,
    /// Pushes refused for a quota since the start.
    pub refused: u64,
    /// Organisations of whose quota nine tenths or more are used, the fullest first, ten at most.
    pub near: Vec<Near>,
}

/// An organisation that is near its quota, or beyond one that was set lower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Its name.
    pub organisation: String,
    /// Bytes.
    pub used: u64,
    /// Bytes.
    pub quota: u64,
}

impl Near {
    /// What is used, in millionths of the quota.
    fn fullness(&self) -> u128 {
        u128::from(self.used) * 1_000_000 / u128::from(self.quota.max(1))
    }
}

impl Quotas {
    /// Organisations whose names come after `after`.
    pub fn list(&self, permit: &Permit, after: Option<&str>, limit: usize) -> Result<Storages, Error> {
        if !permit.covers_registry(Action::ListOrganisations) {
            return Err(Error::Bug("a permit for something else"));
        }
        let mut found: Vec<(String, u64)> = {
            let directory = self.0.access.directory();
            let after = directory.organisations_after(after).take(limit + 1);
            after.map(|(name, record)| (name.to_owned(), record.number)).collect()
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let items = found.iter().map(|(name, number)| self.of_organisation(name, *number));
        Ok(Storages { items: items.collect::<Result<_, _>>()?, more })
    }

    /// Accounts whose names come after `after`.
    pub async fn list_accounts(
        &self,
        permit: &Permit,
        after: Option<String>,
        limit: usize,
    ) -> Result<Storages, Error> {
        if !permit.covers_registry(Action::ListAccounts) {
            return Err(Error::Bug("a permit for something else"));
        }
        let mut found: Vec<_> = {
            let directory = self.0.access.directory();
            let all = directory.accounts().map(|(id, record)| (record.name.clone(), id));
            all.filter(|(name, _)| after.as_ref().is_none_or(|after| name > after)).collect()
        };
        found.sort_unstable();
        let more = found.len() > limit;
        found.truncate(limit);
        let this = self.clone();
        // An account may own a thousand organisations.
        let look = move || found.into_iter().map(|(name, id)| this.of_account(name, id)).collect();
        let items = tasks::blocking(move || -> Result<Vec<Storage>, _> { look() }).await??;
        Ok(Storages { items, more })
    }

    /// All of them in short. Blocks for a look at the rows of every organisation.
    pub fn overview(&self) -> Result<Overview, Error> {
        let mut overview = Overview {
            reserved: self.0.ledger.all_reserved(),
            refused: self.0.ledger.refused(),
            ..Overview::default()
        };
        self.each::<OrganisationUsageKey>(|_, usage| {
            overview.used += usage.bytes;
            Ok(())
        })?;
        let mut near: Vec<(u64, Near)> = Vec::new();
        self.each::<OrganisationQuotaKey>(|OrganisationQuotaKey { organisation }, quota| {
            overview.quotas += 1;
            let usage = self.0.meta.get(&OrganisationUsageKey { organisation })?.unwrap_or_default();
            let found = Near { organisation: String::new(), used: usage.bytes, quota: quota.bytes };
            if found.fullness() >= u128::from(NEAR) * 10_000 {
                near.push((organisation, found));
                near.sort_by_key(|(_, near)| std::cmp::Reverse(near.fullness()));
                near.truncate(NAMED);
            }
            Ok(())
        })?;
        let directory = self.0.access.directory();
        for (name, record) in directory.organisations_after(None) {
            for (_, near) in near.iter_mut().filter(|(number, _)| *number == record.number) {
                name.clone_into(&mut near.organisation);
            }
        }
        overview.near = near.into_iter().map(|(_, near)| near).collect();
        Ok(overview)
    }

    /// Bytes reserved by uploads under way, and pushes refused since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.ledger.all_reserved(), self.0.ledger.refused())
    }

    fn each<K: TableKey>(
        &self,
        mut visit: impl FnMut(K, K::Record) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after = None::<Vec<u8>>;
        loop {
            let page = self.0.meta.page::<K>(&[], after.as_deref(), PAGE)?;
            after = page.last().map(|(key, _)| key.encode());
            let is_last = page.len() < PAGE;
            for (key, record) in page {
                visit(key, record)?;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
