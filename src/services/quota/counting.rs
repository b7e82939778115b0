//! Counts, once, what the organisations of a store of an older version hold; before anybody is served. Steps, and what
//! a stop between them leaves, are in `FORMAT.md` §8.15: without the counter [`COUNTED`] it begins again, so that a stop
//! never has anything counted twice. A repository without its organisation, which only lost rows leave, is not counted. Memory is that of a batch of rows.

use pierhead_storage_format::Digest;
use pierhead_storage_format::keys::{
    CounterKey, ManifestKey, OrganisationKey, RepositoryBlobKey, RepositoryKey, TableKey,
};
use pierhead_storage_format::quota::{OrganisationBlobKey, OrganisationUsageKey};
use pierhead_storage_format::records::CounterRecord;

use super::Quotas;
use super::books::{Books, HELD};
use crate::services::error::Error;
use crate::stores::meta::Tx;

/// The counter that says that what organisations hold was counted.
const COUNTED: &str = "organisation usage";
/// Rows of one change set.
const BATCH: usize = 1000;
/// Rows after which is told how far it is.
const TOLD: u64 = 100_000;

/// What an organisation's repositories hold: its name, and content with its size.
type Held = (String, Digest, u64);

/// Rows that are to be counted together.
#[derive(Default)]
struct Counting {
    waiting: Vec<Held>,
    counted: u64,
}

impl Quotas {
    /// Counts anew, whatever was counted; for a store that nobody uses. A stop leaves it to the next start.
    pub async fn count_again(&self) -> Result<(), Error> {
        let done = CounterKey { name: COUNTED.to_owned() };
        self.0.meta.commit(move |tx| Ok::<_, Error>(tx.delete(&done)?)).await?;
        self.count_once().await.map(drop)
    }

    /// Counts, unless that was done; how many rows.
    pub async fn count_once(&self) -> Result<Option<u64>, Error> {
        let done = CounterKey { name: COUNTED.to_owned() };
        if self.0.meta.get(&done)?.is_some() {
            return Ok(None);
        }
        self.clear::<OrganisationBlobKey>(&[]).await?;
        self.clear::<OrganisationUsageKey>(&[]).await?;
        self.clear::<CounterKey>(HELD.as_bytes()).await?;
        let (mut counting, mut after) = (Counting::default(), None::<Vec<u8>>);
        loop {
            let page = self.0.meta.page::<RepositoryKey>(&[], after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            let is_last = page.len() < BATCH;
            for (RepositoryKey { name }, record) in page {
                let organisation = name.split('/').next().unwrap_or_default();
                if self.0.meta.get(&OrganisationKey { name: organisation.to_owned() })?.is_none() {
                    // A start goes on without it: `fsck` says what is missing.
                    tracing::warn!(repository = name, "not counted: its organisation is not there");
                    continue;
                }
                let prefix = RepositoryBlobKey::prefix(record.id);
                let blob = |key: RepositoryBlobKey| key.digest;
                self.count::<RepositoryBlobKey>(&mut counting, organisation, &prefix, blob, |row| row.size)
                    .await?;
                let manifest = |key: ManifestKey| key.digest;
                self.count::<ManifestKey>(&mut counting, organisation, &prefix, manifest, |row| row.size)
                    .await?;
            }
            if is_last {
                break;
            }
        }
        if !counting.waiting.is_empty() {
            self.count_batch(&mut counting).await?;
        }
        self.0.meta.commit(move |tx| Ok::<_, Error>(tx.put(&done, &CounterRecord { next: 1 })?)).await?;
        Ok(Some(counting.counted))
    }

    /// Counts the rows of one table in one repository.
    async fn count<K: TableKey>(
        &self,
        counting: &mut Counting,
        organisation: &str,
        prefix: &[u8],
        digest: impl Fn(K) -> Digest,
        size: impl Fn(K::Record) -> u64,
    ) -> Result<(), Error> {
        let mut after = None::<Vec<u8>>;
        loop {
            let page = self.0.meta.page::<K>(prefix, after.as_deref(), BATCH)?;
            after = page.last().map(|(key, _)| key.encode());
            let is_last = page.len() < BATCH;
            let held = page.into_iter().map(|(key, row)| (organisation.to_owned(), digest(key), size(row)));
            counting.waiting.extend(held);
            if counting.waiting.len() >= BATCH {
                self.count_batch(counting).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn count_batch(&self, counting: &mut Counting) -> Result<(), Error> {
        let batch = std::mem::take(&mut counting.waiting);
        let (before, rows) = (counting.counted, batch.len() as u64);
        self.0.meta.commit(move |tx| keep_all(tx, batch)).await?;
        counting.counted += rows;
        if before / TOLD != counting.counted / TOLD {
            tracing::info!(rows = counting.counted, "counting what organisations hold");
        }
        Ok(())
    }

    async fn clear<K: TableKey + Send + 'static>(&self, prefix: &[u8]) -> Result<(), Error> {
        loop {
            let page = self.0.meta.page::<K>(prefix, None, BATCH)?;
            if page.is_empty() {
                return Ok(());
            }
            let keys: Vec<K> = page.into_iter().map(|(key, _)| key).collect();
            self.0.meta.commit(move |tx| keys.iter().try_for_each(|key| tx.delete(key))).await?;
        }
    }
}

/// Rows of one organisation come together.
fn keep_all(tx: &mut Tx<'_>, batch: Vec<Held>) -> Result<(), Error> {
    let mut at: Option<(String, Books)> = None;
    for (name, digest, size) in batch {
        let (name, mut books) = match at.take() {
            Some((last, books)) if last == name => (last, books),
            other => {
                other.map_or(Ok(()), |(_, books)| books.count(tx))?;
                let books = Books::of(&name);
                (name, books)
            }
        };
        books.keep(tx, &digest, size)?;
        at = Some((name, books));
    }
    at.map_or(Ok(()), |(_, books)| books.count(tx))
}
