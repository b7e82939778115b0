//! `[collection]`: when what nothing needs any more goes.

use serde::{Deserialize, Serialize};

use super::{Period, Size};

/// `[collection]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CollectionSettings {
    /// Whether it runs by itself.
    pub on: bool,
    /// Between the end of a run and the next.
    pub every: Period,
    /// How long what nothing names stays.
    pub grace: Period,
    /// How long files of collected blobs stay in quarantine.
    pub quarantine: Period,
    /// How long deleted manifests can be restored; 0 for not at all.
    pub undo: Period,
    /// Age from which on manifests without a tag are removed; 0 for never.
    pub remove_untagged: Period,
    /// Blobs a second at most; 0 for no limit.
    pub blobs_per_second: u32,
    /// Bytes a second at most; 0 for no limit.
    pub bytes_per_second: Size,
}

impl Default for CollectionSettings {
    fn default() -> Self {
        Self {
            on: true,
            every: Period::from_secs(600),
            grace: Period::from_secs(3600),
            quarantine: Period::from_secs(3600),
            undo: Period::from_secs(86_400),
            remove_untagged: Period::from_secs(0),
            blobs_per_second: 1000,
            bytes_per_second: Size::from_mib(0),
        }
    }
}

impl CollectionSettings {
    /// The first key whose value makes no sense, and why.
    pub(super) fn misfit(&self) -> Option<(&'static str, &'static str)> {
        let rows = [(self.every.as_ms() < 1000, "every", "must be a second at least")];
        rows.into_iter().find(|(wrong, ..)| *wrong).map(|(_, key, message)| (key, message))
    }
}
