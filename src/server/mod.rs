//! The edge: sockets, TLS, limits, one task a connection, a clean stop. It knows no route: what
//! is asked goes to the [`App`] it was given, with who asks ([`PeerFacts`]).
//!
//! E1: a client that is slow is never cut while it makes progress; one that makes none is, each
//! way (`io` for heads, idle connections and writes, `request_body` for bodies). E2: what a
//! client can make the server keep is bounded: connections, of one address too, head bytes, streams, windows. E3: a
//! panic in the app ends that request with 500, nothing else. E4: an app's work runs to its end
//! though the client leaves, and keeps its connection's permit until then. E5: no header value
//! and no query string is logged, and a path only escaped.
//!
//! Look next: `accept`, `crowd` (how many may come), `connection`, `exchange` (one request), `stop`, `tls`, `unix` (the local socket),
//! `manager` (systemd).

mod accept;
mod ahead;
pub mod body;
mod connection;
mod crowd;
pub mod descriptors;
mod exchange;
mod io;
mod line;
mod manager;
pub mod metrics;
mod noise;
mod piece;
mod request_body;
mod signals;
mod stop;
#[cfg(test)]
mod tests;
mod tls;
mod unix;

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::config::ServerSettings;
use crate::seams::Random;
use crate::server::body::Body;
use crate::server::metrics::Metrics;

pub use accept::BindError;
pub use ahead::most_ahead;
pub use crowd::{Crowd, CrowdFacts};
pub use line::Departure;
pub use manager::{Inherited, Manager, Notifier};
pub use request_body::BodyStalled;
pub use signals::signals;
pub use stop::{Phase, Stop};
pub use tls::{Clients, Pair, Tls, TlsError};
pub use unix::{LocalError, LocalSocket, reach};

/// Answers requests.
pub trait App: Send + Sync + 'static {
    /// The answer to one request. The future runs on a task of its own, to its end.
    fn call(
        &self,
        request: Request<Body>,
        facts: PeerFacts,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
}

/// Who asks, and over what.
#[derive(Clone, Debug)]
pub struct PeerFacts {
    /// The other end of the connection; a proxy, perhaps.
    pub peer: Peer,
    /// Whether the connection is under TLS.
    pub tls: bool,
    /// 32 lower-case hex digits, in `X-Request-Id` of the answer and in every log line about it.
    pub request_id: String,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over the network, loopback included.
    Network(SocketAddr),
    /// A process of this host, on a Unix socket, as the kernel knows it.
    Local {
        /// Its user.
        uid: u32,
        /// Its number, if the kernel tells.
        pid: Option<i32>,
    },
}

impl Peer {
    /// The network address; none of a local process.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Network(address) => Some(address.ip()),
            Self::Local { .. } => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Local { uid, pid: Some(pid) } => write!(f, "uid {uid}, process {pid}"),
            Self::Local { uid, pid: None } => write!(f, "uid {uid}"),
        }
    }
}

/// What a [`Server`] is made of.
pub struct Options {
    /// Where to listen. (`settings.listen` is not looked at: a server for monitoring has its own, and
    /// one on a local socket has none.)
    pub listen: Vec<SocketAddr>,
    /// Limits and timeouts.
    pub settings: ServerSettings,
    /// The certificate; plain HTTP without.
    pub tls: Option<Arc<Tls>>,
    /// Counts connections, requests and bytes.
    pub metrics: Metrics,
    /// Makes request ids.
    pub random: Arc<dyn Random>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every request was finished.
    Finished,
    /// This many connections were cut, at the end of the time to stop or by a second signal.
    Cut(usize),
}

/// Sockets that listen.
pub struct Server {
    listeners: Vec<TcpListener>,
    local: Option<LocalSocket>,
    options: Options,
    crowd: Arc<Crowd>,
}

impl Server {
    /// Listens on every address, or takes the socket that the service manager listens on there; must be
    /// called on the runtime. Where the host has no IPv6, its loopback and "any" addresses are passed
    /// over if there is another one.
    pub fn bind(options: Options, inherited: &Inherited) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        let mut passed_over = None;
        for address in &options.listen {
            match accept::bind(*address, inherited) {
                Ok(listener) => listeners.push(listener),
                Err(error) if error.is_for_want_of_ipv6() => {
                    tracing::warn!(%address, "this host has no IPv6: not listening there");
                    passed_over = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match passed_over.filter(|_| listeners.is_empty()) {
            Some(error) => Err(error),
            None => {
                let crowd = Arc::new(Crowd::new(&options.settings));
                Ok(Self { listeners, local: None, options, crowd })
            }
        }
    }

    /// Serves the processes of this host that may open `local`.
    pub fn local(local: LocalSocket, options: Options) -> Self {
        let crowd = Arc::new(Crowd::new(&options.settings));
        Self { listeners: Vec::new(), local: Some(local), options, crowd }
    }

    /// Who is connected, while it is served.
    pub fn crowd(&self) -> Arc<Crowd> {
        Arc::clone(&self.crowd)
    }

    /// The addresses as bound (port 0 is a real port here).
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `stop` and what follows it: no more accepting, idle connections closed,
    /// requests under way finished or, after `stop_timeout` or at [`Phase::Cut`], cut.
    pub async fn run(self, app: Arc<dyn App>, stop: Stop) -> Ended {
        let most = self.options.settings.max_connections as usize;
        let permits = Arc::new(Semaphore::new(most));
        let patience = self.options.settings.stop_timeout.duration();
        let (options, crowd) = (self.options, self.crowd);
        let shared = Arc::new(Shared { options, app, stop: stop.clone(), permits, crowd });
        for listener in self.listeners {
            spawn(accept::accept_all(listener, Arc::clone(&shared)));
        }
        if let Some(local) = self.local {
            spawn(accept::accept_all(local, Arc::clone(&shared)));
        }
        stop.reached(Phase::Finishing).await;
        let all_back = shared.permits.acquire_many(u32::try_from(most).unwrap_or(u32::MAX));
        let finished = tokio::select! {
            _ = all_back => true,
            () = tokio::time::sleep(patience) => false,
            () = stop.reached(Phase::Cut) => false,
        };
        stop.cut();
        if finished { Ended::Finished } else { Ended::Cut(most - shared.permits.available_permits()) }
    }
}

/// What every connection of one server shares.
struct Shared {
    options: Options,
    app: Arc<dyn App>,
    stop: Stop,
    permits: Arc<Semaphore>,
    crowd: Arc<Crowd>,
}

fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server's tasks hold permits, which the stop waits for"
    )]
    tokio::spawn(work)
}
