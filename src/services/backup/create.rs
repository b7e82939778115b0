//! Making a point, in a folder or as a stream. Steps: the metadata of a moment, with the list of blobs it
//! names; other files; every blob into the pool; lists and record; the point's name; old points go.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::backup::tar::{END, header, padding};
use pierhead_storage_format::backup::{
    BLOBS, COMPLETE, FILES, FOLDER, MARKER, MARKER_TEXT, METADATA, MISSING, PART, POINTS, Point, point_dir,
};
use pierhead_storage_format::outboard::{CHUNK, Outboard, encoded_len};
use pierhead_storage_format::{Digest, paths};

use super::copy::{Bytes, proved};
use super::draft::Draft;
use super::error::{BackupError, io, reading};
use super::folder::{Folder, State, read};
use super::pool::Pool;
use super::{Stage, Watch, permitted, prune};
use crate::seams::Clock;
use crate::services::access::Permit;
use crate::services::fsck::DiskBlobs;
use crate::stores::disk::Disk;
use crate::stores::meta::Moment;

/// The store that is backed up.
pub struct Source {
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// Where the key file is, and its name there.
    pub key: (Arc<dyn Disk>, PathBuf),
    /// The log of small blobs of a store that nobody serves, which is as good as their files. While it is
    /// served every blob has its file.
    pub logged: Option<DiskBlobs>,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The key file and the key of the appliance's CA, too.
    pub key: bool,
    /// The audit trail, too.
    pub audit: bool,
    /// Blobs that are linked, or in the pool already, are hashed.
    pub verify: bool,
    /// Blobs are linked where that can be done.
    pub link: bool,
    /// So many points are kept; all if `None`.
    pub keep: Option<usize>,
    /// Bytes that stay free on the disk of the folder.
    pub floor: u64,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The point.
    pub point: Point,
    /// Blobs that were copied, and their bytes.
    pub copied: (u64, u64),
    /// Blobs that were linked.
    pub linked: u64,
    /// Blobs that the pool had.
    pub kept: u64,
    /// Points that were removed.
    pub pruned: Vec<String>,
    /// Bytes of blobs that only these needed.
    pub freed: u64,
}

/// What names a point, beside the moment.
#[derive(Clone, Copy)]
pub struct Maker<'a> {
    /// The program, by its version.
    pub program: &'a str,
    /// The wall clock.
    pub clock: &'a dyn Clock,
}

/// Makes a point in `folder`.
pub fn to_folder(
    permit: &Permit,
    source: &Source,
    folder: &Folder,
    (wanted, maker): (Wanted, Maker<'_>),
    watch: &mut Watch<'_>,
) -> Result<Made, BackupError> {
    permitted(permit)?;
    let interrupted = clear_unfinished(folder)?;
    watch(Stage::Metadata, 0, 0);
    let (mut draft, total) = begin(source, (&folder.root, folder.disk.as_ref()), wanted, maker)?;
    let pool = Pool::new(&folder.root, &folder.disk, wanted.floor)?;
    let mut filling = Filling { source, wanted, pool, copied: (0, 0), linked: 0, kept: 0 };
    let (mut lines, mut done) = (draft.wanted()?, 0);
    while let Some((digest, size)) = lines.blob().map_err(reading(&folder.root))? {
        watch(Stage::Blobs, done, total);
        match filling.blob(&digest, size, &mut || watch(Stage::Blobs, done, total))? {
            None => draft.has(&digest, size)?,
            Some(why) => draft.lacks(&digest, why)?,
        }
        done += 1;
    }
    filling.pool.finish()?;
    let Filling { copied, linked, kept, .. } = filling;
    let point = draft.finish()?;
    let pruned = prune::prune(folder, wanted.keep, (&point.name, interrupted), watch)?;
    Ok(Made { point, copied, linked, kept, pruned: pruned.points, freed: pruned.freed })
}

/// Removes what earlier runs left; whether there was any.
fn clear_unfinished(folder: &Folder) -> Result<bool, BackupError> {
    let mut found = false;
    for point in folder.points()?.into_iter().filter(|point| point.state == State::Unfinished) {
        let path = point_dir(&point.name);
        folder.disk.remove_dir(&path).map_err(io("removing", &folder.root, &path))?;
        tracing::warn!(backup = %point.name, "removed a backup that was interrupted; the blobs it had copied stay");
        found = true;
    }
    Ok(found)
}

/// Metadata and other files of a new point; how many blobs it names.
fn begin<'a>(
    source: &Source,
    (root, disk): (&'a Path, &'a dyn Disk),
    wanted: Wanted,
    maker: Maker<'_>,
) -> Result<(Draft<'a>, u64), BackupError> {
    let moment = Moment::open(source.disk.as_ref()).map_err(BackupError::Metadata)?;
    let now = maker.clock.now_ms();
    let name = format!("{}-{:020}", stamp(now), moment.sequence());
    let mut draft = Draft::begin(root, disk, Point::new(&name, maker.program, now, moment.sequence()))?;
    let blobs = draft.metadata(&moment, maker.clock)?;
    files(source, wanted, &mut draft)?;
    Ok((draft, blobs))
}

