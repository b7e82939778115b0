//! From the queue and the outbox to the trail, about once a second. An event of the outbox is appended durably,
//! then its row is removed; a stop between leaves both, which the next start recognises by the trace id.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use pierhead_storage_format::audit::{EventKey, EventRecord};
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::identity::Id;

use super::ids::Ids;
use super::{Audit, Queue, lock};
use crate::seams::tasks;
use crate::services::error::Error;
use crate::stores::meta::{Meta, MetaError};
use crate::stores::trail::{Durable, TrailError};

/// Rows of the outbox that are moved at a time.
const ROWS: usize = 1024;
/// How often the trail is synced for reads and refusals alone, milliseconds.
const SYNC_EVERY: u64 = 10_000;

/// What was moved and is not off the outbox yet.
pub struct Mover {
    pub undeleted: HashSet<Id>,
    /// An earlier run may have moved rows up to here.
    pub doubtful: Option<Id>,
}

/// Has trace ids begin above those of the outbox; how many there are.
pub fn raise_over_outbox(meta: &Meta, ids: &Ids) -> Result<u64, MetaError> {
    let (mut after, mut count) = (None::<Vec<u8>>, 0);
    loop {
        let rows = meta.page::<EventKey>(&[], after.as_deref(), ROWS)?;
        count += rows.len() as u64;
        let Some((last, _)) = rows.last() else { return Ok(count) };
        ids.raise(last.id);
        after = Some(last.id.as_bytes().to_vec());
    }
}

impl Audit {
    /// Moves what waits to the trail. Nothing is lost by an error but reads and refusals, which are counted.
    pub async fn keep(&self) -> Result<(), Error> {
        let mut mover = self.0.moving.lock().await;
        loop {
            // Rows that were moved and cannot be removed would be moved again: then what is queued goes alone.
            let removed = self.remove_rows(&mut mover).await;
            let audit = self.clone();
            let (doubtful, with_changes) = (mover.doubtful, removed.is_ok());
            let (moved, is_last) = tasks::blocking(move || audit.move_some(doubtful, with_changes)).await??;
            removed?;
            mover.undeleted.extend(moved);
            self.remove_rows(&mut mover).await?;
            if is_last {
                mover.doubtful = None;
                return Ok(());
            }
        }
    }

    async fn remove_rows(&self, mover: &mut Mover) -> Result<(), Error> {
        if mover.undeleted.is_empty() {
            return Ok(());
        }
        let rows: Vec<Id> = mover.undeleted.iter().copied().collect();
        let removed = rows.len() as u64;
        let remove = move |tx: &mut crate::stores::meta::Tx<'_>| {
            rows.iter().try_for_each(|id| tx.delete(&EventKey { id: *id }))
        };
        self.0.parts.meta.commit::<(), MetaError, _>(remove).await?;
        mover.undeleted.clear();
        let counted = |waiting: u64| Some(waiting.saturating_sub(removed));
        let _ = self.0.counts.outbox.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        Ok(())
    }

    /// Appends a page of the outbox with all that is queued. The rows that are in the trail now, and whether
    /// there are no more.
    fn move_some(&self, doubtful: Option<Id>, with_changes: bool) -> Result<(Vec<Id>, bool), Error> {
        let parts = &self.0.parts;
        let facts = parts.trail.facts();
        let (max, bytes) = (parts.options.max_bytes, facts.bytes);
        // Changes have an eighth more to themselves. What is queued goes on without them where the rows cannot
        // be read: just then there are incidents.
        let takes_changes = with_changes && bytes < max.saturating_add(max / 8);
        let rows = if takes_changes { parts.meta.page::<EventKey>(&[], None, ROWS) } else { Ok(Vec::new()) };
        let rows = rows.unwrap_or_else(|error| {
            tracing::debug!(%error, "changes wait in the metadata for the audit trail");
            Vec::new()
        });
        let mut events = Vec::with_capacity(rows.len());
        let (mut moved, is_last) = (Vec::with_capacity(rows.len()), rows.len() < ROWS);
        for (EventKey { id }, record) in rows {
            if !self.is_there(id, doubtful)? {
                events.push((id, encoded(&record)?));
            }
            moved.push(id);
        }
        let queued = self.take_queue(bytes < max);
        let durable = self.durability(!moved.is_empty());
        let (waiting, dropped) = (events.len(), queued.len() as u64);
        events.extend(queued);
        let appended = parts.trail.append(parts.clock.now_ms(), events, durable);
        self.tell(appended.as_ref().err(), bytes, max);
        match appended {
            Ok(()) => {
                self.0.counts.recorded.fetch_add(dropped, Ordering::Relaxed);
                Ok((moved, is_last))
            }
            Err(error) => {
                tracing::debug!(%error, waiting, dropped, "the audit trail took nothing");
                self.0.counts.refused.fetch_add(dropped, Ordering::Relaxed);
                Ok((Vec::new(), true))
            }
        }
    }

    /// Whether a row that an earlier run left is in the trail already.
    fn is_there(&self, id: Id, doubtful: Option<Id>) -> Result<bool, Error> {
        if doubtful.is_none_or(|last| id > last) {
            return Ok(false);
        }
        let there = self.0.parts.trail.contains(id);
        there.or_else(|error| {
            // Twice is better than not at all.
            tracing::warn!(%error, "it cannot be told whether an event is in the audit trail");
            Ok(false)
        })
    }

    fn take_queue(&self, is_room: bool) -> Vec<(Id, Vec<u8>)> {
        let Queue { events, bytes } = std::mem::take(&mut *lock(&self.0.queue));
        if events.is_empty() || (is_room && (self.0.parts.room)(bytes as u64)) {
            return events;
        }
        self.0.counts.refused.fetch_add(events.len() as u64, Ordering::Relaxed);
        Vec::new()
    }

    /// Changes are made durable at once, the rest now and then.
    fn durability(&self, changes: bool) -> Durable {
        let now = self.0.parts.clock.monotonic_ms();
        let mut watch = lock(&self.0.watch);
        if changes || now.saturating_sub(watch.synced) >= SYNC_EVERY {
            watch.synced = now;
            Durable::Yes
        } else {
            Durable::Soon
        }
    }

    /// Tells the log when the trail begins and ceases to take events, and no more often.
    fn tell(&self, error: Option<&TrailError>, bytes: u64, max: u64) {
        let now = match error {
            Some(error) => Some(crate::causes::chain(error)),
            None if bytes >= max => {
                Some(format!("it has {bytes} bytes, and audit.max_size is {max}: only changes are recorded"))
            }
            None if !(self.0.parts.room)(0) => {
                Some("the disk is nearly full: only changes are recorded".into())
            }
            None => None,
        };
        let mut before = lock(&self.0.trouble);
        match (&*before, &now) {
            (None, Some(why)) => tracing::warn!(%why, "the audit trail does not take everything"),
            (Some(_), None) => tracing::info!("the audit trail takes everything again"),
            _ => {}
        }
        *before = now;
    }

    /// Moves what waits and seals the trail; at the end of the process.
    pub async fn settle(&self) {
        if let Err(error) = self.keep().await {
            tracing::warn!(%error, "the last events stay for the next start");
        }
        let trail = self.0.parts.trail.clone();
        if let Ok(Err(error)) = tasks::blocking(move || trail.seal()).await {
            tracing::warn!(%error, "the audit trail's log is left for the next start");
        }
    }
}

fn encoded(record: &EventRecord) -> Result<Vec<u8>, Error> {
    record.encode().map_err(|_| Error::Bug("an event in the outbox is no record"))
}
