//! The engine-neutral dump of the metadata: JSON lines that any program can read, and the way out
//! of (and into) every engine. Lines only; the caller compresses and does the reading and writing.
//!
//! Words: the first line is the *header*, then one *row* a line, the last line is the *trailer*
//! with counts and a BLAKE3 of every line before it, each with its newline.
//!
//! Rules that always hold:
//! - E1: a row has exactly one spelling, so equal stores give equal dumps.
//! - E2: rows come in the order of table number, then key bytes; no key comes twice.
//! - E3: nothing of a dump may be used before its trailer was checked: a cut or altered dump is an
//!   error, though each of its lines may be well-formed.
//!
//! Records are dumped as their newest version. When any record gets a new version, or there is a new table, [`VERSION`]
//! goes up and decoding keeps the old one (`old`). Layout: `FORMAT.md`, "Dump".

mod old;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::{FormatError, Record};
use crate::keys::{Table, TableKey};
use crate::rows::{self, ForTable, for_table};

/// What the header names.
pub const FORMAT: &str = "pierhead-metadata";

/// The version of the dump written today; those before it are read.
pub const VERSION: u32 = 4;

/// The longest line of a dump in bytes, its newline not counted. A reader that meets a longer one
/// may stop: no row needs it.
pub const MAX_LINE: usize = 32 * 1024;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The last change set of the journal that the rows contain.
    pub sequence: u64,
    /// When the dump was made, UTC milliseconds since 1970.
    pub exported_at: u64,
}

impl Header {
    /// A header of today's version.
    pub fn new(sequence: u64, exported_at: u64) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, sequence, exported_at }
    }
}

/// The last line: `{"trailer":{...}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trailer {
    /// Rows of all tables.
    pub rows: u64,
    /// Rows of each table by [`Table::name`]; tables without rows are listed too.
    pub tables: BTreeMap<String, u64>,
    /// BLAKE3 over every line before this one, each with its newline; 64 lower-case hex digits.
    pub blake3: String,
}

#[derive(Serialize)]
struct TrailerLine {
    trailer: Trailer,
}

/// A row as the engines keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The table.
    pub table: Table,
    /// The encoded key.
    pub key: Vec<u8>,
    /// The encoded record, of today's version.
    pub value: Vec<u8>,
}

/// Why a dump is not taken. Lines are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// The first line is no header.
    #[error("this is not a dump of Pierhead's metadata")]
    Header,
    /// A dump of another version.
    #[error("the dump has version {0}, this program knows versions 1 to {VERSION}")]
    Version(u32),
    /// A line that is no row of a known table.
    #[error("line {line}: {source}")]
    Row {
        /// Which.
        line: u64,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A row that does not come after the one before it.
    #[error("line {line}: the row is out of order, or comes twice")]
    Order {
        /// Which.
        line: u64,
    },
    /// Counts or checksum of the trailer do not fit the lines before it.
    #[error("the dump was altered: its trailer does not fit its rows")]
    Altered,
    /// The dump ends without a trailer.
    #[error("the dump is cut: its trailer is missing")]
    Cut,
    /// Something follows the trailer.
    #[error("line {line} follows the trailer")]
    AfterTrailer {
        /// Which.
        line: u64,
    },
}

/// A row as a line, without its newline.
pub fn encode_row(table: Table, key: &[u8], value: &[u8]) -> Result<String, FormatError> {
    for_table(table, EncodeRow { key, value })
}

/// The inverse of [`encode_row`]: exactly the lines it writes are taken (E1).
pub fn decode_row(line: &str) -> Result<Row, FormatError> {
    decode_row_of(VERSION, line)
}

/// The row of a line as dumps of `version` spell it.
fn decode_row_of(version: u32, line: &str) -> Result<Row, FormatError> {
    #[derive(Deserialize)]
    struct Named {
        table: String,
    }
    if line.len() > MAX_LINE {
        return Err(FormatError::TooLarge);
    }
    let named: Named = serde_json::from_str(line).map_err(|_| NOT_A_ROW)?;
    let table = tables(version).iter().copied().find(|t| t.name() == named.table);
    let table = table.ok_or(FormatError::Damaged("a table this program does not know"))?;
    if let Some(row) = old::row(version, table, line) {
        return row;
    }
    let row = for_table(table, DecodeRow(line))?;
    if encode_row(row.table, &row.key, &row.value)? == line { Ok(row) } else { Err(NOT_A_ROW) }
}

/// The tables that dumps of `version` know.
fn tables(version: u32) -> &'static [Table] {
    match version {
        1 => &Table::ALL[..old::TABLES_OF_1],
        2 => &Table::ALL[..old::TABLES_OF_2],
        3 => &Table::ALL[..old::TABLES_OF_3],
        _ => &Table::ALL,
    }
}

const NOT_A_ROW: FormatError = FormatError::Damaged("not a row as this program writes it");

struct EncodeRow<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

impl ForTable for EncodeRow<'_> {
    type Output = Result<String, FormatError>;

    fn call<K: TableKey>(self) -> Self::Output {
        #[derive(Serialize)]
        struct Line<'a, K, R> {
            table: &'static str,
            key: &'a K,
            record: &'a R,
        }
        let (key, record) = rows::read::<K>(self.key, self.value)?;
        let line = Line { table: K::TABLE.name(), key: &key, record: &record };
        serde_json::to_string(&line).map_err(|_| FormatError::Record)
    }
}

struct DecodeRow<'a>(&'a str);

