//! From `unreferenced` to `collected`: the oldest first, a batch at a time.

use std::time::Duration;

use pierhead_storage_format::Digest;
use pierhead_storage_format::housekeeping::{
    CollectedKey, CollectedRecord, UnreferencedKey, UnreferencedRecord,
};
use pierhead_storage_format::keys::{BlobKey, TableKey};

use super::{BATCH, Collector, Done};
use crate::causes;
use crate::services::access::Permit;
use crate::services::error::Error;
use crate::services::images::Rows;
use crate::services::names::RepositoryName;
use crate::stores::blobs::Removing;
use crate::stores::meta::Tx;

/// How often is looked whether a backup still holds removals back.
const HELD_BACK: Duration = Duration::from_secs(1);

/// A row that is old enough.
pub(super) type Due = (UnreferencedKey, UnreferencedRecord);

/// What a change set did.
#[derive(Default)]
struct Taken {
    unlinked: u64,
    /// Blobs of the store whose rows went.
    gone: Vec<Digest>,
    bytes: u64,
}

impl Collector {
    /// Takes everything that is of `cutoff` or before.
    pub(super) async fn sweep(&self, permit: &Permit, cutoff: u64) -> Result<(), Error> {
        let mut after = None;
        while !self.is_halted() {
            let Some(leave) = self.leave().await else { return Ok(()) };
            let since = self.0.shelves.clock.monotonic_ms();
            let due = self.due(cutoff, after.as_deref())?;
            let Some((last, _)) = due.last() else { return Ok(()) };
            after = Some(last.encode());
            let is_last = due.len() < BATCH;
            let done = self.take(permit, due).await?;
            drop(leave);
            self.did(done);
            if is_last {
                return Ok(());
            }
            self.keep_pace(since, done.unlinked + done.removed, done.bytes).await;
        }
        Ok(())
    }

    /// Leave to remove a batch, as soon as no backup holds removals back; none if it is halted.
    pub(super) async fn leave(&self) -> Option<Removing> {
        while !self.is_halted() {
            if let Some(leave) = self.0.shelves.blobs.begin_removing() {
                return Some(leave);
            }
            tokio::time::sleep(HELD_BACK).await;
        }
        None
    }

    /// The next rows that are old enough.
    pub(super) fn due(&self, cutoff: u64, after: Option<&[u8]>) -> Result<Vec<Due>, Error> {
        let mut page = self.0.shelves.meta.page::<UnreferencedKey>(&[], after, BATCH)?;
        page.truncate(page.partition_point(|(key, _)| key.since <= cutoff));
        Ok(page)
    }

    /// One batch: rows, then files, while nobody else can want any of it.
    async fn take(&self, permit: &Permit, mut due: Vec<Due>) -> Result<Done, Error> {
        let shelves = &self.0.shelves;
        let asked = due.len() as u64;
        let going = shelves.leases.take(due.iter().map(|(key, _)| key.digest));
        due.retain(|(key, _)| going.has(&key.digest));
        let left = asked - due.len() as u64;
        if due.is_empty() {
            return Ok(Done { left, ..Done::default() });
        }
        let now = shelves.clock.now_ms();
        let taken = shelves.access.commit(&shelves.meta, permit, move |tx| take_rows(tx, due, now)).await?;
        let removed = taken.gone.len() as u64;
        if let Err(error) = shelves.blobs.set_collected(taken.gone).await {
            // They are noted as collected, and moved or unlinked later.
            tracing::warn!(
                error = causes::chain(&error),
                "files of collected blobs stay in their place for now"
            );
        }
        drop(going);
        Ok(Done { unlinked: taken.unlinked, removed, bytes: taken.bytes, left, ..Done::default() })
    }
}

/// Rows say now what is to go, whatever they said before.
fn take_rows(tx: &mut Tx<'_>, mut due: Vec<Due>, now: u64) -> Result<Taken, Error> {
    let mut taken = Taken::default();
    due.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    for same in due.chunk_by(|(_, a), (_, b)| a.name == b.name) {
        match same.first().and_then(|(_, record)| record.name.as_ref()) {
            Some(name) => taken.unlinked += unlink(tx, name, same, now)?,
            None => same.iter().try_for_each(|(key, _)| remove(tx, key, now, &mut taken))?,
        }
    }
    Ok(taken)
}

/// Step 1, for one repository.
fn unlink(tx: &mut Tx<'_>, name: &str, due: &[Due], now: u64) -> Result<u64, Error> {
    let name: RepositoryName = name.parse().map_err(|_| Error::Bug("a row names no repository"))?;
    let mut unlinked = 0;
    let mut rows = match Rows::existing(tx, name, now) {
        Ok(rows) => rows,
        Err(Error::RepositoryUnknown(_)) => return Ok(0),
        Err(error) => return Err(error),
    };
    for (key, _) in due {
        unlinked += u64::from(rows.unlink_unnamed(key)?);
    }
    rows.finish()?;
    Ok(unlinked)
}

/// Step 2.
fn remove(tx: &mut Tx<'_>, key: &UnreferencedKey, now: u64, taken: &mut Taken) -> Result<(), Error> {
    let blob = BlobKey { digest: key.digest };
    let Some(record) = tx.get(&blob)? else { return Ok(()) };
    if record.references > 0 || record.changed_at != key.since {
        return Ok(());
    }
    tx.delete(&blob)?;
    tx.delete(key)?;
    tx.put(&CollectedKey { at: now, digest: key.digest }, &CollectedRecord { size: record.size })?;
    taken.gone.push(key.digest);
    taken.bytes = taken.bytes.saturating_add(record.size);
    Ok(())
}
