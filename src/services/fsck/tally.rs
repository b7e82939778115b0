//! Counts references to a bounded number of digests at a time (K2).

use pierhead_storage_format::Digest;

/// Digests in ascending order, each with the count on record and the recount.
#[derive(Debug, Default)]
pub struct Tally(Vec<Count>);

/// One digest's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Whose.
    pub digest: Digest,
    /// As its row says.
    pub recorded: u64,
    /// As counted.
    pub counted: u64,
}

impl Tally {
    /// Adds a digest above all before it.
    pub fn push(&mut self, digest: Digest, recorded: u64) {
        self.0.push(Count { digest, recorded, counted: 0 });
    }

    /// How many digests are in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The last digest, from which the next tally goes on.
    pub fn last(&self) -> Option<Digest> {
        self.0.last().map(|count| count.digest)
    }

    /// Counts one reference, if the digest is in this tally.
    pub fn bump(&mut self, digest: &Digest) {
        if let Ok(at) = self.0.binary_search_by(|count| count.digest.cmp(digest)) {
            self.0[at].counted += 1;
        }
    }

    /// Those that disagree.
    pub fn wrong(&self) -> impl Iterator<Item = &Count> {
        self.0.iter().filter(|count| count.recorded != count.counted)
    }
}
