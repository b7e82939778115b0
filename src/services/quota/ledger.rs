//! What uploads under way reserve (Q3 to Q5), in memory: rebuilt at a start from the uploads that go on. A reservation
//! goes when it is dropped.
//!
//! L1: whether something fits is looked at and noted under one lock, which nothing waits under.
//! L2: what is being committed is, for a moment, both used and reserved. Who does not fit in that moment waits for its end,
//!     [`PATIENCE`] at most, and looks again: nobody is refused for bytes that are counted twice, and never is anybody let
//!     in by bytes that are not counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pierhead_storage_format::Digest;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::AccountKey;
use pierhead_storage_format::quota::{
    AccountQuotaKey, OrganisationBlobKey, OrganisationQuotaKey, OrganisationUsageKey,
};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::books::held_by;
use super::full::{Full, Whose};
use super::{Inner, Quotas};
use crate::services::error::Error;
use crate::stores::meta::MetaError;

/// Bytes that are reserved together while a body comes whose length is not known.
const STEP: u64 = 1 << 20;
/// How long somebody waits for commits under way at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is reserved, by organisation.
#[derive(Default)]
pub struct Ledger {
    held: Mutex<HashMap<String, Held>>,
    numbers: AtomicU64,
    settled: Notify,
    refused: AtomicU64,
}

/// What is reserved in one organisation.
#[derive(Default)]
struct Held {
    /// By content of which nobody said what it is.
    unnamed: u64,
    /// By content that was named: who holds how much of it. The largest counts.
    named: HashMap<Digest, Vec<(u64, u64)>>,
    /// Sum of those.
    named_bytes: u64,
    /// Commits under way.
    settling: usize,
    /// The account that owns it.
    owner: Option<Id>,
}

impl Held {
    const fn bytes(&self) -> u64 {
        self.unnamed + self.named_bytes
    }

    fn is_nothing(&self) -> bool {
        self.bytes() == 0 && self.settling == 0 && self.named.is_empty()
    }

    /// Has the holder `who` hold `bytes` of a digest.
    fn hold(&mut self, digest: Digest, who: u64, bytes: u64) {
        let holders = self.named.entry(digest).or_default();
        let before = most(holders);
        holders.retain(|(other, _)| *other != who);
        if bytes > 0 {
            holders.push((who, bytes));
        }
        let now = most(holders);
        if holders.is_empty() {
            self.named.remove(&digest);
        }
        self.named_bytes = self.named_bytes + now - before;
    }

    /// What `who` holds of a digest.
    fn held(&self, digest: &Digest, who: u64) -> u64 {
        let holders = self.named.get(digest).into_iter().flatten();
        holders.into_iter().find(|(other, _)| *other == who).map_or(0, |(_, bytes)| *bytes)
    }

    /// The organisation has it now: it costs nobody anything.
    fn has(&mut self, digest: &Digest) {
        let holders = self.named.remove(digest).unwrap_or_default();
        self.named_bytes -= most(&holders);
    }
}

fn most(holders: &[(u64, u64)]) -> u64 {
    holders.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0)
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is reserved in these organisations together.
    pub fn reserved<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> u64 {
        let held = self.lock();
        names.into_iter().filter_map(|name| held.get(name)).map(Held::bytes).sum()
    }

    /// What is reserved in all of them.
    pub fn all_reserved(&self) -> u64 {
        self.lock().values().map(Held::bytes).sum()
    }

    /// Pushes refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Bytes kept for one upload; given back when it is dropped. It is locked before the ledger.
pub struct Reservation {
    quotas: Quotas,
    organisation: String,
    number: u64,
    own: Mutex<Own>,
}

/// What it is for.
struct Own {
    digest: Option<Digest>,
    /// Kept while nobody said what it is.
    unnamed: u64,
}

/// Why there is no room.
enum NoRoom {
    /// There is none.
    Full(Box<Full>),
    /// There may be, once commits under way are over.
    NotYet(Box<Full>),
    /// It cannot be told.
    Failed(MetaError),
}

impl From<MetaError> for NoRoom {
    fn from(error: MetaError) -> Self {
        Self::Failed(error)
    }
}

