//! The data directory of the host.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags, fcntl_getfl, fcntl_setfl};

use super::read::is_refused;
use super::{Disk, DiskFile, Entry, Filesystem, Space};

/// Operations on the real data directory at `root`.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// `root` exists or is made by the first `create_dir`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }
}

fn none_if_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.at(path))?;
        Ok(Box::new(RealFile::new(file)))
    }

    fn create_private(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(self.at(path))?;
        Ok(Box::new(RealFile::new(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.at(path))?;
        Ok(Box::new(RealFile::new(file)))
    }

    fn open_read(&self, path: &Path) -> io::Result<File> {
        File::open(self.at(path))
    }

    fn open_read_direct(&self, path: &Path) -> io::Result<File> {
        let direct = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        match OpenOptions::new().read(true).custom_flags(direct).open(self.at(path)) {
            Err(error) if is_refused(&error) => self.open_read(path),
            result => result,
        }
    }

    fn file_len(&self, path: &Path) -> io::Result<Option<u64>> {
        Ok(none_if_missing(fs::metadata(self.at(path)))?.filter(fs::Metadata::is_file).map(|m| m.len()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn link_to(&self, path: &Path, target: &Path) -> io::Result<()> {
        fs::hard_link(self.at(path), target)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        none_if_missing(fs::remove_file(self.at(path))).map(drop)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(self.at(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        none_if_missing(fs::remove_dir_all(self.at(path))).map(drop)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(self.at(path))?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let Some(entries) = none_if_missing(fs::read_dir(self.at(path)))? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(meta) = none_if_missing(entry.metadata())? else { continue };
            if let Ok(name) = entry.file_name().into_string() {
                found.push(Entry { name, is_dir: meta.is_dir(), len: meta.len() });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(Space { free: stat.f_bavail * stat.f_frsize, total: stat.f_blocks * stat.f_frsize })
    }

    fn filesystem(&self) -> io::Result<Box<dyn Filesystem>> {
        Ok(Box::new(RealFilesystem(File::open(&self.root)?)))
    }
}

/// One descriptor for all calls: the kernel tells each of the errors since its last call.
struct RealFilesystem(File);

impl Filesystem for RealFilesystem {
    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }

    fn tells_errors(&self) -> bool {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        let kind = rustix::fs::fstatfs(&self.0).map(|stat| stat.f_type as u64);
        kernel.is_ok_and(|release| is_at_least(&release, TELLS_SINCE))
            && kind.is_ok_and(|kind| !SILENT.contains(&(kind & 0xffff_ffff)))
    }
}

/// Before this Linux `syncfs` said nothing of writes that had failed.
const TELLS_SINCE: (u32, u32) = (5, 8);
/// overlayfs, whose writes fail in another filesystem that is not asked; FUSE, whose server is not.
const SILENT: [u64; 2] = [0x794c_7630, 0x6573_5546];

/// Whether a release as `uname -r` gives it, "6.1.0-13-amd64", is this one or later.
fn is_at_least(release: &str, least: (u32, u32)) -> bool {
    let mut numbers = release.trim().split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= least)
}

/// One descriptor serves both ways of writing: the flag is turned when the way changes, which an
/// upload does once or twice.
struct RealFile {
    file: File,
    direct: Cell<Direct>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direct {
    Off,
    On,
    /// The filesystem cannot (tmpfs, some overlays).
    Refused,
}

impl RealFile {
    fn new(file: File) -> Self {
        Self { file, direct: Cell::new(Direct::Off) }
    }

    fn turn(&self, on: bool) -> io::Result<()> {
        let flags = fcntl_getfl(&self.file)?;
        fcntl_setfl(&self.file, if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT })?;
        self.direct.set(if on { Direct::On } else { Direct::Off });
        Ok(())
    }

    /// Makes reads and writes of any address and length possible.
    fn turn_off(&self) -> io::Result<()> {
        if self.direct.get() == Direct::On { self.turn(false) } else { Ok(()) }
    }
}

impl DiskFile for RealFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.turn_off()?;
        self.file.write_all_at(bytes, offset)
    }

    fn write_direct(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let turned = match self.direct.get() {
            Direct::Refused => return self.file.write_all_at(bytes, offset),
            Direct::On => Ok(()),
            Direct::Off => self.turn(true),
        };
        match turned.and_then(|()| self.file.write_all_at(bytes, offset)) {
            Err(error) if is_refused(&error) => {
                self.turn_off()?;
                self.direct.set(Direct::Refused);
                self.file.write_all_at(bytes, offset)
            }
            result => result,
        }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.turn_off()?;
        loop {
            match self.file.read_at(bytes, offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_told_by_its_release() {
        for (release, expected) in [
            ("6.1.0-13-amd64\n", true),
            ("5.8.0", true),
            ("5.10.0+", true),
            ("10.0", true),
            ("5.7.19-generic", false),
            ("4.18.0-553.el8.x86_64", false),
            ("6", false),
            ("", false),
            ("linux 6.1", false),
        ] {
            assert_eq!(is_at_least(release, TELLS_SINCE), expected, "{release:?}");
        }
    }

    #[repr(align(4096))]
    struct Page([u8; 8192]);

    #[test]
    fn both_ways_of_writing_and_reads_of_any_length_mix_in_one_file() {
        // The second is a tmpfs on most hosts: the way past the cache may not be there.
        for folder in [Some(std::env::temp_dir()), Some("/dev/shm".into()).filter(|f: &PathBuf| f.is_dir())]
            .into_iter()
            .flatten()
        {
            let folder = tempfile::tempdir_in(folder).expect("a scratch folder");
            let mut file = RealDisk::new(folder.path()).create(Path::new("f")).expect("makes a file");
            let page = Page([7; 8192]);
            let mut read = vec![0; 100];
            for at in [0u64, 16384] {
                file.write_direct(&page.0, at).expect("writes directly");
                file.write_at(b"odd", at + 8192).expect("writes an odd end");
                file.write_direct(&page.0, at).expect("writes directly again");
                assert_eq!(file.read_at(&mut read, at + 8100).expect("reads"), 95);
                assert_eq!((&read[..92], &read[92..95]), (&[7; 92][..], &b"odd"[..]));
                file.sync_data().expect("syncs");
            }
            assert_eq!(file.len().expect("a length"), 16384 + 8195);
        }
    }
}
