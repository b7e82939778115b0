//! A snapshot's bytes (before compression): the whole metadata at one position. A header; rows in
//! the order of table number and key; a trailer with counts, sums and a BLAKE3 check of everything
//! before it. All numbers are little-endian and of fixed width. Layout in `FORMAT.md`.
//!
//! - S1: rows ascend strictly; the reader refuses others.
//! - S2: nothing of a snapshot is to be believed before its reader reached the end without error.
//!
//! [`Sums`] also serve the index, which keeps a running one of every table.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::codec::{FormatError, MAX_RECORD};
use crate::journal::{Fields, MAX_KEY, Position, Tag, is_known, short};
use crate::keys::Table;

const MAGIC: [u8; 8] = *b"PhSnapsh";
const VERSION: u32 = 1;
const HEADER: usize = 52;
const END: u8 = 0;

/// Rows of a table and the sum of their hashes, which does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Rows.
    pub rows: u64,
    /// Wrapping sum of the rows' hashes.
    pub hash: u128,
}

/// A [`Sum`] for every table that has rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<u8, Sum>);

fn row_hash(table: u8, key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[table]).update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
    u128::from_le_bytes(short(&hasher))
}

impl Sums {
    /// Counts a row in.
    pub fn add(&mut self, table: u8, key: &[u8], value: &[u8]) {
        let sum = self.0.entry(table).or_default();
        sum.rows = sum.rows.wrapping_add(1);
        sum.hash = sum.hash.wrapping_add(row_hash(table, key, value));
    }

    /// Takes a row out that was counted in.
    pub fn remove(&mut self, table: u8, key: &[u8], value: &[u8]) {
        let sum = self.0.entry(table).or_default();
        sum.rows = sum.rows.wrapping_sub(1);
        sum.hash = sum.hash.wrapping_sub(row_hash(table, key, value));
        if *sum == Sum::default() {
            self.0.remove(&table);
        }
    }

    /// Rows of a table.
    pub fn rows(&self, table: Table) -> u64 {
        self.0.get(&table.number()).map_or(0, |sum| sum.rows)
    }

    /// Rows of all tables.
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |total, sum| total.wrapping_add(sum.rows))
    }

    /// Appends the sums: how many, then for each the table, rows and hash.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX)); // table 0 is never counted: at most 255
        for (table, sum) in &self.0 {
            bytes.push(*table);
            bytes.extend_from_slice(&sum.rows.to_le_bytes());
            bytes.extend_from_slice(&sum.hash.to_le_bytes());
        }
    }

    /// The inverse of [`Sums::encode`]; `bytes` hold nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields(bytes);
        let mut sums = BTreeMap::new();
        for _ in 0..fields.u8()? {
            let table = fields.u8()?;
            let sum = Sum { rows: fields.u64()?, hash: u128::from_le_bytes(fields.array()?) };
            sums.insert(table, sum);
        }
        if fields.0.is_empty() { Ok(Self(sums)) } else { Err(FormatError::Damaged("bytes after the sums")) }
    }
}

/// Writes a snapshot into buffers that the caller empties.
#[derive(Debug)]
pub struct SnapshotWriter {
    hasher: blake3::Hasher,
    sums: Sums,
    last: Option<(Table, Vec<u8>)>,
}

