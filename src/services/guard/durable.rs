//! Writing bans down. A ban that the appliance makes holds in memory first; then its row and its event are one change
//! set (one `fdatasync` of the journal, by the metadata's writer). One for which that failed, or that came while too many
//! were being written, is written by a job, which goes on until none is left, a bounded batch at a time as one change set,
//! and so does a stop in order. A crash before that forgets the ban: whoever goes on gets another. What an administrator asks is durable before it holds and before it is answered. Rows of bans that are
//! forgotten, and of users who are gone, are removed by a job, a bounded batch at a time; a stop leaves the rest for the
//! next run.

use pierhead_storage_format::protection::{BanExemptionKey, BanKey, BanReason, BanRecord};

use super::{Guard, Subject};
use crate::services::access::{Action, Actor, Permit, Resource};
use crate::services::audit::{Operation, Source, Trace};
use crate::services::error::Error;
use crate::services::network::around;
use crate::stores::meta::{Attach, Tx};

/// Who bans by itself.
const SYSTEM: Actor = Actor::System("guard");
/// As it is in the trail; the same as an administrator's.
static BAN: Operation = Operation::change("createBan", "ban", 200);
/// Rows written or removed at a time.
const BATCH: usize = 500;

/// As scripts read it.
pub const fn reason(reason: BanReason) -> &'static str {
    match reason {
        BanReason::Flood => "flood",
        BanReason::FailedSignIns => "failed_sign_ins",
        BanReason::InvalidTokens => "invalid_tokens",
        BanReason::ParallelUploads => "parallel_uploads",
        BanReason::Administrator => "administrator",
    }
}

impl Guard {
    /// A subject as administrators name it: `192.0.2.7`, `2001:db8::/64`, `user:acme/anna`.
    pub(super) fn named(&self, subject: Subject) -> String {
        match subject {
            BanKey::Address(start) => around(start).to_string(),
            BanKey::User(id) => self.user_named(id),
        }
    }

    /// Writes down a ban that holds already, unless it was lifted or written meanwhile.
    pub(super) async fn write_down(&self, subject: Subject) -> Result<(), Error> {
        let inner = &self.0;
        let _alone = inner.writing.lock().await;
        let Some(ban) = inner.book.unwritten_of(subject) else { return Ok(()) };
        let record = ban.clone();
        let trace = self.traced(subject, &ban);
        let permit = inner.access.authorise(&SYSTEM, Action::MaintainStore, Resource::Registry)?;
        let permit = permit.traced(trace.as_ref());
        let done = inner.access.commit(&inner.meta, &permit, move |tx| Ok(tx.put(&subject, &record)?)).await;
        if done.is_ok() {
            inner.book.written(subject, Some(&ban));
        }
        if let Some(trace) = &trace {
            trace.end(if done.is_ok() { 200 } else { 503 });
        }
        done
    }

    /// The event of a ban, begun.
    fn traced(&self, subject: Subject, ban: &BanRecord) -> Option<Trace> {
        let source = match subject {
            BanKey::Address(start) => Source::Address(start.into()),
            BanKey::User(_) => Source::Local("pierhead".to_owned()),
        };
        let trace = self.0.audit.begin(&BAN, source, "")?;
        trace.by(&SYSTEM).named(self.named(subject)).asked("reason", reason(ban.reason));
        trace.asked("duration_ms", ban.until - ban.since).asked("times", ban.times);
        Some(trace)
    }

    /// Writes down all bans that are in memory alone, those that hold first; how many. For a job, and for the stop.
    pub async fn write_rest(&self, permit: &Permit) -> Result<usize, Error> {
        if !permit.covers_registry(Action::MaintainStore) {
            return Err(Error::Bug("a permit for something else"));
        }
        let mut written = 0;
        loop {
            let batch = self.write_batch(permit).await?;
            written += batch;
            // What comes meanwhile is written as it is made, or next time.
            if batch < BATCH {
                return Ok(written);
            }
        }
    }

    /// Writes down a bounded number of them as one change set. Who changes bans besides has his turn in between.
    async fn write_batch(&self, permit: &Permit) -> Result<usize, Error> {
        let inner = &self.0;
        let _alone = inner.writing.lock().await;
        let bans = inner.book.to_write(BATCH, inner.clock.now_ms(), inner.options.load().forget_ms);
        if bans.is_empty() {
            return Ok(0);
        }
        // Not ended one by one: a full disk would have them all in the trail each time.
        let traces: Vec<_> = bans.iter().filter_map(|(subject, ban)| self.traced(*subject, ban)).collect();
        traces.iter().for_each(Trace::withdraw);
        let (rows, events) = (bans.clone(), traces.clone());
        let work = move |tx: &mut Tx<'_>| {
            rows.iter().try_for_each(|(subject, ban)| tx.put(subject, ban))?;
            Ok(events.iter().try_for_each(|event| event.stage(tx))?)
        };
        let done = inner.access.commit(&inner.meta, permit, work).await;
        traces.iter().for_each(|trace| trace.settled(done.is_ok()));
        done?;
        bans.iter().for_each(|(subject, ban)| inner.book.written(*subject, Some(ban)));
        Ok(bans.len())
    }

    /// Removes bans that are forgotten, and rows of users who are gone; how many. For a job. Nothing while the wall
    /// clock jumps: what it says is over may not be.
    pub async fn tidy(&self, permit: &Permit) -> Result<usize, Error> {
        if !permit.covers_registry(Action::MaintainStore) {
            return Err(Error::Bug("a permit for something else"));
        }
        let inner = &self.0;
        let now = inner.clock.now_ms();
        inner.book.begin_by(now);
        if !inner.book.is_steady(now, inner.clock.monotonic_ms()) {
            tracing::warn!("the clock has jumped: no ban is forgotten for now");
            return Ok(0);
        }
        let mut removed = self.tidy_exemptions(permit).await?;
        loop {
            let _alone = inner.writing.lock().await;
            let (now, forget) = (inner.clock.now_ms(), inner.options.load().forget_ms);
            let stale = inner.book.page(None, BATCH, |subject, ban| {
                ban.until.saturating_add(forget) <= now
                    || matches!(subject, BanKey::User(id) if self.is_gone(*id))
            });
            if stale.is_empty() {
                return Ok(removed);
            }
            let keys: Vec<BanKey> = stale.iter().map(|(key, _)| *key).collect();
            let done = inner
                .access
                .commit(&inner.meta, permit, move |tx| Ok(keys.iter().try_for_each(|key| tx.delete(key))?));
            done.await?;
            removed += stale.len();
            // Nobody else removes, and a ban that was made meanwhile is not what was read.
            for (key, was) in stale {
                if inner.book.get(key).is_some_and(|now| now == was) {
                    inner.book.set(key, None);
                }
            }
        }
    }

    async fn tidy_exemptions(&self, permit: &Permit) -> Result<usize, Error> {
        let inner = &self.0;
        let _alone = inner.writing.lock().await;
        let gone = |key: &BanExemptionKey| matches!(key, BanExemptionKey::User(id) if self.is_gone(*id));
        let stale: Vec<BanExemptionKey> = inner.book.exemptions().into_keys().filter(gone).collect();
        if stale.is_empty() {
            return Ok(0);
        }
        let keys = stale.clone();
        let done = inner
            .access
            .commit(&inner.meta, permit, move |tx| Ok(keys.iter().try_for_each(|key| tx.delete(key))?));
        done.await?;
        stale.iter().for_each(|key| inner.book.set_exemption(*key, None));
        Ok(stale.len())
    }
}
