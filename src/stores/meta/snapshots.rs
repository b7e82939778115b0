//! Snapshot files: which there are, whether they hold, and writing one so that a file under a
//! snapshot's name is always whole: temporary name, sync, read again, rename, sync of the folder.

use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pierhead_storage_format::journal::Position;
use pierhead_storage_format::keys::Table;
use pierhead_storage_format::paths;
use pierhead_storage_format::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter, Sums};

use super::error::TruthError;
use crate::stores::disk::{Disk, DiskFile};

/// What a file not yet under its own name ends in.
pub(super) const TEMPORARY: &str = ".tmp";

const LEVEL: i32 = 3;
const BUFFER: usize = 256 << 10;
/// 2^23: what level 3 writes needs less; a hostile file cannot ask for more.
const WINDOW_LOG: u32 = 23;

/// Rows of a snapshot that are read gently at a time, some milliseconds' worth.
const ROWS_AT_A_TIME: u64 = 8192;
/// What is checked beside the serving takes this many times its own time of rest.
pub(super) const REST: u32 = 4;

/// How fast something is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As fast as can be.
    Full,
    /// So that others hardly notice.
    Gentle,
}

/// Where rows go: table, key in the table, record.
pub type Receiver<'a> = dyn FnMut(Table, &[u8], &[u8]) -> Result<(), TruthError> + 'a;

/// The sequence number of every snapshot there is, ascending.
pub(super) fn names(disk: &dyn Disk) -> Result<Vec<u64>, TruthError> {
    let folder = PathBuf::from(paths::SNAPSHOT);
    let entries = disk.list(&folder).map_err(TruthError::io("listing", &folder))?;
    Ok(entries.iter().filter_map(|e| paths::parse_numbered(&e.name, ".zst")).collect())
}

/// A snapshot, open for reading: it stays readable though a newer one removes it.
pub(super) struct Snapshot {
    pub(super) path: PathBuf,
    pub(super) position: Position,
    file: File,
}

type Rows = SnapshotReader<zstd::Decoder<'static, BufReader<File>>>;

impl Snapshot {
    pub(super) fn open(disk: &dyn Disk, path: PathBuf) -> Result<Self, TruthError> {
        let file = disk.open_read(&path).map_err(TruthError::io("opening", &path))?;
        let mut snapshot = Self { path, position: Position::default(), file };
        snapshot.position = snapshot.rows()?.position();
        Ok(snapshot)
    }

    /// Its rows from the first. One reader at a time: they share the file's cursor.
    pub(super) fn rows(&self) -> Result<Rows, TruthError> {
        let open = || -> io::Result<_> {
            let mut file = self.file.try_clone()?;
            file.rewind()?;
            let mut decoder = zstd::Decoder::new(file)?;
            decoder.window_log_max(WINDOW_LOG)?;
            Ok(decoder)
        };
        let decoder = open().map_err(TruthError::io("reading", &self.path))?;
        SnapshotReader::new(decoder).map_err(|e| self.error(e))
    }

    pub(super) fn error(&self, error: SnapshotError) -> TruthError {
        match error {
            SnapshotError::Io(source) => TruthError::io("reading", &self.path)(source),
            SnapshotError::Format(format) => TruthError::damaged(&self.path, 0, format.to_string()),
        }
    }

    /// Reads it to the end, as long as `goes_on` says so, which is asked for each row.
    pub(super) fn verify(&self, goes_on: &dyn Fn() -> bool, pace: Pace) -> Result<Sums, TruthError> {
        let mut rows = self.rows()?;
        let (mut read, mut began) = (0u64, Instant::now());
        while rows.next_row().map_err(|e| self.error(e))?.is_some() {
            if !goes_on() {
                return Err(TruthError::Stopped);
            }
            read += 1;
            if pace == Pace::Gentle && read.is_multiple_of(ROWS_AT_A_TIME) {
                std::thread::park_timeout(began.elapsed() * REST);
                began = Instant::now();
            }
        }
        Ok(rows.sums().clone())
    }
}

/// Goes on until the flag is set.
pub(super) fn until(stop: &AtomicBool) -> impl Fn() -> bool + '_ {
    || !stop.load(Ordering::Relaxed)
}

/// The newest snapshot that holds, and what is wrong with newer ones.
pub(super) struct Found {
    pub(super) newest: Option<Snapshot>,
    pub(super) damaged: Vec<String>,
}

