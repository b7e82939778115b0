//! What `fsck` asks of the metadata: every checksum of every segment and snapshot, the chain, the
//! rows, and the index against the truth. Changes nothing: the index, which its engine modifies
//! when it opens it, is copied first.
//!
//! Findings have stable ids: M1 journal-damaged, M2 torn-tail, M3 index-disagrees, M4
//! snapshot-damaged, M5 index-unreadable, M6 index-ahead, M7 leftover, M8 row-damaged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pierhead_storage_format::journal::Position;
use pierhead_storage_format::keys::Table;
use pierhead_storage_format::paths;
use pierhead_storage_format::rows::validate_row;
use pierhead_storage_format::snapshot::Sums;

use super::chain::{self, Segment, walk_segment};
use super::engine::{Engine, EngineError, sled_factory};
use super::error::TruthError;
use super::recovery::open_checked;
use super::snapshots::{self, TEMPORARY};
use super::truth::{Truth, changes_of, row_key};
use crate::stores::disk::Disk;

/// Findings of one kind that are listed one by one; more are counted.
const LISTED: u64 = 20;

/// Something wrong with the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `M1` to `M8`, stable.
    pub id: &'static str,
    /// The id in words, stable: `journal-damaged`.
    pub name: &'static str,
    /// The file, or `table/key in hex`.
    pub what: String,
    /// In words for an operator.
    pub detail: String,
}

/// Where the index is, and where a copy of it may be made.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// `meta/index`, absolute. `None` leaves the index out: while a server runs, a copy of its
    /// index would be torn.
    pub index_dir: Option<PathBuf>,
    /// An absolute folder to make, fill and remove again. What is there is removed: a check that was
    /// killed leaves it.
    pub scratch: PathBuf,
    /// As in [`super::Options`].
    pub cache_bytes: u64,
}

#[derive(Default)]
struct Findings {
    list: Vec<Finding>,
    rows: u64,
    differences: u64,
}

impl Findings {
    fn add(
        &mut self,
        id: &'static str,
        name: &'static str,
        what: impl Into<String>,
        detail: impl Into<String>,
    ) {
        self.list.push(Finding { id, name, what: what.into(), detail: detail.into() });
    }

    fn truth(&mut self, id: &'static str, name: &'static str, error: TruthError) -> Result<(), TruthError> {
        match error {
            TruthError::Damaged { file, offset, what } => {
                self.add(id, name, file, format!("at byte {offset}: {what}"));
                Ok(())
            }
            other => Err(other),
        }
    }

    fn row(&mut self, what: String, detail: String) {
        self.rows += 1;
        if self.rows <= LISTED {
            self.add("M8", "row-damaged", what, detail);
        }
    }

    fn difference(&mut self, row: &[u8], detail: &str) {
        self.differences += 1;
        if self.differences <= LISTED {
            self.add("M3", "index-disagrees", name_of(row), detail);
        }
    }
}

fn name_of(row: &[u8]) -> String {
    let (number, key) = row.split_first().map_or((0, row), |(number, key)| (*number, key));
    let table = Table::from_number(number).map_or("unknown", Table::name);
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{table}/{hex}")
}

/// Checks the metadata. An error means the disk could not be read; damage is a finding.
pub fn check(disk: &dyn Disk, options: &CheckOptions) -> Result<Vec<Finding>, TruthError> {
    check_while(disk, options, &|| true)
}

