//! What is used: pulls of repositories, and what was pulled from, pushed to and held in the repositories of each account
//! on each day.
//!
//! Words: *pending* is what was counted and is not in the store yet; a *flush* adds it there; a *look* is how much the
//! repositories hold now. An image is pulled when its manifest is sent whole; an index is none, its images are.
//!
//! C1: counting writes nothing and waits for nothing but a short lock: no pull waits for the disk.
//! C2: what is pending is lost in a crash, some seconds of it; nothing else depends on these numbers.
//! C3: memory is bounded: of more than [`MAX_PENDING`] repositories between two flushes the rest is not counted, and
//!     the log says so. Rows are bounded: an account keeps its last [`DAYS`] days.
//! C4: a repository or account that went meanwhile gets no row.
//!
//! Must not know who asks for what: `images` counts, and asks. When flushes run is the wiring's business.

mod flush;
mod pending;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::usage::{AccountDayKey, RepositoryPullsKey};

use super::access::Access;
use super::error::Error;
use super::names::RepositoryName;
use crate::seams::Clock;
use crate::stores::meta::Meta;
use pending::Pending;

pub use flush::forget_account;

/// Repositories, and days of accounts, that are counted between two flushes.
pub const MAX_PENDING: usize = 100_000;
/// Days of an account that are kept.
pub const DAYS: usize = 400;

const DAY_MS: u64 = 86_400_000;

/// A day of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Days since 1970-01-01, UTC.
    pub day: u64,
    /// Images pulled.
    pub pulls: u64,
    /// Bytes of manifests and blobs sent.
    pub pulled: u64,
    /// Manifests pushed.
    pub pushes: u64,
    /// Bytes the repositories held at the last look of that day, each digest once a repository.
    pub stored: Option<u64>,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Counters(Arc<Inner>);

struct Inner {
    meta: Meta,
    access: Access,
    clock: Arc<dyn Clock>,
    pending: Mutex<Pending>,
}

impl Counters {
    /// On this store; nothing is pending.
    pub fn new(meta: Meta, access: Access, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { meta, access, clock, pending: Mutex::default() }))
    }

    /// A manifest of `bytes` was sent from a repository, whose number is `id`; `is_image` if it is no index.
    pub fn manifest_sent(&self, id: u64, name: &RepositoryName, bytes: u64, is_image: bool) {
        let (account, now) = (self.owner(name), self.0.clock.now_ms());
        let mut pending = self.pending();
        if is_image {
            pending.pulled(id, name.as_str(), now);
        }
        let pulls = u64::from(is_image);
        pending.day(account, now / DAY_MS, |day| {
            day.pulls += pulls;
            day.pulled += bytes;
        });
    }

    /// Bytes of a blob were sent from a repository of this account.
    pub fn blob_sent(&self, account: Option<Id>, bytes: u64) {
        let today = self.0.clock.now_ms() / DAY_MS;
        self.pending().day(account, today, |day| day.pulled += bytes);
    }

    /// A manifest was pushed.
    pub fn pushed(&self, name: &RepositoryName) {
        let (account, today) = (self.owner(name), self.0.clock.now_ms() / DAY_MS);
        self.pending().day(account, today, |day| day.pushes += 1);
    }

    /// The account whose figures a repository counts for.
    pub fn owner(&self, name: &RepositoryName) -> Option<Id> {
        self.0.access.directory().organisation(name.organisation())?.owner
    }

    /// How often the repository of this number was pulled from, with what is pending.
    pub fn pulls(&self, id: u64) -> Result<u64, Error> {
        let kept = self.0.meta.get(&RepositoryPullsKey { repository: id })?.unwrap_or_default();
        Ok(kept.pulls.saturating_add(self.pending().pulls(id)))
    }

    /// The days of an account, the oldest first, with what is pending. Days on which nothing was counted are
    /// not there.
    pub fn days(&self, account: Id) -> Result<Vec<Day>, Error> {
        let rows = self.0.meta.page::<AccountDayKey>(&AccountDayKey::prefix(account), None, DAYS)?;
        let mut days: Vec<Day> =
            rows.into_iter().map(|(key, record)| flush::shown(key.day, record)).collect();
        for (number, more) in self.pending().days_of(account) {
            match days.iter_mut().find(|day| day.day == number) {
                Some(day) => *day = flush::shown(number, more.added_to(flush::kept(day))),
                None => days.push(flush::shown(number, more.added_to(Default::default()))),
            }
        }
        days.sort_unstable_by_key(|day| day.day);
        Ok(days)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
