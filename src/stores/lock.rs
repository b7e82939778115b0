//! One process at a time owns a data directory. The kernel drops the lock with the process, so a
//! `LOCK` file left behind means nothing; the number in it is for the message only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pierhead_storage_format::paths;
use rustix::fs::{FlockOperation, OFlags, flock};

/// Why the data directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("the data directory {} is in use by process {process}", data.display())]
    InUse {
        /// The data directory.
        data: PathBuf,
        /// The process, as it wrote itself down.
        process: String,
    },
    /// It cannot be made, or its lock file cannot be written.
    #[error("cannot lock the data directory {}: {source}", data.display())]
    Io {
        /// The data directory.
        data: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is none, and it was not to be made.
    #[error("there is no data directory {}", .0.display())]
    Missing(PathBuf),
}

/// The lock, held until dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Makes the data directory if there is none (for its owner and group only, its name durable),
    /// and locks it.
    pub fn create(data: &Path) -> Result<Self, LockError> {
        make(data).map_err(|source| LockError::Io { data: data.to_owned(), source })?;
        Self::take(data)
    }

    /// Locks a data directory that must be there.
    pub fn existing(data: &Path) -> Result<Self, LockError> {
        if data.is_dir() { Self::take(data) } else { Err(LockError::Missing(data.to_owned())) }
    }

    fn take(data: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { data: data.to_owned(), source };
        let path = data.join(paths::LOCK);
        // No link leads root to another file.
        let nofollow =
            i32::try_from(OFlags::NOFOLLOW.bits()).map_err(|error| failed(io::Error::other(error)))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .custom_flags(nofollow)
            .open(path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::InUse { data: data.to_owned(), process: holder(&mut file) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // A full disk must not keep the appliance from starting for want of a number in a message.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// What is in the store is not durable before the names of the folders it is in are.
fn make(data: &Path) -> io::Result<()> {
    let parents = parents_of_missing(data)?;
    DirBuilder::new().recursive(true).mode(0o750).create(data)?;
    for parent in &parents {
        match sync(parent) {
            // A folder may be written to by those who may not read it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(%error, folder = %parent.display(), "the names in a folder may not be durable");
            }
            result => result?,
        }
    }
    if parents.is_empty() && !data.join(paths::FORMAT).try_exists()? {
        // Perhaps made by a start that was killed before it came to this; perhaps not ours to read.
        let _ = sync(&parent(data));
    }
    Ok(())
}

/// The folders that get a new entry when `data` is made, the lowest first.
fn parents_of_missing(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parents = Vec::new();
    for folder in data.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        if folder.try_exists()? {
            break;
        }
        parents.push(parent(folder));
    }
    Ok(parents)
}

fn parent(folder: &Path) -> PathBuf {
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) => PathBuf::from("."),
        None => folder.to_owned(),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    let digits = text.trim();
    let sound = read.is_ok() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if sound { digits.to_owned() } else { "(unknown)".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_to_come_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        assert!(matches!(DataLock::existing(&data), Err(LockError::Missing(_))));
        let held = DataLock::create(&data).unwrap();
        let Err(error) = DataLock::existing(&data) else { panic!("locked twice") };
        let words = format!("is in use by process {}", std::process::id());
        assert!(error.to_string().ends_with(&words), "{error}");
        drop(held);
        DataLock::existing(&data).unwrap();
    }
    #[test]
    fn every_folder_that_gets_an_entry_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let (root, here) = (dir.path(), PathBuf::from("."));
        let cases = [
            ("there", root.to_owned(), vec![]),
            ("one to make", root.join("a"), vec![root.to_owned()]),
            ("three to make", root.join("a/b/c"), vec![root.join("a/b"), root.join("a"), root.to_owned()]),
            ("with a slash at the end", root.join("a/"), vec![root.to_owned()]),
            ("relative", "no-such-folder".into(), vec![here.clone()]),
            ("relative, two", "no-such-folder/b".into(), vec!["no-such-folder".into(), here.clone()]),
            ("the working folder", here, vec![]),
            ("the root", "/".into(), vec![]),
        ];
        for (name, data, expected) in cases {
            assert_eq!(parents_of_missing(&data).unwrap(), expected, "{name}");
        }
        std::fs::write(root.join("file"), b"").unwrap();
        assert!(DataLock::create(&root.join("file/data")).is_err());
        DataLock::create(&root.join("a/b/c")).unwrap();
        DataLock::create(&root.join("a/b/c")).unwrap();
    }
}
