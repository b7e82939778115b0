//! The sessions open now, by id. One of an earlier run is *being proved* at first: a request to it waits
//! until that has come to an end. How one is ended from outside is in `abort`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pierhead_storage_format::identity::Id;
use tokio::sync::{OwnedMutexGuard, watch};

use super::abort::Abort;
use crate::services::access::Actor;
use crate::services::error::Error;
use crate::services::names::RepositoryName;
use crate::services::quota::Reservation;
use crate::stores::blobs::Upload;
use crate::stores::meta::MetaError;

/// Milliseconds a session lives without use that has received nothing: opening one costs nothing,
/// so that keeping it must not either.
const EMPTY_IDLE: u64 = 10 * 60 * 1000;
/// What a request waits for the proof of its session, at most; then it is told to come again.
const PROOF_WAIT: Duration = Duration::from_secs(60);

/// One session.
pub struct Session {
    repository: RepositoryName,
    actor: Actor,
    /// `None` once ended; whoever still holds the session finds it unknown.
    upload: Arc<tokio::sync::Mutex<Option<Upload>>>,
    offset: AtomicU64,
    used_at: AtomicU64,
    /// Wall clock, milliseconds.
    opened_at: u64,
    /// Whether a request has the right to write, and what it brought so far: to look at only.
    receiving: AtomicBool,
    arrived: AtomicU64,
    abort: Abort,
    proof: watch::Sender<Standing>,
    room: Reservation,
    /// The account it is counted for.
    account: Option<Id>,
}

/// Whether a session can be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    BeingProved,
    /// Or it has ended.
    Ready,
    /// The process ends first.
    Left,
}

/// The right to write a session; one request has it at a time.
pub struct Writing {
    held: OwnedMutexGuard<Option<Upload>>,
    session: Arc<Session>,
}

impl Writing {
    /// The upload, unless the session has ended.
    pub fn upload(&mut self) -> Result<&mut Upload, Error> {
        self.held.as_mut().ok_or(Error::UploadUnknown)
    }

    /// Whether the upload is one with which nothing can be done any more: its bytes may be lost.
    pub fn is_over(&self) -> bool {
        self.held.as_ref().is_some_and(Upload::is_over)
    }

    /// Takes the upload out: the session has ended.
    pub fn take(&mut self) -> Option<Upload> {
        self.session.room.stand_at(0);
        self.held.take()
    }
}

/// However the request ends, the session then tells where it stands.
impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(upload) = self.held.as_ref() {
            self.session.offset.store(upload.offset(), Ordering::Relaxed);
            self.session.room.stand_at(upload.offset());
        }
        self.session.receiving.store(false, Ordering::Relaxed);
    }
}

/// A session that is being proved, in the hands of who does it. Dropped before its end, it is left to
/// the next process.
pub struct Proving(Arc<Session>);

impl Proving {
    /// The upload was proved, or has ended with `None`.
    pub fn done(self, upload: Option<Upload>, now: u64) {
        if let (Some(mut upload), Ok(mut held)) = (upload, Arc::clone(&self.0.upload).try_lock_owned()) {
            upload.outlive();
            self.0.offset.store(upload.offset(), Ordering::Relaxed);
            self.0.room.stand_at(upload.offset());
            *held = Some(upload);
        }
        self.0.touch(now);
        self.0.proof.send_replace(Standing::Ready);
    }
}

impl Drop for Proving {
    fn drop(&mut self) {
        self.0.proof.send_if_modified(|proof| {
            let proving = *proof == Standing::BeingProved;
            if proving {
                *proof = Standing::Left;
            }
            proving
        });
    }
}

impl Session {
    /// A session of an upload that is new, or goes on; `now` is a monotonic time, `opened_at` the wall
    /// clock's, both in milliseconds. It is ended by whoever takes the upload out; a
    /// session that is merely dropped, as when the process stops, leaves it to the next run.
    pub fn new(
        of: (RepositoryName, Actor),
        (mut upload, room): (Upload, Reservation),
        now: u64,
        opened_at: u64,
    ) -> Self {
        upload.outlive();
        let offset = AtomicU64::new(upload.offset());
        let upload = Arc::new(tokio::sync::Mutex::new(Some(upload)));
        Self::of(of, (upload, room), (offset, now, opened_at), Standing::Ready)
    }

    /// A session of an earlier run whose upload is yet to be proved: nobody can use it before
    /// [`Proving::done`].
    pub fn being_proved(of: (RepositoryName, Actor), room: Reservation, now: u64, opened_at: u64) -> Self {
        let upload = Arc::new(tokio::sync::Mutex::new(None));
        Self::of(of, (upload, room), (AtomicU64::new(0), now, opened_at), Standing::BeingProved)
    }

