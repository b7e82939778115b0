//! One request under way, as the trail sees it: begun by the surface, which tells what it learns, handed to
//! the services with the permit, ended with the answer.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pierhead_storage_format::audit::{EventKey, Rating};

use super::event::Draft;
use super::{Audit, OUTBOX, Operation, When, lock};
use crate::services::access::{Actor, Resource};
use crate::stores::meta::{Attach, MetaError, Tx};

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An address; behind a trusted proxy, the one it forwards.
    Address(IpAddr),
    /// A process of the host, or the appliance itself, in words.
    Local(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.to_canonical().fmt(f),
            Self::Local(words) => f.write_str(words),
        }
    }
}

/// A request under way. Clones are the same one.
#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    audit: Audit,
    operation: &'static Operation,
    /// When it began, by the clock that does not jump.
    begun: u64,
    draft: Mutex<Draft>,
    /// Its event is durable with its change.
    committed: AtomicBool,
    /// It was given up: there was no room in the outbox.
    lost: AtomicBool,
    /// The answer is known.
    ended: AtomicBool,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("operation", self.0.operation).finish_non_exhaustive()
    }
}

impl Trace {
    pub(super) fn new(audit: Audit, operation: &'static Operation, source: Source, request_id: &str) -> Self {
        let begun = audit.0.parts.clock.monotonic_ms();
        let draft = Mutex::new(Draft::new(source, request_id));
        let (committed, lost, ended) = Default::default();
        Self(Arc::new(Inner { audit, operation, begun, draft, committed, lost, ended }))
    }

    /// Who asks, once that is known.
    pub fn by(&self, actor: &Actor) -> &Self {
        lock(&self.0.draft).actor = Some(actor.clone());
        self
    }

    /// What it is done to, once that is known; it names the event's resource if nothing else does.
    pub fn on(&self, resource: &Resource) -> &Self {
        lock(&self.0.draft).resource = Some(resource.clone());
        self
    }

    /// The resource's name, where the type's own is another than what rights are asked for (`acme/web:v1`).
    pub fn named(&self, name: impl Into<String>) -> &Self {
        lock(&self.0.draft).name = name.into();
        self
    }

    /// The resource's id.
    pub fn with_id(&self, id: impl Into<String>) -> &Self {
        lock(&self.0.draft).id = id.into();
        self
    }

    /// A parameter of the request that may be shown to administrators: never a secret.
    pub fn asked(&self, name: &'static str, value: impl Into<serde_json::Value>) -> &Self {
        lock(&self.0.draft).asked.push((name, value.into()));
        self
    }

    /// A fact of the answer, alike. For a change, tell it before the change is committed.
    pub fn answered(&self, name: &'static str, value: impl Into<serde_json::Value>) -> &Self {
        lock(&self.0.draft).answered.push((name, value.into()));
        self
    }

    /// Somebody showed a credential: if it was not good, being refused is worth an event, while being asked for
    /// one is not.
    pub fn signed(&self) -> &Self {
        lock(&self.0.draft).signed = true;
        self
    }

    /// It did not happen, and is tried again: no event unless its change is committed after all.
    pub fn withdraw(&self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }

    /// The request was answered with this HTTP status. Recorded now, if it is to be and is not yet.
    pub fn end(&self, status: u16) {
        self.0.ended.store(true, Ordering::SeqCst);
        self.0.end(status);
    }
}

impl Inner {
    fn end(&self, status: u16) {
        let rating = rating(status);
        let is_recorded = self.committed.load(Ordering::SeqCst) || self.lost.load(Ordering::SeqCst);
        if (is_recorded && rating == Rating::Normal) || !self.is_wanted(status, rating) {
            return;
        }
        if rating == Rating::Warning && !self.audit.admits_refusal(&lock(&self.draft).source) {
            return;
        }
        if self.operation.when == When::Change && rating == Rating::Normal {
            self.audit.0.counts.late.fetch_add(1, Ordering::Relaxed);
        }
        let Some((key, record)) = self.event(status, rating) else { return };
        self.audit.enqueue(key.id, record);
    }

    fn is_wanted(&self, status: u16, rating: Rating) -> bool {
        let options = &self.audit.0.parts.options;
        let is_refused = rating == Rating::Incident || matches!(status, 401 | 403 | 429);
        if status == 401 && !lock(&self.draft).is_sign_in_refused() {
            return false; // nobody was refused: a client asked how to sign in, or for another token
        }
        match self.operation.when {
            When::Never => false,
            When::Change => true,
            When::Read => options.reads || is_refused,
            When::Pull => (options.pulls && status != 404) || is_refused,
            When::Refused => is_refused,
        }
    }

    fn event(&self, status: u16, rating: Rating) -> Option<(EventKey, Vec<u8>)> {
        let Self { audit, operation, begun, draft, .. } = self;
        let parts = &audit.0.parts;
        let (at, took) = (parts.clock.now_ms(), parts.clock.monotonic_ms().saturating_sub(*begun));
        let draft = lock(draft).clone();
        let record = draft.event(operation, &parts.access, (at, took), (status, rating));
        match pierhead_storage_format::codec::Record::encode(&record) {
            Ok(bytes) => Some((EventKey { id: audit.0.ids.next(at) }, bytes)),
            Err(error) => {
                tracing::error!(%error, operation = operation.name, "an event cannot be written");
                None
            }
        }
    }
}

/// A request that nobody ended met a panic, and was answered 500 by the server (U6). A change that was made before has
/// its event.
impl Drop for Inner {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::SeqCst) && !self.committed.load(Ordering::SeqCst) {
            self.end(500);
        }
    }
}

/// As the trail rates an answer.
fn rating(status: u16) -> Rating {
    match status {
        ..400 => Rating::Normal,
        400..500 => Rating::Warning,
        _ => Rating::Incident,
    }
}

/// The event of a change goes where the change goes.
impl Attach for Trace {
    fn stage(&self, tx: &mut Tx<'_>) -> Result<(), MetaError> {
        let Inner { audit, operation, committed, lost, .. } = self.0.as_ref();
        if operation.when != When::Change || committed.load(Ordering::SeqCst) {
            return Ok(());
        }
        if audit.0.counts.outbox.load(Ordering::Relaxed) >= OUTBOX {
            if !lost.swap(true, Ordering::SeqCst) {
                audit.0.counts.lost.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(());
        }
        let Some((key, record)) = self.0.event(operation.done, Rating::Normal) else { return Ok(()) };
        let record =
            pierhead_storage_format::codec::Record::decode(&record).map_err(|_| MetaError::TooLarge)?;
        tx.put(&key, &record)
    }

    fn settled(&self, done: bool) {
        let Inner { audit, operation, committed, lost, .. } = self.0.as_ref();
        let is_first = operation.when == When::Change && !lost.load(Ordering::SeqCst);
        if done && is_first && !committed.swap(true, Ordering::SeqCst) {
            audit.0.counts.outbox.fetch_add(1, Ordering::Relaxed);
            audit.0.counts.recorded.fetch_add(1, Ordering::Relaxed);
        }
    }
}
