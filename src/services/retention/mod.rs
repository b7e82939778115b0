//! Retention: versions of a repository that go by themselves, by age or by count.
//!
//! Words: a *policy* is what is set on a repository, one at most, under a number; what is *exempt* is never removed and
//! does not count; a *run* is one look at a repository, which takes away what the policy no longer keeps; a run is *due*
//! when none came to its end since the policy was last changed, or since the time of day that the settings name.
//!
//! - T1: a version is a tag. Taking it away is what a delete of the tag is: its manifest stays, so that an index that
//!   names it, and other tags, lose nothing.
//! - T2: a version goes only if, in the change set that takes it away, the policy is the one that was planned by, the tag
//!   names what it named and was not pushed since, and every version the plan counts on is there.
//! - T3: age is by the wall clock, and nothing goes while that is in doubt (`time`).
//! - T4: of versions pushed in the same moment the later tag, by bytes, counts as the newer.
//!
//! What it writes: setting a policy is one change set (row, selectors). A run is change sets of [`BATCH`] versions, each
//! with its events and log rows, a pause between them, then one with the state. After a stop in between the run is still
//! due: the next start does it again, which is as if it had gone on. The same when a run is paused: it lets others have
//! their turn, and begins anew when it goes on.
//!
//! `rules` is what a policy may say, `stored` how it is kept, `plan` what goes (pure), `run` takes it away, `log` tells
//! what went, `time` whether ages can be told, `preview` what would go.

mod log;
mod plan;
mod preview;
mod rules;
mod run;
mod stored;
#[cfg(test)]
mod tests;
mod time;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub use log::Removed;
use pierhead_storage_format::keys::TableKey;
use pierhead_storage_format::retention::{RetentionKey, RetentionStateKey, RetentionStateRecord};
pub use rules::{Draft, DraftRule, Keep, Policy, Selector};
pub use run::Outcome;
pub use stored::{Held, forget, read_selectors};

use super::access::{Access, Action, Permit};
use super::audit::Audit;
use super::error::{Error, Thing};
use super::images::{Images, permitted};
use super::names::RepositoryName;
use crate::config::TimeOfDay;
use crate::seams::{Clock, tasks};
use crate::stores::meta::Meta;

/// Versions that one change set takes away at most.
const BATCH: usize = 100;

/// What the service works with.
pub struct Parts {
    /// Rows.
    pub meta: Meta,
    /// Decides.
    pub access: Access,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Takes tags away.
    pub images: Images,
    /// Where what went is recorded.
    pub audit: Audit,
    /// When every policy is run, each day.
    pub at: TimeOfDay,
}

/// The service. Clones share everything.
#[derive(Clone)]
pub struct Retention(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// Held by the run under way: one at a time.
    turn: tokio::sync::Mutex<()>,
    stopping: AtomicBool,
    watch: Mutex<time::Watch>,
}

/// What is known of a repository's policy.
pub struct Facts {
    /// The policy.
    pub held: Held,
    /// What the last run did; zeros before one did.
    pub state: RetentionStateRecord,
}

impl Retention {
    /// On these parts. Reads what time it was; blocks.
    pub fn open(parts: Parts) -> Result<Self, crate::stores::meta::MetaError> {
        let watch = Mutex::new(time::Watch::open(&parts.meta)?);
        let (turn, stopping) = Default::default();
        Ok(Self(Arc::new(Inner { parts, turn, stopping, watch })))
    }

    /// Sets a policy where there is none, and begins a run by it; its number.
    pub async fn create(&self, permit: &Permit, draft: Draft) -> Result<u64, Error> {
        let policy = read(draft).await?;
        let name = permitted(permit, Action::CreateRetention)?.clone();
        let now = self.0.parts.clock.now_ms();
        let id = self.there(&name)?;
        let number = self
            .commit(permit, move |tx| {
                if let Some(before) = tx.get(&RetentionKey { repository: id })? {
                    return Err(Error::Exists(Thing::Retention(before.number.to_string())));
                }
                stored::put(tx, (id, &name), &policy, now)
            })
            .await?;
        self.begin(id);
        Ok(number)
    }

    /// Sets a policy, in the place of the one there is if there is one, and begins a run by it.
    pub async fn set(&self, permit: &Permit, policy: Policy) -> Result<Facts, Error> {
        let name = permitted(permit, Action::UpdateRetention)?.clone();
        let (id, now) = (self.there(&name)?, self.0.parts.clock.now_ms());
        let place = name.clone();
        self.commit(permit, move |tx| stored::put(tx, (id, &place), &policy, now).map(drop)).await?;
        self.begin(id);
        self.of(&name)
    }

