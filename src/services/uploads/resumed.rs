//! Sessions that outlive the process: how their owner is spelled for the blob store, how they are left
//! when it ends, and how sessions of an earlier run are opened again: at once, and each usable as soon
//! as its bytes are proved, which goes on while others are served. What they may do is asked anew at
//! every request.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Uploads;
use super::session::{Proving, Session};
use crate::seams::tasks;
use crate::services::access::Actor;
use crate::services::names::RepositoryName;
use crate::stores::blobs::{Leftover, Owner, Proved, Resumable};

/// Proofs under way at once: each reads as fast as the disk can.
const AT_A_TIME: usize = 2;
/// Uploads made durable at once.
const PARKED_AT_A_TIME: usize = 8;

/// Before everything an owner's actor is spelled with; another spelling gets another number.
const VERSION: u8 = 1;
const ANONYMOUS: &[u8] = b"anonymous";
const LOCAL_ADMINISTRATOR: &[u8] = b"local-administrator";
/// Then his id in hex.
const USER: &[u8] = b"user ";

/// How a session's owner is kept; `None` for an actor that opens no session to come back to.
pub(super) fn owner(repository: &RepositoryName, actor: &Actor, created_at: u64) -> Option<Owner> {
    let name = match actor {
        Actor::Anonymous => ANONYMOUS.to_vec(),
        Actor::LocalAdministrator => LOCAL_ADMINISTRATOR.to_vec(),
        Actor::User(id) => [USER, id.to_string().as_bytes()].concat(),
        Actor::System(_) => return None,
    };
    let actor = [&[VERSION], name.as_slice()].concat();
    Some(Owner { repository: repository.as_str().to_owned(), actor, created_at })
}

/// The inverse; `None` for what this program does not know.
fn parse(owner: &Owner) -> Option<(RepositoryName, Actor)> {
    let actor = match owner.actor.split_first() {
        Some((&VERSION, ANONYMOUS)) => Actor::Anonymous,
        Some((&VERSION, LOCAL_ADMINISTRATOR)) => Actor::LocalAdministrator,
        Some((&VERSION, other)) => {
            let id = std::str::from_utf8(other.strip_prefix(USER)?).ok()?;
            Actor::User(id.parse().ok()?)
        }
        _ => return None,
    };
    Some((owner.repository.parse().ok()?, actor))
}

/// Uploads of an earlier run whose sessions are open and wait for their proof.
pub struct Unproved(Vec<(Proving, Resumable)>);

impl Uploads {
    /// Opens the sessions of an earlier run again, without looking at their bytes yet: that is
    /// [`Uploads::prove`]'s. Their time without use starts when they are proved. What is of nobody known
    /// here, or over the limit, comes second: it is to be cleared.
    pub fn take_up(&self, found: Vec<Resumable>) -> (Unproved, Vec<Leftover>) {
        let (mut unproved, mut given_up) = (Vec::new(), Vec::new());
        for resumable in found {
            let owner = parse(&resumable.owner);
            let account = owner.as_ref().and_then(|(_, actor)| self.account(actor));
            let place = self.sessions.reserve_again(account);
            match (owner, place) {
                (Some((repository, actor)), Some(place)) => {
                    let now = self.shelves.clock.monotonic_ms();
                    let opened_at = resumable.owner.created_at;
                    // Not all of it may hold: what does is known with the proof.
                    let room = self.shelves.quotas.reservation(&repository, None);
                    room.stand_at(resumable.len);
                    let session = Session::being_proved((repository, actor), room, now, opened_at);
                    unproved.push((place.fill_unproved(resumable.id.clone(), session), resumable));
                }
                (known, _) => {
                    let known = known.is_some();
                    tracing::warn!(
                        upload = resumable.id,
                        known,
                        "an upload of the last run has no place and is removed"
                    );
                    given_up.push(resumable.give_up());
                }
            }
        }
        (Unproved(unproved), given_up)
    }

