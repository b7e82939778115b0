//! Whether host, settings and appliance fit together: what an operator would look at first, looked at.
//!
//! Words: *facts* are what was found, gathered by each file's `look`; a *finding* is what they mean, told
//! by its `judge` from the facts alone, so that tests can give their own. D1: nothing is changed, no lock
//! is taken and no name is left behind: the appliance may run or start meanwhile. D2: everything ends
//! within seconds. D3: a finding that is not good says what to do. What may not be seen is said, not guessed.
//!
//! Must not open a store. Look next: `host`, `disk`, `clock`, `files`, `store`, `certificate`, `network`.

mod certificate;
mod clock;
mod disk;
mod files;
mod host;
mod network;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::config::Settings;
use crate::seams::Clock;

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
    findings.extend(host::judge(&host::look(data), &settings.server));
    findings.extend(disk::judge(disk::look(data), &settings.storage));
    findings.extend(clock::judge(&clock::look(data, now_ms)));
    findings.extend(files::judge(&files::look(data, settings)));
    findings.extend(store::judge(&store, data));
    let certificate = certificate::look(settings);
    findings.extend(certificate::judge(&certificate, patient, now_ms));
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