/// `20261121T212425123Z`.
fn stamp(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().strftime("%Y%m%dT%H%M%S%3fZ").to_string()
}

fn files(source: &Source, wanted: Wanted, draft: &mut Draft<'_>) -> Result<(), BackupError> {
    let disk = source.disk.as_ref();
    if wanted.key {
        draft.point.secrets = draft.file(source.key.0.as_ref(), &source.key.1, paths::KEY_FILE)?;
        draft.file(disk, Path::new(paths::TLS_CA_KEY), paths::TLS_CA_KEY)?;
        draft.file(disk, Path::new(paths::TLS_CA), paths::TLS_CA)?;
    }
    if wanted.audit { audit(disk, draft) } else { Ok(()) }
}

/// A log that is sealed meanwhile goes, and its segment comes: then is looked again.
fn audit(disk: &dyn Disk, draft: &mut Draft<'_>) -> Result<(), BackupError> {
    const LOOKS: usize = 5;
    let mut had = std::collections::BTreeSet::new();
    for _ in 0..LOOKS {
        let mut all_there = true;
        let days = disk.list(Path::new(paths::AUDIT)).map_err(reading(Path::new(paths::AUDIT)))?;
        for day in days.into_iter().filter(|day| day.is_dir) {
            let folder = Path::new(paths::AUDIT).join(&day.name);
            for file in disk.list(&folder).map_err(reading(&folder))? {
                let path = format!("{}/{}/{}", paths::AUDIT, day.name, file.name);
                if pierhead_storage_format::backup::is_file(&path) && !had.contains(&path) {
                    match draft.file(disk, Path::new(&path), &path)? {
                        true => drop(had.insert(path)),
                        false => all_there = false,
                    }
                }
            }
        }
        if all_there {
            break;
        }
    }
    Ok(())
}

/// The pool, and what came to it.
struct Filling<'a> {
    source: &'a Source,
    wanted: Wanted,
    pool: Pool,
    copied: (u64, u64),
    linked: u64,
    kept: u64,
}

