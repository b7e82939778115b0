//! Uploads of blobs: whole in one request, or in sessions of several.
//!
//! A session belongs to one repository and one actor. One request writes it at a time; bytes that
//! arrived before a request failed stay, and the session tells where it ends. A finished upload
//! becomes a blob in these steps: 1. its bytes are checked and published (durable); 2. one change
//! set links the blob to the repository; 3. the upload folder, where it has one, goes. A crash between 1 and 2 leaves
//! a blob without a record, which start-up removes. From step 1 on the work runs to its end though
//! the client leaves.
//!
//! U0: whether the actor may push is asked when a request begins, and again before what it brought is kept.
//! U1: a refused or failed request leaves a session where it was, or at the last byte received.
//! U1 has exceptions: what is too large, or does not fit into a quota, ends its session and leaves nothing.
//! U2: sessions are limited in number, altogether and of an account, and end after a time without use.
//! U3: a session outlives the process, with the same repository and actor: one stopped in order goes on
//!     from its last byte, one killed from its last checkpoint. Start-up removes those without one.
//! U4: the offset of a session is told, and bytes are taken, only when what is there was proved.
//!
//! U4: an administrator may end a session at any time: a request that writes it fails, the session is
//!     unknown at once, and its bytes go. What has begun to be published is published.
//!
//! U5: a request whose length is declared is taken only if there is room for all of it beside what others
//!     under way have shown to bring. Room is promised to so much of one account's at a time that others are promised
//!     some, too; what is beyond goes on for as long as there is room (`stores::space`). Before a request is refused
//!     for want of room, stale sessions go if they make room for it (`reclaim`).
//!
//! `named` is the last request of a session; `leftovers` clears an earlier run's, `resumed` opens them again; `session` keeps the sessions; `transfer` moves a body into one;
//! `list` is for administrators, `abort` what ends a request from outside.

mod abort;
mod leftovers;
mod list;
mod named;
mod reclaim;
mod resumed;
mod session;
mod transfer;

use std::net::IpAddr;
use std::sync::Arc;

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::{Algorithm, Digest};

pub use self::leftovers::{clear_leftovers, replay_small_blobs};
pub use self::list::{UploadFacts, Wanted};
use self::named::Named;
use self::reclaim::Room;
use self::session::{Session, Sessions};
use crate::seams::tasks;
use crate::services::access::{Action, Actor, Permit};
use crate::services::error::{Error, SourceError};
use crate::services::guard::slots::{self, Holder, NoSlot, Slot, Slots};
use crate::services::images::{Shelves, permitted};
use crate::services::names::RepositoryName;
use crate::services::quota::Reservation;
use crate::stores::blobs::{BlobError, Owner, Upload};

/// Limits of uploads.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one blob.
    pub layer: u64,
    /// Sessions at a time.
    pub sessions: usize,
    /// Of them, those that users of one account opened.
    pub sessions_per_account: usize,
    /// Milliseconds a session lives without use; one that received nothing, ten minutes at most.
    pub idle_ms: u64,
    /// Milliseconds without use after which one is stale: it goes where space is low.
    pub stale_ms: u64,
    /// Requests with a body, of an account.
    pub slots: slots::Rules,
}

/// A request's body.
pub trait Source: Send {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Result<bytes::Bytes, SourceError>>> + Send;
}

/// What a request says of the bytes it brings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunk {
    /// Where they start (`Content-Range`); must be where the session ends.
    pub first: Option<u64>,
    /// How many they are (`Content-Range`, else `Content-Length`).
    pub length: Option<u64>,
    /// Where the request comes from: what is promised to somebody without an account is his address's.
    pub address: Option<IpAddr>,
}

/// A session as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// 32 lower-case hex digits.
    pub id: String,
    /// Bytes received.
    pub offset: u64,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Uploads {
    shelves: Arc<Shelves>,
    sessions: Arc<Sessions>,
    limits: Limits,
    slots: Slots,
    room: Arc<Room>,
}

impl Uploads {
    /// On these stores, within these limits.
    pub fn new(shelves: Arc<Shelves>, limits: Limits) -> Self {
        let sessions = Arc::new(Sessions::new(limits.sessions, limits.sessions_per_account));
        let slots = Slots::new(limits.slots);
        Self { shelves, sessions, limits, slots, room: Arc::default() }
    }

