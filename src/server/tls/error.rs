//! What can be wrong with a certificate, in words that say which file and what to do.

use std::io;
use std::path::PathBuf;

use crate::x509::date;

/// Why there is nothing to serve TLS with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {what} from {}: {source}", path.display())]
    Read {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no PEM, or what is in it is not what its label says.
    #[error("{} holds {what} that cannot be understood", path.display())]
    Malformed {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file has no certificate in it.
    #[error("there is no certificate in {} (PEM, BEGIN CERTIFICATE)", .0.display())]
    Empty(PathBuf),
    /// The file has no key in it, or one that is locked by a password.
    #[error(
        "there is no private key in {} (PEM, BEGIN PRIVATE KEY; one under a password must be unlocked before)",
        .0.display()
    )]
    NoKey(PathBuf),
    /// The key is not the certificate's, or of a kind that is not supported.
    #[error("the key in {} does not fit the certificate in {}: {source}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The key is that of a later certificate in the file.
    #[error(
        "the certificates in {} are in the wrong order: the key is that of number {position}, which must come first",
        path.display()
    )]
    NotFirst {
        /// The file.
        path: PathBuf,
        /// The certificate of the key, from 1.
        position: usize,
    },
    /// A certificate did not issue the one before it.
    #[error(
        "the certificates in {} are in the wrong order: number {position} did not issue the one before it. \
         First the server's, then its issuer's, and so on",
        path.display()
    )]
    Order {
        /// The file.
        path: PathBuf,
        /// The certificate that is out of place, from 1.
        position: usize,
    },
    /// The server's certificate has no names.
    #[error(
        "the certificate in {} names no host: clients look at its subjectAltName, which is missing or empty",
        .0.display()
    )]
    Nameless(PathBuf),
    /// A certificate's time is over.
    #[error("certificate {position} in {} expired at {}", path.display(), date(*.at_ms))]
    Expired {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        position: usize,
        /// When, UTC ms since 1970.
        at_ms: u64,
    },
    /// A certificate's time has not come.
    #[error(
        "certificate {position} in {} is not valid before {} (this host's clock says {})",
        path.display(), date(*.at_ms), date(*.now_ms)
    )]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        position: usize,
        /// From when on, UTC ms since 1970.
        at_ms: u64,
        /// What the clock says.
        now_ms: u64,
    },
    /// The CA for clients' certificates cannot be used.
    #[error("clients' certificates cannot be checked with {}: {source}", path.display())]
    Clients {
        /// The CA's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
}