impl Filling<'_> {
    /// Why the blob could not be had, if it could not.
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
        told: &mut dyn FnMut(),
    ) -> Result<Option<&'static str>, BackupError> {
        if self.pool.has(digest, size)? && (!self.wanted.verify || self.pool.is_sound(digest, size, told)?) {
            self.kept += 1;
            return Ok(None);
        }
        let lacks = self.fetch(digest, size, told)?;
        if lacks.is_none() && size > CHUNK {
            self.outboard(digest, size)?;
        }
        Ok(lacks)
    }

    fn fetch(
        &mut self,
        digest: &Digest,
        size: u64,
        told: &mut dyn FnMut(),
    ) -> Result<Option<&'static str>, BackupError> {
        let disk = self.source.disk.as_ref();
        let from = match self.source.open(digest, size)? {
            Ok(from) => from,
            Err(why) => return Ok(Some(why)),
        };
        if let (true, Blob::File) = (self.wanted.link, &from) {
            let sound = !self.wanted.verify || from.is_sound(disk, digest, size, told)?;
            if !sound {
                return Ok(Some(DAMAGED));
            }
            if self.pool.link(disk, &paths::blob(digest))? {
                self.linked += 1;
                return Ok(None);
            }
        }
        let Some(reader) = from.reader(disk, digest)? else { return Ok(Some(MISSING_FILE)) };
        match self.pool.copy(reader, (digest, size), told)? {
            Bytes::Sound => {
                self.copied = (self.copied.0 + 1, self.copied.1 + size);
                Ok(None)
            }
            Bytes::Damaged => Ok(Some(DAMAGED)),
        }
    }

    fn outboard(&mut self, digest: &Digest, size: u64) -> Result<(), BackupError> {
        match self.source.outboard(digest, size) {
            Some(bytes) => self.pool.put(&paths::outboard(digest), &bytes),
            None => Ok(()),
        }
    }
}

const MISSING_FILE: &str = "missing";
const DAMAGED: &str = "damaged";

/// Where the bytes of a blob are.
enum Blob {
    File,
    Logged(Vec<u8>),
}

impl Blob {
    /// `None` if the file has gone since it was looked at.
    fn reader<'b>(
        &'b self,
        disk: &dyn Disk,
        digest: &Digest,
    ) -> Result<Option<Box<dyn Read + 'b>>, BackupError> {
        let path = paths::blob(digest);
        match self {
            Self::Logged(bytes) => Ok(Some(Box::new(bytes.as_slice()))),
            Self::File => match disk.open_read(&path) {
                Ok(file) => Ok(Some(Box::new(file))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(reading(&path)(error)),
            },
        }
    }

    fn is_sound(
        &self,
        disk: &dyn Disk,
        digest: &Digest,
        size: u64,
        told: &mut dyn FnMut(),
    ) -> Result<bool, BackupError> {
        let Some(reader) = self.reader(disk, digest)? else { return Ok(false) };
        let found = proved(reader, digest, size, &mut |_| {
            told();
            Ok(())
        });
        Ok(found.map_err(reading(&paths::blob(digest)))? == Bytes::Sound)
    }
}

impl Source {
    /// Where a blob is, or why it is not.
    fn open(&self, digest: &Digest, size: u64) -> Result<Result<Blob, &'static str>, BackupError> {
        if let Some(bytes) = self.logged.as_ref().and_then(|log| log.logged(digest)) {
            return Ok(Ok(Blob::Logged(bytes)));
        }
        let path = paths::blob(digest);
        Ok(match self.disk.file_len(&path).map_err(reading(&path))? {
            Some(len) if len == size => Ok(Blob::File),
            Some(_) => Err(DAMAGED),
            None => Err(MISSING_FILE),
        })
    }

    /// The outboard of a blob, if it has one that holds.
    fn outboard(&self, digest: &Digest, size: u64) -> Option<Vec<u8>> {
        let bytes = read(self.disk.as_ref(), &paths::outboard(digest), encoded_len(digest, size) + 1).ok()?;
        let outboard = Outboard::decode(&bytes).ok()?;
        (outboard.digest == *digest && outboard.len == size).then_some(bytes)
    }
}