impl Reservation {
    pub(super) fn new(quotas: Quotas, organisation: &str, digest: Option<Digest>) -> Self {
        let number = quotas.0.ledger.numbers.fetch_add(1, Ordering::Relaxed);
        let own = Mutex::new(Own { digest, unnamed: 0 });
        Self { quotas, organisation: organisation.to_owned(), number, own }
    }

    /// Keeps `bytes` in all, if there is room; never fewer than before. [`Error::Quota`] if there is none.
    pub async fn grow_to(&self, bytes: u64) -> Result<(), Error> {
        let grown = self.patiently(|| self.try_grow(bytes, false)).await;
        if matches!(grown, Err(Error::Quota(_))) {
            self.ledger().refused.fetch_add(1, Ordering::Relaxed);
        }
        grown
    }

    /// Keeps exactly `bytes`, which are there already, of content that may be anything after all: whatever was said
    /// of it, they have to fit. [`Error::Quota`] if they do not; then nothing is kept.
    pub async fn unname(&self, bytes: u64) -> Result<(), Error> {
        self.patiently(|| self.try_grow(bytes, true)).await
    }

    async fn patiently(&self, grow: impl Fn() -> Result<(), NoRoom> + Send) -> Result<(), Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let settled = self.ledger().settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let full = match grow() {
                Ok(()) => return Ok(()),
                Err(NoRoom::Failed(error)) => return Err(error.into()),
                Err(NoRoom::Full(full)) => full,
                Err(NoRoom::NotYet(full)) => match timeout_at(until, settled).await {
                    Ok(()) => continue,
                    Err(_) => full,
                },
            };
            return Err(Error::Quota(full));
        }
    }

    /// The same for a body whose end is not known: some more is kept while there is room.
    pub async fn stream_to(&self, bytes: u64) -> Result<(), Error> {
        if self.change(|own, held| self.kept(own, held)) >= bytes {
            return Ok(());
        }
        match self.try_grow(bytes.saturating_add(STEP), false) {
            Ok(()) => Ok(()),
            Err(_) => self.grow_to(bytes).await,
        }
    }

    /// Says what the content is.
    pub fn name(&self, digest: Digest) {
        self.change(|own, held| {
            let bytes = self.kept(own, held);
            self.keep(own, held, 0);
            own.digest = Some(digest);
            self.keep(own, held, bytes);
        });
    }

    /// Keeps exactly `bytes`, which are there already, of content that may be anything.
    pub fn stand_at(&self, bytes: u64) {
        // Before the ledger is locked. Nobody else may have asked for anything here since the start.
        let owner = self.quotas.0.access.directory().organisation(&self.organisation).and_then(|it| it.owner);
        self.change(|own, held| {
            held.owner = owner;
            self.keep(own, held, 0);
            own.digest = None;
            self.keep(own, held, bytes);
        });
    }

    /// Until this ends, what is reserved may be used already.
    pub fn settle(&self) -> Settling<'_> {
        self.change(|_, held| held.settling += 1);
        Settling { reservation: self, done: None }
    }

    fn ledger(&self) -> &Ledger {
        &self.quotas.0.ledger
    }

    /// Changes what is kept, for this and in its organisation.
    fn change<T>(&self, change: impl FnOnce(&mut Own, &mut Held) -> T) -> T {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ledger = self.ledger().lock();
        let held = ledger.entry(self.organisation.clone()).or_default();
        let done = change(&mut own, held);
        if held.is_nothing() {
            ledger.remove(&self.organisation);
        }
        done
    }

    fn kept(&self, own: &Own, held: &Held) -> u64 {
        own.digest.map_or(own.unnamed, |digest| held.held(&digest, self.number))
    }

    fn keep(&self, own: &mut Own, held: &mut Held, bytes: u64) {
        match own.digest {
            Some(digest) => held.hold(digest, self.number, bytes),
            None => held.unnamed = held.unnamed + bytes - std::mem::replace(&mut own.unnamed, bytes),
        }
    }

    /// `unnamed`: from now on it may be anything, and what was kept before does not count.
    fn try_grow(&self, bytes: u64, unnamed: bool) -> Result<(), NoRoom> {
        let Inner { meta, access, ledger, any } = &*self.quotas.0;
        // Before the ledger is locked: whoever looks into the directory may wait for it.
        let place = access.directory().organisation(&self.organisation).map(|it| (it.number, it.owner));
        let owner = place.and_then(|(_, owner)| owner);
        let place = place.filter(|_| any.load(Ordering::SeqCst));
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if unnamed {
            let mut all = ledger.lock();
            self.keep(&mut own, all.entry(self.organisation.clone()).or_default(), 0);
            own.digest = None;
        }
        let has = match (own.digest, place) {
            (Some(digest), Some((organisation, _))) => {
                meta.get(&OrganisationBlobKey { organisation, digest })?.is_some()
            }
            _ => false,
        };
        let mut all = ledger.lock();
        let held = all.entry(self.organisation.clone()).or_default();
        held.owner = owner;
        if has {
            self.keep(&mut own, held, 0);
            return Ok(());
        }
        let before = self.kept(&own, held);
        if bytes <= before {
            return Ok(());
        }
        let was = held.bytes();
        self.keep(&mut own, held, bytes);
        let Some((number, _)) = place else { return Ok(()) };
        let needed = held.bytes() - was;
        let room = self.room(&all, number, owner, needed);
        if room.is_err()
            && let Some(held) = all.get_mut(&self.organisation)
        {
            self.keep(&mut own, held, before);
        }
        room
    }

    /// Whether everything that is reserved, `needed` among it, fits beside what is used.
    fn room(
        &self,
        all: &HashMap<String, Held>,
        number: u64,
        owner: Option<Id>,
        needed: u64,
    ) -> Result<(), NoRoom> {
        let meta = &self.quotas.0.meta;
        if let Some(quota) = meta.get(&OrganisationQuotaKey { organisation: number })? {
            let used =
                meta.get(&OrganisationUsageKey { organisation: number })?.map_or(0, |usage| usage.bytes);
            let whose = || Whose::Organisation(self.organisation.clone());
            fits(quota.bytes, used, needed, all.get(&self.organisation), whose)?;
        }
        let Some(account) = owner else { return Ok(()) };
        if let Some(quota) = meta.get(&AccountQuotaKey { account })? {
            let used = meta.get(&held_by(account))?.map_or(0, |record| record.next);
            let name = meta.get(&AccountKey { id: account })?.map(|account| account.name);
            let whose = || Whose::Account(name.unwrap_or_else(|| account.to_string()));
            fits(quota.bytes, used, needed, all.values().filter(|held| held.owner == owner), whose)?;
        }
        Ok(())
    }
}

