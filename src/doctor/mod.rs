//! Whether host, settings and appliance fit together: what an operator would look at first, looked at.
//!
//! Words: *facts* are what was found, gathered by each file's `look`; a *finding* is what they mean, told
//! by its `judge` from the facts alone, so that tests can give their own. D1: nothing is changed, no lock
//! is taken and no name is left behind: the appliance may run or start meanwhile. D2: everything ends
//! within seconds. D3: a finding that is not good says what to do. What may not be seen is said, not guessed.
//!
//! Must not open a store, and asks no server but by `/v2/`: what one says on its admin socket is given in. Look
//! next: `host`, `disk`, `clock`, `files`, `store`, `appliance`, `certificate`, `names`, `network`.

mod appliance;
mod certificate;
mod clock;
mod disk;
mod files;
mod host;
mod names;
mod network;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::config::Settings;
use crate::seams::Clock;

pub use appliance::Told;

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and could be better, or might not work one day.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    /// As it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `disk`, `clock` and so on.
    pub check: &'static str,
    /// How good it is.
    pub level: Level,
    /// What is so.
    pub what: String,
    /// What to do about it; none where it is good.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, what: what.into(), advice: None }
    }

    fn warn(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, what: what.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, what: what.into(), advice: Some(advice.into()) }
    }
}

/// What is to be looked at.
pub struct Patient<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// Why what they say of TLS cannot be used, if so.
    pub tls: Option<String>,
    /// The name that clients use, if it is not this host's.
    pub host: Option<&'a str>,
    /// What the running server said of itself, if it could be asked.
    pub told: Option<Told>,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// Looks at everything. Blocks for some seconds at most.
pub fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let settings = patient.settings;
    let data: &Path = &settings.storage.data;
    let now_ms = patient.clock.now_ms();
    let store = store::look(data);
    let runs = store.is_held();
    let mut findings = vec![Finding::ok("settings", "the settings are right")];
    let rows = patient.told.as_ref().and_then(|told| told.rows);
    findings.extend(host::judge(&host::look(data), settings, rows));
    findings.extend(disk::judge(disk::look(data), &settings.storage));
    findings.extend(clock::judge(&clock::look(data, now_ms)));
    findings.extend(files::judge(&files::look(data, settings)));
    findings.extend(store::judge(&store, data));
    findings.extend(appliance::judge(patient.told.as_ref(), crate::version::VERSION));
    let certificate = certificate::look(settings);
    findings.extend(certificate::judge(&certificate, patient, now_ms));
    findings.extend(names::examine(patient));
    findings.extend(network::examine(patient, certificate.roots(), runs));
    findings
}

/// The worst of them.
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

/// The nearest folder above `data` that is there: where it is, or will be made.
fn nearest(data: &Path) -> &Path {
    data.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"))
}
