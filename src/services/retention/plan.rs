//! Which versions go. Pure: versions in, verdicts out; memory is that of what is kept by count.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::rules::{Keep, Policy, Selector};

const DAY: u64 = 86_400_000;

/// When a version was pushed, and its tag: the order of age (T4).
type Place = (u64, String);

/// The versions seen so far, as much of them as is needed.
pub struct Plan<'a> {
    policy: &'a Policy,
    now: u64,
    /// By count: the newest so far, the oldest of them first.
    newest: BinaryHeap<Reverse<Place>>,
    /// Exempt versions seen.
    pub exempt: u64,
    /// Versions seen.
    pub seen: u64,
}

/// What goes is older than this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Pushed before this moment.
    Before(u64),
    /// Older than the oldest of those that are kept.
    Below(Place),
    /// Nothing goes.
    Nothing,
}

impl Policy {
    /// Whether a version is never removed.
    pub fn is_exempt(&self, tag: &str) -> bool {
        self.exempt.iter().any(|selector| match selector {
            Selector::Tag(exempt) => exempt == tag,
            Selector::Matching(pattern) => pattern.matches(tag),
        })
    }
}

impl<'a> Plan<'a> {
    /// Before the first version, at `now`.
    pub const fn new(policy: &'a Policy, now: u64) -> Self {
        Self { policy, now, newest: BinaryHeap::new(), exempt: 0, seen: 0 }
    }

    /// Looks at a version; in any order.
    pub fn see(&mut self, tag: &str, pushed_at: u64) {
        self.seen += 1;
        if self.policy.is_exempt(tag) {
            self.exempt += 1;
            return;
        }
        let Keep::Versions(keep) = self.policy.keep else { return };
        self.newest.push(Reverse((pushed_at, tag.to_owned())));
        if self.newest.len() as u64 > keep {
            self.newest.pop();
        }
    }

    /// What goes, now that all were seen, and the tags that have to stay for that.
    pub fn finish(self) -> (Cut, Vec<String>) {
        match self.policy.keep {
            Keep::Days(days) => (Cut::Before(self.now.saturating_sub(days.saturating_mul(DAY))), Vec::new()),
            Keep::Versions(keep) => {
                let is_full = self.newest.len() as u64 >= keep;
                let oldest = self.newest.peek().filter(|_| is_full).map(|Reverse(place)| place.clone());
                let kept = self.newest.into_iter().map(|Reverse((_, tag))| tag).collect();
                (oldest.map_or(Cut::Nothing, Cut::Below), kept)
            }
        }
    }
}

impl Cut {
    /// Whether a version that is not exempt goes.
    pub fn takes(&self, tag: &str, pushed_at: u64) -> bool {
        match self {
            Self::Before(moment) => pushed_at < *moment,
            Self::Below((at, oldest)) => (pushed_at, tag) < (*at, oldest.as_str()),
            Self::Nothing => false,
        }
    }
}
