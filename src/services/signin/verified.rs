//! Passwords that were found right a short while ago, so that a docker pull of fifty requests costs
//! one password hash. What is remembered is a MAC under a key of this process, over the user, the
//! stored hash and the password: with another hash it is not found, and it tells nobody anything.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use pierhead_storage_format::identity::Id;

use super::Secret;

/// Of each user, the last password found right.
pub struct Verified {
    key: hmac::Key,
    keep_ms: u64,
    capacity: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    of: HashMap<Id, Entry>,
    /// The order in which entries were made, which is that in which they end. An entry that was
    /// replaced or forgotten leaves its place behind, to be skipped by its number.
    order: VecDeque<(Id, u64)>,
    made: u64,
}

struct Entry {
    mac: [u8; 32],
    until_ms: u64,
    number: u64,
}

impl Verified {
    /// Remembers up to `capacity` users for `keep_ms` each, under a random key.
    pub fn new(key: &[u8; 32], keep_ms: u64, capacity: usize) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Self { key, keep_ms, capacity, entries: Mutex::default() }
    }

    /// Whether this password was found right for this hash, and recently.
    pub fn knows(&self, user: Id, hash: &str, password: &Secret, now_ms: u64) -> bool {
        let mac = self.mac(user, hash, password);
        let entries = self.lock();
        let entry = entries.of.get(&user).filter(|entry| now_ms < entry.until_ms);
        entry.is_some_and(|entry| verify_slices_are_equal(&entry.mac, &mac).is_ok())
    }

    /// This password was found right.
    pub fn remember(&self, user: Id, hash: &str, password: &Secret, now_ms: u64) {
        let mac = self.mac(user, hash, password);
        let mut entries = self.lock();
        entries.made += 1;
        let number = entries.made;
        entries.of.insert(user, Entry { mac, until_ms: now_ms.saturating_add(self.keep_ms), number });
        entries.order.push_back((user, number));
        entries.trim(now_ms, self.capacity);
    }

    /// Forgets what is known of a user.
    pub fn forget(&self, user: Id) {
        self.lock().of.remove(&user);
    }

    fn mac(&self, user: Id, hash: &str, password: &Secret) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(user.as_bytes());
        context.update(&(hash.len() as u64).to_be_bytes());
        context.update(hash.as_bytes());
        context.update(password.expose());
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Drops what has ended, and the oldest until users and places are few enough.
    fn trim(&mut self, now_ms: u64, capacity: usize) {
        while let Some(&(user, number)) = self.order.front() {
            let entry = self.of.get(&user).filter(|entry| entry.number == number);
            let stale = entry.is_none_or(|entry| entry.until_ms <= now_ms);
            if !stale && self.order.len() <= capacity {
                return;
            }
            if entry.is_some() {
                self.of.remove(&user);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u8) -> Id {
        Id::from_bytes([number; 16])
    }

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn only_the_same_password_of_the_same_user_under_the_same_hash_is_known_and_for_a_time() {
        let verified = Verified::new(&[7; 32], 1000, 10);
        verified.remember(user(1), "hash", &secret("right"), 5000);
        let cases = [
            ("the same", user(1), "hash", "right", 5999, true),
            ("later", user(1), "hash", "right", 6000, false),
            ("another password", user(1), "hash", "wrong", 5000, false),
            ("another user", user(2), "hash", "right", 5000, false),
            ("another hash", user(1), "hash2", "right", 5000, false),
            ("split elsewhere", user(1), "hashr", "ight", 5000, false),
        ];
        for (name, user, hash, password, now, known) in cases {
            assert_eq!(verified.knows(user, hash, &secret(password), now), known, "{name}");
        }
        verified.forget(user(1));
        assert!(!verified.knows(user(1), "hash", &secret("right"), 5000));
    }

    #[test]
    fn no_more_is_remembered_than_was_agreed_and_the_oldest_goes_first() {
        let verified = Verified::new(&[7; 32], 1000, 3);
        let knows = |number| verified.knows(user(number), "h", &secret("p"), 1);
        for number in 1..=4 {
            verified.remember(user(number), "h", &secret("p"), 0);
        }
        assert_eq!([1, 2, 3, 4].map(knows), [false, true, true, true]);
        for _ in 0..1000 {
            verified.remember(user(9), "h", &secret("p"), 0);
            verified.forget(user(9));
        }
        let entries = verified.lock();
        assert!(entries.order.len() <= 3 && entries.of.len() <= 3);
        drop(entries);
        verified.remember(user(5), "h", &secret("p"), 10_000);
        assert_eq!(verified.lock().of.len(), 1, "what has ended goes with the next");
    }
}
