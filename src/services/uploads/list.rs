//! Everybody's sessions, for administrators: seeing them and ending them. What one request brings
//! whole (without a session) is not among them.

use std::sync::Arc;

use super::Uploads;
use super::session::Session;
use crate::services::access::{Action, Actor, Permit};
use crate::services::error::Error;
use crate::services::names::RepositoryName;

/// A session as an administrator sees it, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadFacts {
    /// 32 lower-case hex digits.
    pub id: String,
    /// Where its blob goes.
    pub repository: RepositoryName,
    /// Who opened it.
    pub actor: Actor,
    /// Bytes received, those of a request under way included.
    pub offset: u64,
    /// UTC milliseconds since 1970.
    pub opened_at: u64,
    /// Milliseconds since.
    pub age_ms: u64,
    /// Milliseconds without use; 0 while a request writes it.
    pub idle_ms: u64,
    /// Whether a request is writing it.
    pub is_receiving: bool,
}

/// Which sessions are meant: those that fit all of it. The default is all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this repository.
    pub repository: Option<RepositoryName>,
    /// Opened at least this many milliseconds ago.
    pub older_than_ms: u64,
    /// Not used for at least this many milliseconds.
    pub idle_for_ms: u64,
}

impl Wanted {
    fn fits(&self, facts: &UploadFacts) -> bool {
        self.repository.as_ref().is_none_or(|name| *name == facts.repository)
            && facts.age_ms >= self.older_than_ms
            && facts.idle_ms >= self.idle_for_ms
    }
}

/// Some of them.
#[derive(Debug)]
pub struct UploadPage {
    /// By id.
    pub items: Vec<UploadFacts>,
    /// Whether more follow.
    pub more: bool,
}

impl Uploads {
    /// Sessions after the id `after`, by id. What is held meanwhile is bounded by the sessions there may be.
    pub fn list(
        &self,
        permit: &Permit,
        wanted: &Wanted,
        after: Option<&str>,
        limit: usize,
    ) -> Result<UploadPage, Error> {
        covers(permit, Action::ListUploads)?;
        let mut items = self.matching(wanted);
        items.retain(|facts| after.is_none_or(|after| facts.id.as_str() > after));
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(UploadPage { items, more })
    }

    /// Whether there is a session of this id.
    pub fn is_open(&self, id: &str) -> bool {
        self.sessions.get(id).is_some()
    }

    /// One session.
    pub fn show(&self, permit: &Permit, id: &str) -> Result<UploadFacts, Error> {
        covers(permit, Action::ListUploads)?;
        let session = self.sessions.get(id).ok_or(Error::UploadUnknown)?;
        Ok(self.facts(id, &session))
    }

    /// Ends a session, whoever is writing it, and gives its space back; returns when its bytes are gone.
    /// What it was at its end. [`Error::UploadUnknown`] also if it became a blob meanwhile.
    pub async fn abort(&self, permit: &Permit, id: &str) -> Result<UploadFacts, Error> {
        covers(permit, Action::AbortUpload)?;
        // One that is being proved is another's until then.
        self.sessions.get(id).ok_or(Error::UploadUnknown)?.ready().await?;
        let session = self.sessions.remove(id).ok_or(Error::UploadUnknown)?;
        session.abort().ask();
        let facts = self.facts(id, &session);
        let upload = session.last_write().await.take().ok_or(Error::UploadUnknown)?;
        upload.discard().await;
        let (repository, offset) = (facts.repository.as_str(), facts.offset);
        tracing::info!(upload = id, repository, offset, by = %permit.actor(), "an upload was aborted");
        Ok(facts)
    }

    /// Ends every session that is `wanted`, one after the other; which.
    pub async fn abort_all(&self, permit: &Permit, wanted: &Wanted) -> Result<Vec<UploadFacts>, Error> {
        covers(permit, Action::AbortUpload)?;
        let mut ended = Vec::new();
        for facts in self.matching(wanted) {
            // Looked at again: it may have been used, or have ended, since.
            let still = self.sessions.get(&facts.id).map(|session| self.facts(&facts.id, &session));
            if !still.is_some_and(|now| wanted.fits(&now)) {
                continue;
            }
            match self.abort(permit, &facts.id).await {
                Ok(facts) => ended.push(facts),
                Err(Error::UploadUnknown) => {}
                Err(error @ (Error::Busy | Error::Unavailable(_))) => {
                    tracing::warn!(upload = facts.id, %error, "an upload that is still being proved stays");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    /// What [`abort_all`](Self::abort_all) would end now.
    pub fn would_abort(&self, permit: &Permit, wanted: &Wanted) -> Result<Vec<UploadFacts>, Error> {
        covers(permit, Action::AbortUpload)?;
        Ok(self.matching(wanted))
    }

    /// Sessions open now, how many of them are being written, and how many there may be.
    pub fn counts(&self) -> (usize, usize, usize) {
        let all = self.sessions.all();
        let receiving = all.iter().filter(|(_, session)| session.is_receiving()).count();
        (all.len(), receiving, self.limits.sessions)
    }

    /// By id.
    fn matching(&self, wanted: &Wanted) -> Vec<UploadFacts> {
        let all = self.sessions.all();
        let mut facts: Vec<_> = all.iter().map(|(id, session)| self.facts(id, session)).collect();
        facts.retain(|facts| wanted.fits(facts));
        facts.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        facts
    }

    fn facts(&self, id: &str, session: &Arc<Session>) -> UploadFacts {
        let clock = &self.shelves.clock;
        UploadFacts {
            id: id.to_owned(),
            repository: session.repository().clone(),
            actor: session.actor().clone(),
            offset: session.seen_offset(),
            opened_at: session.opened_at(),
            age_ms: clock.now_ms().saturating_sub(session.opened_at()),
            idle_ms: session.idle(clock.monotonic_ms()),
            is_receiving: session.is_receiving(),
        }
    }
}

fn covers(permit: &Permit, action: Action) -> Result<(), Error> {
    if permit.covers_registry(action) { Ok(()) } else { Err(Error::Bug("a permit for something else")) }
}
