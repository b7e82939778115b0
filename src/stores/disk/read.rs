//! Files that several threads read at once, through the page cache or past it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// A file's device and inode.
pub type FileId = (u64, u64);

/// A file open for reading; threads share it.
pub trait DiskReader: Send + Sync {
    /// From now on reads go past the page cache where the filesystem can do that: their address,
    /// length and offset have to be multiples of 4096; at the end of the file they bring less.
    /// False if nothing changes.
    fn past_cache(&self) -> bool;
    /// Reads up to `bytes.len()` at `offset`; 0 at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;
    /// Which file it is, whatever name it has: no other has this as long as it is open.
    fn id(&self) -> io::Result<FileId>;
    /// The file, for a map of it; an error where reads are to fail.
    fn to_map(&self) -> io::Result<&File>;
}

/// [`DiskReader`] of a file of the host.
pub struct FileReader {
    file: File,
    direct: AtomicBool,
}

impl FileReader {
    /// Reads `file`, through the page cache at first.
    pub fn new(file: File) -> Self {
        Self { file, direct: AtomicBool::new(false) }
    }

    fn turn(&self, on: bool) -> io::Result<()> {
        let flags = fcntl_getfl(&self.file)?;
        fcntl_setfl(&self.file, if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT })?;
        self.direct.store(on, Ordering::Release);
        Ok(())
    }
}

impl DiskReader for FileReader {
    fn past_cache(&self) -> bool {
        self.turn(true).is_ok()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            // Asked before: another thread may turn it off meanwhile, for the same reason.
            let direct = self.direct.load(Ordering::Acquire);
            match self.file.read_at(bytes, offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if direct && is_refused(&error) => self.turn(false)?,
                result => return result,
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn id(&self) -> io::Result<FileId> {
        let meta = self.file.metadata()?;
        Ok((meta.dev(), meta.ino()))
    }

    fn to_map(&self) -> io::Result<&File> {
        Ok(&self.file)
    }
}

/// Whether a filesystem says that it cannot go past its cache, or not in pages of this size.
pub(super) fn is_refused(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::INVAL, Errno::OPNOTSUPP].iter().any(|errno| code == Some(errno.raw_os_error()))
}
