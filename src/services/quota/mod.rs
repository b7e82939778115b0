//! Storage quotas: how many bytes an organisation, or the organisations of an account together, may hold.
//!
//! Words: what is *used* is the bytes of an organisation's blobs and manifests, each digest once however many of its
//! repositories hold it; an account's is the sum of its organisations'. What is *reserved* is what uploads under way
//! brought or said they would bring; it is in memory only.
//!
//! Q1: used is changed in the change set that links, unlinks, puts or removes (`books`), and always equals a recount.
//! Q2: a change set never makes used pass the quota; it may stay above one that was set lower, and fall.
//! Q3: bytes are taken from a client only while used and reserved together stay within the quota (`ledger`).
//! Q4: content the organisation has costs nothing. Of uploads that say the same digest, the largest is reserved.
//! Q5: nothing is locked while bytes come in.
//!
//! Must not know what an upload or a manifest is. `books` is inside transactions, `ledger` before them; `full` is what is
//! refused, `counting` counts once what stores of older versions hold, `overview` looks at all of them.

mod books;
mod counting;
mod full;
mod ledger;
mod overview;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use books::{Books, forget_account, forget_organisation, set_held};
pub use full::{Full, gigabytes};
use ledger::Ledger;
pub use ledger::Reservation;
pub use overview::{Near, Overview, Storages};
use pierhead_storage_format::Digest;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::AccountKey;
use pierhead_storage_format::keys::OrganisationKey;
use pierhead_storage_format::quota::{
    AccountQuotaKey, OrganisationQuotaKey, OrganisationUsageKey, OrganisationUsageRecord, QuotaRecord,
};

use super::access::{Access, Action, Permit, Resource};
use super::error::{Error, Thing};
use super::names::{OrganisationName, RepositoryName};
use crate::stores::meta::{Meta, MetaError, Tx};

/// The largest quota, in bytes: far beyond any disk, and exact as a number of JSON everywhere.
pub const MAX_QUOTA: u64 = 1 << 53;

/// What somebody holds and may hold, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The name of the organisation or account.
    pub name: String,
    /// At most; nobody said for `None`.
    pub quota: Option<u64>,
    /// Each digest once an organisation.
    pub used: u64,
    /// By uploads under way.
    pub reserved: u64,
    /// Digests.
    pub blobs: u64,
}

impl Storage {
    /// What is still to be had; none where the quota is below what is used.
    pub fn left(&self) -> Option<u64> {
        self.quota.map(|quota| quota.saturating_sub(self.used))
    }
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Quotas(Arc<Inner>);

struct Inner {
    meta: Meta,
    access: Access,
    ledger: Ledger,
    /// Whether there may be any quota: without, a push looks for none.
    any: AtomicBool,
}

impl Quotas {
    /// On this store.
    pub fn new(meta: Meta, access: Access) -> Result<Self, Error> {
        let any = !meta.page::<OrganisationQuotaKey>(&[], None, 1)?.is_empty()
            || !meta.page::<AccountQuotaKey>(&[], None, 1)?.is_empty();
        let any = AtomicBool::new(any);
        Ok(Self(Arc::new(Inner { meta, access, ledger: Ledger::default(), any })))
    }

    /// Nothing yet, for content on its way to a repository: of this digest, if that is known.
    pub fn reservation(&self, name: &RepositoryName, digest: Option<Digest>) -> Reservation {
        Reservation::new(self.clone(), name.organisation(), digest)
    }

    /// What an organisation holds and may hold.
    pub fn show(&self, permit: &Permit) -> Result<Storage, Error> {
        let name = organisation(permit, Action::ShowStorageQuota)?;
        let record = self.0.access.directory().organisation(name.as_str()).map(|record| record.number);
        let number = record.ok_or_else(|| Error::Missing(Thing::Organisation(name.to_string())))?;
        Ok(self.of_organisation(name.as_str(), number)?)
    }

