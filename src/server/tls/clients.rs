//! Certificates that clients show.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::pair::{certificates, read_file};
use super::{TlsError, provider};
use crate::x509;

/// Whether clients are asked for a certificate, and who must have issued it.
#[derive(Clone)]
pub struct Clients(Asked);

#[derive(Clone)]
enum Asked {
    Not,
    For { roots: Arc<RootCertStore>, required: bool, path: PathBuf },
}

impl Clients {
    /// They are not asked.
    pub fn not_asked() -> Self {
        Self(Asked::Not)
    }

    /// They are asked for one issued by a CA in the PEM file `path`. Without one they are refused
    /// where it is `required`; with one of another issuer, or an expired one, always.
    pub fn asked(path: &Path, required: bool) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&read_file("a CA certificate", path)?, path)? {
            let malformed = |_| TlsError::Malformed { what: "a CA certificate", path: path.to_owned() };
            roots.add(root).map_err(malformed)?;
        }
        Ok(Self(Asked::For { roots: Arc::new(roots), required, path: path.to_owned() }))
    }

    pub(super) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let Asked::For { roots, required, path } = &self.0 else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider());
        let builder = if *required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|source| TlsError::Clients { path: path.clone(), source })
    }
}

/// The common name of the certificate a client showed, which was verified by then.
pub fn common_name(shown: Option<&[CertificateDer<'_>]>) -> Option<Arc<str>> {
    let facts = shown.and_then(<[_]>::first).and_then(|first| x509::read(first))?;
    facts.common_name.map(Arc::from)
}
