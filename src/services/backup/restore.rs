//! A store from a point. Steps, each durable before the next: `restore/` is made; blobs get their names as they
//! were proved; files; the metadata; `FORMAT`, with which it is a store; `restore/` goes. What a stop leaves before
//! `FORMAT` is no store; while `restore/` is there the same restore, run again, takes `FORMAT` away, keeps the blobs
//! and does the rest anew. A start removes a `restore/` that is there beside `FORMAT`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::backup::list::parse_file;
use pierhead_storage_format::backup::{BLOBS, FILES, FOLDER, METADATA, Point, point_dir};
use pierhead_storage_format::outboard::{CHUNK, Outboard, encoded_len};
use pierhead_storage_format::{Digest, paths};

use super::copy::{Bytes, Out};
use super::draft::check;
use super::error::{BackupError, io};
use super::folder::{Folder, read};
use super::lists::Lines;
use super::pool::Pool;
use super::{Stage, Watch, permitted, unpack};
use crate::services::access::Permit;
use crate::services::maintenance;
use crate::stores::disk::Disk;

/// Blobs that are named of those that were lost.
const NAMED: usize = 100;

/// A data directory that is locked, and holds nothing but what an interrupted restore left.
pub struct Target {
    /// Absolute.
    pub root: PathBuf,
    /// The same.
    pub disk: Arc<dyn Disk>,
    /// Writes `FORMAT` there, durably.
    pub format: fn(&dyn Disk) -> std::io::Result<()>,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The point.
    pub point: Point,
    /// Blobs that the point should have, and that were missing or damaged in the backup.
    pub lost: u64,
    /// The first of them.
    pub named: Vec<Digest>,
}

impl Restored {
    pub(super) fn lose(&mut self, digest: Digest) {
        self.lost += 1;
        if self.named.len() < NAMED {
            self.named.push(digest);
        }
    }
}

/// From a folder; blobs are linked, and not read, if that is asked for and can be done.
pub fn from_folder(
    permit: &Permit,
    folder: &Folder,
    point: Point,
    target: &Target,
    link: bool,
    watch: &mut Watch<'_>,
) -> Result<Restored, BackupError> {
    permitted(permit)?;
    let dir = point_dir(&point.name);
    check(&folder.root, folder.disk.as_ref(), &dir, &point)?;
    begin(target)?;
    let mut pool = Pool::new(&target.root, &target.disk, 0)?;
    let reading = io("reading", &folder.root, &dir);
    let mut lines = Lines::open(folder.disk.as_ref(), &dir.join(BLOBS)).map_err(&reading)?;
    let (total, mut done) = (point.blobs, 0);
    let mut restored = Restored { point, lost: 0, named: Vec::new() };
    while let Some((digest, size)) = lines.blob().map_err(&reading)? {
        watch(Stage::Blobs, done, total);
        if !blob(folder, &mut pool, (&digest, size), link, &mut || watch(Stage::Blobs, done, total))? {
            restored.lose(digest);
        }
        done += 1;
    }
    pool.finish()?;
    settle(permit, (&folder.root, folder.disk.as_ref(), &dir), target, watch)?;
    Ok(restored)
}

/// From a stream.
pub fn from_stream(
    permit: &Permit,
    input: &mut dyn std::io::Read,
    target: &Target,
    watch: &mut Watch<'_>,
) -> Result<Restored, BackupError> {
    permitted(permit)?;
    begin(target)?;
    let mut restored = unpack::unpack(input, target, watch)?;
    let dir = Path::new(paths::RESTORE);
    check(&target.root, target.disk.as_ref(), dir, &restored.point)?;
    unpack::missing(target, &mut restored)?;
    settle(permit, (&target.root, target.disk.as_ref(), dir), target, watch)?;
    Ok(restored)
}

