//! To whom room is promised: how much each holder has, and how much more he may have.

use std::collections::HashMap;
use std::net::IpAddr;

use pierhead_storage_format::identity::Id;

/// Part of the room that is nobody's alone, a reciprocal: a body of the largest size is let in beyond the holder's
/// share, but never so that others find nothing.
const KEPT: u64 = 4;

/// Whose promises, and whose upload slots, are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An account's users'.
    Account(Id),
    /// Those of nobody in particular from one address, an IPv6 one with all of its /64: in a lab.
    Address(IpAddr),
    /// Those of this host's processes.
    Host,
}

/// What holders were promised. Has an entry for those with a promise and for nobody else.
#[derive(Default)]
pub(super) struct Promised {
    all: u64,
    of: HashMap<Holder, u64>,
}

impl Promised {
    /// To all of them.
    pub(super) const fn all(&self) -> u64 {
        self.all
    }

    /// To one.
    pub(super) fn of(&self, holder: Holder) -> u64 {
        self.of.get(&holder).copied().unwrap_or(0)
    }

    /// To who has the most.
    pub(super) fn most(&self) -> Option<(Holder, u64)> {
        self.of.iter().map(|(holder, bytes)| (*holder, *bytes)).max_by_key(|(_, bytes)| *bytes)
    }

    pub(super) fn add(&mut self, holder: Holder, bytes: u64) {
        if bytes > 0 {
            let of = self.of.entry(holder).or_default();
            *of = of.saturating_add(bytes);
            self.all = self.all.saturating_add(bytes);
        }
    }

    pub(super) fn take(&mut self, holder: Holder, bytes: u64) {
        self.all = self.all.saturating_sub(bytes);
        if let Some(of) = self.of.get_mut(&holder) {
            *of = of.saturating_sub(bytes);
            if *of == 0 {
                self.of.remove(&holder);
            }
        }
    }
}

/// What a holder may have of `room` bytes that nobody else was promised: `percent` of it; but one body of the
/// `largest` size in any case, where that leaves a part for others.
pub(super) fn share(room: u64, percent: u32, largest: u64) -> u64 {
    let part = u128::from(room) * u128::from(percent.min(100)) / 100;
    let part = u64::try_from(part).unwrap_or(room);
    part.max(largest.min(room - room / KEPT))
}

/// The least room of which `bytes` are within a [`share`].
pub(super) fn room_of_share(bytes: u64, percent: u32, largest: u64) -> u64 {
    let bytes = u128::from(bytes);
    let by_part = (bytes * 100).div_ceil(percent.clamp(1, 100).into());
    let by_body = bytes.saturating_sub(1) * u128::from(KEPT) / u128::from(KEPT - 1) + 1;
    let room = if bytes <= u128::from(largest) { by_part.min(by_body) } else { by_part };
    u64::try_from(room).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_room_of_a_share_is_the_least_that_is_enough(bytes in 1u64..1 << 50, percent in 1u32..=100, largest in 0u64..1 << 50) {
            let room = room_of_share(bytes, percent, largest);
            prop_assert!(share(room, percent, largest) >= bytes);
            prop_assert!(share(room - 1, percent, largest) < bytes);
        }
    }

    #[test]
    fn a_share_is_a_part_of_the_room_or_one_body_where_others_find_something_still() {
        const GIB: u64 = 1 << 30;
        let cases = [
            ("a large disk", 1000 * GIB, 50, 10 * GIB, 500 * GIB),
            ("where a body is more than the part", 16 * GIB, 50, 10 * GIB, 10 * GIB),
            ("where a body would take nearly all", 12 * GIB, 50, 10 * GIB, 9 * GIB),
            ("where none fits", 4 * GIB, 50, 10 * GIB, 3 * GIB),
            ("no limit", 4 * GIB, 100, 10 * GIB, 4 * GIB),
            ("no room", 0, 50, 10 * GIB, 0),
            ("an absurd disk", u64::MAX, 100, 0, u64::MAX),
        ];
        for (name, room, percent, largest, expected) in cases {
            assert_eq!(share(room, percent, largest), expected, "{name}");
        }
    }

    #[test]
    fn what_is_promised_is_counted_by_holder_and_nobody_without_is_remembered() {
        let (one, other) = (Holder::Account(Id::from_bytes([1; 16])), Holder::Host);
        let mut promised = Promised::default();
        promised.add(one, 10);
        promised.add(other, 5);
        promised.add(one, 10);
        assert_eq!((promised.all(), promised.of(one), promised.of(other)), (25, 20, 5));
        assert_eq!(promised.most(), Some((one, 20)));
        promised.take(one, 20);
        promised.take(other, 0);
        promised.add(one, 0);
        assert_eq!((promised.all(), promised.most(), promised.of.len()), (5, Some((other, 5)), 1));
    }
}
