//! What the scrub remembers: how far it is, and what it found damaged.

use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record};
use crate::digest::Digest;
use crate::keys::{Table, TableKey};

/// The one row of its table: an empty key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScrubStateKey {}

impl TableKey for ScrubStateKey {
    const TABLE: Table = Table::ScrubState;
    type Record = ScrubStateRecord;

    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        if key.is_empty() { Ok(Self {}) } else { Err(FormatError::Key) }
    }
}

/// How far the scrub is. Times are UTC milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStateRecord {
    /// Whether a cycle is under way.
    pub running: bool,
    /// Whether it is to be at full rate.
    pub full: bool,
    /// Whether an administrator paused it.
    pub paused: bool,
    /// The last blob that was looked at in the cycle under way.
    pub after: Option<Digest>,
    /// When the cycle under way, or the last one, was begun; 0 for never.
    pub began_at: u64,
    /// When the last whole cycle ended; 0 for never.
    pub ended_at: u64,
    /// Blobs looked at in the cycle under way, or the last one.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of them, damaged or missing.
    pub damaged: u64,
    /// Whether a server has the store: found at a start, that the last one did not stop in order.
    pub served: bool,
}

impl Record for ScrubStateRecord {
    const VERSION: u8 = 1;
}

/// A blob that was found damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DamageKey {
    /// Which.
    pub digest: Digest,
}

impl TableKey for DamageKey {
    const TABLE: Table = Table::Damage;
    type Record = DamageRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = Vec::new();
        self.digest.write_key(&mut key);
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        match Digest::read_key(key).map_err(|_| FormatError::Key)? {
            (digest, []) => Ok(Self { digest }),
            _ => Err(FormatError::Key),
        }
    }
}

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DamageKind {
    /// There was no file.
    Missing,
    /// Its bytes were others, and it was moved to quarantine; or it could not be read, and is where it was.
    Damaged,
}

/// When and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageRecord {
    /// UTC milliseconds since 1970.
    pub found_at: u64,
    /// What was wrong.
    pub kind: DamageKind,
    /// Bytes the blob should have.
    pub size: u64,
    /// The first damaged parts, as first byte and the one after the last; none if that is not known.
    pub parts: Vec<(u64, u64)>,
}

impl Record for DamageRecord {
    const VERSION: u8 = 1;
}
