//! One client of the workload: changes its own shelves and the common repository at random, one
//! request after the other, and enters every answer into its ledger.

use super::calls::{Content, Outcome, Place, WAYS};
use super::common::{Common, Touch};
use super::model::{Candidates, Change, State};
use crate::support::images::{OCI_LAYER, OCI_MANIFEST, descriptor, sha256};
use crate::support::{Http, Rng};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Possible states of a shelf beyond which a writer stops: too many unknown outcomes.
const TOO_MANY_STATES: usize = 64;

/// Changes of a shelf whose digests the next check looks for, beyond those it must have.
const LOOKED_FOR: usize = 60;

/// A shelf with more than these is thinned out, so that a check stays short.
const MANIFESTS: usize = 30;
const BLOBS: usize = 60;

/// What the workload may do.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Deletes, mounts and several tags in one PUT; a peer may not have them.
    pub everything: bool,
    /// After a 5xx the writer waits for the end of the round.
    pub stops_at_failure: bool,
    /// Whether "the disk is full" may be said of a change that happened: where the disk fails to
    /// take back what it refused to keep.
    pub full_is_unknown: bool,
}

impl Habits {
    /// All the workload can do, on a disk that tells the truth.
    pub fn usual() -> Self {
        Self { everything: !super::daemon::peer(), stops_at_failure: false, full_is_unknown: false }
    }
}

/// Why a writer's turn ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Go on.
    Done,
    /// The server is gone, or the writer has had enough of it.
    Over(String),
}

/// A repository of one writer.
pub struct Shelf {
    pub name: String,
    pub ledger: Candidates,
    /// The last changes: what they removed must stay gone, what was not answered may be there.
    pub last: VecDeque<Change>,
}

pub struct Writer {
    pub shelves: Vec<Shelf>,
    pub habits: Habits,
    /// The last requests and their answers.
    pub diary: VecDeque<String>,
    /// Every digest that was, or may be, stored at any time.
    pub stored: BTreeSet<String>,
    rng: Rng,
    contents: BTreeMap<String, Content>,
    documents: BTreeMap<String, Vec<u8>>,
    in_common: BTreeSet<String>,
    pub acknowledged: u64,
}

