//! Sockets that the service manager listens on for us (socket activation, sd_listen_fds(3)): taken in
//! place of binding their addresses, so that a port below 1024 needs no capability and clients that come
//! while we start wait instead of being refused.
//!
//! Only TCP sockets are taken. One that `FileDescriptorName=metrics` names is for monitoring, every other
//! one for clients. The taking itself, which turns a number into a descriptor, is the `listenfd` crate's.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use listenfd::ListenFd;

/// More than this is not a socket unit but a mistake.
const MOST: usize = 64;
/// The name of a socket for monitoring.
const MONITORING: &str = "metrics";

/// Sockets that listen and nobody has taken yet. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Inherited {
    sockets: Arc<Mutex<Vec<Socket>>>,
}

#[derive(Debug)]
struct Socket {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

impl Inherited {
    /// What the environment says there is.
    pub(super) fn take() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let ours = is_ours(variable("LISTEN_FDS"), variable("LISTEN_PID"), std::process::id());
        if !ours {
            return Self::default();
        }
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..given.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let taken = given.take_tcp_listener(index).map(|listener| {
                let listener = listener?;
                Some(Socket { name: name.clone(), address: listener.local_addr().ok()?, listener })
            });
            match taken {
                Ok(socket) => sockets.extend(socket),
                Err(error) => tracing::warn!(name, %error, "a socket of the service manager is left alone"),
            }
        }
        Self { sockets: Arc::new(Mutex::new(sockets)) }
    }

    /// Addresses for clients; none if clients' sockets are to be made as the settings say.
    pub fn serving(&self) -> Vec<SocketAddr> {
        self.addresses(|name| name != MONITORING)
    }

    /// The address for monitoring, if one is given.
    pub fn monitoring(&self) -> Option<SocketAddr> {
        self.addresses(|name| name == MONITORING).first().copied()
    }

    fn addresses(&self, wanted: impl Fn(&str) -> bool) -> Vec<SocketAddr> {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().filter(|socket| wanted(&socket.name)).map(|socket| socket.address).collect()
    }

    /// The socket that listens on `address`; the first to ask has it.
    pub fn listening_on(&self, address: SocketAddr) -> Option<TcpListener> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let at = sockets.iter().position(|socket| socket.address == address)?;
        Some(sockets.swap_remove(at).listener)
    }
}

/// Whether there are sockets, and for this process: variables that a parent left are another's.
fn is_ours(count: Option<String>, pid: Option<String>, own: u32) -> bool {
    let count = count.and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    let ours = pid.and_then(|pid| pid.parse::<u32>().ok()) == Some(own);
    if ours && count > MOST {
        tracing::warn!(count, "LISTEN_FDS names more sockets than there can be: none is taken");
    }
    ours && (1..=MOST).contains(&count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_another_process_and_nonsense_are_left_alone() {
        let rows = [
            ("ours", Some("2"), Some("7"), true),
            ("none", None, None, false),
            ("no process", Some("2"), None, false),
            ("another's", Some("2"), Some("8"), false),
            ("no sockets", Some("0"), Some("7"), false),
            ("too many", Some("18446744073709551615"), Some("7"), false),
            ("no number", Some("-1"), Some("7"), false),
        ];
        for (name, count, pid, expected) in rows {
            assert_eq!(is_ours(count.map(str::to_owned), pid.map(str::to_owned), 7), expected, "{name}");
        }
    }

    #[test]
    fn a_socket_is_found_by_its_address_and_given_once() {
        let made = |name: &str| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            Socket { name: name.to_owned(), address: listener.local_addr().unwrap(), listener }
        };
        let (serving, monitoring) = (made("pierhead.socket"), made("metrics"));
        let (one, two) = (serving.address, monitoring.address);
        let inherited = Inherited { sockets: Arc::new(Mutex::new(vec![serving, monitoring])) };
        assert_eq!((inherited.serving(), inherited.monitoring()), (vec![one], Some(two)));
        assert!(inherited.listening_on("127.0.0.1:1".parse().unwrap()).is_none());
        assert_eq!(inherited.listening_on(one).unwrap().local_addr().unwrap(), one);
        assert!(inherited.listening_on(one).is_none() && inherited.serving().is_empty());
    }
}
