//! What a running server does for a backup: it holds removals back as long as the backup says, from time to
//! time, that it is under way. In memory: with the server the holds go, and a backup is told when it renews.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::permitted;
use crate::seams::{Clock, Random};
use crate::services::access::Permit;
use crate::services::error::{Error, Thing};
use crate::stores::blobs::{Blobs, Hold};

/// How long a hold lasts that is not renewed, milliseconds: what a backup that was killed costs.
const LASTS: u64 = 5 * 60_000;
/// Holds at once.
const MOST: usize = 16;

/// The holds there are. Clones share them.
#[derive(Clone)]
pub struct Holds(Arc<Inner>);

struct Inner {
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// By id: the hold, and when it ends by the monotonic clock.
    held: Mutex<BTreeMap<String, (Hold, u64)>>,
}

/// A hold as its owner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// To renew or end it by.
    pub id: String,
    /// Milliseconds it lasts unless it is renewed.
    pub lasts_ms: u64,
}

impl Holds {
    /// None yet.
    pub fn new(blobs: Blobs, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self(Arc::new(Inner { blobs, clock, random, held: Mutex::default() }))
    }

    /// Holds removals back from now on.
    pub async fn begin(&self, permit: &Permit) -> Result<Held, Error> {
        permitted(permit)?;
        self.expire();
        if self.held().len() >= MOST {
            return Err(Error::Limit { what: "holds of removals", limit: MOST as u64 });
        }
        let hold = self.0.blobs.hold_removals().await;
        let id = self.0.random.id().map_err(|_| Error::Bug("no random bytes"))?;
        self.held().insert(id.clone(), (hold, self.end()));
        Ok(Held { id, lasts_ms: LASTS })
    }

    /// Lets a hold last on.
    pub fn renew(&self, permit: &Permit, id: &str) -> Result<Held, Error> {
        permitted(permit)?;
        self.expire();
        let end = self.end();
        let mut held = self.held();
        let (_, until) = held.get_mut(id).ok_or_else(|| missing(id))?;
        *until = end;
        Ok(Held { id: id.to_owned(), lasts_ms: LASTS })
    }

    /// Ends a hold.
    pub fn finish(&self, permit: &Permit, id: &str) -> Result<Held, Error> {
        permitted(permit)?;
        drop(self.held().remove(id).ok_or_else(|| missing(id))?);
        Ok(Held { id: id.to_owned(), lasts_ms: 0 })
    }

    /// Ends those that were not renewed.
    pub fn expire(&self) {
        let now = self.0.clock.monotonic_ms();
        let mut held = self.held();
        let before = held.len();
        held.retain(|_, (_, until)| *until > now);
        if held.len() < before {
            tracing::warn!(ended = before - held.len(), "a backup is no longer heard of: removals go on");
        }
    }

    fn end(&self) -> u64 {
        self.0.clock.monotonic_ms().saturating_add(LASTS)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, (Hold, u64)>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(id: &str) -> Error {
    Error::Missing(Thing::Hold(id.to_owned()))
}
