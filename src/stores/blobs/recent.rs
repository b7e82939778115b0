//! Which blobs were pulled not long ago: what is pulled again is worth a place in the page cache.
//!
//! Clients fetch a blob in one request or in many ranges, side by side or one after the other. So a
//! blob's length is divided into 64 parts, and a blob counts as pulled again once a range holds the
//! first byte of a part that a range before it held too: ranges that only meet do not.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Mutex;

use pierhead_storage_format::Digest;

use super::lock;

/// Blobs remembered at most.
const BLOBS: usize = 4096;
/// Their lengths together at most: what was pulled before so much else would be out of a large page
/// cache by now, had it gone there.
const BYTES: u64 = 64 << 30;
const PARTS: u64 = u64::BITS as u64;

/// The blobs pulled last, oldest first. About 400 KiB when it is full.
#[derive(Default)]
pub(super) struct Recent(Mutex<Pulls>);

#[derive(Default)]
struct Pulls {
    parts: HashMap<Digest, Parts>,
    order: VecDeque<(Digest, u64)>,
    bytes: u64,
}

#[derive(Default)]
struct Parts {
    seen: u64,
    again: bool,
}

impl Recent {
    /// Notes that `range` of a blob of `size` bytes is pulled; whether the blob is pulled again.
    pub(super) fn is_again(&self, digest: &Digest, size: u64, range: &Range<u64>) -> bool {
        let asked = parts(size, range);
        let mut pulls = lock(&self.0);
        if !pulls.parts.contains_key(digest) {
            if asked != 0 {
                pulls.remember(digest, size, asked);
            }
            return false;
        }
        let Some(parts) = pulls.parts.get_mut(digest) else { return false };
        parts.again |= parts.seen & asked != 0;
        parts.seen |= asked;
        parts.again
    }
}

impl Pulls {
    /// First in, first out, pulled again or not: what is forgotten while it is still cached is found
    /// to be cached.
    fn remember(&mut self, digest: &Digest, size: u64, seen: u64) {
        self.parts.insert(*digest, Parts { seen, again: false });
        self.order.push_back((*digest, size));
        self.bytes = self.bytes.saturating_add(size);
        while self.order.len() > BLOBS || (self.bytes > BYTES && self.order.len() > 1) {
            let Some((oldest, size)) = self.order.pop_front() else { return };
            self.parts.remove(&oldest);
            self.bytes = self.bytes.saturating_sub(size);
        }
    }
}

/// The parts whose first byte is in the range.
fn parts(size: u64, range: &Range<u64>) -> u64 {
    let length = size.div_ceil(PARTS).max(1);
    let (from, to) = (range.start.div_ceil(length).min(PARTS), range.end.div_ceil(length).min(PARTS));
    if from >= to {
        return 0;
    }
    let below = |part: u64| if part == PARTS { u64::MAX } else { (1 << part) - 1 };
    below(to) & !below(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::blobs::digest_of;
    use pierhead_storage_format::Algorithm;

    const MIB: u64 = 1 << 20;

    fn digest(number: usize) -> Digest {
        digest_of(Algorithm::Sha256, &number.to_le_bytes())
    }

    #[test]
    fn a_blob_is_pulled_again_once_a_part_of_it_is() {
        type Case<'a> = (&'a str, u64, &'a [Range<u64>], bool);
        let cases: [Case<'_>; 9] = [
            ("whole, twice", 64 * MIB, &[0..64 * MIB, 0..64 * MIB], true),
            ("in halves", 64 * MIB, &[0..32 * MIB, 32 * MIB..64 * MIB], false),
            (
                "in halves that part beside a border",
                64 * MIB,
                &[0..32 * MIB + 7, 32 * MIB + 7..64 * MIB],
                false,
            ),
            ("resumed", 64 * MIB, &[0..64 * MIB, 40 * MIB + 1..64 * MIB], true),
            ("backwards", 64 * MIB, &[9 * MIB..64 * MIB, 0..9 * MIB], false),
            ("in small ranges", 6400 * MIB, &[0..MIB, MIB..2 * MIB, 2 * MIB..3 * MIB], false),
            ("a small range twice", 6400 * MIB, &[0..MIB, MIB..2 * MIB, 0..MIB], true),
            (
                "another range of a blob pulled again",
                64 * MIB,
                &[0..MIB, 0..MIB, 50 * MIB + 1..50 * MIB + 2],
                true,
            ),
            ("of few bytes", 3, &[0..3, 0..3], true),
        ];
        for (name, size, ranges, expected) in cases {
            let recent = Recent::default();
            let all: Vec<bool> =
                ranges.iter().map(|range| recent.is_again(&digest(1), size, range)).collect();
            assert_eq!(all.last(), Some(&expected), "{name}");
            assert!(!all[0], "{name}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_by_number_and_by_length() {
        let recent = Recent::default();
        for number in 0..=BLOBS {
            recent.is_again(&digest(number), 1, &(0..1));
        }
        assert!(!recent.is_again(&digest(0), 1, &(0..1)), "the oldest is forgotten");
        assert!(recent.is_again(&digest(BLOBS), 1, &(0..1)));
        for number in 0..3 {
            recent.is_again(&digest(10_000 + number), BYTES - 1, &(0..1));
        }
        let pulls = lock(&recent.0);
        assert_eq!((pulls.order.len(), pulls.parts.len(), pulls.bytes), (1, 1, BYTES - 1));
    }

    #[test]
    fn parts_are_those_that_begin_in_the_range() {
        assert_eq!(parts(64, &(0..64)), u64::MAX);
        assert_eq!(parts(64, &(1..3)), 0b110);
        assert_eq!(parts(640, &(11..20)), 0);
        assert_eq!(parts(640, &(10..11)), 0b10);
        assert_eq!(parts(1, &(0..1)), 1);
        assert_eq!(parts(0, &(0..0)), 0);
        assert_eq!(parts(u64::MAX, &(0..u64::MAX)), u64::MAX);
    }
}
