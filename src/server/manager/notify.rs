//! Telling the service manager: sd_notify(3), the part of it that a server needs.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The longest status that is sent, in bytes; the rest is cut.
const LONGEST_STATUS: usize = 512;

/// A way to the service manager, or nowhere. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    to: Option<Arc<Way>>,
}

#[derive(Debug)]
struct Way {
    socket: UnixDatagram,
    address: SocketAddr,
    /// What was said when requests were first taken.
    ready: OnceLock<String>,
}

impl Notifier {
    /// The way to the socket that `$NOTIFY_SOCKET` names: a path, or an abstract name after `@`.
    pub fn to(variable: Option<&OsStr>) -> Self {
        let Some(variable) = variable.filter(|variable| !variable.is_empty()) else { return Self::default() };
        match way(variable) {
            Ok(way) => Self { to: Some(Arc::new(way)) },
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: the service manager is told nothing");
                Self::default()
            }
        }
    }

    /// Whether anybody is told.
    pub const fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    /// Requests are taken from now on.
    pub fn ready(&self, status: &str) {
        if let Some(way) = &self.to {
            let said = way.ready.get_or_init(|| line(status));
            self.send(&format!("READY=1\nSTATUS={said}\n"));
        }
    }

    /// Runs `reload`, with its beginning and its end told; before the start is over that is not the
    /// manager's business.
    pub fn around_reload(&self, reload: impl FnOnce()) {
        let ready = self.to.as_ref().and_then(|way| way.ready.get());
        if ready.is_some() {
            self.reloading();
        }
        reload();
        if let Some(status) = ready {
            self.ready(status);
        }
    }

    fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}\n"));
    }

    /// The stop has begun and may take so long.
    pub fn stopping(&self, patience: Duration) {
        self.send(&format!("STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={}\n", patience.as_micros()));
    }

    /// The start or the stop goes on, and is not to be given up for so long.
    pub fn patience(&self, status: &str, patience: Duration) {
        self.send(&format!("STATUS={}\nEXTEND_TIMEOUT_USEC={}\n", line(status), patience.as_micros()));
    }

    /// The process is alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1\n");
    }

    fn send(&self, message: &str) {
        let Some(way) = &self.to else { return };
        if let Err(error) = way.socket.send_to_addr(message.as_bytes(), &way.address) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

fn way(variable: &OsStr) -> io::Result<Way> {
    let address = match variable.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(variable)?,
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(Way { socket, address, ready: OnceLock::new() })
}

/// One line, so that nothing in it becomes a key of its own.
fn line(status: &str) -> String {
    let mut text = String::new();
    for character in status.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if text.len() + character.len_utf8() > LONGEST_STATUS {
            break;
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn said_on(socket: &UnixDatagram, notifier: &Notifier) {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        notifier.around_reload(|| notifier.alive());
        assert_eq!(receive(socket), "WATCHDOG=1\n", "a reload before the start is over is not told");
        notifier.ready("serving\nMAINPID=1");
        assert_eq!(receive(socket), "READY=1\nSTATUS=serving MAINPID=1\n");
        notifier.around_reload(|| ());
        let text = receive(socket);
        let usec = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.strip_suffix('\n'));
        assert!(usec.unwrap().parse::<u64>().unwrap() > 0, "{text}");
        assert_eq!(receive(socket), "READY=1\nSTATUS=serving MAINPID=1\n");
        notifier.patience("opening", Duration::from_secs(2));
        assert_eq!(receive(socket), "STATUS=opening\nEXTEND_TIMEOUT_USEC=2000000\n");
        notifier.alive();
        assert_eq!(receive(socket), "WATCHDOG=1\n");
        notifier.stopping(Duration::from_secs(1));
        assert_eq!(receive(socket), "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=1000000\n");
    }

    #[test]
    fn the_manager_is_told_on_a_path_and_on_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        said_on(&UnixDatagram::bind(&path).unwrap(), &Notifier::to(Some(path.as_os_str())));

        let name = format!("pierhead-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let notifier = Notifier::to(Some(OsStr::new(&format!("@{name}"))));
        said_on(&UnixDatagram::bind_addr(&address).unwrap(), &notifier);
    }

    #[test]
    fn a_manager_that_is_not_there_or_cannot_be_reached_is_no_error() {
        for variable in [None, Some(""), Some("vsock:2:1"), Some("/nonexistent/notify")] {
            let notifier = Notifier::to(variable.map(OsStr::new));
            notifier.ready("serving");
            assert_eq!(notifier.is_heard(), variable == Some("/nonexistent/notify"), "{variable:?}");
        }
    }

    #[test]
    fn a_long_status_is_cut_between_characters() {
        let cut = line(&"é".repeat(1000));
        assert_eq!(cut, "é".repeat(256));
    }
}
