//! Uploads that are received, by where they come from. One that waits for its slot is none, so that waiting never
//! leads to a ban. As many as slots are held: the server's connections bound those.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Guard;

/// How many there are of each address that has any.
#[derive(Default)]
pub struct Uploads(Mutex<HashMap<Ipv6Addr, u32>>);

impl Uploads {
    /// One more; how many there are of that address now.
    pub fn begin(&self, from: Ipv6Addr) -> u32 {
        let mut of = self.lock();
        let count = of.entry(from).or_default();
        *count += 1;
        *count
    }

    /// One less.
    pub fn end(&self, from: Ipv6Addr) {
        let mut of = self.lock();
        if let Some(count) = of.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                of.remove(&from);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ipv6Addr, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload that is received; it ends when this is dropped.
pub struct Uploading {
    guard: Guard,
    from: Ipv6Addr,
}

impl Uploading {
    pub(super) const fn new(guard: Guard, from: Ipv6Addr) -> Self {
        Self { guard, from }
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        self.guard.ended(self.from);
    }
}
