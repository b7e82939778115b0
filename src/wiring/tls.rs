//! The certificate of a running appliance: from files or from a CA of its own, exchanged for another on
//! SIGHUP, by [`Certificates::reload`], and by itself when it is due. `server` presents it and does
//! not know where it is from; `authority` makes it and does not know who presents it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pierhead_storage_format::paths;

use super::StartError;
use crate::authority::{Authority, AuthorityError, Issued, host};
use crate::causes;
use crate::config::{ClientCertificates, Presented, Settings, TlsSettings};
use crate::jobs::{Job, Jobs};
use crate::seams::{Clock, OsRandom, SystemClock, tasks};
use crate::server::{Clients, Pair, Tls, TlsError};
use crate::stores::authority::AuthorityFiles;
use crate::stores::disk::RealDisk;
use crate::x509;

/// How often it is asked whether the certificate is due: names change, and so do clocks.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How often what an operator must hear is said again, in looks.
const SAY_EVERY: u64 = 144;
/// Days before its end that a configured certificate is spoken of.
const ENDS_SOON_MS: u64 = 14 * 86_400_000;
/// 2026-01-01: a clock that says less is not set, and no date is held against it.
const SET_MS: u64 = 1_767_225_600_000;

/// What is presented now, for the log and for administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedNow {
    /// DNS names and addresses it is for.
    pub names: Vec<String>,
    /// Its end, UTC ms since 1970.
    pub not_after_ms: u64,
}

/// The certificate of a running appliance, or that there is none.
pub struct Certificates {
    settings: TlsSettings,
    http2: bool,
    data: PathBuf,
    clock: Arc<dyn Clock>,
    tls: OnceLock<Arc<Tls>>,
    ca: Arc<ArcSwapOption<String>>,
    /// What is presented; held while it is exchanged, so that exchanges come one after another.
    now: Mutex<Option<PresentedNow>>,
}

impl Certificates {
    /// Reads and checks what is configured, before anything is opened or made.
    pub fn begin(settings: &Settings, lab: bool) -> Result<Arc<Self>, StartError> {
        refuse_plain(settings, lab)?;
        Self::by_clock(settings, Arc::new(SystemClock))
    }

    fn by_clock(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StartError> {
        let this = Self {
            settings: settings.tls.clone(),
            http2: settings.server.http2,
            data: settings.storage.data.clone(),
            clock,
            tls: OnceLock::new(),
            ca: Arc::new(ArcSwapOption::empty()),
            now: Mutex::new(None),
        };
        match settings.tls.presented() {
            Presented::Files(..) => this.present()?,
            Presented::Own => drop(this.clients()?),
            Presented::Nothing => {}
        }
        Ok(Arc::new(this))
    }

    /// What to serve with; none for plain HTTP. The store must be open: the first call makes a CA
    /// and a certificate in it where there are none. Blocks.
    pub fn open(&self) -> Result<Option<Arc<Tls>>, StartError> {
        if self.settings.presented() == Presented::Own && self.tls.get().is_none() {
            self.present()?;
        }
        Ok(self.tls.get().cloned())
    }

    /// Reads the certificate, its key and the clients' CA again, or makes another certificate where
    /// that is due; new connections get it. On an error the one in use stays. None where plain HTTP
    /// is spoken. Blocks.
    pub fn reload(&self) -> Result<Option<PresentedNow>, StartError> {
        if self.tls.get().is_none() {
            return Ok(None);
        }
        self.present()?;
        Ok(self.now.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The CA's certificate, PEM, that `/ca.crt` gives to anybody; none where it is not ours.
    pub fn ca(&self) -> impl Fn() -> Option<Arc<String>> + Send + Sync + 'static {
        let ca = Arc::clone(&self.ca);
        move || ca.load_full()
    }

    /// Lets `jobs` look whether the certificate is due.
    pub fn watch(self: &Arc<Self>, jobs: &Jobs) {
        if self.tls.get().is_none() {
            return;
        }
        let (this, mut looks) = (Arc::clone(self), 0u64);
        let job = Job::every(
            "certificate",
            "renews the appliance's own certificate; warns of one that ends",
            LOOK_EVERY,
        );
        jobs.every(job, move |_| {
            let this = Arc::clone(&this);
            looks += 1;
            let loud = looks.is_multiple_of(SAY_EVERY);
            async move {
                match tasks::blocking(move || this.look(loud)).await {
                    Ok(Ok(())) => Ok(String::new()),
                    Ok(Err(error)) => {
                        let cause: &dyn std::error::Error = &error;
                        tracing::error!(
                            error = cause,
                            "the certificate could not be renewed; the one in use stays"
                        );
                        Err(causes::chain(&error))
                    }
                    Err(panicked) => Err(panicked.to_string()),
                }
            }
        });
    }

    /// Renews a certificate of our own if it is due; says what is to be said of a configured one.
    fn look(&self, loud: bool) -> Result<(), StartError> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if self.settings.presented() == Presented::Own {
            let issued = self.issue()?;
            if loud {
                warn(&issued);
            }
            if issued.made.is_none() {
                return Ok(());
            }
            return self.exchange(&mut now, self.own_pair(&issued)?, &self.clients()?);
        }
        let ends = now.as_ref().map_or(u64::MAX, |now| now.not_after_ms);
        if loud && ends < self.clock.now_ms().saturating_add(ENDS_SOON_MS) {
            tracing::warn!(ends = x509::date(ends), "the certificate ends soon: replace it and send SIGHUP");
        }
        Ok(())
    }

    fn present(&self) -> Result<(), StartError> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let clients = self.clients()?;
        let pair = match self.settings.presented() {
            Presented::Nothing => return Ok(()),
            Presented::Files(certificate, key) => {
                Pair::read(certificate, key, believed(self.clock.as_ref()))?
            }
            Presented::Own => {
                let issued = self.issue()?;
                warn(&issued);
                self.own_pair(&issued)?
            }
        };
        self.exchange(&mut now, pair, &clients)
    }

