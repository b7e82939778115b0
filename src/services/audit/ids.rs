//! Trace ids: the time in front, never the same twice, never lower than one before, whatever the clock does.

use std::sync::{Arc, Mutex};

use pierhead_storage_format::identity::Id;

use super::lock;
use crate::seams::Random;

/// Bits behind the milliseconds.
const REST: u32 = 80;

/// Gives trace ids.
pub struct Ids {
    last: Mutex<u128>,
    random: Arc<dyn Random>,
}

impl Ids {
    /// None were given yet.
    pub fn new(random: Arc<dyn Random>) -> Self {
        Self { last: Mutex::new(0), random }
    }

    /// From now on higher than this one.
    pub fn raise(&self, id: Id) {
        let mut last = lock(&self.last);
        *last = (*last).max(u128::from_be_bytes(*id.as_bytes()));
    }

    /// The next one; `now` is UTC milliseconds.
    pub fn next(&self, now: u64) -> Id {
        let front = u128::from(now & ((1 << 48) - 1)) << REST;
        let mut rest = [0; 8];
        // Without randomness ids still never repeat here.
        let _ = self.random.fill(&mut rest);
        let mut last = lock(&self.last);
        *last = if front > *last { front | (u128::from(u64::from_be_bytes(rest)) << 8) } else { *last + 1 };
        Id::from_bytes(last.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::{OsRandom, TestRandom};

    #[test]
    fn ids_ascend_though_the_clock_goes_back_and_begin_above_what_was_there() {
        let ids = Ids::new(Arc::new(OsRandom));
        let mut last = ids.next(1000);
        for now in [1000, 1000, 999, 5, 0, 1000, 1001, u64::MAX, 3] {
            let next = ids.next(now);
            assert!(next > last, "{now}");
            last = next;
        }
        let other = Ids::new(Arc::new(TestRandom::default()));
        other.raise(last);
        assert!(other.next(2000) > last);
    }

    #[test]
    fn an_id_begins_with_its_time() {
        let id = Ids::new(Arc::new(OsRandom)).next(0x0123_4567_89ab);
        assert_eq!(id.as_bytes()[..6], [0x01, 0x23, 0x45, 0x67, 0x89, 0xab]);
    }
}