/// Until `FORMAT` is written again, there is no store here.
fn begin(target: &Target) -> Result<(), BackupError> {
    let disk = target.disk.as_ref();
    let begin = || {
        // What says that it is a store goes first, while `restore/` says that it may be restored to.
        disk.remove_file(Path::new(paths::FORMAT))?;
        disk.sync_dir(Path::new(""))?;
        for stale in ["meta", "tls", paths::AUDIT] {
            disk.remove_dir(Path::new(stale))?;
        }
        disk.remove_file(Path::new(paths::KEY_FILE))?;
        disk.remove_dir(Path::new(paths::RESTORE))?;
        disk.create_dir(Path::new(paths::RESTORE))?;
        disk.sync_dir(Path::new(""))
    };
    begin().map_err(io("preparing", &target.root, Path::new("")))
}

/// Whether the blob is there now.
fn blob(
    folder: &Folder,
    pool: &mut Pool,
    (digest, size): (&Digest, u64),
    link: bool,
    told: &mut dyn FnMut(),
) -> Result<bool, BackupError> {
    let path = paths::blob(digest);
    if pool.has(digest, size)? && pool.is_sound(digest, size, told)? {
        return Ok(true);
    }
    let linked = link && pool.link(folder.disk.as_ref(), &path)?;
    if !linked {
        let file = match folder.disk.open_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io("reading", &folder.root, &path)(error)),
        };
        if pool.copy(file, (digest, size), told)? == Bytes::Damaged {
            return Ok(false);
        }
    }
    if size > CHUNK
        && let Ok(bytes) = read(folder.disk.as_ref(), &paths::outboard(digest), encoded_len(digest, size) + 1)
        && Outboard::decode(&bytes).is_ok_and(|outboard| outboard.digest == *digest && outboard.len == size)
    {
        pool.put(&paths::outboard(digest), &bytes)?;
    }
    Ok(true)
}

/// Files and metadata of a point that was checked.
fn settle(
    permit: &Permit,
    (root, disk, dir): (&Path, &dyn Disk, &Path),
    target: &Target,
    watch: &mut Watch<'_>,
) -> Result<(), BackupError> {
    let reading = io("reading", root, dir);
    let mut lines = Lines::open(disk, &dir.join(FILES)).map_err(&reading)?;
    while let Some(line) = lines.next().map_err(&reading)? {
        let Some((hash, _, path)) = parse_file(&line) else {
            return Err(BackupError::Damaged(FILES.to_owned()));
        };
        file(disk, &dir.join(FOLDER).join(path), target, (hash, path))?;
    }
    watch(Stage::Metadata, 0, 0);
    let mut metadata = disk.open_read(&dir.join(METADATA)).map_err(&reading)?;
    maintenance::import(permit, &target.disk, &mut metadata)?;
    let finish = || {
        target.disk.sync_dir(Path::new("meta"))?;
        target.disk.sync_dir(Path::new(""))?;
        (target.format)(target.disk.as_ref())?;
        target.disk.remove_dir(Path::new(paths::RESTORE))?;
        target.disk.sync_dir(Path::new(""))
    };
    finish().map_err(io("finishing", &target.root, Path::new("")))
}

fn file(
    disk: &dyn Disk,
    from: &Path,
    target: &Target,
    (hash, path): (&str, &str),
) -> Result<(), BackupError> {
    let to = Path::new(path);
    let copy = || {
        let mut folders = Vec::new();
        if let Some(folder) = to.parent() {
            target.disk.create_dir(folder)?;
            folders.extend(folder.ancestors());
        }
        let private = path != paths::TLS_CA;
        let made = if private { target.disk.create_private(to) } else { target.disk.create(to) };
        let mut out = Out::new(made?);
        std::io::copy(&mut disk.open_read(from)?, &mut out)?;
        let part = out.finish()?;
        folders.into_iter().try_for_each(|folder| target.disk.sync_dir(folder))?;
        Ok(part)
    };
    let part = copy().map_err(io("restoring", &target.root, to))?;
    if part.blake3 == hash { Ok(()) } else { Err(BackupError::Damaged(path.to_owned())) }
}
