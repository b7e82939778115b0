//! Metadata in memory only: stands in until the journal is merged.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::TableKey;

/// Why rows cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// Full.
    #[error("no space")]
    NoSpace,
    /// Damaged.
    #[error("damaged")]
    Damaged,
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Rows.
#[derive(Clone, Default)]
pub struct Meta(Arc<Mutex<Map>>);

/// A transaction.
pub struct Tx<'a> {
    map: Map,
    _of: &'a (),
}

fn full<K: TableKey>(key: &[u8]) -> Vec<u8> {
    let mut full = vec![K::TABLE.number()];
    full.extend_from_slice(key);
    full
}

fn get<K: TableKey>(map: &Map, key: &K) -> Result<Option<K::Record>, MetaError> {
    map.get(&full::<K>(&key.encode()))
        .map(|v| K::Record::decode(v))
        .transpose()
        .map_err(|_| MetaError::Damaged)
}

fn page<K: TableKey>(
    map: &Map,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(K, K::Record)>, MetaError> {
    let prefix = full::<K>(prefix);
    let start = after.map_or_else(|| prefix.clone(), |a| [full::<K>(a), vec![0]].concat());
    map.range(start.max(prefix.clone())..)
        .take_while(|(k, _)| k.starts_with(&prefix))
        .take(limit)
        .map(|(k, v)| Ok((K::decode(&k[1..])?, K::Record::decode(v)?)))
        .collect::<Result<_, pierhead_storage_format::FormatError>>()
        .map_err(|_| MetaError::Damaged)
}

impl Meta {
    fn map(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row.
    pub fn get<K: TableKey>(&self, key: &K) -> Result<Option<K::Record>, MetaError> {
        get(&self.map(), key)
    }

    /// Rows.
    pub fn page<K: TableKey>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(K, K::Record)>, MetaError> {
        page(&self.map(), prefix, after, limit)
    }

    /// A change.
    pub async fn commit<T: Send + 'static, E: From<MetaError> + Send + 'static>(
        &self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let mut map = self.map();
        let mut tx = Tx { map: map.clone(), _of: &() };
        let done = change(&mut tx)?;
        *map = tx.map;
        Ok(done)
    }
}

impl Tx<'_> {
    /// A row.
    pub fn get<K: TableKey>(&self, key: &K) -> Result<Option<K::Record>, MetaError> {
        get(&self.map, key)
    }

    /// Rows.
    pub fn page<K: TableKey>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(K, K::Record)>, MetaError> {
        page(&self.map, prefix, after, limit)
    }

    /// Puts.
    pub fn put<K: TableKey>(&mut self, key: &K, record: &K::Record) -> Result<(), MetaError> {
        self.map.insert(full::<K>(&key.encode()), record.encode().map_err(|_| MetaError::Damaged)?);
        Ok(())
    }

    /// Deletes.
    pub fn delete<K: TableKey>(&mut self, key: &K) -> Result<(), MetaError> {
        self.map.remove(&full::<K>(&key.encode()));
        Ok(())
    }
}