    fn exchange(
        &self,
        now: &mut Option<PresentedNow>,
        pair: Pair,
        clients: &Clients,
    ) -> Result<(), StartError> {
        let facts = pair.facts();
        let names = facts.dns_names.iter().cloned().chain(facts.addresses.iter().map(ToString::to_string));
        let next = PresentedNow { names: names.collect(), not_after_ms: facts.not_after_ms };
        match self.tls.get() {
            Some(tls) => tls.replace(pair, clients)?,
            None => drop(self.tls.set(Arc::new(Tls::new(pair, clients, self.http2)?))),
        }
        tracing::info!(
            names = next.names.join(" "),
            ends = x509::date(next.not_after_ms),
            "certificate in use"
        );
        *now = Some(next);
        Ok(())
    }

    fn issue(&self) -> Result<Issued, StartError> {
        let disk = Arc::new(RealDisk::new(&self.data));
        let files = AuthorityFiles::new(disk);
        let authority = Authority::new(files, Arc::clone(&self.clock), Arc::new(OsRandom));
        let issued = authority.ensure(&host::names(Path::new("/"), &self.settings.names))?;
        if let Some(why) = issued.made {
            tracing::info!(%why, "made a certificate for the server");
        }
        self.ca.store(Some(Arc::new(issued.ca.clone())));
        Ok(issued)
    }

    /// Dates are the authority's business: where there is no better one, an old one is presented.
    fn own_pair(&self, issued: &Issued) -> Result<Pair, TlsError> {
        let (pem, path) = (issued.server.as_bytes(), self.data.join(paths::TLS_SERVER));
        Pair::parse((pem, &path), (pem, &path), None)
    }

    fn clients(&self) -> Result<Clients, TlsError> {
        let path = &self.settings.client_ca;
        match self.settings.client_certificates {
            ClientCertificates::Off => Ok(Clients::not_asked()),
            ClientCertificates::Optional => Clients::asked(path, false),
            ClientCertificates::Required => Clients::asked(path, true),
        }
    }
}

/// Whether what `[tls]` names could be served with; nothing is made.
pub fn check_tls(settings: &Settings) -> Result<(), StartError> {
    Certificates::begin(settings, false).map(drop)
}

