//! What a repair did, could not do and held back, for whoever asked for it. Bounded: steps of an id beyond [`TOLD`] are
//! counted, not told. Changes nothing; `repair` makes the steps.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::services::fsck::{Finding, Plan, Report, Severity};

/// Steps of an id that are told; more are counted.
const TOLD: u64 = 1000;

/// Something that was done, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The invariant it was about.
    pub id: &'static str,
    /// What was done, or why it was not.
    pub what: String,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// What was done; the first [`TOLD`] of each id.
    pub done: Vec<Step>,
    /// What was tried and could not be done; alike.
    pub failed: Vec<Step>,
    /// How many were done, by id.
    pub by_id: BTreeMap<&'static str, u64>,
    /// What was not tried, since rows may be missing.
    pub held: Held,
}

/// What was held back: it would give something up because of rows that may have been lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// What; the first [`TOLD`].
    pub back: Vec<Step>,
    /// How many, by id.
    pub by_id: BTreeMap<&'static str, u64>,
    /// The findings that say that rows may be missing and that no step mends: the first of each id. Where there is none,
    /// the next repair does what was held back.
    pub because: Vec<Step>,
}

impl Held {
    /// What a plan held back in its last pass.
    pub fn of(plan: &Plan) -> Self {
        let mut held = Self::default();
        for fix in plan.held_back() {
            *held.by_id.entry(fix.id).or_default() += 1;
            if (held.back.len() as u64) < TOLD {
                held.back.push(Step { id: fix.id, what: fix.does.clone() });
            }
        }
        if !held.back.is_empty() {
            held.because = plan.losses().map(|(id, what)| Step { id, what: what.to_owned() }).collect();
        }
        held
    }
}

impl Steps {
    /// Adds something that was done.
    pub fn add(&mut self, id: &'static str, what: String) {
        let count = self.by_id.entry(id).or_default();
        *count += 1;
        if *count <= TOLD {
            self.done.push(Step { id, what });
        }
    }

    /// Adds something that could not be done.
    pub(super) fn fail(&mut self, id: &'static str, what: String) {
        if (self.failed.len() as u64) < TOLD {
            self.failed.push(Step { id, what });
        }
    }

    /// Adds what opening the store as a start does has cleared of `before`, as `after` shows.
    pub fn add_opening(&mut self, before: &Report, after: &Report) {
        let is_left = |finding: &Finding| {
            after.findings.iter().any(|left| left.id == finding.id && left.what == finding.what)
        };
        for finding in &before.findings {
            if let Some(did) = opening(finding).filter(|_| !is_left(finding)) {
                self.add(finding.id, format!("{did} ({})", finding.what));
            }
        }
    }
}

/// What a start does about a finding.
pub fn opening(finding: &Finding) -> Option<&'static str> {
    match finding.id {
        "M2" => Some("left the torn tail out, as every start does"),
        "M3" | "M5" => Some("made the index anew from snapshot and journal"),
        "M7" => Some("removed a file that was not finished"),
        "A3" => Some("sealed the log of the audit trail, or removed what was not finished"),
        "U1" if finding.severity == Severity::Note => Some("removed an upload that nobody can go on with"),
        "B2" if finding.severity == Severity::Note => Some("removed a file that never got a row"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_said_to_have_removed_only_files_that_it_removes() {
        let finding = |severity| Finding {
            id: "B2",
            severity,
            what: "a file has no blob row".to_owned(),
            advice: "",
            images: Vec::new(),
        };
        for (severity, steps) in [(Severity::Note, 1), (Severity::Warning, 0)] {
            let (mut before, mut done) = (Report::default(), Steps::default());
            before.add(finding(severity));
            done.add_opening(&before, &Report::default());
            assert_eq!(done.done.len(), steps, "{severity:?}");
            let mut left = Steps::default();
            left.add_opening(&before, &before);
            assert_eq!(left.done, [], "what is left was not done");
        }
    }
}
