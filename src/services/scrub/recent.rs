//! What is read first after a stop out of order: the blobs that came last before it, which may not have reached the
//! disk. Memory is that of [`MOST`] of them; where more came, the newest are taken, and the cycle comes to the rest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pierhead_storage_format::Digest;

/// So long before the last one, milliseconds.
const SPAN: u64 = 10 * 60_000;
/// So many of them at most.
const MOST: usize = 100_000;

/// A blob, by when its row changed last.
type Dated = (u64, Digest, u64);

/// The newest of the blobs seen so far.
#[derive(Default)]
pub(super) struct Recent {
    /// The oldest of them first.
    newest: BinaryHeap<Reverse<Dated>>,
}

impl Recent {
    /// Looks at a blob of `size`; in any order.
    pub(super) fn see(&mut self, digest: Digest, size: u64, changed_at: u64) {
        self.keep((changed_at, digest, size), MOST);
    }

    fn keep(&mut self, blob: Dated, most: usize) {
        self.newest.push(Reverse(blob));
        if self.newest.len() > most {
            self.newest.pop();
        }
    }

    /// Those that came shortly before the last one, with their sizes; the newest first.
    pub(super) fn finish(self) -> Vec<(Digest, u64)> {
        // The heap's own order turned about: the newest are first.
        let sorted = self.newest.into_sorted_vec();
        let since = sorted.first().map_or(0, |Reverse((last, ..))| last.saturating_sub(SPAN));
        let recent = sorted.into_iter().take_while(|Reverse((at, ..))| *at >= since);
        recent.map(|Reverse((_, digest, size))| (digest, size)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::blobs::digest_of;

    fn digest(number: u64) -> Digest {
        digest_of(pierhead_storage_format::Algorithm::Sha256, &number.to_be_bytes())
    }

    fn seen(blobs: &[(u64, u64)], most: usize) -> Vec<u64> {
        let mut recent = Recent::default();
        for (number, at) in blobs {
            recent.keep((*at, digest(*number), *number), most);
        }
        let found = recent.finish();
        assert!(found.iter().all(|(found, number)| *found == digest(*number)));
        found.into_iter().map(|(_, number)| number).collect()
    }

    #[test]
    fn the_newest_are_read_first_and_old_ones_not_at_all() {
        type Case = (&'static str, &'static [(u64, u64)], usize, &'static [u64]);
        const MINUTE: u64 = 60_000;
        let cases: [Case; 4] = [
            ("none", &[], 9, &[]),
            ("within ten minutes of the last", &[(1, 0), (2, 90 * MINUTE), (3, 85 * MINUTE)], 9, &[2, 3]),
            (
                "ten minutes before it",
                &[(1, 90 * MINUTE), (2, 80 * MINUTE), (3, 80 * MINUTE - 1)],
                9,
                &[1, 2],
            ),
            ("more than fit", &[(1, 4), (2, 9), (3, 7), (4, 1), (5, 8)], 3, &[2, 5, 3]),
        ];
        for (name, blobs, most, expected) in cases {
            assert_eq!(seen(blobs, most), expected, "{name}");
            let backwards: Vec<_> = blobs.iter().rev().copied().collect();
            assert_eq!(seen(&backwards, most), expected, "{name}, in another order");
        }
    }
}