/// The CA's certificate in a data directory, whoever runs it; none if none was made.
pub fn own_ca(data: &Path) -> Result<Option<String>, StartError> {
    let files = AuthorityFiles::new(Arc::new(RealDisk::new(data)));
    Ok(files.certificate().map_err(AuthorityError::from)?)
}

/// `--lab` has a switch of its own for this.
fn refuse_plain(settings: &Settings, lab: bool) -> Result<(), StartError> {
    if lab || settings.tls.plain_http || settings.tls.presented() != Presented::Nothing {
        return Ok(());
    }
    let exposed = settings.server.listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
    exposed.map_or(Ok(()), |address| Err(StartError::PlainHttp(*address)))
}

fn believed(clock: &dyn Clock) -> Option<u64> {
    let now = clock.now_ms();
    if now < SET_MS {
        tracing::warn!("the clock is not set: the dates of the certificate are not looked at");
    }
    (now >= SET_MS).then_some(now)
}

fn warn(issued: &Issued) {
    for warning in &issued.warnings {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::seams::TestClock;

    const DAY_MS: u64 = 86_400_000;
    /// 2027-06-01.
    const NOW: u64 = 1_811_808_000_000;

    fn settings(data: &Path) -> Settings {
        let mut settings = Settings::default();
        settings.storage.data = data.to_owned();
        settings
    }

    fn ends(certificates: &Certificates) -> u64 {
        certificates.now.lock().unwrap().as_ref().unwrap().not_after_ms
    }

    #[test]
    fn a_certificate_of_our_own_is_renewed_while_serving_when_it_is_due() {
        let (data, clock) = (tempfile::tempdir().unwrap(), Arc::new(TestClock::default()));
        clock.set(NOW);
        let certificates = Certificates::by_clock(&settings(data.path()), clock.clone()).unwrap();
        assert!(!data.path().join("tls").exists(), "nothing is made before the store is open");
        assert!(certificates.reload().unwrap().is_none());
        certificates.open().unwrap().unwrap();
        assert_eq!(ends(&certificates), NOW + 365 * DAY_MS);
        let ca = certificates.ca()().unwrap();
        for (day, until) in [(200, 365), (260, 260 + 365), (300, 260 + 365)] {
            clock.set(NOW + day * DAY_MS);
            certificates.look(true).unwrap();
            assert_eq!(ends(&certificates), NOW + until * DAY_MS, "day {day}");
        }
        assert_eq!(certificates.ca()().unwrap(), ca);
    }

    #[test]
    fn a_renewal_that_fails_leaves_the_certificate_in_use() {
        let (data, clock) = (tempfile::tempdir().unwrap(), Arc::new(TestClock::default()));
        clock.set(NOW);
        let certificates = Certificates::by_clock(&settings(data.path()), clock.clone()).unwrap();
        certificates.open().unwrap();
        clock.set(NOW + 300 * DAY_MS);
        std::fs::remove_file(data.path().join(paths::TLS_CA_KEY)).unwrap();
        assert!(certificates.look(false).is_err() && certificates.reload().is_err());
        assert_eq!(ends(&certificates), NOW + 365 * DAY_MS);
    }

    #[test]
    fn plain_http_is_for_loopback_the_lab_and_where_it_is_allowed() {
        let rows = [
            ("TLS anywhere", "0.0.0.0:443", "auto", false, false, true),
            ("plain on loopback", "127.0.0.1:80", "off", false, false, true),
            ("plain on a mapped loopback", "[::ffff:127.0.0.1]:80", "off", false, false, true),
            ("plain anywhere", "0.0.0.0:80", "off", false, false, false),
            ("plain anywhere, allowed", "0.0.0.0:80", "off", true, false, true),
            ("plain for want of a certificate", "[::]:80", "configured", false, false, false),
            ("plain in the lab", "0.0.0.0:80", "off", false, true, true),
        ];
        for (case, listen, mode, plain_http, lab, accepted) in rows {
            let mut settings = settings(Path::new("/nonexistent"));
            settings.server.listen = vec![listen.parse::<SocketAddr>().unwrap()];
            settings.tls.mode = serde_json::from_value(mode.into()).unwrap();
            settings.tls.plain_http = plain_http;
            assert_eq!(Certificates::begin(&settings, lab).is_ok(), accepted, "{case}");
        }
    }
}
