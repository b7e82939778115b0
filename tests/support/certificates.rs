//! Self-signed certificates for tests.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use std::fs;
use std::path::Path;

/// Writes a new certificate for this host and its key to `cert.pem` and `key.pem` in `folder`, over
/// what is there: the certificate.
pub fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let CertifiedKey { cert, signing_key } = made.expect("a certificate");
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).expect("a file in scratch");
    fs::write(folder.join("cert.pem"), cert.pem()).expect("a file in scratch");
    cert.der().clone()
}

/// The settings that serve what [`renew`] wrote.
pub fn settings(folder: &Path) -> super::Settings {
    let path = |name: &str| folder.join(name).to_str().expect("a plain path").to_owned();
    super::Settings::default().set("TLS_CERTIFICATE", &path("cert.pem")).set("TLS_KEY", &path("key.pem"))
}
