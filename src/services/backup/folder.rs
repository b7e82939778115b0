//! A folder of backups: whose it is, and which points it has.

use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::backup::{
    COMPLETE, MARKER, MARKER_TEXT, PART, POINTS, Point, PointError, is_name, point_dir,
};
use pierhead_storage_format::paths;

use super::error::{BackupError, io};
use crate::stores::disk::{Disk, RealDisk};
use crate::stores::lock::{DataLock, LockError};

/// Bytes of a point's record that are read.
const MAX_RECORD: u64 = 1 << 20;

/// A folder that no other process works on.
pub struct Folder {
    /// Absolute.
    pub(super) root: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    _lock: DataLock,
}

/// How a point is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was finished.
    Whole(Box<Point>),
    /// It was not: the next backup removes it.
    Unfinished,
    /// Its record cannot be read.
    Damaged(PointError),
}

/// A point of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name; names order as the points were made.
    pub name: String,
    /// How it is.
    pub state: State,
}

impl Folder {
    /// Opens a folder of backups, or makes one where nothing is. `root` is absolute.
    pub fn make(root: &Path) -> Result<Self, BackupError> {
        let lock = DataLock::create(root).map_err(|error| denied(root, error))?;
        let folder = Self { root: root.to_owned(), disk: Arc::new(RealDisk::new(root)), _lock: lock };
        if !folder.is_marked()? {
            folder.refuse_foreign()?;
            folder.mark().map_err(io("making", root, Path::new(MARKER)))?;
        }
        for name in [POINTS, paths::BLOBS] {
            // Keys are below, whoever may look into the folder that was given.
            let made = DirBuilder::new().recursive(true).mode(0o700).create(root.join(name));
            made.map_err(io("making", root, Path::new(name)))?;
        }
        Ok(folder)
    }

    /// Opens a folder of backups that must be there.
    pub fn existing(root: &Path) -> Result<Self, BackupError> {
        if !RealDisk::new(root).file_len(Path::new(MARKER)).is_ok_and(|len| len.is_some()) {
            return Err(BackupError::NoBackups(root.to_owned()));
        }
        let lock = DataLock::existing(root)?;
        let folder = Self { root: root.to_owned(), disk: Arc::new(RealDisk::new(root)), _lock: lock };
        if folder.is_marked()? { Ok(folder) } else { Err(BackupError::NoBackups(root.to_owned())) }
    }

    /// The points of a folder, as they were made; nothing is locked, nothing but records is read.
    pub fn list(root: &Path) -> Result<Vec<Found>, BackupError> {
        let disk = RealDisk::new(root);
        if !disk.file_len(Path::new(MARKER)).is_ok_and(|len| len.is_some()) {
            return Err(BackupError::NoBackups(root.to_owned()));
        }
        points(&disk).map_err(io("listing", root, Path::new(POINTS)))
    }

    /// The points there are.
    pub fn points(&self) -> Result<Vec<Found>, BackupError> {
        points(self.disk.as_ref()).map_err(io("listing", &self.root, Path::new(POINTS)))
    }

    /// The point of that name, or the newest; it has to be whole.
    pub fn point(&self, name: Option<&str>) -> Result<Point, BackupError> {
        let whole = self.points()?.into_iter().rev().filter_map(|found| match found.state {
            State::Whole(point) => Some(*point),
            _ => None,
        });
        let mut fitting = whole.filter(|point| name.is_none_or(|name| name == point.name));
        fitting.next().ok_or_else(|| match name {
            Some(name) => BackupError::PointUnknown { folder: self.root.clone(), name: name.to_owned() },
            None => BackupError::NoPoint(self.root.clone()),
        })
    }

    fn is_marked(&self) -> Result<bool, BackupError> {
        let path = Path::new(MARKER);
        match read(self.disk.as_ref(), path, MARKER_TEXT.len() as u64 + 1) {
            Ok(text) => Ok(text == MARKER_TEXT.as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io("reading", &self.root, path)(error)),
        }
    }

    fn refuse_foreign(&self) -> Result<(), BackupError> {
        let entries = self.disk.list(Path::new("")).map_err(io("listing", &self.root, Path::new("")))?;
        let ours = |name: &str| name == paths::LOCK || name == MARKER_PART || name == "lost+found";
        match entries.iter().all(|entry| ours(&entry.name)) {
            true => Ok(()),
            false => Err(BackupError::Foreign(self.root.clone())),
        }
    }

    fn mark(&self) -> io::Result<()> {
        let part = Path::new(MARKER_PART);
        self.disk.remove_file(part)?;
        let mut file = self.disk.create(part)?;
        file.write_at(MARKER_TEXT.as_bytes(), 0)?;
        file.sync_data()?;
        self.disk.rename(part, Path::new(MARKER))?;
        self.disk.sync_dir(Path::new(""))
    }
}

/// A lock that may not be taken is told as any other file that is another user's.
fn denied(root: &Path, error: LockError) -> BackupError {
    match error {
        LockError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            io("locking", root, Path::new(paths::LOCK))(source)
        }
        error => error.into(),
    }
}

const MARKER_PART: &str = "PIERHEAD-BACKUP.part";

fn points(disk: &dyn Disk) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in disk.list(Path::new(POINTS))?.into_iter().filter(|entry| entry.is_dir) {
        let state = match entry.name.strip_suffix(PART) {
            Some(name) if is_name(name) => State::Unfinished,
            None if is_name(&entry.name) => {
                match read(disk, &point_dir(&entry.name).join(COMPLETE), MAX_RECORD)
                    .map(|b| Point::decode(&b))
                {
                    Ok(Ok(point)) if point.name == entry.name => State::Whole(Box::new(point)),
                    Ok(Err(error)) => State::Damaged(error),
                    _ => State::Damaged(PointError::Damaged),
                }
            }
            _ => continue,
        };
        found.push(Found { name: entry.name, state });
    }
    Ok(found)
}

/// All of a file, which is at most `most` bytes.
pub(super) fn read(disk: &dyn Disk, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.open_read(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
