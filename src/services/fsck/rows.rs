//! Where the rows come from: the index itself once it is proved equal to the journal, or
//! [`Packed`], which holds a stream of rows in memory.

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::{Table, TableKey};

use super::Unreadable;

/// The metadata at one moment, by table and in the order of keys.
pub trait Rows {
    /// Visits the rows of `table` whose key starts with `prefix`, in the order of keys. An error
    /// of `visit` ends the scan and is returned.
    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Unreadable>;
    /// The record under `key`.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Unreadable>;
}

/// Takes a key and a record.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Unreadable> + 'a;

/// Visits every row that decodes; one that does not is R12's.
pub(super) fn each<K: TableKey>(
    rows: &dyn Rows,
    prefix: &[u8],
    mut visit: impl FnMut(K, K::Record) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    rows.scan(K::TABLE, prefix, &mut |key, value| match (K::decode(key), K::Record::decode(value)) {
        (Ok(key), Ok(record)) => visit(key, record),
        _ => Ok(()),
    })
}

/// The same, until `visit` says that it is enough (`false`).
pub(super) fn some<K: TableKey>(
    rows: &dyn Rows,
    prefix: &[u8],
    mut visit: impl FnMut(K, K::Record) -> Result<bool, Unreadable>,
) -> Result<(), Unreadable> {
    let mut is_enough = false;
    let scanned = each::<K>(rows, prefix, |key, record| {
        is_enough = !visit(key, record)?;
        if is_enough { Err(Unreadable { what: String::new(), source: "enough".into() }) } else { Ok(()) }
    });
    if is_enough { Ok(()) } else { scanned }
}

/// The record under `key`, if there is one that decodes.
pub(super) fn get<K: TableKey>(rows: &dyn Rows, key: &K) -> Result<Option<K::Record>, Unreadable> {
    Ok(rows.get(K::TABLE, &key.encode())?.and_then(|value| K::Record::decode(&value).ok()))
}

/// Rows come in the order of table number, then key; each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row is out of order, comes twice or is longer than 64 KiB")]
pub struct OutOfOrder;

/// Bytes after which a block is closed; a lookup reads through one block.
const BLOCK: usize = 8 * 1024;
/// Table, key length, record length.
const HEAD: usize = 5;

/// All rows in memory, side by side in blocks: 5 bytes a row beyond the rows themselves. A store of
/// 1,010,002 rows (5,000 repositories, 100,000 images) took 68 MB.
#[derive(Debug, Default)]
pub struct Packed {
    blocks: Vec<Vec<u8>>,
    last: Option<(Table, Vec<u8>)>,
}

impl Packed {
    /// Adds the next row of a stream in the order of table number, then key.
    pub fn push(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), OutOfOrder> {
        if self.last.as_ref().is_some_and(|(t, k)| (*t, k.as_slice()) >= (table, key)) {
            return Err(OutOfOrder);
        }
        let key_len = u16::try_from(key.len()).map_err(|_| OutOfOrder)?;
        let value_len = u16::try_from(value.len()).map_err(|_| OutOfOrder)?;
        let size = HEAD + key.len() + value.len();
        if self.blocks.last().is_none_or(|block| block.len() + size > BLOCK) {
            if let Some(full) = self.blocks.last_mut() {
                full.shrink_to_fit();
            }
            self.blocks.push(Vec::with_capacity(BLOCK.max(size)));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push(table.number());
            block.extend_from_slice(&key_len.to_le_bytes());
            block.extend_from_slice(&value_len.to_le_bytes());
            block.extend_from_slice(key);
            block.extend_from_slice(value);
        }
        self.last = Some((table, key.to_vec()));
        Ok(())
    }

    /// The rows from `(table, key)` on.
    fn from<'a>(&'a self, table: Table, key: &'a [u8]) -> impl Iterator<Item = PackedRow<'a>> {
        let at = (table.number(), key);
        let after = self.blocks.partition_point(|block| first(block).is_some_and(|row| row.at() <= at));
        let blocks = self.blocks.iter().skip(after.saturating_sub(1));
        blocks.flat_map(|block| Unpack(block)).skip_while(move |row| row.at() < at)
    }
}

/// A row in a block.
struct PackedRow<'a> {
    table: u8,
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> PackedRow<'a> {
    fn at(&self) -> (u8, &'a [u8]) {
        (self.table, self.key)
    }
}

fn first(block: &[u8]) -> Option<PackedRow<'_>> {
    Unpack(block).next()
}

/// The rows left in a block.
struct Unpack<'a>(&'a [u8]);

impl<'a> Iterator for Unpack<'a> {
    type Item = PackedRow<'a>;

    fn next(&mut self) -> Option<PackedRow<'a>> {
        let (&[table, k0, k1, v0, v1], rest) = self.0.split_first_chunk::<HEAD>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([k0, k1])))?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([v0, v1])))?;
        self.0 = rest;
        Some(PackedRow { table, key, value })
    }
}

impl Rows for Packed {
    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), Unreadable> {
        self.from(table, prefix)
            .take_while(|row| row.table == table.number() && row.key.starts_with(prefix))
            .try_for_each(|row| visit(row.key, row.value))
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        let found = self.from(table, key).next().filter(|row| row.at() == (table.number(), key));
        Ok(found.map(|row| row.value.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn collect(rows: &Packed, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        rows.scan(table, prefix, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(())
        })
        .expect("memory reads");
        found
    }

    #[test]
    fn rows_out_of_order_are_refused() {
        let mut packed = Packed::default();
        assert_eq!(packed.push(Table::Tag, b"b", b""), Ok(()));
        for (table, key) in [(Table::Tag, b"b"), (Table::Tag, b"a"), (Table::Repository, b"z")] {
            assert_eq!(packed.push(table, key, b""), Err(OutOfOrder));
        }
        assert_eq!(packed.push(Table::Manifest, b"a", &[0; 1 << 16]), Err(OutOfOrder));
        assert_eq!(packed.push(Table::Manifest, b"a", b""), Ok(()));
    }

    proptest! {
        #[test]
        fn packed_rows_answer_as_an_ordered_map(
            rows in prop::collection::btree_map(
                (0..3usize, prop::collection::vec(0..4u8, 0..5)), prop::collection::vec(any::<u8>(), 0..900), 0..150
            ),
            asked in prop::collection::vec(0..4u8, 0..5),
        ) {
            let rows: BTreeMap<(Table, Vec<u8>), Vec<u8>> =
                rows.into_iter().map(|((table, key), value)| ((Table::ALL[table], key), value)).collect();
            let mut packed = Packed::default();
            for ((table, key), value) in &rows {
                prop_assert_eq!(packed.push(*table, key, value), Ok(()));
            }
            for table in &Table::ALL[..4] {
                let expected: Vec<_> = rows.iter()
                    .filter(|((t, k), _)| t == table && k.starts_with(&asked))
                    .map(|((_, k), v)| (k.clone(), v.clone()))
                    .collect();
                prop_assert_eq!(collect(&packed, *table, &asked), expected);
                let got = packed.get(*table, &asked).expect("memory reads");
                prop_assert_eq!(got.as_ref(), rows.get(&(*table, asked.clone())));
            }
        }
    }
}
