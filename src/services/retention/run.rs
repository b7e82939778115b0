//! Runs: what a policy no longer keeps is taken away, in batches with a pause between them, so that pushes do not wait
//! for long: some thousand versions a second at most.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pierhead_storage_format::keys::TagKey;
use pierhead_storage_format::retention::{PROBLEM, RetentionKey, RetentionStateKey, RetentionStateRecord};

use super::plan::{Cut, Plan};
use super::stored::{self, Held};
use super::{BATCH, Retention, log};
use crate::causes;
use crate::jobs::Handle;
use crate::seams::tasks;
use crate::services::access::{Action, Actor, Permit, Resource};
use crate::services::audit::{Operation, Source, Trace};
use crate::services::error::Error;
use crate::services::images::{Tagged, permitted};
use crate::services::names::Tag;
use crate::stores::meta::{Attach, Tx};

/// Versions, or policies, read in one go.
const PAGE: usize = 1000;
/// Between two change sets.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a run plans anew because something it counted on went.
const ATTEMPTS: usize = 8;

/// What a version that went is in the audit trail.
static REMOVED: Operation = Operation::change("deleteImageTag", "imagetag", 204);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is no policy, or none that is due.
    Nothing,
    /// Ages cannot be told before this moment, UTC milliseconds.
    Waits(u64),
    /// The appliance stops, or the policy was changed meanwhile: another run does it.
    Left,
    /// It was done.
    Done(RetentionStateRecord),
}

/// What a run goes by.
struct Planned {
    cut: Cut,
    kept: Arc<Vec<String>>,
    seen: u64,
    exempt: u64,
}

/// How taking away ended.
enum Taken {
    All(u64),
    /// Something that was counted on went: so many are gone.
    Again(u64),
    /// The job was paused: so many are gone.
    Paused(u64),
    Left,
}

/// How a turn ended.
enum Turn {
    Over(Outcome),
    /// The job was paused: so many versions are gone, with those of the turns before.
    Paused(u64),
}

impl Retention {
    /// Runs every policy that is due, or every one if somebody asked for it; what was done, in words.
    pub async fn run_due(&self, handle: &Handle) -> Result<String, String> {
        let (mut looked, mut removed, mut failed, mut waits) = (0u64, 0u64, Vec::new(), None);
        let mut after = None;
        loop {
            let rows = self.0.parts.meta.page::<RetentionKey>(&[], after.as_deref(), PAGE);
            let rows = rows.map_err(|error| causes::chain(&error))?;
            for (RetentionKey { repository }, record) in &rows {
                if !handle.goes_on().await {
                    return Ok(format!("stopped after {looked} repositories"));
                }
                match self.run(*repository, handle.is_asked(), Some(handle)).await {
                    Ok(Outcome::Done(state)) => removed += state.removed,
                    Ok(Outcome::Waits(until)) => waits = Some(until),
                    Ok(Outcome::Nothing | Outcome::Left) => {}
                    Err(error) => failed.push(format!("{}: {}", record.name, causes::chain(&error))),
                }
                looked += 1;
                failed.truncate(PAGE);
            }
            after = rows.last().map(|(key, _)| stored::after(key.repository));
            if rows.len() < PAGE {
                break;
            }
        }
        let done = format!("{removed} versions removed, {looked} policies");
        match (failed.first(), waits) {
            (Some(first), _) => Err(format!("{} of {looked} policies failed; {first}", failed.len())),
            (None, Some(_)) => Ok(format!("{done}; the clock jumped: some wait until it went on for a day")),
            (None, None) => Ok(done),
        }
    }

    /// Runs the policy of one repository, due or not.
    pub async fn run_one(&self, permit: &Permit, handle: &Handle) -> Result<Outcome, Error> {
        let id = self.there(permitted(permit, Action::UpdateRetention)?)?;
        self.run(id, true, Some(handle)).await
    }

    /// Runs the policy of one repository, if it is due.
    pub async fn run_if_due(&self, repository: u64) -> Result<Outcome, Error> {
        self.run(repository, false, None).await
    }

    /// Turn after turn; while the job is paused others have theirs.
    async fn run(&self, id: u64, is_forced: bool, handle: Option<&Handle>) -> Result<Outcome, Error> {
        let mut gone = 0;
        while self.goes_on(handle).await {
            match self.turn(id, is_forced, gone, handle).await? {
                Turn::Over(outcome) => return Ok(outcome),
                Turn::Paused(by_now) => gone = by_now,
            }
        }
        Ok(Outcome::Left)
    }

