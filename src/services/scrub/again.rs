//! Whether what was found is well again. Blobs whose files are in place are read, at the rate of a cycle and with its
//! rests: who pauses the scrub, stops the appliance, or wants a cycle, waits for one slice. What cannot be looked at
//! stays a finding, and does not hide the others.

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{BlobKey, TableKey};
use pierhead_storage_format::scrub::{DamageKey, DamageRecord};

use super::Scrub;
use super::work::{FULL_SLICE, LEAST, SLICE, Slice, THREADS};
use crate::causes;
use crate::jobs::Handle;
use crate::seams::tasks;
use crate::services::error::Error;
use crate::stores::blobs::{BlobError, Look, Looked};

/// Findings looked up at a time.
const PAGE: usize = 100;

/// Where a look is.
enum Step {
    Told(bool),
    Reading(Box<Look>),
}

/// A look through the findings.
struct Again<'a, E> {
    handle: &'a Handle,
    /// Somebody else's turn has come.
    yields: E,
    /// Since the last rest.
    spent: Slice,
}

impl Scrub {
    /// Looks whether what was found is well again, unless a run does, or is due.
    pub async fn look_again(&self, handle: &Handle) -> Result<(), Error> {
        match self.0.turn.try_lock() {
            Ok(_turn) => self.recheck(handle, || self.wait().is_none()).await,
            Err(_) => Ok(()),
        }
    }

    /// How many findings there are, as an earlier process left them.
    pub(super) async fn count_findings(&self) -> Result<u64, Error> {
        let (mut count, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.page_of_findings(after.take()).await?;
            let Some((last, _)) = page.last() else { return Ok(count) };
            (count, after) = (count + page.len() as u64, Some(last.encode()));
        }
    }

    /// Removes findings of blobs that were pushed again, or are no more; counts the rest. Ends early when the scrub is
    /// paused, the appliance stops, or `yields`.
    pub(super) async fn recheck(
        &self,
        handle: &Handle,
        yields: impl Fn() -> bool + Sync,
    ) -> Result<(), Error> {
        let mut again = Again { handle, yields, spent: Slice::default() };
        let (mut after, mut left) = (None::<Vec<u8>>, 0);
        loop {
            let page = self.page_of_findings(after.take()).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.encode());
            for (key, record) in page {
                match self.is_well(&key.digest, record.size, &mut again).await? {
                    Some(true) => self.forget(key).await?,
                    Some(false) => left += 1,
                    None => return Ok(()),
                }
            }
        }
        self.known().findings = left;
        Ok(())
    }

    async fn page_of_findings(
        &self,
        after: Option<Vec<u8>>,
    ) -> Result<Vec<(DamageKey, DamageRecord)>, Error> {
        let meta = self.0.parts.meta.clone();
        Ok(tasks::blocking(move || meta.page::<DamageKey>(&[], after.as_deref(), PAGE)).await??)
    }

    /// Whether nothing is wrong with a blob any more: its bytes are right, or nobody has it. None if it ends early.
    async fn is_well<E: Fn() -> bool + Sync>(
        &self,
        digest: &Digest,
        size: u64,
        again: &mut Again<'_, E>,
    ) -> Result<Option<bool>, Error> {
        let (meta, blobs, digest) = (self.0.parts.meta.clone(), self.0.parts.blobs.clone(), *digest);
        if self.ends(again) {
            return Ok(None);
        }
        let mut step = tasks::blocking(move || {
            if meta.get(&BlobKey { digest })?.is_none() {
                return Ok::<_, Error>(Step::Told(true));
            }
            Ok(match blobs.look_at(&digest, size) {
                Ok(Ok(look)) => Step::Reading(Box::new(look)),
                Ok(Err(_)) => Step::Told(false),
                Err(error) => untold(&digest, &error),
            })
        })
        .await??;
        again.spent.cost += LEAST;
        loop {
            self.rest_if_due(again).await;
            let look = match step {
                Step::Told(is_well) => return Ok(Some(is_well)),
                Step::Reading(_) if self.ends(again) => return Ok(None),
                Step::Reading(look) => look,
            };
            step = self.read_on(look, &mut again.spent).await?;
        }
    }

    /// Reads a slice.
    async fn read_on(&self, mut look: Box<Look>, spent: &mut Slice) -> Result<Step, Error> {
        let (most, threads) = if self.is_full() { (FULL_SLICE, THREADS) } else { (SLICE, 1) };
        let (step, read, took) = tasks::blocking(move || {
            let (began, before) = (std::time::Instant::now(), look.read());
            let looked = look.go_on(most, threads);
            let read = look.read() - before;
            let step = match looked {
                Ok(None) => Step::Reading(look),
                Ok(Some(looked)) => Step::Told(looked == Looked::Sound),
                Err(error) => untold(&look.digest(), &error),
            };
            (step, read, began.elapsed())
        })
        .await?;
        spent.cost += read;
        spent.took += took;
        Ok(step)
    }

    async fn rest_if_due<E>(&self, again: &mut Again<'_, E>) {
        if again.spent.cost < SLICE {
            return;
        }
        let rest = self.rest(&std::mem::take(&mut again.spent), self.is_full());
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = again.handle.stopped() => {}
        }
    }

    fn ends<E: Fn() -> bool>(&self, again: &Again<'_, E>) -> bool {
        again.handle.is_stopping() || self.known().state.paused || (again.yields)()
    }

    fn is_full(&self) -> bool {
        let known = self.known();
        known.state.running && known.state.full
    }

    async fn forget(&self, key: DamageKey) -> Result<(), Error> {
        let own = &self.0.parts;
        own.access.commit(&own.meta, &self.system()?, move |tx| Ok(tx.delete(&key)?)).await?;
        let mut known = self.known();
        known.findings = known.findings.saturating_sub(1);
        drop(known);
        tracing::info!(digest = %key.digest, "a blob that was damaged is well again, or gone");
        Ok(())
    }
}

/// It is not well as far as can be told.
fn untold(digest: &Digest, error: &BlobError) -> Step {
    tracing::debug!(%digest, error = causes::chain(error), "a blob that was found damaged cannot be looked at");
    Step::Told(false)
}
