//! The certificate that is presented, or will be: whether it can be, until when, and for whom.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use pierhead_storage_format::paths;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Finding, Patient};
use crate::config::{Presented, Settings};
use crate::x509::{self, Facts as Read};

const DAY_MS: u64 = 86_400_000;
/// Before its end, a certificate of an operator's is spoken of; one of our own is renewed long before.
const SOON_MS: u64 = 30 * DAY_MS;
/// And a CA, which every client must be told of.
const CA_SOON_MS: u64 = 365 * DAY_MS;

pub(super) enum Facts {
    /// Plain HTTP.
    Plain,
    /// A certificate of our own, not made yet.
    Unmade,
    /// It cannot be read by this user, or is none.
    Unread(String),
    /// The certificate first, then those above it.
    Known { chain: Vec<CertificateDer<'static>>, ca: Option<CertificateDer<'static>> },
}

impl Facts {
    /// What a client would trust: our own CA, or what an operator's certificate comes with.
    pub(super) fn roots(&self) -> Vec<CertificateDer<'static>> {
        match self {
            Self::Known { ca: Some(ca), .. } => vec![ca.clone()],
            Self::Known { chain, ca: None } => chain.clone(),
            _ => Vec::new(),
        }
    }
}

pub(super) fn look(settings: &Settings) -> Facts {
    let data = &settings.storage.data;
    let (path, own) = match settings.tls.presented() {
        Presented::Nothing => return Facts::Plain,
        Presented::Files(path, _) => (path.to_owned(), false),
        Presented::Own => (data.join(paths::TLS_SERVER), true),
    };
    let chain = match read(&path) {
        Ok(chain) => chain,
        Err(error) if own && error.kind() == io::ErrorKind::NotFound => return Facts::Unmade,
        Err(error) => return Facts::Unread(format!("{}: {error}", path.display())),
    };
    let ca = own.then(|| read(&data.join(paths::TLS_CA)).unwrap_or_else(|_| Vec::new()));
    Facts::Known { chain, ca: ca.and_then(|found| found.into_iter().next()) }
}

fn read(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(path)?;
    Ok(CertificateDer::pem_slice_iter(&pem).map_while(Result::ok).collect())
}

pub(super) fn judge(facts: &Facts, patient: &Patient<'_>, now_ms: u64) -> Vec<Finding> {
    let check = "certificate";
    if let Some(why) = &patient.tls {
        return vec![Finding::fail(check, why.clone(), "docs/tls.md says how a certificate is set")];
    }
    match facts {
        Facts::Plain => vec![Finding::ok(check, "none: plain HTTP")],
        Facts::Unmade => vec![Finding::ok(check, "none yet; the first start makes one, and a CA")],
        Facts::Unread(why) => {
            vec![Finding::warn(check, why.clone(), "run this as root or as the service's user")]
        }
        Facts::Known { chain, ca } => {
            let Some(read) = chain.first().and_then(|first| x509::read(first)) else {
                return vec![Finding::fail(
                    check,
                    "it cannot be read",
                    "put another one in its place (docs/tls.md)",
                )];
            };
            let mut findings = vec![validity(&read, ca.is_some(), now_ms), names(&read, patient)];
            findings.extend(ca.as_ref().and_then(|ca| x509::read(ca)).map(|ca| authority(&ca, now_ms)));
            findings
        }
    }
}

fn validity(read: &Read, own: bool, now_ms: u64) -> Finding {
    let (check, begins, ends) =
        ("certificate", x509::date(read.not_before_ms), x509::date(read.not_after_ms));
    let advice = if own {
        "is the server running, and its clock right? A restart makes another certificate"
    } else {
        "replace tls.certificate and tls.key, then: pierhead reload"
    };
    if now_ms < read.not_before_ms {
        Finding::fail(check, format!("it is not valid before {begins}"), advice)
    } else if now_ms > read.not_after_ms {
        Finding::fail(check, format!("it ended at {ends}"), advice)
    } else if now_ms + SOON_MS > read.not_after_ms {
        Finding::warn(check, format!("it ends at {ends}"), advice)
    } else {
        Finding::ok(check, format!("it is valid until {ends}"))
    }
}

fn names(read: &Read, patient: &Patient<'_>) -> Finding {
    let host = super::network::name_of(patient);
    let all = read.dns_names.iter().cloned().chain(read.addresses.iter().map(ToString::to_string));
    let all = all.collect::<Vec<_>>().join(" ");
    if covers(read, &host) {
        return Finding::ok("certificate", format!("it is for {host} (and: {all})"));
    }
    let what = format!("it is not for {host}, but for: {all}");
    let advice = format!(
        "clients that ask for {host} refuse it: add the name to tls.names and restart, or take a certificate that has it; \
         if clients use another name, give it with --host"
    );
    if patient.host.is_some() {
        Finding::fail("certificate", what, advice)
    } else {
        Finding::warn("certificate", what, advice)
    }
}

/// As clients compare: an address is an address, `*.x` stands for one part.
pub(super) fn covers(read: &Read, host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return read.addresses.contains(&address);
    }
    let host = host.to_ascii_lowercase();
    read.dns_names.iter().map(|name| name.to_ascii_lowercase()).any(|name| match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest == parent),
        None => name == host,
    })
}

fn authority(read: &Read, now_ms: u64) -> Finding {
    let ends = x509::date(read.not_after_ms);
    if now_ms + CA_SOON_MS > read.not_after_ms {
        let advice = "take another CA in good time (docs/tls.md): every client must be told";
        return Finding::warn("certificate", format!("the CA of the appliance ends at {ends}"), advice);
    }
    Finding::ok("certificate", format!("the CA of the appliance is valid until {ends}"))
}
