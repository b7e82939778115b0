//! Listening and accepting. When the process is out of descriptors, waiting is all that helps;
//! when it has as many connections as it may, idle ones make room, and where none is idle the others wait in
//! the kernel's queue. One too many of an address is closed at once.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::manager::Inherited;
use super::noise::Noise;
use super::stop::Phase;
use super::unix::LocalSocket;
use super::{Peer, Shared, connection, spawn};

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something listens there already.
    #[error("{0} is taken by another process")]
    Taken(SocketAddr),
    /// The address is not to be had: not on this host, or a port that needs a capability.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl BindError {
    /// Whether the address would be there on any host with IPv6.
    pub fn is_for_want_of_ipv6(&self) -> bool {
        let Self::Refused { address, source } = self else { return false };
        let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].map(|errno| Some(errno.raw_os_error()));
        address.is_ipv6()
            && (address.ip().is_loopback() || address.ip().is_unspecified())
            && missing.contains(&source.raw_os_error())
    }
}

/// How often, while there is no room, is looked for connections that have become idle.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Connections the kernel keeps for us while we are busy.
const BACKLOG: u32 = 1024;

/// Listens on `address`, unless that is done for us.
pub fn bind(address: SocketAddr, inherited: &Inherited) -> Result<TcpListener, BindError> {
    let listener = match inherited.listening_on(address) {
        Some(listener) => take_over(listener),
        None => listen(address),
    };
    listener.map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => BindError::Taken(address),
        _ => BindError::Refused { address, source },
    })
}

fn take_over(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        // An address means itself: [::] beside 0.0.0.0 would otherwise be "in use".
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What connections come from. Its end, when it is dropped, is the end of listening.
pub trait Listener: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static;

    /// The next one, and whose it is.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, peer) = Self::accept(self).await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "small answers may wait");
        }
        Ok((stream, Peer::Network(peer)))
    }
}

impl Listener for LocalSocket {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.listener().accept().await?;
        let peer = stream.peer_cred()?;
        Ok((stream, Peer::Local { uid: peer.uid(), pid: peer.pid() }))
    }
}

/// Accepts until the stop begins; the socket is closed then.
pub async fn accept_all(listener: impl Listener, shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.reached(Phase::Finishing) => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                backoff = Backoff::default();
                admit(socket, peer, &shared).await;
            }
            Err(error) => backoff.wait(&error).await,
        }
    }
}

async fn admit<S>(socket: S, peer: Peer, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
{
    static GREEDY: Noise = Noise::new();
    let Some(place) = shared.crowd.enter(&peer) else {
        shared.options.metrics.refused_connection();
        if let Some(suppressed) = GREEDY.speak(Instant::now()) {
            let limit = shared.options.settings.connections_per_address;
            tracing::warn!(%peer, limit, suppressed, "server.connections_per_address are open: closed one more");
        }
        return;
    };
    if let Some(permit) = permitted(shared).await {
        spawn(connection::serve(socket, peer, Arc::clone(shared), permit, place));
    }
}

/// The right to serve a connection more, once there is room; none when the server stops.
async fn permitted(shared: &Arc<Shared>) -> Option<OwnedSemaphorePermit> {
    static FULL: Noise = Noise::new();
    loop {
        if let Ok(permit) = Arc::clone(&shared.permits).try_acquire_owned() {
            return Some(permit);
        }
        let shed = shared.crowd.shed();
        shared.options.metrics.shed_connections(shed as u64);
        if let Some(suppressed) = FULL.speak(Instant::now()) {
            let limit = shared.options.settings.max_connections;
            tracing::warn!(limit, shed, suppressed, "server.max_connections are open: idle ones are closed");
        }
        let permit = Arc::clone(&shared.permits).acquire_owned();
        tokio::select! {
            permit = tokio::time::timeout(LOOK_AGAIN, permit) => match permit {
                Ok(permit) => return permit.ok(),
                Err(_) => continue, // others may be idle by now
            },
            () = shared.stop.reached(Phase::Finishing) => return None,
        }
    }
}

/// Doubling waits between failing accepts.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(10))
    }
}

impl Backoff {
    async fn wait(&mut self, error: &io::Error) {
        static FAILING: Noise = Noise::new();
        // These are about the one connection that went away while it waited.
        if matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
        ) {
            return;
        }
        if let Some(suppressed) = FAILING.speak(Instant::now()) {
            tracing::error!(%error, suppressed, "cannot accept connections");
        }
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
    }
}
