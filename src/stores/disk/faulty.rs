//! A data directory whose operations fail on cue, for tests. Counts every operation that changes
//! the disk (syncs included) and fails the chosen ones; a failed write leaves half of its bytes,
//! as a full disk does.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::read::FileId;
use super::{Disk, DiskFile, DiskReader, Entry, Filesystem, RealDisk, Space};

/// What fails, and how.
#[derive(Debug)]
pub struct Faults {
    steps: AtomicU64,
    from: AtomicU64,
    to: AtomicU64,
    errno: AtomicU64,
    reads: AtomicU64,
    unreadable: Mutex<Range<u64>>,
    silent: AtomicBool,
    free: AtomicU64,
    /// Why no blob can be opened; 0 where they can.
    closed: AtomicU64,
    /// What can be neither opened to be read nor listed, and why.
    shut: Mutex<Option<(PathBuf, i32)>>,
}

impl Default for Faults {
    fn default() -> Self {
        let never = || u64::MAX.into();
        let (reads, unreadable, silent) = (0.into(), Mutex::default(), false.into());
        let (from, to, free) = (never(), never(), never());
        let (steps, closed, shut) = (0.into(), 0.into(), Mutex::default());
        Self { steps, from, to, errno: 5.into(), reads, unreadable, silent, free, closed, shut }
    }
}

impl Faults {
    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// Fails steps `from..to` (counted from the start) with `errno` (5 EIO, 28 ENOSPC, 122 EDQUOT).
    pub fn fail(&self, from: u64, to: u64, errno: u64) {
        self.errno.store(errno, Ordering::SeqCst);
        self.to.store(to, Ordering::SeqCst);
        self.from.store(from, Ordering::SeqCst);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.fail(u64::MAX, u64::MAX, 5);
    }

    /// Reads of blobs so far; they are no steps, since they change nothing.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// From now on what touches these bytes of any blob cannot be read (EIO); an empty range heals.
    pub fn spoil(&self, bytes: Range<u64>) {
        *self.unreadable.lock().expect("no test panics with it") = bytes;
    }

    /// From now on no blob can be opened to be read, for this `errno` (24 EMFILE); 0 heals.
    pub fn close(&self, errno: u64) {
        self.closed.store(errno, Ordering::SeqCst);
    }

    /// From now on the file or folder at this path cannot be opened to be read, or listed, for this `errno` (24 EMFILE).
    pub fn shut(&self, path: &Path, errno: i32) {
        *self.shut.lock().expect("no test panics with it") = Some((path.to_owned(), errno));
    }

    fn come_to(&self, path: &Path) -> io::Result<()> {
        match &*self.shut.lock().expect("no test panics with it") {
            Some((shut, errno)) if shut == path => Err(io::Error::from_raw_os_error(*errno)),
            _ => Ok(()),
        }
    }

    /// From now on syncs of the whole filesystem are those of an old kernel, which tell nothing.
    pub fn silence(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// From now on the disk says that no more than so many bytes are free.
    pub fn tell_free(&self, bytes: u64) {
        self.free.store(bytes, Ordering::SeqCst);
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let spoilt = self.unreadable.lock().expect("no test panics with it");
        let is_met = offset < spoilt.end && spoilt.start < offset + len as u64;
        if is_met { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn step(&self) -> io::Result<()> {
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        let failing = self.from.load(Ordering::SeqCst)..self.to.load(Ordering::SeqCst);
        if failing.contains(&step) {
            let errno = i32::try_from(self.errno.load(Ordering::SeqCst)).unwrap_or(5);
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(())
    }
}

/// [`RealDisk`] with faults.
pub struct FaultyDisk {
    real: RealDisk,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    /// A disk at `root`, and the switch for its faults.
    pub fn new(root: &Path) -> (Self, Arc<Faults>) {
        let faults = Arc::new(Faults::default());
        (Self { real: RealDisk::new(root), faults: Arc::clone(&faults) }, faults)
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.faults.step()?;
        Ok(Box::new(FaultyFile { real: self.real.create(path)?, faults: Arc::clone(&self.faults) }))
    }

    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.faults.step()?;
        let real = self.real.create_private(path)?;
        Ok(Box::new(FaultyFile { real, faults: Arc::clone(&self.faults) }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile { real: self.real.open(path)?, faults: Arc::clone(&self.faults) }))
    }

    fn open_read(&self, path: &Path) -> io::Result<File> {
        self.faults.come_to(path)?;
        self.real.open_read(path)
    }

    fn open_reader(&self, path: &Path) -> io::Result<Box<dyn DiskReader>> {
        match i32::try_from(self.faults.closed.load(Ordering::SeqCst)) {
            Ok(errno) if errno > 0 => return Err(io::Error::from_raw_os_error(errno)),
            _ => {}
        }
        let real = self.real.open_reader(path)?;
        Ok(Box::new(FaultyReader { real, faults: Arc::clone(&self.faults) }))
    }

    fn open_read_direct(&self, path: &Path) -> io::Result<File> {
        self.real.open_read_direct(path)
    }

    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.real.file_len(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.step()?;
        self.real.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.faults.step()?;
        self.real.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.step()?;
        self.real.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.step()?;
        self.real.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.step()?;
        self.real.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.faults.come_to(path)?;
        self.real.list(path)
    }

    fn space(&self) -> io::Result<Space> {
        let space = self.real.space()?;
        Ok(Space { free: space.free.min(self.faults.free.load(Ordering::SeqCst)), ..space })
    }

    fn filesystem(&self) -> io::Result<Box<dyn Filesystem>> {
        Ok(Box::new(FaultyFilesystem { real: self.real.filesystem()?, faults: Arc::clone(&self.faults) }))
    }
}

struct FaultyFilesystem {
    real: Box<dyn Filesystem>,
    faults: Arc<Faults>,
}

impl Filesystem for FaultyFilesystem {
    fn sync(&self) -> io::Result<()> {
        if self.tells_errors() {
            self.faults.step()?;
        }
        self.real.sync()
    }

    fn tells_errors(&self) -> bool {
        !self.faults.silent.load(Ordering::SeqCst)
    }
}

struct FaultyReader {
    real: Box<dyn DiskReader>,
    faults: Arc<Faults>,
}

impl DiskReader for FaultyReader {
    fn past_cache(&self) -> bool {
        self.real.past_cache()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.read(offset, bytes.len())?;
        self.real.read_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }

    fn id(&self) -> io::Result<FileId> {
        self.real.id()
    }

    fn to_map(&self) -> io::Result<&File> {
        // What is mapped is populated by the piece; here any bad byte spoils the whole map.
        let spoilt = self.faults.unreadable.lock().expect("no test panics with it");
        if spoilt.is_empty() { self.real.to_map() } else { Err(io::Error::from_raw_os_error(5)) }
    }
}

struct FaultyFile {
    real: Box<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl DiskFile for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.faults.step() {
            self.real.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.real.write_at(bytes, offset)
    }

    fn write_direct(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.faults.step() {
            self.real.write_direct(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.real.write_direct(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.real.read_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.faults.step()?;
        self.real.set_len(len)
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        self.faults.step()?;
        self.real.allocate(len)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.faults.step()?;
        self.real.sync_data()
    }
}
