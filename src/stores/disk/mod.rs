//! The data directory as a small set of operations, so that tests can make any of them fail.
//! Every path is relative to the data directory and comes from `pierhead_storage_format::paths`.
//! All calls block: they run on blocking threads or the metadata writer, never on an async one.
//!
//! D1: nothing is durable until `sync_data` of the file and `sync_dir` of its folder returned.
//! D2: a failed sync is never retried on the same file: the kernel may have dropped the pages.

#[cfg(test)]
pub mod faulty;
#[cfg(test)]
pub mod power;
mod read;
mod real;

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

pub use read::{DiskReader, FileReader};
pub use real::RealDisk;

/// Bytes on the filesystem that holds the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Available to this process.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the folder. Names that are not UTF-8 are none of ours and are left out.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Bytes, for a file.
    pub len: u64,
}

/// Whether an error says that the disk, or the quota on it, is full: what is given up elsewhere may
/// help.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether an error says that the disk cannot give what is there: an unreadable sector, a file system that finds itself
/// damaged, or a medium's error that is passed on. What else may fail says nothing of it.
pub fn is_of_the_medium(error: &io::Error) -> bool {
    const OF_THE_MEDIUM: [Errno; 4] = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA];
    error.raw_os_error().is_some_and(|code| OF_THE_MEDIUM.iter().any(|errno| errno.raw_os_error() == code))
}

/// Whether an error of [`Disk::link_to`] says that files have to be copied instead: another file system, one
/// without links or with too many of this file, or a file of somebody else.
pub fn link_is_impossible(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}

/// The data directory.
pub trait Disk: Send + Sync + 'static {
    /// Makes a new file for reading and writing; an existing one is an error.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// As `create`, and never readable by anybody but its owner: mode 0600 from the beginning.
    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> io::Result<File>;
    /// The same, for several threads at once and, if it is asked for, past the page cache.
    fn open_reader(&self, path: &Path) -> io::Result<Box<dyn DiskReader>> {
        Ok(Box::new(FileReader::new(self.open_read(path)?)))
    }

    /// As `open_read`, past the page cache where the filesystem can do that: address, length and offset
    /// of every read are multiples of 4096.
    fn open_read_direct(&self, path: &Path) -> io::Result<File> {
        self.open_read(path)
    }
    /// Bytes of a file; `None` if there is none.
    fn file_len(&self, path: &Path) -> io::Result<Option<u64>>;
    /// Moves a file, replacing what is there, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name, which must be free, at an absolute path: [`link_is_impossible`] tells
    /// whether an error is one of file systems, or rights, that do not allow it.
    fn link_to(&self, path: &Path, target: &Path) -> io::Result<()> {
        let _ = (path, target);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Removes a file; one that is not there is no error.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and its parents; existing ones are no error.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and what is in it; one that is not there is no error.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the entries of a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// What a folder holds, by name; a folder that is not there holds nothing.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Free space.
    fn space(&self) -> io::Result<Space>;
    /// The filesystem that holds it, from now on.
    fn filesystem(&self) -> io::Result<Box<dyn Filesystem>>;
}

/// A filesystem, and what became of the writes to it since this was asked for.
pub trait Filesystem: Send + Sync {
    /// Makes everything durable that was written to it. An error tells, once, of any write since the
    /// last call that failed, whoever made it: what was written before may be lost, though it is read
    /// back from memory.
    fn sync(&self) -> io::Result<()>;
    /// Whether `sync` tells of writes that failed, as far as that can be known. Where it does not, only
    /// `sync_data` and `sync_dir` say what is durable.
    fn tells_errors(&self) -> bool;
}

/// A file open for reading and writing.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// As `write_at`, past the page cache where the filesystem can do that. Address, length and
    /// offset are multiples of 4096.
    fn write_direct(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `bytes.len()` at `offset`; 0 at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends the file.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Takes disk space for the first `len` bytes, so that a full disk shows now; the length of
    /// the file does not change. No error where the filesystem cannot.
    fn allocate(&mut self, len: u64) -> io::Result<()>;
    /// Makes the content durable.
    fn sync_data(&mut self) -> io::Result<()>;
}