impl ForTable for DecodeRow<'_> {
    type Output = Result<Row, FormatError>;

    fn call<K: TableKey>(self) -> Self::Output {
        #[derive(Deserialize)]
        #[serde(bound = "K: serde::de::DeserializeOwned, R: serde::de::DeserializeOwned")]
        struct Line<K, R> {
            key: K,
            record: R,
        }
        let line: Line<K, K::Record> = serde_json::from_str(self.0).map_err(|_| NOT_A_ROW)?;
        Ok(Row { table: K::TABLE, key: line.key.encode(), value: line.record.encode()? })
    }
}

/// What both directions keep while lines go by: order, counts, checksum.
struct Running {
    version: u32,
    lines: u64,
    tables: [u64; Table::ALL.len()],
    last: Option<(Table, Vec<u8>)>,
    hasher: blake3::Hasher,
}

impl Running {
    fn new() -> Self {
        let (tables, hasher) = ([0; Table::ALL.len()], blake3::Hasher::new());
        Self { version: VERSION, lines: 0, tables, last: None, hasher }
    }

    fn line(&mut self, line: &str) {
        self.lines += 1;
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
    }

    /// Counts a row on the line that comes next.
    fn row(&mut self, table: Table, key: &[u8]) -> Result<(), DumpError> {
        if self.last.as_ref().is_some_and(|(t, k)| (*t, k.as_slice()) >= (table, key)) {
            return Err(DumpError::Order { line: self.lines + 1 });
        }
        self.last = Some((table, key.to_vec()));
        if let Some(index) = Table::ALL.iter().position(|t| *t == table) {
            self.tables[index] += 1;
        }
        Ok(())
    }

    fn trailer(&self) -> Trailer {
        let named =
            tables(self.version).iter().zip(self.tables).map(|(table, rows)| (table.name().to_owned(), rows));
        Trailer {
            rows: self.tables.iter().sum(),
            tables: named.collect(),
            blake3: self.hasher.finalize().to_hex().to_string(),
        }
    }
}

/// Writes a dump, line by line.
pub struct Encoder(Running);

impl Encoder {
    /// The encoder and the header line, without its newline.
    pub fn start(header: &Header) -> Result<(Self, String), FormatError> {
        let line = serde_json::to_string(header).map_err(|_| FormatError::Record)?;
        let mut running = Running::new();
        running.line(&line);
        Ok((Self(running), line))
    }

    /// The line of the next row, without its newline. Rows come in the order of E2.
    pub fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<String, DumpError> {
        let line = self.0.lines + 1;
        let text = encode_row(table, key, value).map_err(|source| DumpError::Row { line, source })?;
        self.0.row(table, key)?;
        self.0.line(&text);
        Ok(text)
    }

    /// The trailer line, without its newline.
    pub fn finish(self) -> Result<(Trailer, String), FormatError> {
        let line = TrailerLine { trailer: self.0.trailer() };
        let text = serde_json::to_string(&line).map_err(|_| FormatError::Record)?;
        Ok((line.trailer, text))
    }
}

/// What a line of a dump says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The first line.
    Header(Header),
    /// A row, not yet to be trusted (E3).
    Row(Row),
    /// The last line; it fits.
    Trailer(Trailer),
}

/// Reads a dump, line by line, and checks it as it goes.
pub struct Decoder {
    running: Running,
    trailer: Option<Trailer>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Before the first line.
    pub fn new() -> Self {
        Self { running: Running::new(), trailer: None }
    }

    /// Takes the next line, without its newline.
    pub fn line(&mut self, text: &str) -> Result<Item, DumpError> {
        let line = self.running.lines + 1;
        if self.trailer.is_some() {
            return Err(DumpError::AfterTrailer { line: line + 1 });
        }
        if line == 1 {
            return self.header(text).map(Item::Header);
        }
        if text.starts_with("{\"trailer\":") {
            return self.trailer(text).map(Item::Trailer);
        }
        let row =
            decode_row_of(self.running.version, text).map_err(|source| DumpError::Row { line, source })?;
        self.running.row(row.table, &row.key)?;
        self.running.line(text);
        Ok(Item::Row(row))
    }

    fn header(&mut self, text: &str) -> Result<Header, DumpError> {
        #[derive(Deserialize)]
        struct Named {
            format: String,
            version: u32,
        }
        if text.len() > MAX_LINE {
            return Err(DumpError::Header);
        }
        let named: Named = serde_json::from_str(text).map_err(|_| DumpError::Header)?;
        if named.format != FORMAT {
            return Err(DumpError::Header);
        }
        if !(1..=VERSION).contains(&named.version) {
            return Err(DumpError::Version(named.version));
        }
        let header = serde_json::from_str(text).map_err(|_| DumpError::Header)?;
        self.running.version = named.version;
        self.running.line(text);
        Ok(header)
    }

    fn trailer(&mut self, text: &str) -> Result<Trailer, DumpError> {
        let expected = TrailerLine { trailer: self.running.trailer() };
        if serde_json::to_string(&expected).ok().as_deref() != Some(text) {
            return Err(DumpError::Altered);
        }
        self.trailer = Some(expected.trailer.clone());
        Ok(expected.trailer)
    }

    /// After the last line: the dump is whole, and was not altered.
    pub fn finish(self) -> Result<Trailer, DumpError> {
        self.trailer.ok_or(DumpError::Cut)
    }
}

#[cfg(test)]
mod tests;
