//! Blobs into a folder laid out as a store's: a pool, or a store that is being restored.
//!
//! Steps of a batch: each file is made, or linked, under its name and `.part`; all are made durable; each gets
//! its name. At the end the names are made durable. What a stop leaves: `.part` files, which the next attempt at
//! the same blob replaces and a sweep removes, and blobs that are whole.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::{Digest, paths};

use super::copy::{Bytes, proved};
use super::error::{BackupError, io as failed};
use crate::stores::disk::{Disk, Filesystem, link_is_impossible};

/// A batch is made durable with so many files, or bytes copied.
const BATCH: usize = 512;
const BATCH_BYTES: u64 = 256 << 20;

/// What a name in progress ends in.
pub(super) const PART: &str = ".part";

/// Where blobs go.
pub(super) struct Pool {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    filesystem: Box<dyn Filesystem>,
    batch: Vec<PathBuf>,
    bytes: u64,
    folders: BTreeSet<PathBuf>,
    /// Bytes that stay free.
    floor: u64,
}

impl Pool {
    /// Below `root`, which `disk` is; `floor` bytes stay free on its disk.
    pub(super) fn new(root: &Path, disk: &Arc<dyn Disk>, floor: u64) -> Result<Self, BackupError> {
        let filesystem = disk.filesystem().map_err(failed("looking at", root, Path::new("")))?;
        let (batch, folders) = (Vec::new(), BTreeSet::new());
        Ok(Self {
            root: root.to_owned(),
            disk: Arc::clone(disk),
            filesystem,
            batch,
            bytes: 0,
            folders,
            floor,
        })
    }

    /// Whether the blob is there, by its length.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> Result<bool, BackupError> {
        let path = paths::blob(digest);
        Ok(self.disk.file_len(&path).map_err(failed("looking at", &self.root, &path))? == Some(size))
    }

    /// Whether what is there is the blob.
    pub(super) fn is_sound(
        &self,
        digest: &Digest,
        size: u64,
        told: &mut dyn FnMut(),
    ) -> Result<bool, BackupError> {
        let path = paths::blob(digest);
        let file = match self.disk.open_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("reading", &self.root, &path)(error)),
        };
        let found = proved(file, digest, size, &mut |_| {
            told();
            Ok(())
        });
        Ok(found.map_err(failed("reading", &self.root, &path))? == Bytes::Sound)
    }

    /// Links the file at `path` of another disk; false if it has to be copied.
    pub(super) fn link(&mut self, from: &dyn Disk, path: &Path) -> Result<bool, BackupError> {
        let part = self.part(path)?;
        match from.link_to(path, &self.root.join(&part)) {
            Ok(()) => {}
            Err(error) if link_is_impossible(&error) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("linking", &self.root, path)(error)),
        }
        if !self.filesystem.tells_errors() {
            let synced = self.disk.open_read(&part).and_then(|file| file.sync_data());
            synced.map_err(failed("syncing", &self.root, &part))?;
        }
        self.placed(path, 0)?;
        Ok(true)
    }

    /// Copies a blob; damaged bytes get no name.
    pub(super) fn copy(
        &mut self,
        from: impl Read,
        (digest, size): (&Digest, u64),
        told: &mut dyn FnMut(),
    ) -> Result<Bytes, BackupError> {
        self.keep_free(size)?;
        let path = paths::blob(digest);
        let part = self.part(&path)?;
        let copy = || {
            let mut file = self.disk.create(&part)?;
            let mut at = 0;
            let found = proved(from, digest, size, &mut |bytes| {
                told();
                file.write_at(bytes, at)?;
                at += bytes.len() as u64;
                Ok(())
            })?;
            if found == Bytes::Sound && !self.filesystem.tells_errors() {
                file.sync_data()?;
            }
            Ok(found)
        };
        let copied: io::Result<Bytes> = copy();
        match copied {
            Ok(Bytes::Sound) => self.placed(&path, size).map(|()| Bytes::Sound),
            other => {
                let _ = self.disk.remove_file(&part); // a sweep, or the next attempt, removes it otherwise
                other.map_err(failed("writing", &self.root, &path))
            }
        }
    }

    /// Puts a whole small file, an outboard, beside its blob.
    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
        let part = self.part(path)?;
        let put = || {
            let mut file = self.disk.create(&part)?;
            file.write_at(bytes, 0)?;
            if self.filesystem.tells_errors() { Ok(()) } else { file.sync_data() }
        };
        put().map_err(failed("writing", &self.root, path))?;
        self.placed(path, bytes.len() as u64)
    }

    /// Makes all of it durable, names included.
    pub(super) fn finish(&mut self) -> Result<(), BackupError> {
        self.flush()?;
        for folder in std::mem::take(&mut self.folders) {
            for folder in folder.ancestors() {
                self.disk.sync_dir(folder).map_err(failed("syncing", &self.root, folder))?;
            }
        }
        Ok(())
    }

    /// The name before its own, free.
    fn part(&mut self, path: &Path) -> Result<PathBuf, BackupError> {
        if let Some(folder) = path.parent()
            && !self.folders.contains(folder)
        {
            self.disk.create_dir(folder).map_err(failed("making", &self.root, folder))?;
            self.folders.insert(folder.to_owned());
        }
        let part = in_progress(path);
        self.disk.remove_file(&part).map_err(failed("removing", &self.root, &part))?;
        Ok(part)
    }

    fn placed(&mut self, path: &Path, bytes: u64) -> Result<(), BackupError> {
        self.batch.push(path.to_owned());
        self.bytes += bytes;
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), BackupError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.filesystem.sync().map_err(failed("syncing", &self.root, Path::new(paths::BLOBS)))?;
        for path in self.batch.drain(..) {
            let renamed = self.disk.rename(&in_progress(&path), &path);
            renamed.map_err(failed("naming", &self.root, &path))?;
        }
        self.bytes = 0;
        Ok(())
    }

    fn keep_free(&self, more: u64) -> Result<(), BackupError> {
        if self.floor == 0 {
            return Ok(());
        }
        let space = self.disk.space().map_err(failed("looking at", &self.root, Path::new("")))?;
        if space.free >= self.floor.saturating_add(more) {
            Ok(())
        } else {
            Err(BackupError::Full(self.root.clone()))
        }
    }
}

fn in_progress(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PART);
    PathBuf::from(name)
}
