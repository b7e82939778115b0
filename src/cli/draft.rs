//! A file that is there under its name only when it is whole: what fails half-way leaves nothing,
//! so that the corrected command finds the name free.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// A file under a temporary name beside its own; removed when it is dropped.
pub struct Draft {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Begins `target`, which must not be there.
    pub fn begin(target: &Path) -> io::Result<Self> {
        Self::begin_as(target, 0o666)
    }

    /// As [`Draft::begin`], for its owner only: for secrets.
    pub fn begin_private(target: &Path) -> io::Result<Self> {
        Self::begin_as(target, 0o600)
    }

    fn begin_as(target: &Path, mode: u32) -> io::Result<Self> {
        let name = target.file_name().ok_or(ErrorKind::InvalidInput)?;
        if target.symlink_metadata().is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let name = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        let temporary = target.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        Ok(Self { file, temporary, target: target.to_owned() })
    }

    /// Gives the file its name, durably; never in place of another that has come meanwhile.
    pub fn keep(self) -> io::Result<()> {
        self.file.sync_all()?;
        match renameat_with(CWD, &self.temporary, CWD, &self.target, RenameFlags::NOREPLACE) {
            // A file system that cannot refuse by itself.
            Err(Errno::INVAL | Errno::NOSYS) if self.target.symlink_metadata().is_err() => {
                fs::rename(&self.temporary, &self.target)?;
            }
            renamed => renamed?,
        }
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `keep` there is nothing under this name any more.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_draft_has_its_name_when_it_is_kept_and_leaves_nothing_when_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let mut given_up = Draft::begin(&target).unwrap();
        given_up.write_all(b"half").unwrap();
        assert!(!target.exists());
        drop(given_up);
        assert_eq!(names(folder.path()), [""; 0]);

        let mut kept = Draft::begin(&target).unwrap();
        kept.write_all(b"whole").unwrap();
        kept.keep().unwrap();
        assert_eq!(names(folder.path()), ["out"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
    }

    #[test]
    fn a_file_that_is_there_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let early = Draft::begin(&target).unwrap();
        fs::write(&target, "another's").unwrap();
        assert!(Draft::begin(&target).is_err_and(|error| error.kind() == ErrorKind::AlreadyExists));
        assert!(early.keep().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists));
        assert_eq!(names(folder.path()), ["out"]);
        assert_eq!(fs::read(&target).unwrap(), b"another's");
    }
}
