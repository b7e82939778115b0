//! A stream into a data directory: blobs to their places as they are proved, all else below `restore/`. A
//! path that no backup has ends it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pierhead_storage_format::backup::tar::{self, Entry, TarError, padding};
use pierhead_storage_format::backup::{
    BLOBS, COMPLETE, FILES, FOLDER, MARKER, MARKER_TEXT, METADATA, MISSING, POINTS, Point, is_file, is_name,
};
use pierhead_storage_format::outboard::Outboard;
use pierhead_storage_format::{Digest, paths};

use super::copy::{Bytes, Out};
use super::error::{BackupError, io as failed};
use super::folder::read;
use super::lists::Lines;
use super::pool::Pool;
use super::restore::{Restored, Target};
use super::{Stage, Watch};

/// Bytes of an outboard that are read: that of a blob of 1 TiB.
const MAX_OUTBOARD: u64 = 33 << 20;
/// Bytes after the end that are read: what tar programs pad to.
const MAX_PADDING: u64 = 1 << 20;
/// Bytes of the record that are read.
const MAX_RECORD: u64 = 1 << 20;

/// Reads the stream to its end; the point's record, and no loss noted but of blobs that came damaged.
pub(super) fn unpack(
    input: &mut dyn Read,
    target: &Target,
    watch: &mut Watch<'_>,
) -> Result<Restored, BackupError> {
    let pool = Pool::new(&target.root, &target.disk, 0)?;
    let mut unpacking = Unpacking { target, pool, name: None, marked: false, blobs: 0 };
    while let Some(entry) = tar::next(input)? {
        unpacking.take(input, &entry, watch)?;
        let wanted = padding(entry.size) as u64;
        if io::copy(&mut input.take(wanted), &mut io::sink()).map_err(TarError::Read)? != wanted {
            return Err(TarError::Read(io::ErrorKind::UnexpectedEof.into()).into());
        }
    }
    // The padding, too, so that who sends it is not cut off.
    io::copy(&mut input.take(MAX_PADDING), &mut io::sink()).map_err(TarError::Read)?;
    unpacking.pool.finish()?;
    let record = Path::new(paths::RESTORE).join(COMPLETE);
    let bytes = read(target.disk.as_ref(), &record, MAX_RECORD);
    let bytes = bytes.map_err(|_| TarError::Format("it has no record, so it was cut"))?;
    let point = Point::decode(&bytes)?;
    Ok(Restored { point, lost: 0, named: Vec::new() })
}

/// Notes the blobs of the point that did not come, or came damaged.
pub(super) fn missing(target: &Target, restored: &mut Restored) -> Result<(), BackupError> {
    let pool = Pool::new(&target.root, &target.disk, 0)?;
    let list = Path::new(paths::RESTORE).join(BLOBS);
    let reading = failed("reading", &target.root, &list);
    let mut lines = Lines::open(target.disk.as_ref(), &list).map_err(&reading)?;
    while let Some((digest, size)) = lines.blob().map_err(&reading)? {
        if !pool.has(&digest, size)? {
            restored.lose(digest);
        }
    }
    Ok(())
}

struct Unpacking<'a> {
    target: &'a Target,
    pool: Pool,
    name: Option<String>,
    marked: bool,
    blobs: u64,
}

impl Unpacking<'_> {
    fn take(
        &mut self,
        input: &mut dyn Read,
        entry: &Entry,
        watch: &mut Watch<'_>,
    ) -> Result<(), BackupError> {
        if !self.marked {
            self.marked = is_marker(input, entry)?;
            return Ok(());
        }
        let done = self.blobs;
        let mut told = || watch(Stage::Blobs, done, 0);
        if let Some(digest) = paths::parse_outboard(&entry.path) {
            return self.outboard(input, &digest, entry.size);
        }
        if let Some(digest) = paths::parse_blob(&entry.path) {
            self.blobs += 1;
            if self.pool.copy(input.take(entry.size), (&digest, entry.size), &mut told)? == Bytes::Damaged {
                tracing::warn!(%digest, "a blob of the backup is damaged");
            }
            return Ok(());
        }
        let place = self.place(&entry.path).ok_or(TarError::Format("it has a file that no backup has"))?;
        self.file(input, &place, entry.size)
    }

    /// Where a file of the point goes.
    fn place(&mut self, path: &str) -> Option<PathBuf> {
        let (name, file) = path.strip_prefix(POINTS)?.strip_prefix('/')?.split_once('/')?;
        let known = self.name.get_or_insert_with(|| name.to_owned());
        let own = file.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
        let is_ours = own.map_or([METADATA, BLOBS, MISSING, FILES, COMPLETE].contains(&file), is_file);
        (is_name(name) && known == name && is_ours).then(|| Path::new(paths::RESTORE).join(file))
    }

    fn file(&self, input: &mut dyn Read, place: &Path, size: u64) -> Result<(), BackupError> {
        let failed = failed("writing", &self.target.root, place);
        if let Some(folder) = place.parent() {
            self.target.disk.create_dir(folder).map_err(&failed)?;
        }
        let mut out = Out::new(self.target.disk.create_private(place).map_err(&failed)?);
        if io::copy(&mut input.take(size), &mut out).map_err(&failed)? != size {
            return Err(TarError::Read(io::ErrorKind::UnexpectedEof.into()).into());
        }
        out.finish().map(drop).map_err(&failed)
    }

    fn outboard(&mut self, input: &mut dyn Read, digest: &Digest, size: u64) -> Result<(), BackupError> {
        if size > MAX_OUTBOARD {
            return Err(TarError::Format("it has a file that is too long").into());
        }
        let mut bytes = Vec::new();
        input.take(size).read_to_end(&mut bytes).map_err(TarError::Read)?;
        // It is advice: one that does not hold is left out.
        match Outboard::decode(&bytes) {
            Ok(outboard) if outboard.digest == *digest => self.pool.put(&paths::outboard(digest), &bytes),
            _ => Ok(()),
        }
    }
}

fn is_marker(input: &mut dyn Read, entry: &Entry) -> Result<bool, BackupError> {
    let mut text = Vec::new();
    if entry.path == MARKER && entry.size == MARKER_TEXT.len() as u64 {
        input.take(entry.size).read_to_end(&mut text).map_err(TarError::Read)?;
    }
    if text == MARKER_TEXT.as_bytes() {
        Ok(true)
    } else {
        Err(TarError::Format("it does not begin as one").into())
    }
}
