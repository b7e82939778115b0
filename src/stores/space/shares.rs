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

impl Holder {
    /// Whether this is nobody in particular: whoever has many addresses is many of them.
    pub(super) const fn is_anybody(self) -> bool {
        matches!(self, Self::Address(_))
    }
}

/// What holders were promised. Has an entry for those with a promise and for nobody else.
#[derive(Default)]
pub(super) struct Promised {
    all: u64,
    of: HashMap<Holder, u64>,
    /// To all addresses together.
    anybody: u64,
    /// Of all of it, what is kept though others bring their bytes.
    firm: u64,
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

    /// To all addresses together.
    pub(super) const fn of_anybody(&self) -> u64 {
        self.anybody
    }

    /// What is kept though others bring their bytes.
    pub(super) const fn firm(&self) -> u64 {
        self.firm
    }

    /// So much more of it is.
    pub(super) const fn make_firm(&mut self, bytes: u64) {
        self.firm = self.firm.saturating_add(bytes);
    }

    /// So much less of it is.
    pub(super) const fn loosen(&mut self, bytes: u64) {
        self.firm = self.firm.saturating_sub(bytes);
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
            if holder.is_anybody() {
                self.anybody = self.anybody.saturating_add(bytes);
            }
        }
    }

    pub(super) fn take(&mut self, holder: Holder, bytes: u64) {
        self.all = self.all.saturating_sub(bytes);
        if holder.is_anybody() {
            self.anybody = self.anybody.saturating_sub(bytes);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