    fn of(
        (repository, actor): (RepositoryName, Actor),
        (upload, room): (Arc<tokio::sync::Mutex<Option<Upload>>>, Reservation),
        (offset, now, opened_at): (AtomicU64, u64, u64),
        standing: Standing,
    ) -> Self {
        Self {
            repository,
            actor,
            upload,
            offset,
            used_at: AtomicU64::new(now),
            opened_at,
            receiving: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
            abort: Abort::default(),
            proof: watch::Sender::new(standing),
            room,
            account: None,
        }
    }

    /// Waits until the session can be used.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut proof = self.proof.subscribe();
        let over = tokio::time::timeout(PROOF_WAIT, proof.wait_for(|proof| *proof != Standing::BeingProved));
        match over.await {
            Ok(Ok(proof)) if *proof == Standing::Ready => Ok(()),
            Ok(Ok(_)) => Err(Error::Unavailable(MetaError::Closed)),
            _ => Err(Error::Busy),
        }
    }

    /// The repository its blob goes to.
    pub const fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// Who opened it.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// When it was opened: UTC milliseconds since 1970.
    pub const fn opened_at(&self) -> u64 {
        self.opened_at
    }

    /// Ends it from outside, or tells whether somebody has.
    pub const fn abort(&self) -> &Abort {
        &self.abort
    }

    /// What is reserved for what it brings.
    pub const fn room(&self) -> &Reservation {
        &self.room
    }

    /// Whether it was opened by this actor for this repository.
    pub fn belongs_to(&self, repository: &RepositoryName, actor: &Actor) -> bool {
        self.repository == *repository && self.actor == *actor
    }

    /// The right to write, unless another request has it.
    pub fn write(self: &Arc<Self>) -> Result<Writing, Error> {
        let held = Arc::clone(&self.upload).try_lock_owned().map_err(|_| Error::Busy)?;
        if self.abort.is_asked() {
            return Err(Error::UploadUnknown);
        }
        self.arrived.store(0, Ordering::Relaxed);
        self.receiving.store(true, Ordering::Relaxed);
        Ok(Writing { held, session: Arc::clone(self) })
    }

    /// The right to end it, when the request that has it is done: whoever waits gets it before any
    /// request that comes later.
    pub async fn last_write(self: &Arc<Self>) -> Writing {
        let held = Arc::clone(&self.upload).lock_owned().await;
        Writing { held, session: Arc::clone(self) }
    }

    /// Whether a request is writing it.
    pub fn is_receiving(&self) -> bool {
        self.receiving.load(Ordering::Relaxed)
    }

    /// Notes that the request that writes it brought `bytes` more.
    pub fn arrived(&self, bytes: u64) {
        self.arrived.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes received up to now, a request under way included; nothing may be built on it.
    pub fn seen_offset(&self) -> u64 {
        let arrived = if self.is_receiving() { self.arrived.load(Ordering::Relaxed) } else { 0 };
        self.offset() + arrived
    }

    /// Bytes received; while a request writes, as of its beginning.
    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Notes that it was used, at a monotonic time.
    pub fn touch(&self, now: u64) {
        self.used_at.store(now, Ordering::Relaxed);
    }

    /// Milliseconds without use, at a monotonic time; none while a request writes it.
    pub fn idle(&self, now: u64) -> u64 {
        if self.is_receiving() { 0 } else { now.saturating_sub(self.used_at.load(Ordering::Relaxed)) }
    }

    /// Milliseconds since a request last began or ended using it.
    pub fn unused(&self, now: u64) -> u64 {
        now.saturating_sub(self.used_at.load(Ordering::Relaxed))
    }

    /// Whether nobody used it for `idle` milliseconds, or for [`EMPTY_IDLE`] if it has nothing. Never
    /// while it is being proved.
    pub fn is_idle(&self, now: u64, idle: u64) -> bool {
        if *self.proof.borrow() != Standing::Ready {
            return false;
        }
        let limit = if self.offset() == 0 { idle.min(EMPTY_IDLE) } else { idle };
        now.saturating_sub(self.used_at.load(Ordering::Relaxed)) > limit
    }
}

/// All of them.
pub struct Sessions {
    limit: usize,
    per_account: usize,
    taken: AtomicUsize,
    /// Places taken by each account that has any. Locked inside nothing.
    by_account: Mutex<HashMap<Id, usize>>,
    by_id: Mutex<HashMap<String, Arc<Session>>>,
}

/// A place among the sessions, given back if it is not filled.
pub struct Place<'a> {
    sessions: &'a Sessions,
    account: Option<Id>,
    filled: bool,
}