/// The same, as long as `goes_on` says so, which is asked for each segment, frame and row: [`TruthError::Stopped`] otherwise.
pub fn check_while(
    disk: &dyn Disk,
    options: &CheckOptions,
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<Finding>, TruthError> {
    let mut found = Findings::default();
    leftovers(disk, &mut found)?;
    every_snapshot(disk, goes_on, &mut found)?;
    every_segment(disk, goes_on, &mut found)?;
    let truth = Truth::open(disk, goes_on);
    match truth.and_then(|truth| check_rows(&truth, goes_on, &mut found).map(|end| (truth, end))) {
        Ok((truth, (end, sums))) => check_index(options, &truth, end, &sums, &mut found)?,
        Err(error) => found.truth("M1", "journal-damaged", error)?,
    }
    for (id, name, count) in [("M8", "row-damaged", found.rows), ("M3", "index-disagrees", found.differences)]
    {
        if count > LISTED {
            found.add(id, name, "rows", format!("{} more like these", count - LISTED));
        }
    }
    found.list.sort_by(|a, b| (a.id, &a.what, &a.detail).cmp(&(b.id, &b.what, &b.detail)));
    found.list.dedup();
    Ok(found.list)
}

fn leftovers(disk: &dyn Disk, found: &mut Findings) -> Result<(), TruthError> {
    for folder in [paths::JOURNAL, paths::SNAPSHOT] {
        let entries = disk.list(Path::new(folder)).map_err(TruthError::io("listing", Path::new(folder)))?;
        for entry in entries.iter().filter(|entry| entry.name.ends_with(TEMPORARY)) {
            found.add("M7", "leftover", format!("{folder}/{}", entry.name), "removed at the next start");
        }
    }
    Ok(())
}

fn every_snapshot(
    disk: &dyn Disk,
    goes_on: &dyn Fn() -> bool,
    found: &mut Findings,
) -> Result<(), TruthError> {
    for sequence in snapshots::names(disk)? {
        match snapshots::open_checked(disk, sequence, goes_on) {
            Err(error) if !error.vanished() => found.truth("M4", "snapshot-damaged", error)?,
            _ => {}
        }
    }
    Ok(())
}

/// Every segment, those included that a snapshot covers and a start no longer reads.
fn every_segment(
    disk: &dyn Disk,
    goes_on: &dyn Fn() -> bool,
    found: &mut Findings,
) -> Result<(), TruthError> {
    let mut next: Option<Segment> = None;
    for first in chain::names(disk)?.into_iter().rev() {
        if !goes_on() {
            return Err(TruthError::Stopped);
        }
        let segment = match Segment::open(disk, first) {
            Ok(segment) => segment,
            Err(error) if error.vanished() => continue,
            Err(error) => {
                found.truth("M1", "journal-damaged", error)?;
                next = None;
                continue;
            }
        };
        if let Some(next) = &next
            && next.header.previous != first
        {
            let detail = format!("the segment before it, {}, is missing", next.header.previous);
            found.add("M1", "journal-damaged", next.path.display().to_string(), detail);
        }
        let header = next.as_ref().map(|next| &next.header).filter(|next| next.previous == first);
        let walked = walk_segment(&segment, header, &mut |segment, offset, frame| {
            if !goes_on() {
                return Err(TruthError::Stopped);
            }
            changes_of(segment, offset, frame, &mut |_| {})
        });
        match walked {
            Ok(tail) => {
                if let Some(torn) = tail.torn {
                    let detail = format!("{} bytes at {} were never acknowledged", torn.bytes, torn.offset);
                    found.add("M2", "torn-tail", torn.segment, detail);
                }
            }
            Err(error) => found.truth("M1", "journal-damaged", error)?,
        }
        next = Some(segment);
    }
    Ok(())
}

fn check_rows(
    truth: &Truth,
    goes_on: &dyn Fn() -> bool,
    found: &mut Findings,
) -> Result<(Position, Sums), TruthError> {
    let mut sums = Sums::default();
    let end = truth.rows(None, &mut |table, key, value| {
        if !goes_on() {
            return Err(TruthError::Stopped);
        }
        sums.add(table.number(), key, value);
        if let Err(error) = validate_row(table, key, value) {
            found.row(name_of(&row_key(table, key)), error.to_string());
        }
        Ok(())
    })?;
    Ok((end, sums))
}

fn check_index(
    options: &CheckOptions,
    truth: &Truth,
    end: Position,
    sums: &Sums,
    found: &mut Findings,
) -> Result<(), TruthError> {
    let Some(folder) = &options.index_dir else { return Ok(()) };
    if !folder.is_dir() {
        found.add("M5", "index-unreadable", paths::INDEX, "there is no index; the next start makes it");
        return Ok(());
    }
    let scratch = &options.scratch;
    remove_copy(scratch).map_err(TruthError::io("removing", scratch))?;
    let copied = copy_folder(folder, scratch).map_err(TruthError::io("copying the index to", scratch));
    let result = copied.and_then(|()| compare(options, truth, end, sums, found));
    if let Err(error) = remove_copy(scratch) {
        // A copy that did not come back may still be written to.
        tracing::warn!(%error, folder = %scratch.display(), "the copy of the index stays until the next check");
    }
    result
}

fn remove_copy(scratch: &Path) -> io::Result<()> {
    match fs::remove_dir_all(scratch) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn compare(
    options: &CheckOptions,
    truth: &Truth,
    end: Position,
    sums: &Sums,
    found: &mut Findings,
) -> Result<(), TruthError> {
    let index = match open_checked(&sled_factory(), &options.scratch, options.cache_bytes) {
        Ok(index) => index,
        Err(error) => {
            found.add("M5", "index-unreadable", paths::INDEX, format!("{error}; the next start rebuilds it"));
            return Ok(());
        }
    };
    let at = index.state.position;
    if at.sequence > end.sequence {
        let detail = format!("it has applied {}, the journal ends at {}", at.sequence, end.sequence);
        found.add("M6", "index-ahead", paths::INDEX, detail);
    } else if at.sequence == end.sequence && (at != end || index.state.sums != *sums) {
        differences(index.engine.as_ref(), truth, end, found)?;
        if found.differences == 0 {
            found.add("M3", "index-disagrees", paths::INDEX, "it is of another history than the journal");
        }
    } // An index that is behind is brought up to date by the next start.
    index.engine.close();
    Ok(())
}

/// Lists rows that index and truth do not share: both come in order.
fn differences(
    engine: &dyn Engine,
    truth: &Truth,
    end: Position,
    found: &mut Findings,
) -> Result<(), TruthError> {
    let mut cursor = Cursor { engine, rows: Vec::new().into_iter(), after: vec![0], current: None };
    let broke = |error: EngineError| TruthError::Receiver(Box::new(error));
    cursor.advance().map_err(broke)?;
    truth.rows(Some(end), &mut |table, key, value| {
        let row = row_key(table, key);
        while let Some((extra, _)) = cursor.current.take_if(|(at, _)| *at < row) {
            found.difference(&extra, "in the index, not in the journal");
            cursor.advance().map_err(broke)?;
        }
        match cursor.current.take_if(|(at, _)| *at == row) {
            Some((_, other)) => {
                if other != value {
                    found.difference(&row, "the index has another record than the journal");
                }
                cursor.advance().map_err(broke)
            }
            None => {
                found.difference(&row, "in the journal, not in the index");
                Ok(())
            }
        }
    })?;
    while let Some((extra, _)) = cursor.current.take() {
        found.difference(&extra, "in the index, not in the journal");
        cursor.advance().map_err(broke)?;
    }
    Ok(())
}

struct Cursor<'a> {
    engine: &'a dyn Engine,
    rows: std::vec::IntoIter<super::engine::Pair>,
    after: Vec<u8>,
    current: Option<super::engine::Pair>,
}

impl Cursor<'_> {
    fn advance(&mut self) -> Result<(), EngineError> {
        if self.rows.len() == 0 {
            let page = self.engine.page(&[], &self.after, true, 1000)?;
            if let Some((last, _)) = page.last() {
                self.after.clone_from(last);
            }
            self.rows = page.into_iter();
        }
        self.current = self.rows.next();
        Ok(())
    }
}
