//! A certificate with what is between it and the root, and its key, found fit to be presented.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{TlsError, provider};
use crate::x509::{self, Facts};

/// A chain of certificates is a few KiB.
const MOST: u64 = 1 << 20;

/// A certificate and its key that can be presented.
#[derive(Debug)]
pub struct Pair {
    certified: CertifiedKey,
    facts: Facts,
}

impl Pair {
    /// Reads both files (which may be one) and checks them. `now_ms` is the time by which the
    /// certificates must be valid; none where the clock is not to be believed.
    pub fn read(certificate: &Path, key: &Path, now_ms: Option<u64>) -> Result<Self, TlsError> {
        let chain = read_file("a certificate", certificate)?;
        let private = read_file("a private key", key)?;
        Self::parse((&chain, certificate), (&private, key), now_ms)
    }

    /// As [`Pair::read`], from PEM at hand; the paths are for the messages.
    pub fn parse(
        (chain, certificate): (&[u8], &Path),
        (private, key): (&[u8], &Path),
        now_ms: Option<u64>,
    ) -> Result<Self, TlsError> {
        let chain = certificates(chain, certificate)?;
        let private = PrivateKeyDer::from_pem_slice(private).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey(key.to_owned()),
            _ => TlsError::Malformed { what: "a private key", path: key.to_owned() },
        })?;
        let all: Option<Vec<Facts>> = chain.iter().map(|one| x509::read(one)).collect();
        let malformed = || TlsError::Malformed { what: "a certificate", path: certificate.to_owned() };
        let all = all.ok_or_else(malformed)?;
        let certified = fit(chain, private, certificate, key)?;
        in_order(&all, certificate)?;
        if let Some(now) = now_ms {
            valid(&all, certificate, now)?;
        }
        let facts = all.into_iter().next().ok_or_else(malformed)?;
        if facts.is_nameless() {
            return Err(TlsError::Nameless(certificate.to_owned()));
        }
        Ok(Self { certified, facts })
    }

    /// What the server's certificate says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn into_certified(self) -> CertifiedKey {
        self.certified
    }
}

pub fn read_file(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let bytes = File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    });
    bytes.map_err(|source| TlsError::Read { what, path: path.to_owned(), source })
}

pub fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|_| TlsError::Malformed { what: "a certificate", path: path.to_owned() })?;
    if all.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(all) }
}

