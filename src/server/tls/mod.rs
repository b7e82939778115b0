//! TLS 1.2 and 1.3: the certificate that is presented, and whether clients show one of theirs. Both
//! are exchanged for new ones while serving, all at once: new connections get the new, open ones keep
//! what they began with. What cannot be used never gets here: a [`Pair`] and [`Clients`] are checked
//! when they are made. Where they come from is not known here.

mod clients;
mod error;
mod pair;

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::SingleCertAndKey;
use tokio_rustls::TlsAcceptor;

pub use clients::Clients;
pub(super) use clients::common_name;
pub use error::TlsError;
pub use pair::Pair;

/// What new connections are offered.
pub struct Tls {
    current: ArcSwap<ServerConfig>,
    http2: bool,
}

impl Tls {
    /// Presents `pair`; `http2` says whether HTTP/2 is offered beside HTTP/1.1.
    pub fn new(pair: Pair, clients: &Clients, http2: bool) -> Result<Self, TlsError> {
        Ok(Self { current: ArcSwap::from(offer(pair, clients, http2)?), http2 })
    }

    /// Presents another pair from the next connection on, and asks clients as `clients` says.
    /// On an error everything stays as it was.
    pub fn replace(&self, pair: Pair, clients: &Clients) -> Result<(), TlsError> {
        self.current.store(offer(pair, clients, self.http2)?);
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

/// Sessions are kept with the offer they were made under, so that none outlives a CA that clients
/// were trusted by.
fn offer(pair: Pair, clients: &Clients, http2: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(clients.verifier()?)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair.into_certified())));
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
