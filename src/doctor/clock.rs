//! The time: dates of certificates, of signatures and of retention hang on it.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use pierhead_storage_format::paths;

use super::Finding;
use crate::x509;

/// 2026-01-01: before that there was no Pierhead.
const SET_MS: u64 = 1_767_225_600_000;
/// How far the clock may be behind what it said before.
const BEHIND_MS: u64 = 5 * 60 * 1000;
/// systemd-timesyncd makes this when it has set the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
/// Entries of a folder that are looked at.
const MOST: usize = 10_000;

pub(super) struct Facts {
    pub(super) now_ms: u64,
    /// When something in the store was last written.
    pub(super) newest_ms: Option<u64>,
    /// Whether a time service is known to have set the clock.
    pub(super) synchronised: bool,
}

pub(super) fn look(data: &Path, now_ms: u64) -> Facts {
    let folders = [data.join(paths::JOURNAL), data.join(paths::SNAPSHOT)];
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().take(MOST);
    let written = entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok());
    let newest = written.filter_map(|at| at.duration_since(UNIX_EPOCH).ok()).max();
    Facts {
        now_ms,
        newest_ms: newest.and_then(|age| u64::try_from(age.as_millis()).ok()),
        synchronised: Path::new(SYNCHRONISED).exists(),
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let now = x509::date(facts.now_ms);
    let advice = "set the clock (timedatectl, chrony); certificates and logins depend on it, and nothing is removed by age until it is right";
    let finding = match facts.newest_ms {
        _ if facts.now_ms < SET_MS => Finding::fail("clock", format!("it says {now}: it is not set"), advice),
        Some(newest) if facts.now_ms + BEHIND_MS < newest => {
            let newest = x509::date(newest);
            Finding::fail("clock", format!("it says {now}, and the store was written at {newest}"), advice)
        }
        _ if facts.synchronised => Finding::ok("clock", format!("it says {now}, set by a time service")),
        _ => {
            Finding::ok("clock", format!("it says {now}; whether a time service sets it cannot be told here"))
        }
    };
    vec![finding]
}
