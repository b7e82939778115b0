//! A transaction: reads see its own changes, the earlier ones of its group, and the index, in
//! that order; changes are kept until the group is durable. An index that breaks under a read is
//! brought up again by the [`Source`], unseen by the transaction. Also the page of rows that
//! readers and transactions share.

use pierhead_storage_format::codec::{MAX_RECORD, Record};
use pierhead_storage_format::journal::{Change, MAX_KEY, encode_change_set};
use pierhead_storage_format::keys::{Table, TableKey};

use super::engine::Pair;
use super::error::MetaError;
use super::truth::{Overlay, row_key, split_row_key};

/// The largest change set, in encoded bytes: with a group's other changes it fits a frame.
const MAX_CHANGE_SET: usize = 32 << 20;

/// The index as transactions read it. Two reads see the same rows, also if the index was brought up again
/// between them: it has what the journal has, and while a transaction runs nothing is added to that.
pub(super) trait Source {
    /// As [`super::engine::Engine::get`]; an error says that there is no index to ask.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError>;
    /// As [`super::engine::Engine::page`]; an error says that there is no index to ask.
    fn page(
        &mut self,
        prefix: &[u8],
        from: &[u8],
        exclusive: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, MetaError>;
}

/// What a transaction reads and changes. Dropped without effect when its closure fails.
pub struct Tx<'a> {
    source: &'a mut dyn Source,
    group: &'a Overlay,
    own: Overlay,
    bytes: usize,
    failure: Option<MetaError>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(source: &'a mut dyn Source, group: &'a Overlay) -> Self {
        Self { source, group, own: Overlay::new(), bytes: 0, failure: None }
    }

    /// The record of a key.
    pub fn get<K: TableKey>(&mut self, key: &K) -> Result<Option<K::Record>, MetaError> {
        let row = row_key(K::TABLE, &key.encode());
        let value = match self.own.get(&row).or_else(|| self.group.get(&row)) {
            Some(value) => value.clone(),
            None => self.source.get(&row).inspect_err(|error| self.failure = Some(error.clone()))?,
        };
        value.map(|value| decode_record::<K>(&value)).transpose()
    }

    /// Sets the record of a key. An error also ends the transaction: nothing of it is committed.
    pub fn put<K: TableKey>(&mut self, key: &K, record: &K::Record) -> Result<(), MetaError> {
        let encoded = record.encode().map_err(|_| MetaError::TooLarge);
        let staged = encoded.and_then(|value| self.stage(row_key(K::TABLE, &key.encode()), Some(value)));
        staged.inspect_err(|error| self.failure = Some(error.clone()))
    }

    /// Removes a key; one that is not there is no error. An error also ends the transaction.
    pub fn delete<K: TableKey>(&mut self, key: &K) -> Result<(), MetaError> {
        let staged = self.stage(row_key(K::TABLE, &key.encode()), None);
        staged.inspect_err(|error| self.failure = Some(error.clone()))
    }

    /// Sets a row by its bytes, or removes it (`None`): for repairs, which have rows of any table. Whoever calls
    /// made them of typed ones. An error also ends the transaction.
    pub fn set_row(&mut self, table: Table, key: &[u8], value: Option<Vec<u8>>) -> Result<(), MetaError> {
        let staged = self.stage(row_key(table, key), value);
        staged.inspect_err(|error| self.failure = Some(error.clone()))
    }

    /// Up to `limit` rows whose encoded key starts with `prefix` and comes after the encoded key
    /// `after`, in order.
    pub fn page<K: TableKey>(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(K, K::Record)>, MetaError> {
        let read =
            |prefix: &[u8], from: &[u8], exclusive, limit| self.source.page(prefix, from, exclusive, limit);
        let rows = page_rows::<K, _>(read, &[self.group, &self.own], prefix, after, limit);
        let rows = rows.inspect_err(|error| self.failure = Some(error.clone()))?;
        rows.iter().map(decode_row::<K>).collect()
    }

    fn stage(&mut self, row: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), MetaError> {
        let size = |row: &[u8], value: &Option<Vec<u8>>| 6 + row.len() + value.as_ref().map_or(0, Vec::len);
        let new = size(&row, &value);
        if row.len() > 1 + MAX_KEY || value.as_ref().is_some_and(|v| v.len() > MAX_RECORD) {
            return Err(MetaError::TooLarge);
        }
        let old = self.own.get(&row).map_or(0, |old| size(&row, old));
        self.bytes = self.bytes + new - old;
        if self.bytes > MAX_CHANGE_SET {
            return Err(MetaError::TooLarge);
        }
        self.own.insert(row, value);
        Ok(())
    }

    /// Its changes, or why there are none to be had though the closure succeeded.
    pub(super) fn finish(self) -> Result<Overlay, MetaError> {
        self.failure.map_or(Ok(self.own), Err)
    }
}

/// Appends `changes` as one change set.
pub(super) fn encode(changes: &Overlay, body: &mut Vec<u8>) -> Result<(), MetaError> {
    let changes = changes.iter().filter_map(|(row, value)| {
        let (table, key) = split_row_key(row)?;
        Some(Change { table, key, value: value.as_deref() })
    });
    encode_change_set(&changes.collect::<Vec<_>>(), body).map_err(|_| MetaError::TooLarge)
}

/// Decodes what a table holds under a key.
pub(super) fn decode_record<K: TableKey>(value: &[u8]) -> Result<K::Record, MetaError> {
    K::Record::decode(value).map_err(|source| MetaError::Damaged { table: K::TABLE.name(), source })
}

/// Decodes a row of [`page_rows`].
pub(super) fn decode_row<K: TableKey>((row, value): &Pair) -> Result<(K, K::Record), MetaError> {
    let key = row.get(1..).unwrap_or_default();
    let key = K::decode(key).map_err(|source| MetaError::Damaged { table: K::TABLE.name(), source })?;
    Ok((key, decode_record::<K>(value)?))
}

/// A page of table `K`, `layers` laid over what `read` reads as an engine's page, later ones on top.
pub(super) fn page_rows<K: TableKey, E>(
    mut read: impl FnMut(&[u8], &[u8], bool, usize) -> Result<Vec<Pair>, E>,
    layers: &[&Overlay],
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Pair>, E> {
    let prefix = row_key(K::TABLE, prefix);
    let after = after.map(|after| row_key(K::TABLE, after)).filter(|after| *after >= prefix);
    let (mut from, mut exclusive) = after.map_or_else(|| (prefix.clone(), false), |after| (after, true));
    let mut rows = Vec::new();
    loop {
        let found = read(&prefix, &from, exclusive, limit)?;
        let last = if found.len() < limit { None } else { found.last().map(|(row, _)| row.clone()) };
        let mut merged: Overlay = found.into_iter().map(|(row, value)| (row, Some(value))).collect();
        for layer in layers {
            let covered = layer.range(from.clone()..).take_while(|(row, _)| {
                row.starts_with(&prefix) && last.as_ref().is_none_or(|last| *row <= last)
            });
            merged.extend(covered.map(|(row, value)| (row.clone(), value.clone())));
        }
        let skip = exclusive.then(|| from.clone());
        let kept = merged.into_iter().filter(|(row, _)| Some(row) != skip.as_ref());
        rows.extend(kept.filter_map(|(row, value)| Some((row, value?))));
        rows.truncate(limit);
        match last {
            Some(last) if rows.len() < limit => (from, exclusive) = (last, true),
            _ => return Ok(rows),
        }
    }
}
