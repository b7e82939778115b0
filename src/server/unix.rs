//! A Unix stream socket with a name in the file system, for processes of this host. Only its owner
//! and root can open it (mode 0600, set before it listens).
//!
//! A name left by a process that died is replaced; one that a process listens on, or that is no
//! socket, is an error. The name goes with the socket, unless it is another's by then. A path longer
//! than an address may be is reached through its folder's descriptor.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixSocket};

/// Bytes of a path in a socket's address, its end not counted (`sun_path`, unix(7)).
const MAX_ADDRESS: usize = 107;
/// Connections the kernel keeps for us while we are busy.
const BACKLOG: u32 = 128;

/// Why a local socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Something else has the name.
    #[error("{} is there and is not a socket: move it away, or set another path", .0.display())]
    NotASocket(PathBuf),
    /// A process listens on it.
    #[error("another process listens on {}", .0.display())]
    Taken(PathBuf),
    /// It cannot be made.
    #[error("cannot listen on {}", path.display())]
    Refused {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A path as an address: itself if that is short enough, its name below `/proc/self/fd/` otherwise.
#[derive(Debug)]
pub struct Reach {
    /// Good as long as this value lives.
    pub address: PathBuf,
    _folder: Option<OwnedFd>,
}

/// How `path` is reached by a socket; an error if its folder is not there or its name too long.
pub fn reach(path: &Path) -> io::Result<Reach> {
    if path.as_os_str().len() <= MAX_ADDRESS {
        return Ok(Reach { address: path.to_owned(), _folder: None });
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or(OsStr::new(""));
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, open, Mode::empty())?;
    let address = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    if address.as_os_str().as_bytes().len() > MAX_ADDRESS {
        return Err(io::Error::new(ErrorKind::InvalidFilename, "the name is too long for a socket"));
    }
    Ok(Reach { address, _folder: Some(folder) })
}

/// A socket that listens.
pub struct LocalSocket {
    listener: UnixListener,
    name: Name,
}

impl LocalSocket {
    /// Listens on `path`; must be called on the runtime.
    pub fn bind(path: &Path) -> Result<Self, LocalError> {
        let refused = |source| LocalError::Refused { path: path.to_owned(), source };
        let reach = reach(path).map_err(refused)?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused(error)),
            Ok(there) if !there.file_type().is_socket() => {
                return Err(LocalError::NotASocket(path.to_owned()));
            }
            Ok(_) if is_alive(&reach.address).map_err(refused)? => {
                return Err(LocalError::Taken(path.to_owned()));
            }
            Ok(_) => {
                tracing::info!(socket = %path.display(), "replacing a socket that nobody listens on");
                fs::remove_file(path).map_err(refused)?;
            }
        }
        listen(path, &reach.address).map_err(refused)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.name.path
    }

    /// What connections come from.
    pub const fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

fn listen(path: &Path, address: &Path) -> io::Result<LocalSocket> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(address)?;
    let made = fs::symlink_metadata(path)?;
    let name = Name { path: path.to_owned(), device: made.dev(), inode: made.ino() };
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let listener = socket.listen(BACKLOG)?;
    Ok(LocalSocket { listener, name })
}

/// Whether a process listens there. Does not wait for one that is busy.
fn is_alive(address: &Path) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(address)?) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A name made by us, removed with us.
struct Name {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for Name {
    fn drop(&mut self) {
        let ours = |there: &fs::Metadata| (there.dev(), there.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|there| ours(&there)) {
            // One that stays is replaced by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_owners_and_goes_with_the_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = LocalSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(LocalSocket::bind(&path), Err(LocalError::Taken(_))));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_anything_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        let socket = LocalSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody's").unwrap();
        assert!(matches!(LocalSocket::bind(&path), Err(LocalError::NotASocket(_))));
        drop(socket);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
    }

    #[tokio::test]
    async fn a_path_longer_than_an_address_is_reached_through_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("d".repeat(120));
        fs::create_dir(&long).unwrap();
        let path = long.join("s");
        let socket = LocalSocket::bind(&path).unwrap();
        UnixStream::connect(reach(&path).unwrap().address).unwrap();
        drop(socket);
        assert!(!path.exists());
        let error = LocalSocket::bind(&long.join("n".repeat(120))).err().expect("too long");
        assert!(
            matches!(&error, LocalError::Refused { source, .. } if source.to_string().contains("too long"))
        );
    }
}
