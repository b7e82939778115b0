//! The appliance's own certification authority: a CA made on the first start, and a certificate of
//! its for the server, made again when it is due. Clients trust the CA once; the rest goes by itself.
//!
//! Words: the *CA* is `tls/ca.crt` and its key; the *server's certificate* is `tls/server.pem`; a
//! certificate is *due* when a third of its life is left, when it does not name what it should, or
//! when it cannot be used. A1: a CA that is there is never replaced: clients trust it. A2: what is
//! in use is durable. A3: certificates begin a day before they are made, so that a client whose
//! clock is late takes them. A4: a clock from before this program was written is taken for unset,
//! and the year it was written for now. A5: names that went away do not make a certificate due.
//! Must not know who serves with it, nor touch a file but through `stores::authority`.
//! Look next: `issue` (what is in the certificates), `host` (the names), `x509` (reading them).

pub mod host;
mod issue;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::seams::{Clock, Random};
use crate::stores::authority::{AuthorityFiles, FileError};
use crate::x509::{self, Facts};

const DAY_MS: u64 = 86_400_000;
/// The life of the CA: about ten years.
const CA_LIFE_MS: u64 = 3652 * DAY_MS;
/// The life of the server's certificate. Some clients take no longer one than 398 days.
const SERVER_LIFE_MS: u64 = 365 * DAY_MS;
/// How long before they are made certificates begin.
const BACKDATED_MS: u64 = DAY_MS;
/// 2026-01-01: no clock is right that says less.
const WRITTEN_MS: u64 = 1_767_225_600_000;
/// From when on before its end the CA is spoken of.
const CA_ENDS_SOON_MS: u64 = 365 * DAY_MS;

/// What a server's certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names, lower case; a first part may be `*`.
    pub dns: BTreeSet<String>,
    /// Addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// The CA and the server's certificate as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The CA's certificate, PEM: what clients are given.
    pub ca: String,
    /// The server's certificate and its private key, PEM.
    pub server: String,
    /// What the server's certificate says.
    pub facts: Facts,
    /// Why it was made just now; none if it was there.
    pub made: Option<Due>,
    /// What an operator must hear.
    pub warnings: Vec<Warning>,
}

/// Why a server's certificate is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Due {
    /// There was none.
    #[error("there was none")]
    Absent,
    /// What was there cannot be read, or its key is another's.
    #[error("what was there could not be used")]
    Unusable,
    /// It is of another CA.
    #[error("it was issued by another CA")]
    Foreign,
    /// A third of its life is left, or less.
    #[error("a third of its life was left, or less")]
    EndsSoon,
    /// It is not valid yet: a clock was wrong when it was made, or is wrong now.
    #[error("it was not valid yet: a clock was wrong")]
    NotYetValid,
    /// It does not name all it should.
    #[error("the names or addresses of this host changed")]
    Names,
}