    /// Proves them, [`AT_A_TIME`], the smallest first, so that few wait for a large one; ends early when
    /// `stop` says so, and then leaves what is not proved to the next run.
    pub async fn prove(&self, Unproved(mut unproved): Unproved, stop: Arc<AtomicBool>) {
        unproved.sort_by_key(|(_, resumable)| std::cmp::Reverse(resumable.len));
        let mut running = JoinSet::new();
        while !unproved.is_empty() || !running.is_empty() {
            if running.len() < AT_A_TIME
                && let Some((session, resumable)) = unproved.pop()
            {
                let (uploads, stop) = (self.clone(), Arc::clone(&stop));
                running.spawn(async move { uploads.prove_one(session, resumable, stop).await });
                continue;
            }
            running.join_next().await;
        }
    }

    async fn prove_one(&self, session: Proving, resumable: Resumable, stop: Arc<AtomicBool>) {
        let (id, began) = (resumable.id.clone(), Instant::now());
        let Ok(proved) = tasks::blocking(move || resumable.prove(&stop)).await else { return };
        let now = self.shelves.clock.monotonic_ms();
        match proved {
            Proved::GoesOn { upload, read } => {
                let (offset, took_ms) = (upload.offset(), began.elapsed().as_millis());
                tracing::info!(upload = id, offset, read, took_ms, "proved an upload that goes on");
                session.done(Some(upload), now);
            }
            Proved::Leftover(leftover) => {
                self.sessions.remove(&id);
                session.done(None, now);
                let blobs = self.shelves.blobs.clone();
                if let Ok(Err(error)) = tasks::blocking(move || blobs.clear_leftover(&leftover, &[])).await {
                    tracing::warn!(upload = id, %error, "an upload's folder stays until the next start");
                }
            }
            Proved::Stopped => {}
        }
    }

    /// At the end of the process: makes what the open sessions received durable, so that the next one
    /// goes on with all of it; for so long.
    pub async fn park(&self, limit: Duration) {
        let mut running = JoinSet::new();
        let mut left: Vec<_> = self.sessions.all().into_iter().map(|(_, session)| session).collect();
        let parked = tokio::time::timeout(limit, async {
            while !left.is_empty() || !running.is_empty() {
                if running.len() < PARKED_AT_A_TIME
                    && let Some(session) = left.pop()
                {
                    running.spawn(async move {
                        let mut writing = session.last_write().await;
                        if let Ok(upload) = writing.upload() {
                            upload.park().await;
                        }
                    });
                    continue;
                }
                running.join_next().await;
            }
        });
        if parked.await.is_err() {
            tracing::warn!(
                "not every open upload could be made safe in time: some go on from an earlier byte"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_as_written_and_any_other_spelling_is_none() {
        let name: RepositoryName = "acme/web".parse().expect("a name");
        let user = Actor::User(pierhead_storage_format::identity::Id::from_bytes([7; 16]));
        for actor in [Actor::Anonymous, Actor::LocalAdministrator, user] {
            let owner = owner(&name, &actor, 7).expect("may open sessions");
            assert_eq!(parse(&owner), Some((name.clone(), actor)));
        }
        assert_eq!(owner(&name, &Actor::System("sweep"), 7), None);
        let good = owner(&name, &Actor::Anonymous, 7).expect("may open sessions");
        for (case, repository, actor) in [
            ("another version", "acme/web", &b"\x02anonymous"[..]),
            ("nobody", "acme/web", b""),
            ("no name", "acme/web", b"\x01"),
            ("a longer name", "acme/web", b"\x01anonymous2"),
            ("no repository", "", &good.actor),
            ("not a repository", "Acme/../x", &good.actor),
        ] {
            let owner = Owner { repository: repository.to_owned(), actor: actor.to_vec(), created_at: 7 };
            assert_eq!(parse(&owner), None, "{case}");
        }
    }
}