    /// One run at a time; `before` versions are gone by earlier turns of this one.
    async fn turn(
        &self,
        id: u64,
        is_forced: bool,
        before: u64,
        handle: Option<&Handle>,
    ) -> Result<Turn, Error> {
        let _turn = self.0.turn.lock().await;
        if self.is_stopping() {
            return Ok(Turn::Over(Outcome::Left));
        }
        let Some(held) = stored::held(&self.0.parts.meta, id)? else {
            return Ok(Turn::Over(Outcome::Nothing));
        };
        let state = self.state(id)?;
        if !is_forced && !self.is_due(&held, &state) {
            return Ok(Turn::Over(Outcome::Nothing));
        }
        let now = match self.time().await? {
            Ok(now) => now,
            Err(until) => return Ok(Turn::Over(Outcome::Waits(until))),
        };
        let name = held.name.clone();
        let ended = self.run_at(Arc::new(held), now, before, handle).await;
        match &ended {
            Ok(Turn::Over(Outcome::Done(state))) => {
                tracing::info!(repository = %name, removed = state.removed, kept = state.kept, "retention ran");
            }
            Ok(_) => {}
            Err(error) => self.note(id, &causes::chain(error)).await,
        }
        ended
    }

    /// Whether no run came to its end since the policy was changed, or since the time of the day.
    fn is_due(&self, held: &Held, state: &RetentionStateRecord) -> bool {
        let last = self.0.parts.at.last(self.0.parts.clock.now_ms());
        state.retention != held.number || state.started_at < held.updated_at || state.started_at < last
    }

    async fn run_at(
        &self,
        held: Arc<Held>,
        now: u64,
        before: u64,
        handle: Option<&Handle>,
    ) -> Result<Turn, Error> {
        let mut removed = before;
        for _ in 0..ATTEMPTS {
            let planned = self.plan(Arc::clone(&held), now).await?;
            match self.take_away(&held, &planned, removed, handle).await? {
                Taken::Left => return Ok(Turn::Over(Outcome::Left)),
                Taken::Paused(gone) => return Ok(Turn::Paused(removed + gone)),
                Taken::Again(gone) => removed += gone,
                Taken::All(gone) => {
                    let done = RetentionStateRecord {
                        retention: held.number,
                        started_at: now,
                        ended_at: self.0.parts.clock.now_ms(),
                        removed: removed + gone,
                        kept: planned.seen.saturating_sub(gone),
                        exempt: planned.exempt,
                        problem: None,
                        next: 0,
                    };
                    return self.finish(&held, done).await.map(Turn::Over);
                }
            }
        }
        Err(Error::Busy)
    }

    /// Looks at every version. Immutable tags are all exempt.
    async fn plan(&self, held: Arc<Held>, now: u64) -> Result<Planned, Error> {
        let retention = self.clone();
        tasks::blocking(move || {
            let immutable = retention.0.parts.images.has_immutable_tags(&held.name)?;
            let mut plan = Plan::new(&held.policy, now);
            retention.each_page(held.repository, |page| {
                page.iter().for_each(|version| plan.see(version.tag.as_str(), version.pushed_at));
            })?;
            let (seen, exempt) = (plan.seen, plan.exempt);
            if immutable {
                return Ok(Planned { cut: Cut::Nothing, kept: Arc::default(), seen, exempt: seen });
            }
            let (cut, kept) = plan.finish();
            Ok(Planned { cut, kept: Arc::new(kept), seen, exempt })
        })
        .await?
    }

    /// Gives every version of a repository, page after page, unless the appliance stops. Blocks.
    pub(super) fn each_page(&self, repository: u64, mut visit: impl FnMut(&[Tagged])) -> Result<(), Error> {
        let mut after: Option<Tag> = None;
        loop {
            let page = self.0.parts.images.tagged(repository, after.as_ref(), PAGE)?;
            visit(&page);
            match page.last().filter(|_| page.len() == PAGE && !self.is_stopping()) {
                Some(last) => after = Some(last.tag.clone()),
                None => return Ok(()),
            }
        }
    }

    /// Takes away what the plan says, `before` of which are gone already.
    async fn take_away(
        &self,
        held: &Arc<Held>,
        planned: &Planned,
        before: u64,
        handle: Option<&Handle>,
    ) -> Result<Taken, Error> {
        let (mut after, mut gone) = (None::<Tag>, 0u64);
        loop {
            let (page, last) = self.going(held, planned.cut.clone(), after).await?;
            for batch in page.chunks(BATCH) {
                if self.is_stopping() {
                    return Ok(Taken::Left);
                }
                if handle.is_some_and(Handle::is_paused) {
                    return Ok(Taken::Paused(gone));
                }
                match self.take_batch(held, &planned.kept, batch.to_vec()).await? {
                    Some(went) => gone += went,
                    None if self.is_now(held)? => return Ok(Taken::Again(gone)),
                    None => return Ok(Taken::Left),
                }
                if let Some(handle) = handle {
                    handle.progress(before + gone, None, "versions removed");
                }
                tokio::time::sleep(PAUSE).await;
            }
            match last {
                Some(last) => after = Some(last),
                None => return Ok(Taken::All(gone)),
            }
        }
    }