/// Looks for the newest snapshot that holds.
pub(super) fn newest(disk: &dyn Disk, goes_on: &dyn Fn() -> bool) -> Result<Found, TruthError> {
    let mut found = Found { newest: None, damaged: Vec::new() };
    for sequence in names(disk)?.into_iter().rev() {
        match open_checked(disk, sequence, goes_on) {
            Ok(snapshot) => {
                found.newest = Some(snapshot);
                break;
            }
            Err(error @ TruthError::Damaged { .. }) => found.damaged.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Opens a snapshot and reads its header.
pub(super) fn open_unproved(disk: &dyn Disk, sequence: u64) -> Result<Snapshot, TruthError> {
    let snapshot = Snapshot::open(disk, paths::snapshot(sequence))?;
    if snapshot.position.sequence != sequence {
        return Err(TruthError::damaged(&snapshot.path, 0, "the snapshot is another one's, by its header"));
    }
    Ok(snapshot)
}

/// Opens a snapshot and reads it to the end.
pub(super) fn open_checked(
    disk: &dyn Disk,
    sequence: u64,
    goes_on: &dyn Fn() -> bool,
) -> Result<Snapshot, TruthError> {
    let snapshot = open_unproved(disk, sequence)?;
    snapshot.verify(goes_on, Pace::Full)?;
    Ok(snapshot)
}

struct Sink {
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the snapshot of `position` with the rows that `rows` gives to the receiver it is given.
pub(super) fn write(
    disk: &dyn Disk,
    position: Position,
    stop: &AtomicBool,
    rows: &mut dyn FnMut(&mut Receiver<'_>) -> Result<(), TruthError>,
) -> Result<Sums, TruthError> {
    let path = paths::snapshot(position.sequence);
    let temporary = path.with_extension(format!("zst{TEMPORARY}"));
    let written = write_checked(disk, position, &temporary, stop, rows).and_then(|sums| {
        disk.rename(&temporary, &path).map_err(TruthError::io("renaming", &temporary))?;
        let folder = Path::new(paths::SNAPSHOT);
        disk.sync_dir(folder).map_err(TruthError::io("syncing", folder))?;
        Ok(sums)
    });
    if written.is_err() {
        let _ = disk.remove_file(&temporary); // start-up and the next attempt try again
    }
    written
}

fn write_checked(
    disk: &dyn Disk,
    position: Position,
    path: &Path,
    stop: &AtomicBool,
    rows: &mut dyn FnMut(&mut Receiver<'_>) -> Result<(), TruthError>,
) -> Result<Sums, TruthError> {
    disk.remove_file(path).map_err(TruthError::io("removing", path))?;
    let file = disk.create(path).map_err(TruthError::io("making", path))?;
    let mut encoder =
        zstd::Encoder::new(Sink { file, offset: 0 }, LEVEL).map_err(TruthError::io("compressing", path))?;
    let mut buffer = Vec::with_capacity(2 * BUFFER);
    let mut writer = SnapshotWriter::new(position, &mut buffer);
    rows(&mut |table, key, value| {
        if stop.load(Ordering::Relaxed) {
            return Err(TruthError::Stopped);
        }
        writer
            .row(table, key, value, &mut buffer)
            .map_err(|e| TruthError::damaged(path, 0, format!("a row that a snapshot cannot hold: {e}")))?;
        if buffer.len() >= BUFFER {
            encoder.write_all(&buffer).map_err(TruthError::io("writing", path))?;
            buffer.clear();
        }
        Ok(())
    })?;
    let sums = writer.finish(&mut buffer);
    encoder.write_all(&buffer).map_err(TruthError::io("writing", path))?;
    let mut sink = encoder.finish().map_err(TruthError::io("writing", path))?;
    sink.file.sync_data().map_err(TruthError::io("syncing", path))?;
    drop(sink);
    let again = Snapshot::open(disk, path.to_path_buf())?;
    if again.position != position || again.verify(&until(stop), Pace::Full)? != sums {
        return Err(TruthError::damaged(path, 0, "what was written is not what is read"));
    }
    Ok(sums)
}

/// Removes what a stop left: temporary files in the journal's and snapshots' folders, the copy of
/// the index that a check looked into.
pub(super) fn remove_leftovers(disk: &dyn Disk) -> Result<(), TruthError> {
    for folder in [paths::JOURNAL, paths::SNAPSHOT].map(Path::new) {
        for entry in disk.list(folder).map_err(TruthError::io("listing", folder))? {
            if entry.name.ends_with(TEMPORARY) && !entry.is_dir {
                let path = folder.join(&entry.name);
                disk.remove_file(&path).map_err(TruthError::io("removing", &path))?;
            }
        }
    }
    let copy = Path::new(paths::INDEX_CHECKED);
    disk.remove_dir(copy).map_err(TruthError::io("removing", copy))
}
