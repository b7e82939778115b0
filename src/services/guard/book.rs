//! Who is banned and who is exempt, in memory: what every request is compared with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::keys::TableKey;
use pierhead_storage_format::protection::{
    BanExemptionKey, BanExemptionRecord, BanKey, BanReason, BanRecord,
};

use super::rules::Terms;
use crate::services::network::{Network, around};
use crate::stores::meta::{Meta, MetaError};

/// Bans there may be, those that ended and are not forgotten included: some 30 MB.
pub const MOST: usize = 100_000;
/// Rows read at a time.
const PAGE: usize = 1000;

type Bans = BTreeMap<BanKey, BanRecord>;
pub type Exemptions = BTreeMap<BanExemptionKey, BanExemptionRecord>;

/// Bans and exemptions.
pub struct Book {
    bans: RwLock<Bans>,
    /// Whether there is any ban: what is asked at every request of an appliance in peace.
    any: AtomicBool,
    exempt: ArcSwap<Exempt>,
}

/// Exemptions, and the networks of them as they are compared.
#[derive(Default)]
struct Exempt {
    rows: Exemptions,
    networks: Vec<Network>,
}

impl Book {
    /// What the store has. Blocks.
    pub fn load(meta: &Meta) -> Result<Self, MetaError> {
        let bans = Bans::from_iter(rows::<BanKey>(meta)?);
        let any = AtomicBool::new(!bans.is_empty());
        let exempt = ArcSwap::from_pointee(Exempt::of(rows::<BanExemptionKey>(meta)?.into_iter().collect()));
        Ok(Self { bans: RwLock::new(bans), any, exempt })
    }

    /// Whether a subject is banned; `now` is asked for if anybody is.
    pub fn bans(&self, subject: BanKey, now: impl FnOnce() -> u64) -> bool {
        self.any.load(Ordering::Acquire) && self.read().get(&subject).is_some_and(|ban| ban.until > now())
    }

    /// Bans a subject for an offence: what came of it, unless it is banned already. `None` if there is no room for more.
    pub fn add(
        &self,
        subject: BanKey,
        reason: BanReason,
        terms: &Terms,
        now: u64,
    ) -> Option<Option<BanRecord>> {
        let mut bans = self.write();
        let before = bans.get(&subject);
        if before.is_some_and(|before| before.until > now) {
            return Some(None);
        }
        if before.is_none() && bans.len() >= MOST {
            return None;
        }
        let times = next_times(before, terms, now);
        let until = now.saturating_add(terms.lasts(times));
        let ban = BanRecord {
            since: now,
            until,
            times,
            reason,
            by: "system: guard".to_owned(),
            note: String::new(),
        };
        bans.insert(subject, ban.clone());
        self.any.store(true, Ordering::Release);
        Some(Some(ban))
    }

    /// What is known of a subject, though its ban ended.
    pub fn get(&self, subject: BanKey) -> Option<BanRecord> {
        self.read().get(&subject).cloned()
    }

    /// Sets or removes what is known of a subject.
    pub fn set(&self, subject: BanKey, ban: Option<BanRecord>) {
        let mut bans = self.write();
        match ban {
            Some(ban) => drop(bans.insert(subject, ban)),
            None => drop(bans.remove(&subject)),
        }
        self.any.store(!bans.is_empty(), Ordering::Release);
    }

    /// How many there are, those that ended included.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Up to `limit` that `wanted` takes, after `after`, in order.
    pub fn page(
        &self,
        after: Option<BanKey>,
        limit: usize,
        wanted: impl Fn(&BanKey, &BanRecord) -> bool,
    ) -> Vec<(BanKey, BanRecord)> {
        let bans = self.read();
        let from = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let found = bans.range(from).filter(|(key, ban)| wanted(key, ban));
        found.take(limit).map(|(key, ban)| (*key, ban.clone())).collect()
    }

    /// Subjects banned now, and exemptions.
    pub fn counts(&self, now: u64) -> (u64, u64) {
        let banned = self.read().values().filter(|ban| ban.until > now).count();
        (banned as u64, self.exempt.load().rows.len() as u64)
    }

    /// Up to `most` of those who are banned now, who was banned last first.
    pub fn newest(&self, now: u64, most: usize) -> Vec<(BanKey, BanRecord)> {
        let bans = self.read();
        let mut newest: Vec<(&BanKey, &BanRecord)> = Vec::with_capacity(most + 1);
        for found in bans.iter().filter(|(_, ban)| ban.until > now) {
            let at = newest.partition_point(|(_, ban)| ban.since >= found.1.since);
            if at < most {
                newest.insert(at, found);
                newest.truncate(most);
            }
        }
        newest.into_iter().map(|(key, ban)| (*key, ban.clone())).collect()
    }

    /// Whether an address is exempt.
    pub fn exempts_address(&self, address: IpAddr) -> bool {
        self.exempt.load().networks.iter().any(|network| network.contains(address))
    }

    /// Whether a user is exempt.
    pub fn exempts_user(&self, user: Id) -> bool {
        let exempt = self.exempt.load();
        !exempt.rows.is_empty() && exempt.rows.contains_key(&BanExemptionKey::User(user))
    }

    /// Whether a subject is exempt.
    pub fn exempts(&self, subject: BanKey) -> bool {
        match subject {
            BanKey::Address(address) => self.exempts_address(around(address).parts().0.into()),
            BanKey::User(user) => self.exempts_user(user),
        }
    }

    /// Every exemption.
    pub fn exemptions(&self) -> Exemptions {
        self.exempt.load().rows.clone()
    }

    /// Sets or removes one. Called with the guard's lock for writing held.
    pub fn set_exemption(&self, key: BanExemptionKey, record: Option<BanExemptionRecord>) {
        let mut rows = self.exemptions();
        match record {
            Some(record) => drop(rows.insert(key, record)),
            None => drop(rows.remove(&key)),
        }
        self.exempt.store(Exempt::of(rows).into());
    }

    fn read(&self) -> RwLockReadGuard<'_, Bans> {
        self.bans.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Bans> {
        self.bans.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exempt {
    fn of(rows: Exemptions) -> Self {
        let network = |key: &BanExemptionKey| match key {
            BanExemptionKey::Network(start, bits) => Some(Network::new(*start, *bits)),
            BanExemptionKey::User(_) => None,
        };
        Self { networks: rows.keys().filter_map(network).collect(), rows }
    }
}

/// The number in a row of a ban that is made now.
pub fn next_times(before: Option<&BanRecord>, terms: &Terms, now: u64) -> u64 {
    let remembered = before.filter(|before| before.until.saturating_add(terms.forget_ms) > now);
    remembered.map_or(1, |before| before.times.saturating_add(1))
}

fn rows<K: TableKey>(meta: &Meta) -> Result<Vec<(K, K::Record)>, MetaError> {
    let (mut all, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let page = meta.page::<K>(&[], after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.encode());
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}