    /// Changes what a policy says, but not what it keeps of, and begins a run by it.
    pub async fn update(&self, permit: &Permit, number: &str, draft: Draft) -> Result<(), Error> {
        let policy = read(draft).await?;
        let name = permitted(permit, Action::UpdateRetention)?.clone();
        let (id, wanted, now) = (self.there(&name)?, number.to_owned(), self.0.parts.clock.now_ms());
        self.commit(permit, move |tx| {
            let before =
                tx.get(&RetentionKey { repository: id })?.filter(|found| found.number.to_string() == wanted);
            let before = before.ok_or_else(|| missing(&wanted))?;
            if before.kind != policy.keep.stored().0 {
                let why = "it cannot be changed: remove the policy and add another".to_owned();
                return Err(Error::Invalid { field: "template", why });
            }
            stored::put(tx, (id, &name), &policy, now).map(drop)
        })
        .await?;
        self.begin(id);
        Ok(())
    }

    /// Removes a policy; its log stays.
    pub async fn delete(&self, permit: &Permit, number: Option<&str>) -> Result<(), Error> {
        let name = permitted(permit, Action::DeleteRetention)?.clone();
        let (id, wanted) = (self.there(&name)?, number.map(str::to_owned));
        self.commit(permit, move |tx| {
            let found = tx.get(&RetentionKey { repository: id })?.map(|found| found.number.to_string());
            match (found, wanted) {
                (None, None) => Err(missing_on(&name)),
                (found, Some(wanted)) if found.as_ref() != Some(&wanted) => Err(missing(&wanted)),
                _ => stored::remove(tx, id),
            }
        })
        .await
    }

    /// The policies of a repository: one at most.
    pub fn list(&self, permit: &Permit) -> Result<Vec<Held>, Error> {
        let id = self.there(permitted(permit, Action::ListRetentions)?)?;
        Ok(stored::held(&self.0.parts.meta, id)?.into_iter().collect())
    }

    /// A policy by its number.
    pub fn show(&self, permit: &Permit, number: &str) -> Result<Held, Error> {
        let id = self.there(permitted(permit, Action::ShowRetention)?)?;
        let held = stored::held(&self.0.parts.meta, id)?.filter(|held| held.number.to_string() == number);
        held.ok_or_else(|| missing(number))
    }

    /// The policy of a repository, and what its last run did.
    pub fn facts(&self, permit: &Permit) -> Result<Facts, Error> {
        self.of(permitted(permit, Action::ShowRetention)?)
    }

    /// That there is a policy which the permit lets one run.
    pub fn policy_to_run(&self, permit: &Permit) -> Result<(), Error> {
        self.of(permitted(permit, Action::UpdateRetention)?).map(drop)
    }

    /// Every policy, by the number of its repository, after that one.
    pub fn all(&self, permit: &Permit, after: Option<u64>, limit: usize) -> Result<Vec<Facts>, Error> {
        if !permit.covers_registry(Action::ReadStatus) {
            return Err(Error::Bug("a permit for something else"));
        }
        let after = after.map(|repository| RetentionKey { repository }.encode());
        let meta = &self.0.parts.meta;
        let rows = meta.page::<RetentionKey>(&[], after.as_deref(), limit)?;
        let facts = rows.into_iter().map(|(RetentionKey { repository }, record)| {
            let held = stored::read(meta, repository, record)?;
            Ok(Facts { held, state: self.state(repository)? })
        });
        facts.collect()
    }

    /// Ends what runs at the end of its batch; nothing begins any more.
    pub fn end(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
    }

    /// The same, and waits for it.
    pub async fn settle(&self) {
        self.end();
        drop(self.0.turn.lock().await);
    }

    /// Begins a run that nobody waits for. One that a stop prevents is due at the next start.
    fn begin(&self, repository: u64) {
        let retention = self.clone();
        tasks::aside(async move {
            if let Err(error) = retention.run_if_due(repository).await {
                tracing::warn!(repository, %error, "a retention policy could not be run; it is tried again");
            }
        });
    }

    fn of(&self, name: &RepositoryName) -> Result<Facts, Error> {
        let id = self.there(name)?;
        let held = stored::held(&self.0.parts.meta, id)?.ok_or_else(|| missing_on(name))?;
        Ok(Facts { held, state: self.state(id)? })
    }

    fn state(&self, repository: u64) -> Result<RetentionStateRecord, Error> {
        Ok(self.0.parts.meta.get(&RetentionStateKey { repository })?.unwrap_or_default())
    }

    fn there(&self, name: &RepositoryName) -> Result<u64, Error> {
        self.0.parts.images.there(name).map_err(|error| match error {
            Error::RepositoryUnknown(name) => Error::Missing(Thing::Repository(name.to_string())),
            error => error,
        })
    }

    async fn commit<T: Send + 'static>(
        &self,
        permit: &Permit,
        work: impl FnOnce(&mut crate::stores::meta::Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.0.parts.access.commit(&self.0.parts.meta, permit, work).await
    }
}

/// Reads a draft off the async threads: a hundred patterns take their time to compile.
async fn read(draft: Draft) -> Result<Policy, Error> {
    tasks::blocking(move || draft.read()).await?
}

fn missing(number: &str) -> Error {
    Error::Missing(Thing::Retention(number.to_owned()))
}

fn missing_on(name: &RepositoryName) -> Error {
    Error::Missing(Thing::Retention(format!("of {name}")))
}
