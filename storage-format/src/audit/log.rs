//! The file events are appended to: a header, then *batches*, each of what came in about a second.
//! A batch whose check does not hold is none; what follows it is searched for the next that holds.

use super::items::{Item, items};
use crate::codec::FormatError;
use crate::journal::{Fields, short};

const HEADER_MAGIC: [u8; 8] = *b"PhAudLog";
const VERSION: u32 = 1;
const BATCH_MAGIC: [u8; 4] = *b"PhAb";
const CHECK: usize = 16;
const HEADER: usize = 8 + 4 + 8 + 16 + CHECK;
const FRONT: usize = 4 + 4;
const KEY_CONTEXT: &str = "pierhead audit log 1: batch checks";

/// The front of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHeader {
    /// The log's number, which names its file and the segment it becomes.
    pub number: u64,
    /// Random: another log of that number is told apart.
    pub id: [u8; 16],
}

/// Keys the checks of one log's batches.
#[derive(Clone, Copy, Debug)]
pub struct LogKey([u8; 32]);

impl LogHeader {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = HEADER_MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.id);
        let check = short(blake3::Hasher::new().update(&bytes));
        bytes.extend_from_slice(&check);
        bytes
    }

    /// The header at the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields(bytes);
        if fields.array()? != HEADER_MAGIC {
            return Err(FormatError::Damaged("not a log of the audit trail"));
        }
        fields.version(VERSION)?;
        let header = Self { number: fields.u64()?, id: fields.array()? };
        if fields.array()? != short(blake3::Hasher::new().update(&bytes[..HEADER - CHECK])) {
            return Err(FormatError::Damaged("the header's checksum does not hold"));
        }
        Ok(header)
    }

    /// What the checks of its batches are keyed by.
    pub fn key(&self) -> LogKey {
        LogKey(blake3::derive_key(KEY_CONTEXT, &self.encode()))
    }
}

impl LogKey {
    fn check(&self, at: u64, front: &[u8], events: &[u8]) -> [u8; CHECK] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        short(hasher.update(&at.to_le_bytes()).update(front).update(events))
    }

    /// The batch of `events` (as `push_item` leaves them) whose first byte lies at `at` of the log.
    pub fn encode(&self, at: u64, events: &[u8]) -> Result<Vec<u8>, FormatError> {
        let len = u32::try_from(events.len()).map_err(|_| FormatError::TooLarge)?;
        let mut bytes = Vec::with_capacity(FRONT + CHECK + events.len());
        bytes.extend_from_slice(&BATCH_MAGIC);
        bytes.extend_from_slice(&len.to_le_bytes());
        let check = self.check(at, &bytes, events);
        bytes.extend_from_slice(&check);
        bytes.extend_from_slice(events);
        Ok(bytes)
    }

    fn decode<'a>(&self, log: &'a [u8], at: usize) -> Option<&'a [u8]> {
        let rest = log.get(at..)?;
        let mut fields = Fields(rest);
        if fields.array().ok()? != BATCH_MAGIC {
            return None;
        }
        let len = usize::try_from(fields.u32().ok()?).ok()?;
        let check: [u8; CHECK] = fields.array().ok()?;
        let events = fields.take(len).ok()?;
        (check == self.check(at as u64, rest.get(..FRONT)?, events)).then_some(events)
    }
}

/// What a log has: its header, the events of every batch that holds, in order, and how many bytes
/// after the header belong to none. An error if the header does not hold.
pub fn read_log(log: &[u8]) -> Result<(LogHeader, Vec<Item<'_>>, usize), FormatError> {
    let header = LogHeader::decode(log)?;
    let (key, mut at, mut found, mut lost) = (header.key(), HEADER, Vec::new(), 0);
    while at < log.len() {
        match key.decode(log, at) {
            Some(events) => {
                // What the check proves was written by us; what does not parse then is of no use.
                found.extend(items(events).map_while(Result::ok));
                at += FRONT + CHECK + events.len();
            }
            None => {
                lost += 1;
                at += 1;
                while log.get(at).is_some_and(|byte| *byte != BATCH_MAGIC[0]) {
                    (at, lost) = (at + 1, lost + 1);
                }
            }
        }
    }
    Ok((header, found, lost))
}
