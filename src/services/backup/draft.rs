//! A point in the making: its files, then its record. Each file is durable before the record is begun, the
//! record before the point gets its name.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use pierhead_storage_format::Digest;
use pierhead_storage_format::backup::list::{blob_line, file_line, missing_line};
use pierhead_storage_format::backup::{
    BLOBS, COMPLETE, FILES, FOLDER, METADATA, MISSING, PART, POINTS, Part, Point, point_dir,
};
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::{BlobKey, TableKey};

use super::copy::{Out, part_of};
use super::error::{BackupError, io, reading};
use super::lists::Lines;
use crate::seams::Clock;
use crate::services::maintenance::{ExportError, export_moment};
use crate::stores::disk::Disk;
use crate::stores::meta::Moment;

/// The blobs that the metadata names; no part of the point.
const WANTED: &str = "wanted.list";

/// A point under `points/<name>.part`.
pub(super) struct Draft<'a> {
    root: &'a Path,
    disk: &'a dyn Disk,
    dir: PathBuf,
    pub(super) point: Point,
    blobs: Out,
    missing: Out,
    files: Out,
}

impl<'a> Draft<'a> {
    /// Makes its folder, and lists of nothing.
    pub(super) fn begin(root: &'a Path, disk: &'a dyn Disk, point: Point) -> Result<Self, BackupError> {
        let dir = point_dir(&format!("{}{PART}", point.name));
        disk.create_dir(&dir.join(FOLDER)).map_err(io("making", root, &dir))?;
        let list = |name: &str| {
            let path = dir.join(name);
            disk.create_private(&path).map(Out::new).map_err(io("making", root, &path))
        };
        let (blobs, missing, files) = (list(BLOBS)?, list(MISSING)?, list(FILES)?);
        Ok(Self { root, disk, dir, point, blobs, missing, files })
    }

    fn failed(&self, name: &str) -> impl Fn(std::io::Error) -> BackupError + use<> {
        io("writing", self.root, &self.dir.join(name))
    }

    /// Writes the metadata, and beside it the list of the blobs it names; how many these are.
    pub(super) fn metadata(&mut self, moment: &Moment, clock: &dyn Clock) -> Result<u64, BackupError> {
        let failed = self.failed(METADATA);
        let create = |name: &str| self.disk.create_private(&self.dir.join(name)).map(Out::new);
        let (mut metadata, mut wanted) =
            (create(METADATA).map_err(&failed)?, create(WANTED).map_err(&failed)?);
        let mut blobs = 0;
        let rows = export_moment(moment, clock, &mut metadata, &mut |table, key, value| {
            if table != BlobKey::TABLE {
                return Ok(());
            }
            let row =
                BlobKey::decode(key).and_then(|key| Ok((key, <BlobKey as TableKey>::Record::decode(value)?)));
            let (key, record) = row.map_err(std::io::Error::other)?;
            blobs += 1;
            wanted.write_all(blob_line(&key.digest, record.size).as_bytes())
        });
        self.point.rows = rows.map_err(|error| match error {
            ExportError::Write(source) => failed(source),
            other => BackupError::Export(other),
        })?;
        self.point.metadata = metadata.finish().map_err(&failed)?;
        wanted.finish().map_err(&failed)?;
        Ok(blobs)
    }

    /// The blobs that the metadata names.
    pub(super) fn wanted(&self) -> Result<Lines, BackupError> {
        Lines::open(self.disk, &self.dir.join(WANTED)).map_err(io("reading", self.root, &self.dir))
    }

    /// Notes a blob that the point has.
    pub(super) fn has(&mut self, digest: &Digest, size: u64) -> Result<(), BackupError> {
        self.point.blobs += 1;
        self.point.bytes += size;
        self.blobs.write_all(blob_line(digest, size).as_bytes()).map_err(self.failed(BLOBS))
    }

    /// Notes a blob that could not be had.
    pub(super) fn lacks(&mut self, digest: &Digest, why: &str) -> Result<(), BackupError> {
        self.point.missing += 1;
        self.missing.write_all(missing_line(digest, why).as_bytes()).map_err(self.failed(MISSING))
    }

    /// Copies another file, known as `path`; false if it has gone. Of one that grows, what there is.
    pub(super) fn file(&mut self, from: &dyn Disk, at: &Path, path: &str) -> Result<bool, BackupError> {
        let mut source = match from.open_read(at) {
            Ok(source) => source,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(reading(at)(error)),
        };
        let failed = self.failed(path);
        let target = self.dir.join(FOLDER).join(path);
        if let Some(folder) = target.parent() {
            self.disk.create_dir(folder).map_err(&failed)?;
        }
        self.disk.remove_file(&target).map_err(&failed)?;
        let mut out = Out::new(self.disk.create_private(&target).map_err(&failed)?);
        std::io::copy(&mut source, &mut out).map_err(&failed)?;
        let part = out.finish().map_err(&failed)?;
        self.point.files += 1;
        self.files.write_all(file_line(&part.blake3, part.bytes, path).as_bytes()).map_err(&failed)?;
        Ok(true)
    }

    /// Ends the lists, writes the record and gives the point its name.
    pub(super) fn finish(mut self) -> Result<Point, BackupError> {
        let (root, disk, dir) = (self.root, self.disk, self.dir);
        let failed = io("writing", root, &dir);
        self.point.blob_list = self.blobs.finish().map_err(&failed)?;
        self.point.missing_list = self.missing.finish().map_err(&failed)?;
        self.point.file_list = self.files.finish().map_err(&failed)?;
        disk.remove_file(&dir.join(WANTED)).map_err(&failed)?;
        let record = self.point.encode()?;
        let finish = || {
            let mut file = disk.create(&dir.join(COMPLETE))?;
            file.write_at(record.as_bytes(), 0)?;
            file.sync_data()?;
            sync_tree(disk, &dir.join(FOLDER))?;
            disk.sync_dir(&dir)?;
            disk.rename(&dir, &point_dir(&self.point.name))?;
            disk.sync_dir(Path::new(POINTS))
        };
        finish().map_err(&failed)?;
        Ok(self.point)
    }
}

fn sync_tree(disk: &dyn Disk, folder: &Path) -> std::io::Result<()> {
    for entry in disk.list(folder)?.into_iter().filter(|entry| entry.is_dir) {
        sync_tree(disk, &folder.join(entry.name))?;
    }
    disk.sync_dir(folder)
}

/// Whether the files of a point are those its record speaks of; `dir` is its folder. Reads them.
/// Whether the list of blobs is the one the point was finished with.
pub(super) fn has_its_list(disk: &dyn Disk, dir: &Path, point: &Point) -> std::io::Result<bool> {
    match disk.open_read(&dir.join(BLOBS)).and_then(part_of) {
        Ok(found) => Ok(found == point.blob_list),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn check(root: &Path, disk: &dyn Disk, dir: &Path, point: &Point) -> Result<(), BackupError> {
    let parts: [(&str, &Part); 4] = [
        (METADATA, &point.metadata),
        (BLOBS, &point.blob_list),
        (MISSING, &point.missing_list),
        (FILES, &point.file_list),
    ];
    for (name, part) in parts {
        let path = dir.join(name);
        let found = disk.open_read(&path).and_then(part_of);
        match found {
            Ok(found) if found == *part => {}
            Ok(_) => return Err(BackupError::Damaged(name.to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(BackupError::Damaged(name.to_owned()));
            }
            Err(error) => return Err(io("reading", root, &path)(error)),
        }
    }
    Ok(())
}