impl SnapshotWriter {
    /// Appends the header of a snapshot at `position` to `out`.
    pub fn new(position: Position, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&position.sequence.to_le_bytes());
        out.extend_from_slice(&position.tag.0);
        let check = short(blake3::Hasher::new().update(&out[start..]));
        out.extend_from_slice(&check);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&out[start..]);
        Self { hasher, sums: Sums::default(), last: None }
    }

    /// Appends a row to `out`. Rows come in the order of table and key, none twice.
    pub fn row(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        if key.len() > MAX_KEY || value.len() > MAX_RECORD {
            return Err(FormatError::TooLarge);
        }
        if self.last.as_ref().is_some_and(|(t, k)| (*t, k.as_slice()) >= (table, key)) {
            return Err(FormatError::Damaged("rows out of order"));
        }
        let start = out.len();
        let key_len = u16::try_from(key.len()).map_err(|_| FormatError::TooLarge)?;
        let value_len = u16::try_from(value.len()).map_err(|_| FormatError::TooLarge)?;
        out.push(table.number());
        out.extend_from_slice(&key_len.to_le_bytes());
        out.extend_from_slice(&value_len.to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value);
        self.hasher.update(&out[start..]);
        self.sums.add(table.number(), key, value);
        self.last = Some((table, key.to_vec()));
        Ok(())
    }

    /// Appends the trailer; returns the sums written in it.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Sums {
        let start = out.len();
        out.push(END);
        out.extend_from_slice(&self.sums.total().to_le_bytes());
        let mut sums = Vec::new();
        self.sums.encode(&mut sums);
        out.extend_from_slice(&u16::try_from(sums.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(&sums);
        self.hasher.update(&out[start..]);
        out.extend_from_slice(self.hasher.finalize().as_bytes());
        self.sums
    }
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes could not be had.
    #[error("reading the snapshot")]
    Io(#[source] io::Error),
    /// The bytes are wrong.
    #[error("the snapshot is damaged")]
    Format(#[from] FormatError),
}

/// A row of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// The table.
    pub table: Table,
    /// Its key in the table.
    pub key: Vec<u8>,
    /// Its record.
    pub value: Vec<u8>,
}

/// Reads a snapshot.
pub struct SnapshotReader<R> {
    from: R,
    hasher: blake3::Hasher,
    position: Position,
    sums: Sums,
    last: Option<(Table, Vec<u8>)>,
    done: bool,
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the header.
    pub fn new(mut from: R) -> Result<Self, SnapshotError> {
        let mut header = [0; HEADER];
        fill(&mut from, &mut header)?;
        let mut fields = Fields(&header);
        if fields.array()? != MAGIC {
            return Err(FormatError::Damaged("not a snapshot").into());
        }
        let version = fields.u32()?;
        let position = Position { sequence: fields.u64()?, tag: Tag(fields.array()?) };
        if fields.array()? != short(blake3::Hasher::new().update(&header[..HEADER - 16])) {
            return Err(FormatError::Damaged("the snapshot header's checksum does not hold").into());
        }
        is_known(version, VERSION)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header);
        Ok(Self { from, hasher, position, sums: Sums::default(), last: None, done: false })
    }

    /// What it is a snapshot of.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The sums of the rows read so far.
    pub const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// The next row; `None` once the end was reached and everything held (S2).
    pub fn next_row(&mut self) -> Result<Option<SnapshotRow>, SnapshotError> {
        if self.done {
            return Ok(None);
        }
        let mut number = [0];
        self.take(&mut number)?;
        if number == [END] {
            self.trailer()?;
            self.done = true;
            return Ok(None);
        }
        let table = Table::from_number(number[0])?;
        let mut lengths = [0; 4];
        self.take(&mut lengths)?;
        let mut fields = Fields(&lengths);
        let (key_len, value_len) = (usize::from(fields.u16()?), usize::from(fields.u16()?));
        if key_len > MAX_KEY || value_len > MAX_RECORD {
            return Err(FormatError::TooLarge.into());
        }
        let (mut key, mut value) = (vec![0; key_len], vec![0; value_len]);
        self.take(&mut key)?;
        self.take(&mut value)?;
        if self.last.as_ref().is_some_and(|(t, k)| (*t, k) >= (table, &key)) {
            return Err(FormatError::Damaged("rows out of order").into());
        }
        self.sums.add(table.number(), &key, &value);
        self.last = Some((table, key.clone()));
        Ok(Some(SnapshotRow { table, key, value }))
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        fill(&mut self.from, bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn trailer(&mut self) -> Result<(), SnapshotError> {
        let mut fixed = [0; 10];
        self.take(&mut fixed)?;
        let mut fields = Fields(&fixed);
        let (rows, sums_len) = (fields.u64()?, fields.u16()?);
        let mut sums = vec![0; usize::from(sums_len)];
        self.take(&mut sums)?;
        let expected = *self.hasher.finalize().as_bytes();
        let mut check = [0; 32];
        fill(&mut self.from, &mut check)?;
        if check != expected {
            return Err(FormatError::Damaged("the snapshot's checksum does not hold").into());
        }
        if rows != self.sums.total() || Sums::decode(&sums)? != self.sums {
            return Err(FormatError::Damaged("the snapshot's sums are not those of its rows").into());
        }
        match self.from.read(&mut [0]).map_err(sort_out)? {
            0 => Ok(()),
            _ => Err(FormatError::Damaged("bytes after the snapshot's end").into()),
        }
    }
}

/// Errors that the system did not raise come from the decompressor: damage.
fn sort_out(error: io::Error) -> SnapshotError {
    if error.raw_os_error().is_some() {
        SnapshotError::Io(error)
    } else {
        FormatError::Damaged("the snapshot ends early or does not decompress").into()
    }
}

fn fill(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), SnapshotError> {
    from.read_exact(bytes).map_err(sort_out)
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
