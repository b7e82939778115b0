//! The repository that all writers change at once. Requests overlap, so its state is not known,
//! only bounded: of each key, the value left must come from a change that no later acknowledged
//! change has replaced. *Later* means sent after the other was answered.

use super::calls::Outcome;
use crate::support::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A change of the common repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touch {
    Put {
        digest: String,
        tag: Option<String>,
    },
    Untag(String),
    /// Also untags whatever names the manifest.
    Delete(String),
}

/// A touch with its times; no `done` if it was not answered.
#[derive(Clone, Debug)]
struct Event {
    touch: Touch,
    sent: u64,
    done: Option<u64>,
}

impl Event {
    fn surely_after(&self, other: &Self) -> bool {
        self.done.is_some() && other.done.is_some_and(|done| self.sent > done)
    }
}

/// As seen after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub manifests: BTreeSet<String>,
    pub tags: BTreeMap<String, String>,
}

pub struct Common {
    name: String,
    clock: AtomicU64,
    events: Mutex<Vec<Event>>,
}

impl Common {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), clock: AtomicU64::new(1), events: Mutex::default() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A moment in the order of all writers' requests.
    pub fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub fn enter(&self, touch: Touch, sent: u64, outcome: &Outcome) {
        let done = match outcome {
            Outcome::Acknowledged => Some(self.now()),
            Outcome::Failed(_) | Outcome::Unanswered(_) => None,
            Outcome::Refused(_) | Outcome::Full(_) | Outcome::NotSent(_) => return,
        };
        self.events().push(Event { touch, sent, done });
    }

    /// A manifest that was pushed at some time.
    pub fn some_manifest(&self, rng: &mut Rng) -> Option<String> {
        let all: Vec<String> = self.manifests().into_iter().collect();
        if all.is_empty() { None } else { Some(all[rng.below(all.len())].clone()) }
    }

    /// Digests that may be there.
    pub fn manifests(&self) -> BTreeSet<String> {
        let events = self.events();
        let digests = events.iter().filter_map(|event| match &event.touch {
            Touch::Put { digest, .. } => Some(digest.clone()),
            Touch::Untag(_) | Touch::Delete(_) => None,
        });
        digests.collect()
    }

    /// Whether `seen` is possible; if it is, the ledger starts anew from it.
    pub fn observed(&self, seen: &Seen) -> Result<(), String> {
        let mut events = self.events();
        for digest in puts(&events) {
            judge_manifest(&events, &digest, seen.manifests.contains(&digest))
                .map_err(|why| format!("{}: manifest {digest}: {why}", self.name))?;
        }
        for tag in tags(&events).union(&seen.tags.keys().cloned().collect()) {
            judge_tag(&events, tag, seen.tags.get(tag))
                .map_err(|why| format!("{}: tag {tag}: {why}", self.name))?;
        }
        *events = restarted(seen, self.now());
        Ok(())
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was seen, as acknowledged changes of the past.
fn restarted(seen: &Seen, now: u64) -> Vec<Event> {
    let event = |touch| Event { touch, sent: 0, done: Some(now) };
    let untagged = seen.manifests.iter().map(|digest| Touch::Put { digest: digest.clone(), tag: None });
    let tagged =
        seen.tags.iter().map(|(tag, digest)| Touch::Put { digest: digest.clone(), tag: Some(tag.clone()) });
    untagged.chain(tagged).map(event).collect()
}

fn puts(events: &[Event]) -> BTreeSet<String> {
    let digest = |event: &Event| match &event.touch {
        Touch::Put { digest, .. } => Some(digest.clone()),
        Touch::Untag(_) | Touch::Delete(_) => None,
    };
    events.iter().filter_map(digest).collect()
}

fn tags(events: &[Event]) -> BTreeSet<String> {
    let tag = |event: &Event| match &event.touch {
        Touch::Put { tag, .. } => tag.clone(),
        Touch::Untag(tag) => Some(tag.clone()),
        Touch::Delete(_) => None,
    };
    events.iter().filter_map(tag).collect()
}

/// Whether a change of `makers` can be the last word against all of `breakers`.
fn stands<'a>(makers: impl Iterator<Item = &'a Event>, breakers: &[&Event]) -> bool {
    makers.into_iter().any(|maker| !breakers.iter().any(|breaker| breaker.surely_after(maker)))
}

fn judge_manifest(events: &[Event], wanted: &str, present: bool) -> Result<(), String> {
    let puts: Vec<&Event> =
        events.iter().filter(|e| matches!(&e.touch, Touch::Put { digest, .. } if digest == wanted)).collect();
    let deletes: Vec<&Event> =
        events.iter().filter(|e| matches!(&e.touch, Touch::Delete(digest) if digest == wanted)).collect();
    let possible = if present {
        stands(puts.iter().copied(), &deletes)
    } else {
        // Absent from the start, if no put is certain; or by a delete.
        puts.iter().all(|put| put.done.is_none()) || stands(deletes.iter().copied(), &puts)
    };
    if possible { Ok(()) } else { Err(explain(present, &puts, &deletes)) }
}

fn judge_tag(events: &[Event], tag: &str, value: Option<&String>) -> Result<(), String> {
    let sets = |wanted: Option<&String>| -> Vec<&Event> {
        let fits = |e: &&Event| match &e.touch {
            Touch::Put { digest, tag: Some(set) } => {
                set == tag && wanted.is_none_or(|wanted| wanted == digest)
            }
            _ => false,
        };
        events.iter().filter(fits).collect()
    };
    let untags: Vec<&Event> = events.iter().filter(|e| e.touch == Touch::Untag(tag.to_owned())).collect();
    let deletes = |wanted: &str| -> Vec<&Event> {
        events.iter().filter(|e| matches!(&e.touch, Touch::Delete(digest) if digest == wanted)).collect()
    };
    let (possible, against) = match value {
        Some(value) => {
            let against: Vec<&Event> = sets(None).into_iter().chain(untags).chain(deletes(value)).collect();
            (stands(sets(Some(value)).into_iter(), &against), against)
        }
        None => {
            // By an untag, by a delete of a manifest it named, or never set for certain.
            let named: Vec<&Event> = sets(None)
                .iter()
                .flat_map(|set| match &set.touch {
                    Touch::Put { digest, .. } => deletes(digest),
                    _ => Vec::new(),
                })
                .collect();
            let makers: Vec<&Event> = untags.into_iter().chain(named).collect();
            let never = sets(None).iter().all(|set| set.done.is_none());
            (never || stands(makers.into_iter(), &sets(None)), sets(None))
        }
    };
    if possible { Ok(()) } else { Err(explain(value.is_some(), &sets(value), &against)) }
}

fn explain(present: bool, makers: &[&Event], breakers: &[&Event]) -> String {
    let what = if present { "present" } else { "absent" };
    format!(
        "found {what}, which no order of the requests explains\n  set by {makers:#?}\n  against {breakers:#?}"
    )
}
