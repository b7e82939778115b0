//! Removing a repository with all in it. One change set if it is small; a large one is emptied some
//! hundred rows at a time, each change set leaving exact books, and its row goes with the last of them, so that neither
//! other changes wait nor a stop in between leaves anything that cannot be removed by asking again.
//!
//! The first of several change sets leaves a `removal` row, the last takes it: after a stop in between the removal is
//! gone on with ([`Shelves::finish_removals`]). A push takes it too: whoever asked for the removal did not mean what
//! came after it, so that a removal that was cut short ends there. One under way goes on to its end.
//!
//! V1: rights on a repository go in the change set that its row goes in: a later one of its name has none of them.

use std::collections::BTreeSet;

use pierhead_storage_format::housekeeping::{RemovalKey, RemovalRecord};
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{GrantKey, RepositorySettingsKey, ShareKey, TextOwner};
use pierhead_storage_format::keys::RepositoryKey;

use super::rows::{Emptied, Rows};
use super::{Course, Images, Shelves, permitted};
use crate::seams::tasks;
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::names::RepositoryName;
use crate::services::{organisations, retention};
use crate::stores::meta::{Attached, Tx};

/// What one change set removes at most: tags and blobs count one, manifests ten and one for each thing they name.
const SHARE: usize = 4000;

const NOTHING_LEFT: Emptied = Emptied { is_all: true, removed: 0 };

/// Which change set of a removal it is.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// The first, if the permit still holds.
    First(&'a Permit),
    /// Another one of whoever asked.
    Next,
    /// One after a stop, as long as nothing was pushed since the first.
    Resumed,
}

/// Grants and shares: who, on what.
type Rights = (Vec<(Id, String)>, Vec<(Id, String)>);

impl Images {
    /// Removes a repository with its tags, manifests, rights and shares; [`Error::Immutable`] if a tag stays. Bytes that nothing needs any more are
    /// collected later.
    pub async fn delete_repository(&self, permit: &Permit) -> Result<(), Error> {
        self.delete_by(permit, SHARE).await
    }

    /// The same, in steps of another size.
    pub async fn delete_by(&self, permit: &Permit, share: usize) -> Result<(), Error> {
        let name = permitted(permit, Action::DeleteRepository)?.clone();
        let (shelves, permit) = (std::sync::Arc::clone(&self.shelves), self.shelves.access.again(permit)?);
        tasks::to_the_end(async move { shelves.remove_repository(&permit, name, share).await }).await?
    }
}

impl Shelves {
    /// Asks for the permit again in the first step; what has begun is done to its end.
    async fn remove_repository(
        &self,
        permit: &Permit,
        name: RepositoryName,
        mut share: usize,
    ) -> Result<(), Error> {
        let id = self.repository(&name)?.ok_or_else(|| Error::RepositoryUnknown(name.clone()))?;
        let by = self.access.called(permit.actor());
        // The trail says that it was removed when it was: with the last step.
        let (event, bare) = (permit.event(), self.access.again(permit)?.traced(None));
        let mut step = Step::First(&bare);
        loop {
            match self.remove_some(step, event.clone(), (name.clone(), id, by.clone()), share).await {
                Ok(Emptied { is_all: true, .. }) => break,
                Ok(_) => step = Step::Next,
                // Manifests that name very much; fewer of them fit.
                Err(Error::TooMuch) if share > 1 => share = (share / 8).max(1),
                Err(error) => return Err(error),
            }
        }
        self.forget_later_rights(name).await
    }

    /// Goes on with the removals that a stop cut short, as far as `course` lets it; how many came to their end.
    pub async fn finish_removals(&self, course: &impl Course) -> Result<u64, Error> {
        let mut finished = 0;
        while let Some((key, record)) = self.meta.page::<RemovalKey>(&[], None, 1)?.pop() {
            let name: RepositoryName =
                record.name.parse().map_err(|_| Error::Bug("a row names no repository"))?;
            let what = (name.clone(), key.repository, record.by);
            let mut share = SHARE;
            loop {
                if course.is_halted() {
                    return Ok(finished);
                }
                let since = self.clock.monotonic_ms();
                match self.remove_some(Step::Resumed, None, what.clone(), share).await {
                    Ok(Emptied { is_all: true, .. }) => break,
                    Ok(Emptied { removed, .. }) => course.rest(since, removed).await,
                    Err(Error::TooMuch) if share > 1 => share = (share / 8).max(1),
                    Err(error) => return Err(error),
                }
            }
            self.forget_later_rights(name).await?;
            finished += 1;
        }
        Ok(finished)
    }

