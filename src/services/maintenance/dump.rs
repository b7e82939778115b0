//! The engine-neutral dump as a stream: JSON lines compressed with zstd. Rows come from the
//! journal and go to a new journal; no engine is asked. An import is used only when its trailer
//! was checked: `FORMAT` is written by the caller after that, and without it there is no store.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;

use pierhead_storage_format::FormatError;
use pierhead_storage_format::dump::{Decoder, DumpError, Encoder, Header, Item, MAX_LINE};
use pierhead_storage_format::keys::Table;

use super::permitted;
use crate::seams::Clock;
use crate::services::access::Permit;
use crate::services::error::Error;
use crate::stores::disk::Disk;
use crate::stores::meta::{ImportRow, Moment, TruthError, write_store};

/// zstd's level: the default, 370 MB/s on the machines we measured.
const LEVEL: i32 = 3;

/// Why nothing, or not all, was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Not allowed.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The metadata cannot be read.
    #[error("the metadata cannot be read")]
    Read(#[source] TruthError),
    /// A row that no release of this program wrote.
    #[error("a row of the metadata cannot be exported")]
    Row(#[source] DumpError),
    /// A header or trailer that cannot be written as JSON.
    #[error("the export cannot be written")]
    Format(#[from] FormatError),
    /// The output.
    #[error("the export cannot be written")]
    Write(#[from] io::Error),
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not allowed.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The input is no whole, unaltered export.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// The input cannot be read, or is not compressed with zstd.
    #[error("the export cannot be read")]
    Read(#[from] io::Error),
    /// The input is empty.
    #[error("the export is empty")]
    Empty,
    /// The store cannot be written, or is there already.
    #[error("the metadata cannot be written")]
    Store(#[source] TruthError),
}

/// Writes all rows to `output`; how many.
pub fn export(
    permit: &Permit,
    disk: &dyn Disk,
    clock: &dyn Clock,
    output: &mut dyn Write,
) -> Result<u64, ExportError> {
    permitted(permit)?;
    let moment = Moment::open(disk).map_err(ExportError::Read)?;
    export_moment(&moment, clock, output, &mut |_, _, _| Ok(()))
}

/// Takes the rows that are written: table, key, record.
pub type Also<'a> = dyn FnMut(Table, &[u8], &[u8]) -> io::Result<()> + 'a;

/// Writes all rows of a moment to `output`, and shows each to `also`; how many.
pub fn export_moment(
    moment: &Moment,
    clock: &dyn Clock,
    output: &mut dyn Write,
    also: &mut Also<'_>,
) -> Result<u64, ExportError> {
    let mut output = zstd::Encoder::new(output, LEVEL)?;
    let (mut encoder, first) = Encoder::start(&Header::new(moment.sequence(), clock.now_ms()))?;
    write_line(&mut output, &first)?;
    let mut rows = 0;
    let mut failed = None;
    let read = moment.rows(&mut |table, key, value| {
        let written = encoder.row(table, key, value).map_err(ExportError::Row);
        match written
            .and_then(|line| Ok(write_line(&mut output, &line).and_then(|()| also(table, key, value))?))
        {
            Ok(()) => {
                rows += 1;
                Ok(())
            }
            Err(error) => {
                failed = Some(error);
                Err(TruthError::Stopped)
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    read.map_err(ExportError::Read)?;
    let (_, last) = encoder.finish()?;
    write_line(&mut output, &last)?;
    output.finish()?.flush()?;
    Ok(rows)
}

fn write_line(output: &mut impl Write, line: &str) -> io::Result<()> {
    output.write_all(line.as_bytes())?;
    output.write_all(b"\n")
}

/// Makes the metadata of a new store from an export; how many rows.
pub fn import(permit: &Permit, disk: &Arc<dyn Disk>, input: &mut dyn Read) -> Result<u64, ImportError> {
    permitted(permit)?;
    let mut lines = Lines::new(BufReader::new(zstd::Decoder::new(input)?));
    let Some(first) = lines.next_item()? else { return Err(ImportError::Empty) };
    let sequence = match first {
        Item::Header(header) => header.sequence,
        _ => return Err(ImportError::Empty),
    };
    let mut failed = None;
    let written = write_store(disk, sequence, Rows { lines: &mut lines, failed: &mut failed });
    if let Some(error) = failed {
        return Err(error);
    }
    written.map_err(ImportError::Store)
}

/// The lines of an export, checked as they come.
struct Lines<R> {
    input: R,
    decoder: Decoder,
    ended: bool,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, decoder: Decoder::new(), ended: false, buffer: Vec::new() }
    }

    /// The next line's item; `None` at the end of the input, which must come after the trailer.
    fn next_item(&mut self) -> Result<Option<Item>, ImportError> {
        self.buffer.clear();
        let longest = MAX_LINE as u64 + 1;
        self.input.by_ref().take(longest).read_until(b'\n', &mut self.buffer)?;
        if self.buffer.is_empty() {
            return if self.ended { Ok(None) } else { Err(DumpError::Cut.into()) };
        }
        let text = String::from_utf8_lossy(self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer));
        let item = self.decoder.line(&text)?;
        self.ended |= matches!(item, Item::Trailer(_));
        Ok(Some(item))
    }
}

/// The rows; an error ends them, so that a store is never made of part of an export.
struct Rows<'a, R> {
    lines: &'a mut Lines<R>,
    failed: &'a mut Option<ImportError>,
}

impl<R: BufRead> Iterator for Rows<'_, R> {
    type Item = Result<ImportRow, TruthError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.lines.next_item() {
                Ok(Some(Item::Row(row))) => return Some(Ok((row.table, row.key, row.value))),
                Ok(Some(_)) => {} // the trailer: only the end may follow
                Ok(None) => return None,
                Err(error) => {
                    *self.failed = Some(error);
                    return Some(Err(TruthError::Stopped));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::seams::TestClock;
    use crate::services::access::{Access, Action, Actor, Options, Resource, Rules};
    use crate::stores::disk::RealDisk;

    fn permit() -> Permit {
        let access = Access::without_accounts(Rules::Closed(Options::default()));
        access
            .authorise(&Actor::LocalAdministrator, Action::MaintainStore, Resource::Registry)
            .expect("allowed")
    }

    /// A dump of two organisations, compressed.
    fn dump() -> Vec<u8> {
        let (mut encoder, first) = Encoder::start(&Header::new(7, 0)).expect("header");
        let mut text = first + "\n";
        for name in ["acme", "beta"] {
            let key = OrganisationKey { name: name.into() };
            let value = OrganisationRecord { number: 1, created_at: 1, owner: None, creator: None }
                .encode()
                .expect("small");
            text += &(encoder.row(OrganisationKey::TABLE, &key.encode(), &value).expect("row") + "\n");
        }
        text += &(encoder.finish().expect("trailer").1 + "\n");
        text.into_bytes()
    }

    fn compressed(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, LEVEL).expect("memory")
    }

    fn import_into(root: &Path, bytes: &[u8]) -> Result<u64, ImportError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(root));
        import(&permit(), &disk, &mut &bytes[..])
    }

    use pierhead_storage_format::codec::Record;
    use pierhead_storage_format::keys::{OrganisationKey, TableKey};
    use pierhead_storage_format::records::OrganisationRecord;

    #[test]
    fn what_was_imported_is_exported_again_word_for_word() {
        let folder = tempfile::tempdir().expect("folder");
        assert_eq!(import_into(folder.path(), &compressed(&dump())).expect("imported"), 2);
        let mut out = Vec::new();
        let rows = export(&permit(), &RealDisk::new(folder.path()), &TestClock::default(), &mut out);
        assert_eq!(rows.expect("exported"), 2);
        assert_eq!(zstd::decode_all(&out[..]).expect("zstd"), dump());
        assert!(import_into(folder.path(), &compressed(&dump())).is_err(), "there is a store now");
    }

    #[test]
    fn a_dump_cut_at_any_line_or_altered_makes_no_store() {
        let text = dump();
        let ends: Vec<usize> =
            text.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
        let mut altered = text.clone();
        altered[ends[0] + 40] ^= 1;
        let mut cases: Vec<Vec<u8>> =
            ends[..ends.len() - 1].iter().map(|end| compressed(&text[..*end])).collect();
        cases.extend([compressed(&altered), compressed(b""), b"not zstd".to_vec(), Vec::new()]);
        cases.push(compressed(&[&text[..], b"more\n"].concat()));
        let whole = compressed(&text);
        cases.push(whole[..whole.len() - 3].to_vec());
        for (case, bytes) in cases.iter().enumerate() {
            let folder = tempfile::tempdir().expect("folder");
            assert!(import_into(folder.path(), bytes).is_err(), "case {case}");
            assert_eq!(
                import_into(folder.path(), &compressed(&text)).expect("case {case}: a clean folder"),
                2
            );
        }
    }
}