    /// Sets what an organisation may hold, `None` for no limit. What it holds stays, even if that is more.
    pub async fn set(&self, permit: &Permit, quota: Option<u64>) -> Result<(), Error> {
        let name = organisation(permit, Action::UpdateStorageQuota)?.as_str().to_owned();
        let record = checked(quota)?;
        self.commit(permit, move |tx| {
            let there = tx.get(&OrganisationKey { name: name.clone() })?;
            let there = there.ok_or(Error::Missing(Thing::Organisation(name)))?;
            let key = OrganisationQuotaKey { organisation: there.number };
            match record {
                Some(record) => tx.put(&key, &record)?,
                None => tx.delete(&key)?,
            }
            Ok(())
        })
        .await
    }

    /// What the organisations of an account hold and may hold together.
    pub fn show_account(&self, permit: &Permit, account: Id) -> Result<Storage, Error> {
        if !permit.covers_registry(Action::ListAccounts) {
            return Err(Error::Bug("a permit for something else"));
        }
        let record = self.0.access.directory().account(account).map(|record| record.name.clone());
        let name = record.ok_or_else(|| Error::Missing(Thing::Account(account.to_string())))?;
        Ok(self.of_account(name, account)?)
    }

    /// Sets what the organisations of an account may hold together, `None` for no limit.
    pub async fn set_account(&self, permit: &Permit, account: Id, quota: Option<u64>) -> Result<(), Error> {
        if !permit.covers_registry(Action::ManageAccounts) {
            return Err(Error::Bug("a permit for something else"));
        }
        let record = checked(quota)?;
        self.commit(permit, move |tx| {
            if tx.get(&AccountKey { id: account })?.is_none() {
                return Err(Error::Missing(Thing::Account(account.to_string())));
            }
            let key = AccountQuotaKey { account };
            match record {
                Some(record) => tx.put(&key, &record)?,
                None => tx.delete(&key)?,
            }
            Ok(())
        })
        .await
    }

    /// Pushes look for quotas from before the change on.
    async fn commit<T: Send + 'static>(
        &self,
        permit: &Permit,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.0.any.store(true, Ordering::SeqCst);
        self.0.access.commit(&self.0.meta, permit, work).await
    }

    fn of_organisation(&self, name: &str, number: u64) -> Result<Storage, MetaError> {
        let quota = self.0.meta.get(&OrganisationQuotaKey { organisation: number })?;
        let usage = self.0.meta.get(&OrganisationUsageKey { organisation: number })?;
        let OrganisationUsageRecord { bytes, blobs } = usage.unwrap_or_default();
        let reserved = self.0.ledger.reserved([name]);
        Ok(Storage {
            name: name.to_owned(),
            quota: quota.map(|quota| quota.bytes),
            used: bytes,
            reserved,
            blobs,
        })
    }

    fn of_account(&self, name: String, account: Id) -> Result<Storage, MetaError> {
        let quota = self.0.meta.get(&AccountQuotaKey { account })?.map(|quota| quota.bytes);
        let used = self.0.meta.get(&books::held_by(account))?.map_or(0, |record| record.next);
        // The directory is given back before anything else is asked.
        let owned: Vec<(String, u64)> = {
            let directory = self.0.access.directory();
            let owned = directory.organisations_of(account);
            owned.filter_map(|name| Some((name.to_owned(), directory.organisation(name)?.number))).collect()
        };
        let reserved = self.0.ledger.reserved(owned.iter().map(|(name, _)| name.as_str()));
        let mut blobs = 0;
        for (_, organisation) in owned {
            let usage = self.0.meta.get(&OrganisationUsageKey { organisation })?;
            blobs += usage.map_or(0, |usage| usage.blobs);
        }
        Ok(Storage { name, quota, used, reserved, blobs })
    }
}

fn organisation(permit: &Permit, action: Action) -> Result<&OrganisationName, Error> {
    match permit.resource(action) {
        Some(Resource::Organisation(name)) => Ok(name),
        _ => Err(Error::Bug("a permit for something else")),
    }
}

fn checked(quota: Option<u64>) -> Result<Option<QuotaRecord>, Error> {
    match quota {
        Some(bytes) if bytes > MAX_QUOTA => {
            Err(Error::Invalid { field: "bytes", why: format!("at most {MAX_QUOTA}") })
        }
        quota => Ok(quota.map(|bytes| QuotaRecord { bytes })),
    }
}