    /// Rights given between the look at the directory and the last change set.
    async fn forget_later_rights(&self, name: RepositoryName) -> Result<(), Error> {
        let rights = self.rights(&name);
        if rights.0.is_empty() && rights.1.is_empty() {
            return Ok(());
        }
        let key = RepositoryKey { name: name.as_str().to_owned() };
        self.meta
            .commit(move |tx| match tx.get(&key)? {
                Some(_) => Ok(()),
                None => forget(tx, rights),
            })
            .await
    }

    /// Removes some of what is in a repository, and the repository if that was all, with the event of it.
    async fn remove_some(
        &self,
        step: Step<'_>,
        event: Attached,
        (name, id, by): (RepositoryName, u64, String),
        share: usize,
    ) -> Result<Emptied, Error> {
        let rights = self.rights(&name);
        let (now, has_undo) = (self.clock.now_ms(), self.undo_ms > 0);
        let last = event.clone();
        let stage = move |tx: &mut Tx<'_>| last.map_or(Ok(()), |event| event.stage(tx));
        let (is_first, is_resumed) = (matches!(step, Step::First(_)), matches!(step, Step::Resumed));
        let work = move |tx: &mut Tx<'_>| {
            let key = RepositoryKey { name: name.as_str().to_owned() };
            // Removed by another request meanwhile, and perhaps made anew: that one stays.
            let removal = RemovalKey { repository: id };
            if tx.get(&key)?.is_none_or(|record| record.id != id) {
                tx.delete(&removal)?;
                stage(tx)?;
                return Ok(NOTHING_LEFT);
            }
            if is_resumed && tx.get(&removal)?.is_none() {
                return Ok(NOTHING_LEFT); // a push took it
            }
            let undo = has_undo.then(|| by.clone());
            let mut rows = Rows::existing(tx, name, now)?.with_undo(undo);
            if is_first {
                rows.may_empty()?;
            }
            let emptied = rows.empty(share)?;
            if !emptied.is_all {
                rows.finish()?;
                if is_first {
                    tx.put(&removal, &RemovalRecord { name: key.name, begun_at: now, by })?;
                }
                return Ok(emptied);
            }
            rows.remove()?;
            tx.delete(&removal)?;
            tx.delete(&RepositorySettingsKey { name: key.name })?;
            organisations::put_text(tx, TextOwner::Repository(id), "")?;
            retention::forget(tx, id)?;
            forget(tx, rights)?;
            stage(tx)?;
            Ok(emptied)
        };
        let done = match step {
            Step::First(permit) => self.access.commit(&self.meta, permit, work).await,
            Step::Next | Step::Resumed => self.meta.commit(work).await,
        };
        if let Some(event) = event {
            event.settled(matches!(done, Ok(Emptied { is_all: true, .. })));
        }
        done
    }

    /// The rights on exactly this repository.
    fn rights(&self, name: &RepositoryName) -> Rights {
        let directory = self.access.directory();
        let whole = || name.as_str().to_owned();
        let grants = directory.granted_on(name.as_str()).map(|(user, _)| (user, whole()));
        let shares: BTreeSet<Id> = directory.shares_of(name.as_str()).map(|(account, _)| account).collect();
        (grants.collect(), shares.into_iter().map(|account| (account, whole())).collect())
    }
}

fn forget(tx: &mut Tx<'_>, (grants, shares): Rights) -> Result<(), Error> {
    for (user, name) in grants {
        tx.delete(&GrantKey { user, name })?;
    }
    for (account, name) in shares {
        tx.delete(&ShareKey { account, name })?;
    }
    Ok(())
}
