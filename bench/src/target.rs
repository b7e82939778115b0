//! Where a registry listens, and how it is spoken to: plain HTTP or TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::error::BenchError;
use crate::tls::{self, Identity, Trust};

/// Where a registry listens.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    host: HeaderValue,
    tls: Option<Tls>,
    source: Option<IpAddr>,
}

/// How a TLS connection is begun.
#[derive(Clone)]
pub struct Tls {
    /// What is trusted and spoken.
    pub config: Arc<ClientConfig>,
    /// Whom the certificate must name.
    pub name: ServerName<'static>,
}

impl Target {
    /// A registry on this machine; over TLS if it was given this run's certificate.
    pub fn local(address: SocketAddr, identity: Option<&Identity>) -> Self {
        let digits = Bytes::from(address.to_string());
        // An address is written in digits, dots, colons and brackets: a header value always.
        let host = HeaderValue::from_maybe_shared(digits).unwrap_or(HeaderValue::from_static("localhost"));
        let name = ServerName::from(address.ip());
        let tls = identity.map(|identity| Tls { config: identity.client(), name });
        Self { address, host, tls, source: None }
    }

    /// The same, spoken to from this address of this machine.
    pub fn coming_from(&self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self.clone() }
    }

    /// Reads `http://host[:port]` or `https://host[:port]`, looking the host up.
    pub async fn from_url(url: &str, trust: &Trust) -> Result<Self, BenchError> {
        let wrong = |why| BenchError::Url { url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        let encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it has to begin with http:// or https://")),
        };
        if !matches!(uri.path(), "" | "/") {
            return Err(wrong("the host alone is wanted, without a path"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("not a host"))?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let tls = match encrypted {
            true => {
                Some(Tls { config: tls::client(trust)?, name: server_name(name).ok_or(wrong("no name"))? })
            }
            false => None,
        };
        let mut found = tokio::net::lookup_host((name, port))
            .await
            .map_err(BenchError::io(format!("looking up {name}")))?;
        let address = found.next().ok_or_else(|| wrong("the host has no address"))?;
        Ok(Self { address, host, tls, source: None })
    }

    /// The socket's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where connections come from; `None` for wherever the system says.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// For the `Host` header.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// `None` for plain HTTP.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }
}

fn server_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_root_of_a_host_is_driven_and_tls_only_with_something_to_trust() {
        let nothing = Trust::default();
        let anyone = Trust { insecure: true, ..Trust::default() };
        let table = [
            ("port", "http://127.0.0.1:5000", &nothing, true),
            ("slash", "http://127.0.0.1:5000/", &nothing, true),
            ("no port", "http://127.0.0.1", &nothing, true),
            ("address of version 6", "http://[::1]:5000", &nothing, true),
            ("path", "http://127.0.0.1/v2/", &nothing, false),
            ("tls, nothing trusted", "https://127.0.0.1", &nothing, false),
            ("tls, anyone trusted", "https://127.0.0.1", &anyone, true),
            ("tls of version 6", "https://[::1]:5000", &anyone, true),
            ("another scheme", "ftp://127.0.0.1", &anyone, false),
            ("no scheme", "127.0.0.1:5000", &anyone, false),
            ("empty", "", &anyone, false),
        ];
        for (row, url, trust, driven) in table {
            let target = Target::from_url(url, trust).await;
            assert_eq!(target.is_ok(), driven, "{row}");
            let encrypted = url.starts_with("https");
            assert!(target.is_ok_and(|target| target.tls().is_some() == encrypted) || !driven, "{row}");
        }
    }

    #[tokio::test]
    async fn ports_are_those_of_the_scheme() {
        let trust = Trust { insecure: true, ..Trust::default() };
        for (url, port) in [("http://127.0.0.1", 80), ("https://127.0.0.1", 443), ("https://127.0.0.1:5", 5)]
        {
            let target = Target::from_url(url, &trust).await.expect("this is a host");
            assert_eq!(target.address().port(), port, "{url}");
        }
    }
}
