//! The files of the appliance's own CA (`tls/`, FORMAT.md §1): text in, text out. What is in them is
//! not looked at here.
//!
//! K1: a file is there under its name only when it is whole and durable. K2: what holds a private
//! key can be read by its owner only, from its creation on. K3: the CA's key is durable before its
//! certificate has its name: a certificate that clients may trust is never without its key.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::paths;

use super::disk::Disk;

/// A file of this kind is a few KiB; more than this is none of ours.
const MOST: u64 = 1 << 20;

/// The CA's files and the server's, in a data directory.
#[derive(Clone)]
pub struct AuthorityFiles {
    disk: Arc<dyn Disk>,
}

/// A file of the CA that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}", path.display())]
pub struct FileError {
    /// `read` or `write`.
    pub verb: &'static str,
    /// The file, relative to the data directory.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readers {
    Everybody,
    Owner,
}

impl AuthorityFiles {
    /// Those on `disk`.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }

    /// The CA's certificate; none if there is none.
    pub fn certificate(&self) -> Result<Option<String>, FileError> {
        self.read(paths::TLS_CA)
    }

    /// The CA's private key; none if there is none.
    pub fn key(&self) -> Result<Option<String>, FileError> {
        self.read(paths::TLS_CA_KEY)
    }

    /// The server's certificate and private key; none if there are none.
    pub fn server(&self) -> Result<Option<String>, FileError> {
        self.read(paths::TLS_SERVER)
    }

    /// Keeps a new CA. A certificate that is there must have been removed before: clients trust it.
    pub fn keep_authority(&self, certificate: &str, key: &str) -> Result<(), FileError> {
        self.write(paths::TLS_CA_KEY, key, Readers::Owner)?;
        self.write(paths::TLS_CA, certificate, Readers::Everybody)
    }

    /// Keeps the server's certificate and key, in place of those there are.
    pub fn keep_server(&self, pem: &str) -> Result<(), FileError> {
        self.write(paths::TLS_SERVER, pem, Readers::Owner)
    }

    fn read(&self, path: &str) -> Result<Option<String>, FileError> {
        let path = Path::new(path);
        let text = self.disk.open_read(path).and_then(|file| {
            let mut text = String::new();
            file.take(MOST + 1).read_to_string(&mut text)?;
            if text.len() as u64 > MOST { Err(ErrorKind::FileTooLarge.into()) } else { Ok(text) }
        });
        match text {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError { verb: "read", path: path.to_owned(), source }),
        }
    }

    fn write(&self, path: &str, text: &str, readers: Readers) -> Result<(), FileError> {
        let path = Path::new(path);
        let part = PathBuf::from(format!("{}.tmp", path.display()));
        self.put(path, &part, text, readers).map_err(|source| {
            // What is left of it is removed by the next attempt, too.
            let _ = self.disk.remove_file(&part);
            FileError { verb: "write", path: path.to_owned(), source }
        })
    }

    fn put(&self, path: &Path, part: &Path, text: &str, readers: Readers) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        self.disk.create_dir(folder)?;
        self.disk.sync_dir(folder.parent().unwrap_or(Path::new("")))?;
        self.disk.remove_file(part)?;
        let mut file = match readers {
            Readers::Everybody => self.disk.create(part)?,
            Readers::Owner => self.disk.create_private(part)?,
        };
        file.write_at(text.as_bytes(), 0)?;
        file.sync_data()?;
        self.disk.rename(part, path)?;
        self.disk.sync_dir(folder)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::stores::disk::faulty::FaultyDisk;

    #[test]
    fn what_is_kept_is_read_again_and_keys_are_their_owner_s() {
        let folder = tempfile::tempdir().unwrap();
        let files = AuthorityFiles::new(Arc::new(FaultyDisk::new(folder.path()).0));
        assert_eq!(files.certificate().unwrap(), None);
        files.keep_authority("public", "secret").unwrap();
        files.keep_server("first").unwrap();
        files.keep_server("second").unwrap();
        assert_eq!(files.certificate().unwrap().as_deref(), Some("public"));
        assert_eq!(files.key().unwrap().as_deref(), Some("secret"));
        assert_eq!(files.server().unwrap().as_deref(), Some("second"));
        let mode = |path: &str| folder.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("tls/ca.key"), mode("tls/server.pem")), (0o600, 0o600));
        assert!(mode("tls/ca.crt") & 0o400 != 0);
        let entries = std::fs::read_dir(folder.path().join("tls")).unwrap().count();
        assert_eq!(entries, 3, "no temporary file is left");
    }

    #[test]
    fn a_write_that_fails_at_any_step_leaves_the_old_file_or_the_new_one() {
        for failing in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let (disk, faults) = FaultyDisk::new(folder.path());
            let files = AuthorityFiles::new(Arc::new(disk));
            files.keep_server("old").unwrap();
            let from = faults.steps() + failing;
            faults.fail(from, from + 1, 28);
            let result = files.keep_server("new");
            faults.heal();
            let read = files.server().unwrap().unwrap();
            if result.is_ok() {
                assert_eq!(read, "new");
                assert!(failing > 5, "every step was made to fail");
                return;
            }
            // The last step makes the name durable: the new file is there, but may go again.
            assert!(read == "old" || read == "new", "step {failing}: {read}");
            files.keep_server("newest").unwrap();
            assert_eq!(files.server().unwrap().as_deref(), Some("newest"), "step {failing}");
        }
    }

    #[test]
    fn a_certificate_of_the_ca_is_never_there_without_its_key() {
        for failing in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let (disk, faults) = FaultyDisk::new(folder.path());
            let files = AuthorityFiles::new(Arc::new(disk));
            faults.fail(failing, u64::MAX, 28);
            let result = files.keep_authority("public", "secret");
            assert!(
                files.certificate().unwrap().is_none() || files.key().unwrap().is_some(),
                "step {failing}"
            );
            if result.is_ok() {
                return;
            }
        }
    }
}