fn fits<'a>(
    quota: u64,
    used: u64,
    needed: u64,
    held: impl IntoIterator<Item = &'a Held>,
    whose: impl FnOnce() -> Whose,
) -> Result<(), NoRoom> {
    let (reserved, settling) = held
        .into_iter()
        .fold((0u64, false), |(bytes, settling), held| (bytes + held.bytes(), settling || held.settling > 0));
    if used.saturating_add(reserved) <= quota {
        return Ok(());
    }
    let reserved = reserved.saturating_sub(needed);
    let full = Box::new(Full { whose: whose(), quota, used, reserved, needed });
    Err(if settling { NoRoom::NotYet(full) } else { NoRoom::Full(full) })
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.change(|own, held| self.keep(own, held, 0));
    }
}

/// A commit under way of what is reserved.
pub struct Settling<'a> {
    reservation: &'a Reservation,
    done: Option<Digest>,
}

impl Settling<'_> {
    /// It is committed: used, and reserved no more.
    pub fn done(mut self, digest: &Digest) {
        self.done = Some(*digest);
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        let (reservation, done) = (self.reservation, self.done);
        reservation.change(|own, held| {
            held.settling -= 1;
            if let Some(digest) = done {
                reservation.keep(own, held, 0);
                held.has(&digest);
            }
        });
        reservation.ledger().settled.notify_waiters();
    }
}
