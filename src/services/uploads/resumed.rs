//! Sessions that outlive the process: how their owner is spelled for the blob store, and how sessions
//! of an earlier run are opened again. What they may do is asked anew at every request.

use super::Uploads;
use super::session::Session;
use crate::services::access::Actor;
use crate::services::names::RepositoryName;
use crate::stores::blobs::{Owner, Resumable};

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

impl Uploads {
    /// Opens the sessions of an earlier run again; how many. Their time without use starts now. What
    /// cannot be opened, or is over the limit, is removed.
    pub async fn take_up(&self, found: Vec<Resumable>) -> usize {
        let mut opened = 0;
        for Resumable { owner, upload } in found {
            let place = self.sessions.reserve();
            match (parse(&owner), place) {
                (Some((repository, actor)), Some(place)) => {
                    let now = self.shelves.clock.monotonic_ms();
                    place.fill(Session::new(repository, actor, upload, now, owner.created_at));
                    opened += 1;
                }
                (known, _) => {
                    let (id, known) = (upload.id().to_owned(), known.is_some());
                    tracing::warn!(
                        upload = id,
                        known,
                        "an upload of the last run has no place and is removed"
                    );
                    upload.discard().await;
                }
            }
        }
        opened
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