    /// Those of a page of versions that go, and where the next page begins.
    async fn going(
        &self,
        held: &Arc<Held>,
        cut: Cut,
        after: Option<Tag>,
    ) -> Result<(Vec<Tagged>, Option<Tag>), Error> {
        let (retention, held) = (self.clone(), Arc::clone(held));
        tasks::blocking(move || {
            let mut page = retention.0.parts.images.tagged(held.repository, after.as_ref(), PAGE)?;
            let last = page.last().filter(|_| page.len() == PAGE).map(|version| version.tag.clone());
            page.retain(|version| {
                let tag = version.tag.as_str();
                cut.takes(tag, version.pushed_at) && !held.policy.is_exempt(tag)
            });
            Ok((page, last))
        })
        .await?
    }

    /// One change set (T2): how many went; `None` if the plan does not hold any more.
    async fn take_batch(
        &self,
        held: &Arc<Held>,
        kept: &Arc<Vec<String>>,
        batch: Vec<Tagged>,
    ) -> Result<Option<u64>, Error> {
        let permit = self.permit()?;
        let place = (held.name.clone(), held.repository);
        let (policy, kept) = (Arc::clone(held), Arc::clone(kept));
        let may =
            move |tx: &mut Tx<'_>| Ok(is_policy(tx, &policy)? && are_there(tx, policy.repository, &kept)?);
        let (retention, of) = (self.clone(), Arc::clone(held));
        let gone = move |tx: &mut Tx<'_>, went: &[Tagged]| {
            log::write(tx, &of, &of.policy.short_rule(), went, retention.0.parts.clock.now_ms())?;
            let traces: Vec<Trace> =
                went.iter().filter_map(|version| retention.trace(&of, version)).collect();
            traces.iter().try_for_each(|trace| trace.stage(tx))?;
            Ok((went.len() as u64, traces))
        };
        let done = self.0.parts.images.retire(&permit, place, batch, may, gone).await?;
        Ok(done.map(|(went, traces)| {
            traces.iter().for_each(|trace| trace.settled(true));
            went
        }))
    }

    /// The event of a version that goes.
    fn trace(&self, held: &Held, version: &Tagged) -> Option<Trace> {
        let trace = self.0.parts.audit.begin(&REMOVED, Source::Local("the appliance".to_owned()), "")?;
        trace.by(&Actor::System("retention")).on(&Resource::Repository(held.name.clone()));
        trace.named(format!("{}:{}", held.name, version.tag)).asked("tag", version.tag.as_str());
        trace.asked("retention_id", held.number).answered("digest", version.digest.to_string());
        Some(trace)
    }

    /// Puts on record what a run did, unless the policy was changed meanwhile.
    async fn finish(&self, held: &Arc<Held>, done: RetentionStateRecord) -> Result<Outcome, Error> {
        let (permit, of) = (self.permit()?, Arc::clone(held));
        self.commit(&permit, move |tx| {
            if !is_policy(tx, &of)? {
                return Ok(Outcome::Left);
            }
            let key = RetentionStateKey { repository: of.repository };
            let next = tx.get(&key)?.map_or(1, |state| state.next.max(1));
            let state = RetentionStateRecord { next, ..done };
            tx.put(&key, &state)?;
            Ok(Outcome::Done(state))
        })
        .await
    }

    /// Puts on record why a run could not be done; it stays due.
    async fn note(&self, repository: u64, why: &str) {
        let problem = Some(why.get(..why.floor_char_boundary(PROBLEM)).unwrap_or_default().to_owned());
        let noted = match self.permit() {
            Ok(permit) => {
                let note = move |tx: &mut Tx<'_>| {
                    let key = RetentionStateKey { repository };
                    if tx.get(&RetentionKey { repository })?.is_none() {
                        return Ok(());
                    }
                    let state = tx.get(&key)?.unwrap_or_default();
                    let next = state.next.max(1);
                    Ok(tx.put(&key, &RetentionStateRecord { problem, next, ..state })?)
                };
                self.commit(&permit, note).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::debug!(%error, "that a retention policy could not be run is not on record");
        }
    }

    /// Whether the policy is still the one that was read.
    fn is_now(&self, held: &Held) -> Result<bool, Error> {
        let record = self.0.parts.meta.get(&RetentionKey { repository: held.repository })?;
        Ok(record.is_some_and(|now| (now.number, now.updated_at) == (held.number, held.updated_at)))
    }

    async fn goes_on(&self, handle: Option<&Handle>) -> bool {
        let is_let = match handle {
            Some(handle) => handle.goes_on().await,
            None => true,
        };
        is_let && !self.is_stopping()
    }

    fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::SeqCst)
    }
}

fn is_policy(tx: &mut Tx<'_>, held: &Held) -> Result<bool, Error> {
    let record = tx.get(&RetentionKey { repository: held.repository })?;
    Ok(record.is_some_and(|now| (now.number, now.updated_at) == (held.number, held.updated_at)))
}

fn are_there(tx: &mut Tx<'_>, repository: u64, tags: &[String]) -> Result<bool, Error> {
    for tag in tags {
        if tx.get(&TagKey { repository, tag: tag.clone() })?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
