//! `[scrub]`: reading every blob again, in the background.

use serde::{Deserialize, Serialize};

use super::{Period, Size};

/// `[scrub]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrubSettings {
    /// Whether cycles begin by themselves.
    pub on: bool,
    /// Bytes read a second.
    pub rate: Size,
    /// From the begin of a cycle to that of the next.
    pub every: Period,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self { on: true, rate: Size::from_mib(50), every: Period::from_secs(30 * 86_400) }
    }
}

impl ScrubSettings {
    /// The first key whose value makes no sense, and why.
    pub(super) fn misfit(&self) -> Option<(&'static str, &'static str)> {
        let rows = [
            (self.rate < Size::from_mib(1), "rate", "must be 1MiB at least"),
            (self.every.as_ms() < 3_600_000, "every", "must be an hour at least"),
        ];
        rows.into_iter().find(|(wrong, ..)| *wrong).map(|(_, key, message)| (key, message))
    }
}
