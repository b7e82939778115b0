//! An event: who did what, when, from where, with what result.

use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record, decode_borrowed};
use crate::identity::Id;
use crate::keys::{Table, TableKey};

/// An event by its trace id: six bytes of UTC milliseconds, big-endian, then ten more. Ids of a store
/// never repeat and never go back, though its clock may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventKey {
    /// The trace id.
    pub id: Id,
}

impl TableKey for EventKey {
    const TABLE: Table = Table::AuditOutbox;
    type Record = EventRecord;

    fn encode(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        match Id::read_key(key)? {
            (id, []) => Ok(Self { id }),
            _ => Err(FormatError::Key),
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// It was done.
    Normal,
    /// It was refused, or asked for what cannot be.
    Warning,
    /// The appliance failed.
    Incident,
}

impl Rating {
    /// Every rating.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Warning, Self::Incident];

    /// A bit of its own, as in a segment's index.
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// As people and programs see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
            Self::Incident => "incident",
        }
    }
}

/// An event. Whoever writes it keeps its texts so short that it is a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// When it ended, UTC milliseconds; for a change, when it was committed.
    pub at: u64,
    /// Milliseconds it took until then.
    pub took: u64,
    /// What was done: the trace name (`createUserNamespace`).
    pub name: String,
    /// To what kind of thing (`usernamespace`).
    pub resource_type: String,
    /// Its name; empty if there is none.
    pub resource: String,
    /// Its id; empty if there is none.
    pub resource_id: String,
    /// In whose trail it is: the account of the user, or of what somebody without one touched.
    pub account: Option<Id>,
    /// Its name then.
    pub account_name: String,
    /// Who; none for whoever is no user.
    pub user: Option<Id>,
    /// His name then; `anonymous`, `local administrator` or `system: …` for whoever is no user.
    pub user_name: String,
    /// The address it came from, or the process of the host.
    pub source: String,
    /// The answer's HTTP status.
    pub code: u64,
    /// How it ended.
    pub rating: Rating,
    /// The request's id, as in its answer and in the log.
    pub request_id: Option<Id>,
    /// What was asked: a JSON object of few short values. Never a secret.
    pub request: String,
    /// What was answered, alike.
    pub response: String,
}

impl Record for EventRecord {
    const VERSION: u8 = 1;
}

/// An [`EventRecord`] whose texts are still in the bytes it was read from: what a search looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "as in EventRecord")]
pub struct EventView<'a> {
    pub at: u64,
    pub took: u64,
    pub name: &'a str,
    pub resource_type: &'a str,
    pub resource: &'a str,
    pub resource_id: &'a str,
    pub account: Option<Id>,
    pub account_name: &'a str,
    pub user: Option<Id>,
    pub user_name: &'a str,
    pub source: &'a str,
    pub code: u64,
    pub rating: Rating,
    pub request_id: Option<Id>,
    pub request: &'a str,
    pub response: &'a str,
}

impl<'a> EventView<'a> {
    /// Of an encoded record.
    pub fn of(bytes: &'a [u8]) -> Result<Self, FormatError> {
        match bytes.split_first() {
            Some((&EventRecord::VERSION, body)) => decode_borrowed(body),
            Some((version, _)) => Err(FormatError::Version(*version)),
            None => Err(FormatError::Record),
        }
    }
}