/// Writes a point to `out` as a tar. What has to be written before its length is known goes below `scratch`,
/// which is empty, first.
pub fn to_stream(
    permit: &Permit,
    source: &Source,
    (scratch, disk): (&Path, &dyn Disk),
    (wanted, maker): (Wanted, Maker<'_>),
    out: &mut dyn Write,
    watch: &mut Watch<'_>,
) -> Result<Made, BackupError> {
    permitted(permit)?;
    watch(Stage::Metadata, 0, 0);
    disk.create_dir(Path::new(POINTS)).map_err(io("making", scratch, Path::new(POINTS)))?;
    let (mut draft, total) = begin(source, (scratch, disk), wanted, maker)?;
    let name = draft.point.name.clone();
    let mut tar = Tar { out, modified_s: draft.point.created_at / 1000 };
    tar.bytes(MARKER, MARKER_TEXT.as_bytes())?;
    let begun = point_dir(&format!("{name}{PART}"));
    tar.file(disk, &begun.join(METADATA), &format!("{POINTS}/{name}/{METADATA}"))?;
    let (mut lines, mut done, mut copied) = (draft.wanted()?, 0, (0, 0));
    while let Some((digest, size)) = lines.blob().map_err(reading(scratch))? {
        match tar.blob(source, &digest, size, &mut || watch(Stage::Blobs, done, total))? {
            None => {
                draft.has(&digest, size)?;
                copied = (copied.0 + 1, copied.1 + size);
            }
            Some(why) => draft.lacks(&digest, why)?,
        }
        done += 1;
    }
    let point = draft.finish()?;
    let made = point_dir(&name);
    tar.tree(disk, &made.join(FOLDER), &format!("{POINTS}/{name}/{FOLDER}"))?;
    for file in [BLOBS, MISSING, FILES, COMPLETE] {
        tar.file(disk, &made.join(file), &format!("{POINTS}/{name}/{file}"))?;
    }
    tar.write(&END)?;
    tar.out.flush().map_err(sending)?;
    Ok(Made { point, copied, linked: 0, kept: 0, pruned: Vec::new(), freed: 0 })
}

struct Tar<'a> {
    out: &'a mut dyn Write,
    modified_s: u64,
}

fn sending(source: std::io::Error) -> BackupError {
    BackupError::Io { what: "the stream cannot be written".to_owned(), source }
}

impl Tar<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.out.write_all(bytes).map_err(sending)
    }

    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.write(&header(path, bytes.len() as u64, self.modified_s, false))?;
        self.write(bytes)?;
        self.write(&vec![0; padding(bytes.len() as u64)])
    }

    /// A file of the scratch folder; nobody else has it, so its length stays.
    fn file(&mut self, disk: &dyn Disk, at: &Path, path: &str) -> Result<(), BackupError> {
        let mut file = disk.open_read(at).map_err(reading(at))?;
        let size = file.metadata().map_err(reading(at))?.len();
        self.write(&header(path, size, self.modified_s, true))?;
        let sent = std::io::copy(&mut file, &mut self.out).map_err(sending)?;
        if sent != size {
            return Err(reading(at)(std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.write(&vec![0; padding(size)])
    }

    fn tree(&mut self, disk: &dyn Disk, folder: &Path, path: &str) -> Result<(), BackupError> {
        for entry in disk.list(folder).map_err(reading(folder))? {
            let (at, path) = (folder.join(&entry.name), format!("{path}/{}", entry.name));
            if entry.is_dir {
                self.tree(disk, &at, &path)?;
            } else {
                self.file(disk, &at, &path)?;
            }
        }
        Ok(())
    }

    fn blob(
        &mut self,
        source: &Source,
        digest: &Digest,
        size: u64,
        told: &mut dyn FnMut(),
    ) -> Result<Option<&'static str>, BackupError> {
        let blob = match source.open(digest, size)? {
            Ok(blob) => blob,
            Err(why) => return Ok(Some(why)),
        };
        let Some(reader) = blob.reader(source.disk.as_ref(), digest)? else { return Ok(Some(MISSING_FILE)) };
        self.write(&header(&paths::blob(digest).display().to_string(), size, self.modified_s, false))?;
        let out = &mut self.out;
        let sent = proved(reader, digest, size, &mut |bytes| {
            told();
            out.write_all(bytes)
        });
        let sent = sent.map_err(sending)?;
        self.write(&vec![0; padding(size)])?;
        if sent == Bytes::Damaged {
            return Ok(Some(DAMAGED));
        }
        if size > CHUNK
            && let Some(bytes) = source.outboard(digest, size)
        {
            self.bytes(&paths::outboard(digest).display().to_string(), &bytes)?;
        }
        Ok(None)
    }
}