/// The chain with its key; where the key is that of a later certificate, that is said.
fn fit(
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
    certificate: &Path,
    key: &Path,
) -> Result<CertifiedKey, TlsError> {
    let provider = provider();
    let fits = |one: &CertificateDer<'static>| {
        CertifiedKey::from_der(vec![one.clone()], private.clone_key(), &provider).is_ok()
    };
    let position = chain.iter().position(fits).map_or(1, |index| index + 1);
    if position > 1 {
        return Err(TlsError::NotFirst { path: certificate.to_owned(), position });
    }
    CertifiedKey::from_der(chain, private, &provider).map_err(|source| TlsError::Mismatch {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

fn in_order(all: &[Facts], path: &Path) -> Result<(), TlsError> {
    match all.windows(2).position(|pair| pair[0].issuer != pair[1].subject) {
        None => Ok(()),
        Some(index) => Err(TlsError::Order { path: path.to_owned(), position: index + 2 }),
    }
}

fn valid(all: &[Facts], path: &Path, now_ms: u64) -> Result<(), TlsError> {
    for (facts, position) in all.iter().zip(1..) {
        let path = || path.to_owned();
        if facts.not_after_ms < now_ms {
            return Err(TlsError::Expired { path: path(), position, at_ms: facts.not_after_ms });
        }
        if facts.not_before_ms > now_ms {
            let at_ms = facts.not_before_ms;
            return Err(TlsError::NotYetValid { path: path(), position, at_ms, now_ms });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// 2027-06-01.
    const NOW: u64 = 1_811_808_000_000;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["r.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2027, 1, 1), date_time_ymd(2028, 1, 1));
        params
    }

    fn ca(name: &str, by: Option<&CertifiedIssuer<'static, KeyPair>>) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = params(name);
        params.subject_alt_names.clear();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        match by {
            None => CertifiedIssuer::self_signed(params, key).unwrap(),
            Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer).unwrap(),
        }
    }

    /// Name of the case, certificates, key, and words of the error (none if there is no error).
    type Row = (&'static str, String, String, &'static str);

    fn rows() -> Vec<Row> {
        let (root, key) = (ca("root", None), KeyPair::generate().unwrap());
        let middle = ca("middle", Some(&root));
        let leaf = |change: fn(&mut CertificateParams)| {
            let mut params = params("leaf");
            change(&mut params);
            params.signed_by(&key, &middle).unwrap().pem()
        };
        let good = leaf(|_| ());
        let (root, middle) = (root.pem(), middle.pem());
        let full = format!("{good}{middle}{root}");
        let (pem, other) = (key.serialize_pem(), KeyPair::generate().unwrap().serialize_pem());
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let row = |name, chain: &str, key: &str, words| (name, chain.to_owned(), key.to_owned(), words);
        vec![
            row("alone", &good, &pem, ""),
            row("with its issuers", &full, &pem, ""),
            row("key in the same file", &format!("{pem}{full}"), &format!("{pem}{full}"), ""),
            row(
                "expired",
                &leaf(|p| p.not_after = date_time_ymd(2027, 5, 31)),
                &pem,
                "certificate 1 in c.pem expired at 2027-05-31 00:00 UTC",
            ),
            row(
                "not yet valid",
                &leaf(|p| p.not_before = date_time_ymd(2027, 7, 1)),
                &pem,
                "not valid before 2027-07-01 00:00 UTC (this host's clock says 2027-06-01",
            ),
            row("no names", &leaf(|p| p.subject_alt_names.clear()), &pem, "c.pem names no host"),
            row("another's key", &good, &other, "the key in k.pem does not fit the certificate in c.pem"),
            row(
                "the server's last",
                &format!("{root}{middle}{good}"),
                &pem,
                "wrong order: the key is that of number 3",
            ),
            row(
                "issuers exchanged",
                &format!("{good}{root}{middle}"),
                &pem,
                "wrong order: number 2 did not issue",
            ),
            row("one is missing", &format!("{good}{root}"), &pem, "number 2 did not issue the one before it"),
            row("no certificate", "hello", &pem, "no certificate in c.pem"),
            row("a key for a certificate", &pem, &pem, "no certificate in c.pem"),
            row("damaged certificate", broken, &pem, "c.pem holds a certificate that cannot be understood"),
            row(
                "damaged PEM",
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                &pem,
                "c.pem holds",
            ),
            row("cut PEM", &good[..200], &pem, "c.pem holds"),
            row("no key", &good, &good, "no private key in k.pem"),
            row("a key under a password", &good, locked, "must be unlocked"),
            row("damaged key", &good, &pem.replace('M', "A"), "k.pem"),
        ]
    }

    fn parse(chain: &str, key: &str, now_ms: Option<u64>) -> Result<Pair, TlsError> {
        Pair::parse((chain.as_bytes(), Path::new("c.pem")), (key.as_bytes(), Path::new("k.pem")), now_ms)
    }

    #[test]
    fn a_pair_that_could_not_be_served_is_refused_in_words() {
        for (case, chain, key, words) in rows() {
            match parse(&chain, &key, Some(NOW)) {
                Ok(pair) => {
                    assert_eq!(words, "", "{case}: accepted");
                    assert_eq!(pair.facts().dns_names, ["r.example"], "{case}");
                }
                Err(error) => {
                    assert!(!words.is_empty() && error.to_string().contains(words), "{case}: {error}");
                }
            }
        }
    }

    #[test]
    fn dates_are_not_looked_at_by_a_clock_that_is_not_set() {
        for (case, chain, key, _) in rows().iter().filter(|row| ["expired", "not yet valid"].contains(&row.0))
        {
            assert!(parse(chain, key, None).is_ok(), "{case}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (none, large) = (folder.path().join("none.pem"), folder.path().join("large.pem"));
        std::fs::write(&large, vec![b' '; (1 << 20) + 1]).unwrap();
        for (path, words) in
            [(&none, "No such file"), (&large, "too large"), (&folder.path().to_owned(), "directory")]
        {
            let error = Pair::read(path, path, Some(NOW)).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
