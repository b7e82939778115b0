//! Repositories a user marked.

use pierhead_storage_format::identity::keys::FavouriteKey;
use pierhead_storage_format::identity::records::FavouriteRecord;
use pierhead_storage_format::keys::RepositoryKey;

use super::{Organisations, repository};
use crate::services::access::{Action, Actor, Permit};
use crate::services::error::{Error, Thing};

/// Marks a user may set.
const MAX: usize = 1000;

impl Organisations {
    /// Marks a repository for the user who asks, or no longer.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page's, which is not there yet"))]
    pub async fn mark(&self, permit: &Permit, marked: bool) -> Result<(), Error> {
        let name = repository(permit, Action::MarkFavourite)?.as_str().to_owned();
        let Actor::User(user) = *permit.actor() else {
            return Err(Error::Bug("only users mark repositories"));
        };
        let now = self.clock.now_ms();
        self.commit(permit, move |tx| {
            let there = tx.get(&RepositoryKey { name: name.clone() })?;
            let key = FavouriteKey { user, name };
            if !marked {
                return Ok(tx.delete(&key)?);
            }
            let Some(there) = there else { return Err(Error::Missing(Thing::Repository(key.name))) };
            let set = tx.page::<FavouriteKey>(&FavouriteKey::prefix(user), None, MAX)?;
            if set.len() == MAX && tx.get(&key)?.is_none() {
                return Err(Error::Limit { what: "favourites", limit: MAX as u64 });
            }
            Ok(tx.put(&key, &FavouriteRecord { marked_at: now.max(there.created_at) })?)
        })
        .await
    }

    /// The repositories the user who asks has marked, if they are still there and he may still see
    /// them, by name.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page's, which is not there yet"))]
    pub fn favourites(&self, permit: &Permit) -> Result<Vec<String>, Error> {
        if !permit.covers_registry(Action::ListRepositories) {
            return Err(Error::Bug("a permit for something else"));
        }
        let Actor::User(user) = permit.actor() else { return Ok(Vec::new()) };
        let rows = self.meta.page::<FavouriteKey>(&FavouriteKey::prefix(*user), None, MAX)?;
        let mut seen = Vec::new();
        for (FavouriteKey { name, .. }, FavouriteRecord { marked_at }) in rows {
            let key = RepositoryKey { name };
            // A mark that is older is of an earlier repository of that name.
            let is_of_now = self.meta.get(&key)?.is_some_and(|record| record.created_at <= marked_at);
            if is_of_now && self.may_see(permit.actor(), &key.name) {
                seen.push(key.name);
            }
        }
        Ok(seen)
    }

    fn may_see(&self, actor: &Actor, name: &str) -> bool {
        let Ok(name) = name.parse() else { return false };
        let resource = crate::services::access::Resource::Repository(name);
        self.access.authorise(actor, Action::ShowRepository, resource).is_ok()
    }
}
