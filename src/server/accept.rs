//! Listening and accepting. When the process is out of descriptors, waiting is all that helps;
//! when it has as many connections as it may, the others wait in the kernel's queue.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
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
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

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
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    static FULL: Noise = Noise::new();
    let permit = match Arc::clone(&shared.permits).try_acquire_owned() {
        Ok(permit) => permit,
        Err(_) => {
            if let Some(suppressed) = FULL.speak(Instant::now()) {
                let limit = shared.options.settings.max_connections;
                tracing::warn!(limit, suppressed, "server.max_connections are open: new ones wait");
            }
            tokio::select! {
                permit = Arc::clone(&shared.permits).acquire_owned() => match permit {
                    Ok(permit) => permit,
                    Err(_) => return,
                },
                () = shared.stop.reached(Phase::Finishing) => return,
            }
        }
    };
    spawn(connection::serve(socket, peer, Arc::clone(shared), permit));
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