    /// Opens a session. Refused early where the finished blob would be.
    pub async fn start(&self, permit: &Permit, algorithm: Algorithm) -> Result<SessionView, Error> {
        let name = permitted(permit, Action::Push)?;
        self.room_for(0).await?;
        self.welcome(permit)?;
        let place = self.sessions.reserve(self.account(permit.actor())).ok_or(Error::TooManyUploads)?;
        let now = self.shelves.clock.now_ms();
        let upload = self.begin(algorithm, resumed::owner(name, permit.actor(), now)).await?;
        let view = SessionView { id: upload.id().to_owned(), offset: 0 };
        let used_at = self.shelves.clock.monotonic_ms();
        let room = self.shelves.quotas.reservation(name, None);
        place.fill(Session::new((name.clone(), permit.actor().clone()), (upload, room), used_at, now));
        Ok(view)
    }

    /// A slot for a request that brings a body, from `address`; waited for if its account has as many as it
    /// may. `left` ends when the client leaves.
    pub async fn slot(
        &self,
        permit: &Permit,
        address: Option<IpAddr>,
        left: impl Future<Output = ()>,
    ) -> Result<Slot, Error> {
        let holder = self.holder(permit, address);
        self.slots.take(holder, left).await.map_err(|none| match none {
            NoSlot::Taken => Error::SlotsTaken { limit: self.limits.slots.slots },
            NoSlot::Left => Error::Source(SourceError::Disconnected),
        })
    }

    /// The slots, to look at.
    pub const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Where a session ends.
    pub async fn status(&self, permit: &Permit, id: &str) -> Result<SessionView, Error> {
        let session = self.session(permit, id).await?;
        Ok(SessionView { id: id.to_owned(), offset: session.offset() })
    }

    /// Appends a body to a session.
    pub async fn append(
        &self,
        permit: &Permit,
        id: &str,
        chunk: Chunk,
        body: impl Source,
    ) -> Result<SessionView, Error> {
        let (session, holder) = (self.session(permit, id).await?, self.holder(permit, chunk.address));
        let mut writing = session.write()?;
        session.touch(self.shelves.clock.monotonic_ms());
        let result =
            self.transfer((writing.upload()?, session.room(), holder), chunk, &mut session.watch(body)).await;
        session.touch(self.shelves.clock.monotonic_ms());
        session.abort().refused()?;
        if result.as_ref().is_err_and(ends) || writing.is_over() {
            self.end(id, writing.take()).await;
        }
        result.map(|offset| SessionView { id: id.to_owned(), offset })
    }

    /// Ends a session and gives its space back.
    pub async fn cancel(&self, permit: &Permit, id: &str) -> Result<(), Error> {
        let session = self.session(permit, id).await?;
        let mut writing = session.write()?;
        self.end(id, writing.take()).await;
        Ok(())
    }

    /// Appends a last body, which may be empty, and makes the whole a blob of the repository.
    /// Bytes that are not the digest's leave the session as it is, if they fit into the quota.
    pub async fn finish(
        &self,
        permit: &Permit,
        id: &str,
        chunk: Chunk,
        body: impl Source,
        digest: Digest,
    ) -> Result<u64, Error> {
        let (session, holder) = (self.session(permit, id).await?, self.holder(permit, chunk.address));
        let mut named = Named::begin(self, id, &session, digest)?;
        session.touch(self.shelves.clock.monotonic_ms());
        let into = (named.upload()?, session.room(), holder);
        let moved = self.transfer_last(into, chunk, &mut session.watch(body)).await;
        session.touch(self.shelves.clock.monotonic_ms());
        session.abort().refused()?;
        if let Err(error) = moved {
            if ends(&error) || named.is_over() {
                named.end().await;
            } else {
                named.goes_on().await;
            }
            return Err(error);
        }
        let (service, permit) = (self.clone(), self.shelves.access.again(permit));
        tasks::to_the_end(async move {
            let upload = named.upload()?;
            let kept = match permit {
                Ok(permit) => service.keep(&permit, (upload, session.room()), &digest).await,
                Err(refusal) => Err(refusal.into()),
            };
            // Unless it was published, or its bytes may be lost, the session goes on as it was.
            if upload.is_over() {
                named.end().await;
            } else {
                upload.rest();
                named.goes_on().await;
            }
            kept
        })
        .await?
    }

    /// A whole blob in one request.
    pub async fn put_whole(
        &self,
        permit: &Permit,
        digest: Digest,
        chunk: Chunk,
        mut body: impl Source,
    ) -> Result<u64, Error> {
        self.room_for(0).await?;
        self.welcome(permit)?;
        let room = self.shelves.quotas.reservation(permitted(permit, Action::Push)?, Some(digest));
        if let Some(length) = chunk.length {
            self.within_limit(length)?;
            room.grow_to(length).await?;
        }
        let mut upload = self.begin(digest.algorithm(), None).await?;
        let holder = self.holder(permit, chunk.address);
        if let Err(error) = self.receive_last((&mut upload, &room, holder), chunk, &mut body).await {
            upload.discard().await;
            return Err(error);
        }
        let (service, permit) = (self.clone(), self.shelves.access.again(permit));
        tasks::to_the_end(async move {
            let kept = match permit {
                Ok(permit) => service.keep(&permit, (&mut upload, &room), &digest).await,
                Err(refusal) => Err(refusal.into()),
            };
            upload.discard().await;
            kept
        })
        .await?
    }

