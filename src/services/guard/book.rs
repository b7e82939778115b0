//! Who is banned and who is exempt, in memory: what every request is compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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
/// Milliseconds that the wall clock may go other than the monotonic one between two looks: more is a jump.
const STEADY: u64 = 10 * 60 * 1000;
/// Rows read at a time.
const PAGE: usize = 1000;

type Bans = BTreeMap<BanKey, BanRecord>;
pub type Exemptions = BTreeMap<BanExemptionKey, BanExemptionRecord>;

/// Bans and exemptions.
pub struct Book {
    bans: RwLock<Bans>,
    /// Whether there is any ban: what is asked at every request of an appliance in peace.
    any: AtomicBool,
    /// Of bans that are here and not in the store. Locked inside `bans`.
    unwritten: Mutex<BTreeSet<BanKey>>,
    exempt: ArcSwap<Exempt>,
    /// Wall clock and monotonic clock when they were last compared.
    clocks: Mutex<Option<(u64, u64)>>,
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
        let (bans, unwritten, clocks) = (RwLock::new(bans), Mutex::default(), Mutex::default());
        Ok(Self { bans, any, unwritten, exempt, clocks })
    }

    /// Whether a subject is banned; `now` is asked for if anybody is. A ban from the future was made while the clock
    /// was wrong: it lasts as long as it was meant to, from now on.
    pub fn bans(&self, subject: BanKey, now: impl FnOnce() -> u64) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let Some((since, until)) = self.read().get(&subject).map(|ban| (ban.since, ban.until)) else {
            return false;
        };
        let now = now();
        if since <= now {
            return until > now;
        }
        self.write().get_mut(&subject).is_some_and(|ban| {
            begin_by(ban, now);
            ban.until > now
        })
    }

    /// Bans from the future begin now.
    pub fn begin_by(&self, now: u64) {
        let is_early = |ban: &BanRecord| ban.since > now;
        if self.read().values().any(is_early) {
            self.write().values_mut().for_each(|ban| begin_by(ban, now));
        }
    }

    /// Whether the wall clock went as the monotonic one did since this was last asked. Milliseconds.
    pub fn is_steady(&self, now: u64, monotonic: u64) -> bool {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.replace((now, monotonic)).is_none_or(|(was, then)| {
            let expected = was.saturating_add(monotonic.saturating_sub(then));
            expected.abs_diff(now) <= STEADY
        })
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
        if let Some(before) = bans.get_mut(&subject) {
            begin_by(before, now);
        }
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
        self.unwritten().insert(subject);
        self.any.store(true, Ordering::Release);
        Some(Some(ban))
    }

    /// The store has what is known of a subject, if that is still `ban`, or nothing is.
    pub fn written(&self, subject: BanKey, ban: Option<&BanRecord>) {
        let bans = self.read();
        if bans.get(&subject) == ban {
            self.unwritten().remove(&subject);
        }
    }

    /// The ban of a subject, if the store does not have it.
    pub fn unwritten_of(&self, subject: BanKey) -> Option<BanRecord> {
        let bans = self.read();
        let unwritten = self.unwritten();
        bans.get(&subject).filter(|_| unwritten.contains(&subject)).cloned()
    }

    /// Up to `limit` bans that are not in the store: those that hold first, and none that ended so long ago that it is
    /// to be forgotten.
    pub fn to_write(&self, limit: usize, now: u64, forget_ms: u64) -> Vec<(BanKey, BanRecord)> {
        let bans = self.read();
        let unwritten = self.unwritten();
        let all = || unwritten.iter().filter_map(|subject| bans.get_key_value(subject));
        let holding = all().filter(|(_, ban)| ban.until > now);
        let ended = all().filter(|(_, ban)| ban.until <= now && ban.until.saturating_add(forget_ms) > now);
        holding.chain(ended).take(limit).map(|(subject, ban)| (*subject, ban.clone())).collect()
    }

    /// How many these are.
    pub fn count_unwritten(&self) -> usize {
        self.unwritten().len()
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
            None => {
                bans.remove(&subject);
                self.unwritten().remove(&subject);
            }
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

    fn unwritten(&self) -> MutexGuard<'_, BTreeSet<BanKey>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
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

fn begin_by(ban: &mut BanRecord, now: u64) {
    if ban.since > now {
        ban.until = now.saturating_add(ban.until.saturating_sub(ban.since));
        ban.since = now;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_800_000_000_000;

    fn book(bans: &[(u64, u64)]) -> Book {
        let bans = bans.iter().zip(1..).map(|((since, until), last)| {
            let address: std::net::Ipv6Addr = std::net::Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped();
            let (by, note) = (String::new(), String::new());
            let ban =
                BanRecord { since: *since, until: *until, times: 1, reason: BanReason::Flood, by, note };
            (BanKey::Address(address), ban)
        });
        let (bans, any) = (RwLock::new(bans.collect()), AtomicBool::new(true));
        let (unwritten, clocks) = (Mutex::default(), Mutex::default());
        Book { bans, any, unwritten, exempt: ArcSwap::default(), clocks }
    }

    #[test]
    fn a_ban_made_while_the_clock_was_ahead_lasts_as_long_as_it_was_meant_to() {
        const AHEAD: u64 = NOW + 10_000 * HOUR;
        // Since, until, and whether it holds now, in half an hour, and in two.
        let cases = [
            ("one that holds", NOW - HOUR, NOW + HOUR, [true, true, false]),
            ("one that is over", NOW - HOUR, NOW, [false, false, false]),
            ("one from the future", AHEAD, AHEAD + HOUR, [true, true, false]),
            ("one from far in the future", AHEAD, u64::MAX, [true, true, true]),
            ("one that makes no sense", AHEAD, NOW, [false, false, false]),
        ];
        for (name, since, until, expected) in cases {
            for (way, at_once) in [("when asked", false), ("all at once", true)] {
                let book = book(&[(since, until)]);
                let subject = book.page(None, 1, |_, _| true)[0].0;
                if at_once {
                    book.begin_by(NOW);
                }
                let holds = [0, HOUR / 2, 2 * HOUR].map(|later| book.bans(subject, || NOW + later));
                assert_eq!(holds, expected, "{name}, {way}");
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_is_told_from_one_that_goes() {
        const MINUTE: u64 = 60_000;
        let cases = [
            ("it goes", NOW + MINUTE, MINUTE, true),
            ("it is set a little", NOW + 11 * MINUTE, MINUTE, true),
            ("it jumps ahead", NOW + 12 * MINUTE, MINUTE, false),
            ("it jumps back", NOW - 10 * MINUTE, MINUTE, false),
            ("long ago", NOW + 48 * HOUR, 48 * HOUR, true),
        ];
        for (name, now, monotonic, expected) in cases {
            let book = book(&[]);
            assert!(book.is_steady(NOW, 0), "nothing to compare with");
            assert_eq!(book.is_steady(now, monotonic), expected, "{name}");
            assert!(book.is_steady(now + 1, monotonic + 1), "{name}: it goes on from there");
        }
    }
}
