//! `[audit]`: what is recorded of what is done, and for how long.

use serde::{Deserialize, Serialize};

use super::{Period, Rate, Size};

/// `[audit]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// How long events are kept.
    pub keep: Period,
    /// Bytes of the trail from which on only changes are recorded.
    pub max_size: Size,
    /// Whether reads are recorded.
    pub reads: bool,
    /// Whether pulls are.
    pub pulls: bool,
    /// Refusals of one address that are recorded.
    pub refusals: Rate,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            keep: Period::from_secs(7 * 86_400),
            max_size: Size::from_mib(4096),
            reads: true,
            pulls: false,
            refusals: Rate::new(60, 60),
        }
    }
}

impl AuditSettings {
    /// The first key whose value makes no sense, and why.
    pub(super) fn misfit(&self) -> Option<(&'static str, &'static str)> {
        let rows = [
            (self.keep.as_ms() < 3_600_000, "keep", "must be an hour at least"),
            (self.max_size < Size::from_mib(64), "max_size", "must be 64MiB at least"),
        ];
        rows.into_iter().find(|(wrong, ..)| *wrong).map(|(_, key, message)| (key, message))
    }
}
