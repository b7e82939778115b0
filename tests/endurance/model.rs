//! What a repository holds, what a change does to it, and which states are possible after changes
//! whose outcome is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A repository as clients see it. An empty one and one that does not exist are the same here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    pub blobs: BTreeSet<String>,
    /// By digest: the blobs it names.
    pub manifests: BTreeMap<String, Vec<String>>,
    pub tags: BTreeMap<String, String>,
}

/// One request's effect: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Link(String),
    Unlink(String),
    Put { digest: String, names: Vec<String>, tags: Vec<String> },
    Untag(String),
    Delete(String),
}

/// A change that this state does not allow.
#[derive(Debug)]
pub struct Refused;

impl State {
    /// This state after `change`.
    pub fn after(&self, change: &Change) -> Result<Self, Refused> {
        let mut next = self.clone();
        let done = match change {
            Change::Link(digest) => {
                next.blobs.insert(digest.clone());
                true
            }
            Change::Unlink(digest) => !self.is_named(digest) && next.blobs.remove(digest),
            Change::Put { digest, names, tags } => {
                next.manifests.insert(digest.clone(), names.clone());
                next.tags.extend(tags.iter().map(|tag| (tag.clone(), digest.clone())));
                names.iter().all(|name| self.blobs.contains(name))
            }
            Change::Untag(tag) => next.tags.remove(tag).is_some(),
            Change::Delete(digest) => {
                next.tags.retain(|_, names| names != digest);
                next.manifests.remove(digest).is_some()
            }
        };
        if done { Ok(next) } else { Err(Refused) }
    }

    fn is_named(&self, blob: &str) -> bool {
        self.manifests.values().any(|names| names.iter().any(|name| name == blob))
    }

    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.manifests.is_empty() && self.tags.is_empty()
    }

    /// What differs from `other`, for people.
    pub fn difference(&self, other: &Self) -> String {
        let mut lines = Vec::new();
        let mut compare = |what: &str, mine: BTreeSet<String>, theirs: BTreeSet<String>| {
            lines.extend(mine.difference(&theirs).map(|item| format!("  {what} only expected: {item}")));
            lines.extend(theirs.difference(&mine).map(|item| format!("  {what} only observed: {item}")));
        };
        compare("blob", self.blobs.clone(), other.blobs.clone());
        compare(
            "manifest",
            self.manifests.keys().cloned().collect(),
            other.manifests.keys().cloned().collect(),
        );
        let tags =
            |state: &Self| state.tags.iter().map(|(tag, digest)| format!("{tag} -> {digest}")).collect();
        compare("tag", tags(self), tags(other));
        lines.join("\n")
    }
}

/// The states a repository can be in.
#[derive(Clone, Debug)]
pub struct Candidates(Vec<State>);

/// An answer or an observation that no candidate explains.
#[derive(Debug)]
pub struct Contradiction(pub String);

impl fmt::Display for Contradiction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Default for Candidates {
    fn default() -> Self {
        Self(vec![State::default()])
    }
}

impl Candidates {
    /// One of the possible states; the only one, most of the time.
    pub fn any(&self) -> &State {
        self.0.first().expect("there is always a candidate")
    }

    pub fn all(&self) -> &[State] {
        &self.0
    }

    /// The state, if it is known.
    pub fn certain(&self) -> Option<&State> {
        if let [only] = self.0.as_slice() { Some(only) } else { None }
    }

    /// Answered with success: it has happened.
    pub fn acknowledged(&mut self, change: &Change) -> Result<(), Contradiction> {
        let next: Vec<State> = self.0.iter().filter_map(|state| state.after(change).ok()).collect();
        self.replace(next, || format!("{change:?} was acknowledged, and is not possible in any state"))
    }

    /// Answered with 4xx: it was not possible, and has not happened.
    pub fn refused(&mut self, change: &Change) -> Result<(), Contradiction> {
        let next: Vec<State> = self.0.iter().filter(|state| state.after(change).is_err()).cloned().collect();
        self.replace(next, || format!("{change:?} was refused, and is possible in every state"))
    }

    /// Not answered, or 5xx: it has happened, or it has not.
    pub fn unknown(&mut self, change: &Change) {
        let applied: Vec<State> = self.0.iter().filter_map(|state| state.after(change).ok()).collect();
        self.0.extend(applied);
        self.tidy();
    }

    /// Seen as a whole: this it is.
    pub fn observed(&mut self, state: State) -> Result<(), Contradiction> {
        if !self.0.contains(&state) {
            return Err(self.mismatch(&state));
        }
        self.0 = vec![state];
        Ok(())
    }

    fn replace(&mut self, next: Vec<State>, otherwise: impl Fn() -> String) -> Result<(), Contradiction> {
        if next.is_empty() {
            return Err(Contradiction(otherwise()));
        }
        self.0 = next;
        self.tidy();
        Ok(())
    }

    fn tidy(&mut self) {
        self.0.sort();
        self.0.dedup();
    }

    fn mismatch(&self, seen: &State) -> Contradiction {
        let mut text = format!("the repository is in none of the {} possible states", self.0.len());
        for (number, state) in self.0.iter().enumerate().take(4) {
            text += &format!("\n against state {number}:\n{}", state.difference(seen));
        }
        Contradiction(text)
    }
}