/// What an operator must hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The clock says a time before this program was written.
    #[error("the clock is not set: certificates are dated from the beginning of 2026")]
    ClockUnset,
    /// The CA is not valid yet: a clock was ahead when it was made, or is behind now.
    #[error(
        "clients refuse the CA before {}: the clock was wrong when it was made, or is now. If the clock is right, \
         remove tls/ca.crt and tls/ca.key and restart", x509::date(*.0)
    )]
    AuthorityNotYetValid(u64),
    /// The CA ends within a year, or has ended. It goes on being used: only a person can give clients another.
    #[error(
        "the CA ends at {}: remove tls/ca.crt and tls/ca.key, restart, and let clients trust the new one \
         (`pierhead trust`)", x509::date(*.0)
    )]
    AuthorityEnds(u64),
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The CA's files are not what they should be.
    #[error(
        "the CA cannot be used: {0}. Put tls/ca.crt and tls/ca.key back as they were, or remove both: \
         a new CA is made then, which clients must be told to trust"
    )]
    Damaged(&'static str),
    /// The library will not make it.
    #[error("cannot make a certificate")]
    Issue(#[from] rcgen::Error),
    /// There is no randomness.
    #[error("cannot make a certificate")]
    Random(#[source] std::io::Error),
}

/// The CA of a data directory.
pub struct Authority {
    files: AuthorityFiles,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Authority {
    /// The one whose files these are; nothing is read or made yet.
    pub fn new(files: AuthorityFiles, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { files, clock, random }
    }

    /// The CA and a certificate for `names`: those there are, or new ones where there are none or
    /// they are due. Blocks; one caller at a time.
    pub fn ensure(&self, names: &Names) -> Result<Issued, AuthorityError> {
        let clock = self.clock.now_ms();
        let now = clock.max(WRITTEN_MS);
        let ca = self.ca(now, names)?;
        let mut warnings = Vec::new();
        if clock < WRITTEN_MS {
            warnings.push(Warning::ClockUnset);
        }
        if ca.facts.not_before_ms > now {
            warnings.push(Warning::AuthorityNotYetValid(ca.facts.not_before_ms));
        }
        if ca.facts.not_after_ms < now + CA_ENDS_SOON_MS {
            warnings.push(Warning::AuthorityEnds(ca.facts.not_after_ms));
        }
        let kept = self.files.server()?;
        let (facts, due) = judge(kept.as_deref(), &ca, names, now);
        let (server, facts) = match (kept, facts, due) {
            (Some(server), Some(facts), None) => (server, facts),
            _ => self.renew(&ca, names, now)?,
        };
        Ok(Issued { ca: ca.pem, server, facts, made: due, warnings })
    }

    fn ca(&self, now: u64, names: &Names) -> Result<Ca, AuthorityError> {
        let (pem, key) = (self.files.certificate()?, self.files.key()?);
        match (pem, key) {
            (Some(pem), Some(key)) => Ca::read(pem, &key),
            (Some(_), None) => Err(AuthorityError::Damaged("tls/ca.key is missing")),
            // A key alone is what a stop while the first CA was written leaves.
            (None, _) => {
                let id = self.random.id().map_err(AuthorityError::Random)?;
                let made = issue::authority(names, &id, issue::Life::from(now, CA_LIFE_MS))?;
                self.files.keep_authority(&made.certificate, &made.key)?;
                Ca::read(made.certificate, &made.key)
            }
        }
    }

    fn renew(&self, ca: &Ca, names: &Names, now: u64) -> Result<(String, Facts), AuthorityError> {
        let mut life = issue::Life::from(now, SERVER_LIFE_MS);
        life.until_ms = life.until_ms.min(ca.facts.not_after_ms);
        let made = issue::server(ca.common_name(), &ca.key, names, life)?;
        let pem = format!("{}{}", made.certificate, made.key);
        let facts = facts_of(&pem).ok_or(AuthorityError::Damaged("what it issued cannot be read"))?;
        self.files.keep_server(&pem)?;
        Ok((pem, facts))
    }
}

/// A CA that was read.
struct Ca {
    pem: String,
    key: rcgen::KeyPair,
    facts: Facts,
}

impl Ca {
    fn read(pem: String, key: &str) -> Result<Self, AuthorityError> {
        let damaged = AuthorityError::Damaged;
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|_| damaged("tls/ca.crt holds no certificate"))?;
        let facts = x509::read(&der).ok_or(damaged("tls/ca.crt cannot be read"))?;
        let key = rcgen::KeyPair::from_pem(key).map_err(|_| damaged("tls/ca.key holds no private key"))?;
        if !issue::fits(&der, &key) {
            return Err(damaged("tls/ca.key is not the key of tls/ca.crt"));
        }
        if facts.common_name.is_none() {
            return Err(damaged("tls/ca.crt has no common name"));
        }
        Ok(Self { pem, key, facts })
    }

    fn common_name(&self) -> &str {
        self.facts.common_name.as_deref().unwrap_or_default()
    }
}

fn facts_of(pem: &str) -> Option<Facts> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok().and_then(|der| x509::read(&der))
}

/// What a kept certificate says, and why it is due, if it is.
fn judge(kept: Option<&str>, ca: &Ca, names: &Names, now: u64) -> (Option<Facts>, Option<Due>) {
    let Some(kept) = kept else { return (None, Some(Due::Absent)) };
    let Some(facts) = facts_of(kept).filter(|_| issue::is_whole(kept)) else {
        return (None, Some(Due::Unusable));
    };
    // A life cut short by the CA's end cannot be made longer.
    let life = facts.not_after_ms.saturating_sub(facts.not_before_ms);
    let cannot_be_longer = facts.not_after_ms >= ca.facts.not_after_ms;
    let due = if facts.issuer != ca.facts.subject || !issue::is_issued(kept, &ca.pem) {
        Some(Due::Foreign)
    } else if facts.not_before_ms > now {
        Some(Due::NotYetValid)
    } else if !cannot_be_longer && facts.not_after_ms.saturating_sub(now) <= life / 3 {
        Some(Due::EndsSoon)
    } else if !names.are_in(&facts) {
        Some(Due::Names)
    } else {
        None
    };
    (Some(facts), due)
}

impl Names {
    fn are_in(&self, facts: &Facts) -> bool {
        self.dns.iter().all(|name| facts.dns_names.contains(name))
            && self.addresses.iter().all(|address| facts.addresses.contains(address))
    }
}

#[cfg(test)]
mod tests;