impl Writer {
    pub fn new(number: usize, seed: u64, habits: Habits) -> Self {
        let shelf = |part: &str| Shelf {
            name: format!("w{number}/{part}"),
            ledger: Candidates::default(),
            last: VecDeque::new(),
        };
        Self {
            shelves: vec![shelf("app"), shelf("deep/er/copy")],
            habits,
            diary: VecDeque::new(),
            stored: BTreeSet::new(),
            rng: Rng::seeded(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            contents: BTreeMap::new(),
            documents: BTreeMap::new(),
            in_common: BTreeSet::new(),
            acknowledged: 0,
        }
    }

    /// One change at random.
    pub fn step(&mut self, http: Http, common: &Common) -> Turn {
        let shelf = self.rng.below(self.shelves.len());
        if self.habits.everything && self.rng.below(100) < 15 {
            return self.step_common(http, common);
        }
        let state = self.shelves[shelf].ledger.any().clone();
        let choice = match &state {
            _ if !self.habits.everything => self.rng.below(60),
            full if full.manifests.len() > MANIFESTS => 80,
            full if full.blobs.len() > BLOBS && self.rng.below(2) == 0 => 90,
            _ => self.rng.below(100),
        };
        match choice {
            0..22 => self.push_content(http, shelf, Content::random),
            22..28 => self.push_content(http, shelf, Content::common),
            28..50 => self.push_image(http, shelf, &state),
            50..60 => self.retag(http, shelf, &state),
            60..68 => self.mount(http, shelf),
            68..78 => {
                let tag = self.pick(state.tags.keys()).unwrap_or_else(|| "none".to_owned());
                self.remove(http, shelf, Change::Untag(tag))
            }
            78..88 => {
                let digest = self.pick(state.manifests.keys()).unwrap_or_else(|| sha256(b"none"));
                self.remove(http, shelf, Change::Delete(digest))
            }
            _ => {
                let digest = self.pick(state.blobs.iter()).unwrap_or_else(|| sha256(b"none"));
                self.remove(http, shelf, Change::Unlink(digest))
            }
        }
    }

    fn push_content(&mut self, http: Http, shelf: usize, content: fn(&mut Rng) -> Content) -> Turn {
        let content = content(&mut self.rng);
        let bytes = content.bytes();
        // The first way is the one that a peer may not have.
        let first = usize::from(!self.habits.everything);
        let way = WAYS[first + self.rng.below(WAYS.len() - first)];
        let digest = sha256(&bytes);
        self.contents.insert(digest.clone(), content);
        let outcome = self.place(http, shelf).push_blob(way, &bytes);
        self.enter(shelf, Change::Link(digest), outcome)
    }

    /// A manifest over blobs of the shelf, under a new tag, a moved one, several, or none.
    fn push_image(&mut self, http: Http, shelf: usize, state: &State) -> Turn {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..=self.rng.below(3) {
            names.extend(self.pick(state.blobs.iter()));
        }
        // Rarely a blob that is not here: the manifest must be refused.
        if names.is_empty() || self.rng.below(40) == 0 {
            names.push(sha256(&self.rng.bytes(9)));
        }
        let document = self.document(&names);
        let tags = self.tags();
        self.put(http, shelf, document, names, tags)
    }

    /// A manifest that is there, under another tag.
    fn retag(&mut self, http: Http, shelf: usize, state: &State) -> Turn {
        let Some(digest) = self.pick(state.manifests.keys()) else {
            return self.push_image(http, shelf, state);
        };
        let names = state.manifests[&digest].clone();
        let document = self.documents[&digest].clone();
        let tags = self.tags();
        self.put(http, shelf, document, names, tags)
    }

    fn put(
        &mut self,
        http: Http,
        shelf: usize,
        document: Vec<u8>,
        names: Vec<String>,
        tags: Vec<String>,
    ) -> Turn {
        let digest = sha256(&document);
        let outcome = self.place(http, shelf).put_manifest(&document, &tags);
        self.documents.insert(digest.clone(), document);
        self.enter(shelf, Change::Put { digest, names, tags }, outcome)
    }

    fn mount(&mut self, http: Http, shelf: usize) -> Turn {
        let source = 1 - shelf;
        let there = self.shelves[source].ledger.certain().map(|state| state.blobs.clone());
        let Some(digest) = there.and_then(|blobs| self.pick(blobs.iter())) else { return Turn::Done };
        let from = (self.rng.below(4) > 0).then(|| self.shelves[source].name.clone());
        let outcome = self.place(http, shelf).mount(&digest, from.as_deref());
        self.enter(shelf, Change::Link(digest), outcome)
    }

    fn remove(&mut self, http: Http, shelf: usize, change: Change) -> Turn {
        let outcome = self.place(http, shelf).remove(&change);
        self.enter(shelf, change, outcome)
    }

    /// The common repository: blobs of this writer by mount, manifests over them, tags that
    /// everyone moves.
    fn step_common(&mut self, http: Http, common: &Common) -> Turn {
        let place = Place { http, name: common.name().to_owned() };
        let touch = match self.rng.below(10) {
            0..3 => return self.mount_common(&place),
            3..7 => match self.image_for_common() {
                Some((digest, tags)) => Touch::Put { digest, tag: tags },
                None => return self.mount_common(&place),
            },
            7..9 => Touch::Untag(common_tag(&mut self.rng)),
            _ => match common.some_manifest(&mut self.rng) {
                Some(digest) => Touch::Delete(digest),
                None => return Turn::Done,
            },
        };
        let sent = common.now();
        let outcome = match &touch {
            Touch::Put { digest, tag } => {
                let tags: Vec<String> = tag.iter().cloned().collect();
                place.put_manifest(&self.documents[digest], &tags)
            }
            Touch::Untag(reference) | Touch::Delete(reference) => {
                place.delete(&format!("manifests/{reference}"))
            }
        };
        let outcome = self.understood(outcome);
        self.write_diary(common.name(), &format!("{touch:?}"), &outcome);
        if let Touch::Put { digest, .. } = &touch {
            if matches!(outcome, Outcome::Refused(_)) {
                panic!("the common repository refused a manifest: {outcome:?}");
            }
            self.note_stored(digest, &outcome);
        }
        common.enter(touch, sent, &outcome);
        self.turn(outcome)
    }

    fn mount_common(&mut self, place: &Place) -> Turn {
        let there = self.shelves[0].ledger.certain().map(|state| state.blobs.clone());
        let Some(digest) = there.and_then(|blobs| self.pick(blobs.iter())) else { return Turn::Done };
        let outcome = place.mount(&digest, Some(&self.shelves[0].name));
        self.write_diary(&place.name, &format!("mount {digest}"), &outcome);
        match &outcome {
            Outcome::Acknowledged => {
                self.in_common.insert(digest);
            }
            Outcome::Refused(why) => panic!("a mount from a repository that has the blob: {why}"),
            _ => {}
        }
        self.turn(outcome)
    }

    fn image_for_common(&mut self) -> Option<(String, Option<String>)> {
        let mine = self.in_common.clone();
        let names: Vec<String> = (0..2).filter_map(|_| self.pick(mine.iter())).collect();
        if names.is_empty() {
            return None;
        }
        let document = self.document(&names);
        let digest = sha256(&document);
        self.documents.insert(digest.clone(), document);
        let tag = (self.rng.below(8) > 0).then(|| common_tag(&mut self.rng));
        Some((digest, tag))
    }

    fn document(&mut self, names: &[String]) -> Vec<u8> {
        let layer =
            |digest: &String| json!({ "mediaType": OCI_LAYER, "digest": digest, "size": self.size(digest) });
        let mut layers: Vec<_> = names.iter().map(layer).collect();
        let config = layers.remove(0);
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers,
        });
        if self.rng.below(8) == 0 {
            let seed = self.rng.number().to_le_bytes();
            manifest["subject"] = descriptor(OCI_MANIFEST, &seed);
        }
        if self.rng.below(3) > 0 {
            manifest["annotations"] = json!({ "number": self.rng.number().to_string() });
        }
        serde_json::to_vec(&manifest).expect("a JSON value")
    }

    fn size(&self, digest: &str) -> usize {
        self.contents.get(digest).map_or(9, |content| content.length)
    }

    fn tags(&mut self) -> Vec<String> {
        let count = match self.rng.below(10) {
            0 => 0,
            1 if self.habits.everything => 2 + self.rng.below(3),
            _ => 1,
        };
        let tags: BTreeSet<String> = (0..count).map(|_| format!("t{}", self.rng.below(12))).collect();
        tags.into_iter().collect()
    }

    fn place(&self, http: Http, shelf: usize) -> Place {
        Place { http, name: self.shelves[shelf].name.clone() }
    }

    fn pick<'a>(&mut self, from: impl ExactSizeIterator<Item = &'a String>) -> Option<String> {
        let count = from.len();
        let mut from = from;
        if count == 0 { None } else { from.nth(self.rng.below(count)).cloned() }
    }

    /// Enters an answer into the ledger; an answer that cannot be right fails the test.
    fn enter(&mut self, shelf: usize, change: Change, outcome: Outcome) -> Turn {
        let outcome = self.understood(outcome);
        let name = self.shelves[shelf].name.clone();
        self.write_diary(&name, &format!("{change:?}"), &outcome);
        if let Change::Link(digest) | Change::Put { digest, .. } = &change {
            self.note_stored(digest, &outcome);
        }
        let shelf = &mut self.shelves[shelf];
        shelf.last.push_back(change.clone());
        if shelf.last.len() > LOOKED_FOR {
            shelf.last.pop_front();
        }
        let entered = match &outcome {
            Outcome::Acknowledged => shelf.ledger.acknowledged(&change),
            Outcome::Refused(why) => shelf.ledger.refused(&change).map_err(|mut contradiction| {
                contradiction.0 += &format!(" ({why})");
                contradiction
            }),
            Outcome::Failed(_) | Outcome::Unanswered(_) => {
                shelf.ledger.unknown(&change);
                Ok(())
            }
            Outcome::NotSent(_) | Outcome::Full(_) => Ok(()),
        };
        if let Err(contradiction) = entered {
            panic!("{name}: {contradiction}\n{}", self.diary_text());
        }
        if self.shelves.iter().any(|shelf| shelf.ledger.all().len() > TOO_MANY_STATES) {
            return Turn::Over("too many unknown outcomes".to_owned());
        }
        self.turn(outcome)
    }

    fn understood(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Full(why) if self.habits.full_is_unknown => Outcome::Failed(why),
            other => other,
        }
    }

    fn turn(&mut self, outcome: Outcome) -> Turn {
        match outcome {
            Outcome::Acknowledged => {
                self.acknowledged += 1;
                Turn::Done
            }
            Outcome::Refused(_) => Turn::Done,
            Outcome::Full(why) | Outcome::Failed(why) | Outcome::NotSent(why)
                if self.habits.stops_at_failure =>
            {
                Turn::Over(why)
            }
            Outcome::Full(_) | Outcome::Failed(_) | Outcome::NotSent(_) => Turn::Done,
            Outcome::Unanswered(error) => Turn::Over(error.to_string()),
        }
    }

    /// What was acknowledged may stay on the disk for ever (until a collector takes it).
    fn note_stored(&mut self, digest: &str, outcome: &Outcome) {
        if matches!(outcome, Outcome::Acknowledged) {
            self.stored.insert(digest.to_owned());
        }
    }

    fn write_diary(&mut self, repository: &str, what: &str, outcome: &Outcome) {
        self.diary.push_back(format!("{repository}: {what}: {outcome:?}"));
        if self.diary.len() > 60 {
            self.diary.pop_front();
        }
    }

    pub fn diary_text(&self) -> String {
        let lines: Vec<&str> = self.diary.iter().map(String::as_str).collect();
        format!("--- the writer's last requests ---\n{}", lines.join("\n"))
    }
}

fn common_tag(rng: &mut Rng) -> String {
    format!("c{}", rng.below(5))
}
