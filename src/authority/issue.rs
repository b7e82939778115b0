//! What is in the certificates that are made: ECDSA P-256, as every client takes it.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::{BACKDATED_MS, Names};

/// A common name may have 64 characters.
const MOST_COMMON_NAME: usize = 64;

/// From when to when.
#[derive(Clone, Copy)]
pub struct Life {
    from_ms: u64,
    /// The last moment.
    pub until_ms: u64,
}

impl Life {
    /// So long from `now` on, begun a little before.
    pub fn from(now: u64, ms: u64) -> Self {
        Self { from_ms: now.saturating_sub(BACKDATED_MS), until_ms: now.saturating_add(ms) }
    }
}

/// PEM.
pub struct Made {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// A new CA. `id` tells it from others that this host has had: clients find a CA by its name.
pub fn authority(names: &Names, id: &str, life: Life) -> Result<Made, rcgen::Error> {
    let suffix: String = id.chars().take(8).collect();
    let host = host(names).unwrap_or("pierhead");
    let room = MOST_COMMON_NAME - "Pierhead CA  ".len() - suffix.len();
    let host: String = host.chars().take(room).collect();
    let mut params = params(&format!("Pierhead CA {host} {suffix}"), life);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok(Made { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// A server's certificate of the CA of this name and key.
pub fn server(ca: &str, ca_key: &KeyPair, names: &Names, life: Life) -> Result<Made, rcgen::Error> {
    let common_name = host(names).filter(|name| name.len() <= MOST_COMMON_NAME).unwrap_or("pierhead");
    let mut params = params(common_name, life);
    let dns = names.dns.iter().map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)));
    let addresses = names.addresses.iter().map(|address| Ok(SanType::IpAddress(*address)));
    params.subject_alt_names = dns.chain(addresses).collect::<Result<_, rcgen::Error>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = named(ca);
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = params.signed_by(&key, &Issuer::from_params(&issuer, ca_key))?;
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// The name people know the host by: the first that is not every host's.
fn host(names: &Names) -> Option<&str> {
    let own = |name: &&String| name.as_str() != "localhost" && !name.starts_with('*');
    names.dns.iter().find(own).map(String::as_str)
}

fn params(common_name: &str, life: Life) -> CertificateParams {
    let at = |ms: u64| date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(ms / 1000);
    let mut params = CertificateParams::default();
    params.distinguished_name = named(common_name);
    params.not_before = at(life.from_ms);
    params.not_after = at(life.until_ms);
    params
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Whether `key` is the certificate's.
pub fn fits(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
    let told = rcgen::PublicKeyData::subject_public_key_info(key);
    parsed.subject_public_key_info().as_ref() == told.as_slice()
}

/// Whether `pem` holds a certificate and the key that is its own.
pub fn is_whole(pem: &str) -> bool {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
    match (certificate, key) {
        (Ok(certificate), Ok(key)) => {
            CertifiedKey::from_der(vec![certificate], key, &aws_lc_rs::default_provider()).is_ok()
        }
        _ => false,
    }
}

/// Whether the first certificate of `pem` was signed by the CA of `ca`. Dates are another question:
/// it is asked at the moment the certificate begins.
pub fn is_issued(pem: &str, ca: &str) -> bool {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    let (Ok(certificate), Ok(ca)) = (certificate, CertificateDer::from_pem_slice(ca.as_bytes())) else {
        return false;
    };
    let mut roots = rustls::RootCertStore::empty();
    let begins = crate::x509::read(&certificate).map(|facts| facts.not_before_ms / 1000 + 1);
    let (Ok(()), Some(begins)) = (roots.add(ca), begins) else { return false };
    let Ok(parsed) = ParsedCertificate::try_from(&certificate) else { return false };
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(begins));
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms).is_ok()
}
