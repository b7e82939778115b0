//! The socket for administrators: a server of its own, so that a crowd on the network leaves it
//! room. It stops with the appliance, a little later, so that what was asked is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::StartError;
use super::serve::{Listening, options};
use crate::api::admin::{About, Admin, ListeningView, Services};
use crate::config::Settings;
use crate::server::metrics::Metrics;
use crate::server::{Crowd, LocalSocket, Phase, Server, Stop};

/// Connections at once; more wait.
const CONNECTIONS: u32 = 64;
/// How long, after everything else has stopped, requests here may take to finish.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// The socket, listening, and what answers on it.
pub struct Administration {
    server: Server,
    admin: Admin,
}

impl Administration {
    /// Listens, if the settings say where. The data directory is locked by now.
    pub fn bind(
        settings: &Settings,
        services: Services,
        (now, crowd): (&Listening, Arc<Crowd>),
        metrics: &Metrics,
    ) -> Result<Option<Self>, StartError> {
        let Some(path) = &now.admin else { return Ok(None) };
        let socket = LocalSocket::bind(path)?;
        let mut options = options(settings, Vec::new(), None, metrics);
        options.settings.max_connections = CONNECTIONS;
        let shown = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect();
        let about = About {
            data: settings.storage.data.clone(),
            listening: ListeningView {
                addresses: shown(&now.addresses),
                tls: now.tls,
                metrics: shown(&now.metrics),
                admin: socket.path().display().to_string(),
            },
            crowd: Arc::new(move || crowd.facts()),
            uid: rustix::process::geteuid().as_raw(),
            project: settings.identity.region.clone(),
            host: host(&now.addresses),
        };
        Ok(Some(Self { server: Server::local(socket, options), admin: Admin::new(services, about) }))
    }

    /// Serves among `tasks` until `stop` begins.
    pub fn run(self, tasks: &mut JoinSet<()>, stop: &Stop) -> Running {
        let (own, main) = (Stop::default(), stop.clone());
        let (begin, serve, ended) = (own.clone(), own.clone(), Stop::default());
        let done = ended.clone();
        let begins = tasks.spawn(async move {
            main.reached(Phase::Finishing).await;
            begin.begin();
        });
        tasks.spawn(async move {
            let _ = self.server.run(Arc::new(self.admin), serve).await;
            done.cut();
        });
        Running { own, ended, begins }
    }
}

/// The socket while it is served.
pub struct Running {
    own: Stop,
    /// Reached when the server has ended.
    ended: Stop,
    begins: AbortHandle,
}

impl Running {
    /// Waits until requests are answered, if everything else `finished` too, or cuts them; the socket is
    /// gone then.
    pub async fn end(self, finished: bool) {
        self.begins.abort();
        self.own.begin();
        let patience = if finished { LAST_ANSWERS } else { Duration::ZERO };
        if timeout(patience, self.ended.reached(Phase::Cut)).await.is_err() {
            self.own.cut();
            self.ended.reached(Phase::Cut).await;
        }
    }
}

/// How clients name the registry: by its address if that is this host's alone, else by the host's name.
fn host(addresses: &[SocketAddr]) -> String {
    let Some(first) = addresses.first() else { return "localhost".to_owned() };
    if first.ip().is_loopback() {
        return first.to_string();
    }
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if first.port() == 443 { name } else { format!("{name}:{}", first.port()) }
}
