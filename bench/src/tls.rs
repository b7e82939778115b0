//! TLS: whom the client trusts, and the certificate that registries started by a run serve with.
//! One cipher for every registry, AES-128-GCM, which TLS 1.3 obliges all to have: left to themselves servers choose
//! differently, and the figures would compare ciphers. No session is resumed and only HTTP/1.1 is spoken.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::BenchError;

/// Whom a client trusts, as told on the command line.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Certificates in PEM.
    pub ca: Option<PathBuf>,
    /// Anyone.
    pub insecure: bool,
}

/// A certificate for registries on this machine, and its key.
pub struct Identity {
    certificate: String,
    key: String,
    client: Arc<ClientConfig>,
}

impl Identity {
    /// Makes one, valid for `localhost` and the loopback addresses.
    pub fn new() -> Result<Self, BenchError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).map_err(BenchError::Certificate)?;
        let client = trusting([cert.der().clone()])?;
        Ok(Self { certificate: cert.pem(), key: signing_key.serialize_pem(), client })
    }

    /// Writes `cert.pem` and `key.pem` into a folder; returns their paths.
    pub fn write(&self, folder: &Path) -> Result<(PathBuf, PathBuf), BenchError> {
        let paths = (folder.join("cert.pem"), folder.join("key.pem"));
        let write = |path: &Path, text: &str| std::fs::write(path, text);
        write(&paths.0, &self.certificate)
            .and_then(|()| write(&paths.1, &self.key))
            .map_err(BenchError::io("writing a certificate"))?;
        Ok(paths)
    }

    /// A client that trusts just this certificate.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

/// A client that trusts what it was told to.
pub fn client(trust: &Trust) -> Result<Arc<ClientConfig>, BenchError> {
    match (&trust.ca, trust.insecure) {
        (Some(path), false) => trusting(read(path)?),
        (None, true) => unchecked(),
        _ => Err(BenchError::NoTrust),
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, BenchError> {
    let wrong = |source| BenchError::Pem { path: path.display().to_string(), source };
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(
            |found| {
                if found.is_empty() { Err(rustls::pki_types::pem::Error::NoItemsFound) } else { Ok(found) }
            },
        )
        .map_err(wrong)
}

fn trusting(
    certificates: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<Arc<ClientConfig>, BenchError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(BenchError::Tls)?;
    }
    Ok(finish(builder()?.with_root_certificates(roots).with_no_client_auth()))
}

fn unchecked() -> Result<Arc<ClientConfig>, BenchError> {
    let verifier = Arc::new(Unchecked(provider()));
    Ok(finish(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder() -> Result<Builder, BenchError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(BenchError::Tls)
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() })
}

/// Trusts any certificate whose owner has its key.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    impl Identity {
        /// A server with this certificate, for this crate's tests.
        pub fn server(&self) -> Arc<ServerConfig> {
            let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key");
            let certificate =
                CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate");
            let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
            let builder = builder.with_safe_default_protocol_versions().expect("TLS 1.3");
            Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).expect("a pair"))
        }
    }

    #[test]
    fn a_ca_file_must_hold_a_certificate() {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let (certificate, key) =
            Identity::new().and_then(|made| made.write(folder.path())).expect("a certificate");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing").expect("a file in scratch");
        let table = [
            ("a certificate", certificate, true),
            ("a key", key, false),
            ("neither", empty, false),
            ("no file", folder.path().join("none"), false),
        ];
        for (row, path, right) in table {
            let trust = Trust { ca: Some(path), insecure: false };
            assert_eq!(client(&trust).is_ok(), right, "{row}");
        }
    }

    #[test]
    fn nothing_and_everything_trusted_are_told_apart() {
        assert!(matches!(client(&Trust::default()), Err(BenchError::NoTrust)));
        assert!(client(&Trust { ca: None, insecure: true }).is_ok());
    }
}
