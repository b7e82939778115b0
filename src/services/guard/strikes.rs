//! Which wrong credentials came from where. Of a credential only eight bytes of a keyed hash are kept, under a key of
//! this process, for as long as the window lasts: they tell whether it came before (P4), and nobody anything else.
//! When there is no room, who has the fewest strikes of a few is forgotten.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pierhead_storage_format::protection::BanReason;

/// Addresses kept in mind; with 200 credentials of each kind, the most there can be, 50 MB.
const ADDRESSES: usize = 16_384;
/// Addresses that are looked at to forget one.
const LOOKED_AT: usize = 16;

/// What is wrong, and how many different ones are too many.
#[derive(Clone, Copy, Debug)]
pub enum Offence {
    /// A name and what should prove it.
    Login { most: u32 },
    /// A token that was never given.
    Token { most: u32 },
}

impl Offence {
    /// What the ban is for.
    pub const fn reason(self) -> BanReason {
        match self {
            Self::Login { .. } => BanReason::FailedSignIns,
            Self::Token { .. } => BanReason::InvalidTokens,
        }
    }
}

/// The wrong credentials of every address.
pub struct Strikes {
    key: [u8; 32],
    of: Mutex<HashMap<Ipv6Addr, Seen>>,
}

/// Those of one.
#[derive(Default)]
struct Seen {
    /// When the window of these began.
    since: u64,
    logins: Vec<u64>,
    tokens: Vec<u64>,
}

impl Seen {
    fn count(&self) -> usize {
        self.logins.len() + self.tokens.len()
    }
}

impl Strikes {
    /// Remembers credentials under `key`.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, of: Mutex::default() }
    }

    /// A wrong credential came; whether there are too many different ones now. Times are milliseconds.
    pub fn add(&self, from: Ipv6Addr, offence: Offence, parts: &[&[u8]], now: u64, window: u64) -> bool {
        let hash = self.hash(parts);
        let mut of = self.lock();
        if !of.contains_key(&from) && of.len() >= ADDRESSES {
            make_room(&mut of, now, window);
        }
        let seen = of.entry(from).or_insert_with(|| Seen { since: now, ..Seen::default() });
        if now.saturating_sub(seen.since) >= window {
            *seen = Seen { since: now, ..Seen::default() };
        }
        let (known, most) = match offence {
            Offence::Login { most } => (&mut seen.logins, most),
            Offence::Token { most } => (&mut seen.tokens, most),
        };
        if known.contains(&hash) {
            return false;
        }
        // The most can have become fewer by new settings.
        if known.len() < most as usize {
            known.push(hash);
        }
        known.len() >= most as usize
    }

    /// Begins anew with an address.
    pub fn forget(&self, from: Ipv6Addr) {
        self.lock().remove(&from);
    }

    /// Addresses kept in mind.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ipv6Addr, Seen>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(of: &mut HashMap<Ipv6Addr, Seen>, now: u64, window: u64) {
    let looked = of.iter().take(LOOKED_AT);
    let least = looked.min_by_key(|(_, seen)| match now.saturating_sub(seen.since) >= window {
        true => 0,
        false => seen.count(),
    });
    if let Some(address) = least.map(|(address, _)| *address) {
        of.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: Offence = Offence::Login { most: 3 };

    fn address(number: u64) -> Ipv6Addr {
        (u128::from(number) << 64).into()
    }

    #[test]
    fn different_credentials_count_and_the_same_one_once() {
        let strikes = Strikes::new([7; 32]);
        let add = |from, text: &str, now| strikes.add(address(from), LOGIN, &[text.as_bytes()], now, 1000);
        for now in 0..500 {
            assert!(!add(1, "a stale secret", now), "again and again");
        }
        assert!(!add(1, "second", 500));
        assert!(!add(2, "third", 500), "from elsewhere");
        assert!(add(1, "third", 999), "three different ones");
        assert!(!add(1, "fourth", 1000), "another window");
        let token = Offence::Token { most: 2 };
        assert!(!strikes.add(address(1), token, &[b"second"], 1000, 1000), "tokens are another matter");
    }

    #[test]
    fn where_a_credential_is_split_makes_a_difference() {
        let strikes = Strikes::new([7; 32]);
        assert_ne!(strikes.hash(&[b"ab", b"c"]), strikes.hash(&[b"a", b"bc"]));
        assert_ne!(strikes.hash(&[b"a"]), Strikes::new([8; 32]).hash(&[b"a"]));
    }

    #[test]
    fn who_has_many_strikes_is_not_forgotten_for_a_crowd_with_one_each() {
        let strikes = Strikes::new([7; 32]);
        for text in ["a", "b"] {
            strikes.add(address(0), LOGIN, &[text.as_bytes()], 0, 1000);
        }
        for number in 1..3 * ADDRESSES as u64 {
            strikes.add(address(number), LOGIN, &[b"x"], 1, 1000);
        }
        assert_eq!(strikes.len(), ADDRESSES);
        assert!(strikes.add(address(0), LOGIN, &[b"c"], 2, 1000));
        strikes.forget(address(0));
        assert!(!strikes.add(address(0), LOGIN, &[b"d"], 3, 1000));
    }
}