    /// Ends sessions that nobody used for the configured time; how many. The permit is the
    /// appliance's own, to maintain the store.
    pub async fn expire(&self, permit: &Permit) -> Result<usize, Error> {
        if !permit.covers_registry(Action::MaintainStore) {
            return Err(Error::Bug("a permit for something else"));
        }
        let (now, idle) = (self.shelves.clock.monotonic_ms(), self.limits.idle_ms);
        let mut ended = 0;
        for (id, session) in self.sessions.idle(now, idle) {
            // A request that came or ended meanwhile has used it: look again with the right to write.
            if let Ok(mut writing) = session.write()
                && session.is_idle(now, idle)
            {
                self.end(&id, writing.take()).await;
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// Whether a session is of this actor and repository: he may go on with it though his token ended
    /// meanwhile, as long as he may push there.
    pub fn is_of(&self, actor: &Actor, name: &RepositoryName, id: &str) -> bool {
        self.sessions.get(id).is_some_and(|session| session.belongs_to(name, actor))
    }

    /// Sessions open now.
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Bytes reserved of storage quotas now, and pushes refused for want of one since the start.
    pub fn quota_counts(&self) -> (u64, u64) {
        self.shelves.quotas.counts()
    }

    /// Whose slots and promises those of a request are.
    fn holder(&self, permit: &Permit, address: Option<IpAddr>) -> Holder {
        self.account(permit.actor()).map_or_else(|| Holder::at(address), Holder::Account)
    }

    fn account(&self, actor: &Actor) -> Option<Id> {
        match actor {
            Actor::User(id) => self.shelves.access.directory().user(*id).map(|user| user.account),
            _ => None,
        }
    }

    async fn session(&self, permit: &Permit, id: &str) -> Result<Arc<Session>, Error> {
        let name = permitted(permit, Action::Push)?;
        let find = || self.sessions.get(id).filter(|s| s.belongs_to(name, permit.actor()));
        find().ok_or(Error::UploadUnknown)?.ready().await?;
        find().ok_or(Error::UploadUnknown) // its proof may have ended it
    }

    /// Says no before a byte is taken, where the end would say no. Asked after the disk: of one that is full the
    /// metadata may not be readable for a moment.
    fn welcome(&self, permit: &Permit) -> Result<(), Error> {
        let name = permitted(permit, Action::Push)?;
        self.shelves.writable()?;
        if !self.shelves.rules.create_organisations && !self.shelves.organisation_exists(name)? {
            return Err(Error::OrganisationUnknown(name.clone()));
        }
        self.shelves.may_make(permit, name)
    }

    async fn begin(&self, algorithm: Algorithm, owner: Option<Owner>) -> Result<Upload, Error> {
        match self.shelves.blobs.begin(algorithm, owner).await {
            Ok(upload) => Ok(upload),
            Err(error) => Err(self.shelves.failed(error).await),
        }
    }

    async fn end(&self, id: &str, upload: Option<Upload>) {
        self.sessions.remove(id);
        if let Some(upload) = upload {
            upload.discard().await;
        }
    }

    /// Steps 1 to 3 of the head, for what `room` is reserved.
    async fn keep(
        &self,
        permit: &Permit,
        (upload, room): (&mut Upload, &Reservation),
        digest: &Digest,
    ) -> Result<u64, Error> {
        self.shelves.writable()?;
        let _hold = self.shelves.leases.hold(digest).await;
        let published = match upload.publish(digest).await {
            Ok(published) => published,
            Err(BlobError::DigestMismatch { actual }) => return Err(Error::DigestMismatch(actual)),
            Err(error) => return Err(self.shelves.failed(error).await),
        };
        let (digest, size) = (*digest, published.size);
        let settling = room.settle();
        self.shelves.push(permit, move |rows| rows.link_blob(&digest, size)).await?;
        settling.done(&digest);
        published.settled().await;
        Ok(size)
    }
}

/// Whether a session has no use any more after this: all of it would be refused again, and it takes up room.
const fn ends(error: &Error) -> bool {
    matches!(error, Error::LayerTooLarge { .. } | Error::Quota(_))
}