impl Place<'_> {
    /// Opens the session here.
    pub fn fill(mut self, mut session: Session) {
        session.account = self.account;
        let id = session.upload.try_lock().ok().and_then(|u| u.as_ref().map(|u| u.id().to_owned()));
        if let Some(id) = id {
            self.filled = true;
            self.sessions.map().insert(id, Arc::new(session));
        }
    }

    /// Opens a session here that is [`Session::being_proved`].
    pub fn fill_unproved(mut self, id: String, mut session: Session) -> Proving {
        session.account = self.account;
        let session = Arc::new(session);
        self.filled = true;
        self.sessions.map().insert(id, Arc::clone(&session));
        Proving(session)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.filled {
            self.sessions.free(self.account);
        }
    }
}

impl Sessions {
    /// At most `limit` at a time, and `per_account` of one account.
    pub fn new(limit: usize, per_account: usize) -> Self {
        let (by_account, by_id) = (Mutex::default(), Mutex::default());
        Self { limit, per_account, taken: AtomicUsize::new(0), by_account, by_id }
    }

    /// A place for an account, if one is free.
    pub fn reserve(&self, account: Option<Id>) -> Option<Place<'_>> {
        self.place(account, self.per_account)
    }

    /// A place for a session of an earlier run, however many its account has.
    pub fn reserve_again(&self, account: Option<Id>) -> Option<Place<'_>> {
        self.place(account, usize::MAX)
    }

    fn place(&self, account: Option<Id>, per_account: usize) -> Option<Place<'_>> {
        let more = |n| (n < self.limit).then_some(n + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        if let Some(account) = account {
            let mut counts = self.accounts();
            let count = counts.entry(account).or_default();
            if *count >= per_account {
                drop(counts);
                self.taken.fetch_sub(1, Ordering::SeqCst);
                return None;
            }
            *count += 1;
        }
        Some(Place { sessions: self, account, filled: false })
    }

    fn free(&self, account: Option<Id>) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
        let Some(account) = account else { return };
        let mut counts = self.accounts();
        let count = counts.get(&account).map_or(0, |count| count.saturating_sub(1));
        if count == 0 {
            counts.remove(&account);
        } else {
            counts.insert(account, count);
        }
    }

    fn accounts(&self) -> std::sync::MutexGuard<'_, HashMap<Id, usize>> {
        self.by_account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session by id.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.map().get(id).cloned()
    }

    /// Forgets a session; gives it, if it was known.
    pub fn remove(&self, id: &str) -> Option<Arc<Session>> {
        let removed = self.map().remove(id)?;
        self.free(removed.account);
        Some(removed)
    }

    /// Sessions that [`Session::is_idle`].
    pub fn idle(&self, now: u64, idle: u64) -> Vec<(String, Arc<Session>)> {
        let map = self.map();
        let found = map.iter().filter(|(_, session)| session.is_idle(now, idle));
        found.map(|(id, session)| (id.clone(), Arc::clone(session))).collect()
    }

    /// Sessions with bytes that nobody used for `idle` milliseconds and no request writes. Those being
    /// proved are not among them.
    pub fn stale(&self, now: u64, idle: u64) -> Vec<(String, Arc<Session>)> {
        let is_stale =
            |session: &Session| session.offset() > 0 && session.idle(now) >= idle && session.is_idle(now, 0);
        let map = self.map();
        let found = map.iter().filter(|(_, session)| is_stale(session));
        found.map(|(id, session)| (id.clone(), Arc::clone(session))).collect()
    }

    /// Every session.
    pub fn all(&self) -> Vec<(String, Arc<Session>)> {
        self.map().iter().map(|(id, session)| (id.clone(), Arc::clone(session))).collect()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.map().len()
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_for_each_account_and_given_back() {
        let sessions = Sessions::new(5, 2);
        let (one, other) = (Some(Id::from_bytes([1; 16])), Some(Id::from_bytes([2; 16])));
        let first = sessions.reserve(one).expect("free");
        let second = sessions.reserve(one).expect("free");
        assert!(sessions.reserve(one).is_none(), "it has as many as it may");
        let again = sessions.reserve_again(one).expect("of an earlier run");
        let third = sessions.reserve(other).expect("another's");
        let nobody = sessions.reserve(None).expect("nobody's");
        assert!(sessions.reserve(other).is_none(), "all are taken");
        drop((nobody, again));
        assert!(sessions.reserve(one).is_none(), "it still has two");
        drop(first);
        let first = sessions.reserve(one).expect("given back");
        drop((first, second, third));
        assert!(sessions.accounts().is_empty() && sessions.taken.load(Ordering::SeqCst) == 0);
    }
}
