//! The rates in force: of each address, user and account by class, and of everybody.

use std::hash::Hash;
use std::net::Ipv6Addr;
use std::sync::Arc;

use pierhead_storage_format::identity::Id;

use super::rules::{ByClass, Class, Options};
use crate::seams::Clock;
use crate::services::rates::{Limiter, Rate, Wait};

/// Buckets of each class: of addresses, of users, of accounts. About 100 bytes each when they are used.
const ADDRESSES: usize = 65_536;
const USERS: usize = 16_384;
const ACCOUNTS: usize = 4_096;

/// Whether a request was within its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// Not for so many milliseconds.
    No(u64),
    /// Nor is that the first time: it is a flood.
    Flood(u64),
}

/// The rates of one kind of key.
pub struct Scope<K: Hash + Eq + Clone> {
    rates: [Limiter<K>; Class::ALL.len()],
    /// Of requests that were refused.
    floods: [Limiter<K>; Class::ALL.len()],
}

impl<K: Hash + Eq + Clone> Scope<K> {
    fn new(capacity: usize, clock: &Arc<dyn Clock>) -> Self {
        let limiters = || Class::ALL.map(|_| Limiter::new(capacity, Arc::clone(clock)));
        Self { rates: limiters(), floods: limiters() }
    }

    fn set(&self, rates: &ByClass, flood: impl Fn(Rate) -> Option<Rate>) {
        for (at, rate) in rates.iter().enumerate() {
            self.rates[at].set(*rate);
            self.floods[at].set(rate.and_then(&flood));
        }
    }

    /// Takes a request from the bucket of `key`; `counts` if being refused counts towards a flood.
    pub fn take(&self, key: &K, class: Class, counts: bool) -> Taken {
        match self.rates[class as usize].take(key) {
            Ok(()) => Taken::Yes,
            Err(Wait(ms)) if counts && self.floods[class as usize].take(key).is_err() => Taken::Flood(ms),
            Err(Wait(ms)) => Taken::No(ms),
        }
    }

    /// Whether one could be taken.
    pub fn look(&self, key: &K, class: Class) -> Result<(), Wait> {
        self.rates[class as usize].look(key)
    }

    fn keys(&self) -> usize {
        self.rates.iter().chain(&self.floods).map(Limiter::keys).sum()
    }
}

/// All of them.
pub struct Limits {
    pub ceiling: Limiter<()>,
    pub address: Scope<Ipv6Addr>,
    pub user: Scope<Id>,
    pub account: Scope<Id>,
}

impl Limits {
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            ceiling: Limiter::new(1, Arc::clone(clock)),
            address: Scope::new(ADDRESSES, clock),
            user: Scope::new(USERS, clock),
            account: Scope::new(ACCOUNTS, clock),
        }
    }

    pub fn set(&self, options: &Options) {
        let flood = |rate: Rate| Some(rate.times(options.flood_factor, options.flood_window_ms));
        self.ceiling.set(options.ceiling);
        self.address.set(&options.address, flood);
        self.user.set(&options.user, flood);
        self.account.set(&options.account, |_| None);
    }

    pub fn keys(&self) -> usize {
        self.address.keys() + self.user.keys() + self.account.keys()
    }
}
