//! `[identity]`: who may sign in, and how.

use std::path::PathBuf;

use pierhead_storage_format::paths;
use serde::{Deserialize, Serialize};

use super::Period;

/// `[identity]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySettings {
    /// The file with the keys that secrets are sealed under; below the data directory unless it is
    /// absolute.
    pub key_file: PathBuf,
    /// What the appliance calls itself as a region: the project in login commands.
    pub region: String,
    /// Whether user name and password sign in where docker does.
    pub passwords: bool,
    /// Passwords checked at a time; at least 1. Each takes 19 MiB and some 20 ms of a core.
    pub password_checks: u32,
    /// How long a token of the registry lasts.
    pub token_lifetime: Period,
    /// How long a token of the management API lasts.
    pub api_token_lifetime: Period,
    /// How long a temporary login lasts.
    pub login_lifetime: Period,
    /// How far the clocks of those who sign requests may be off.
    pub clock_skew: Period,
    /// Whether developers make organisations.
    pub developers_create_organisations: bool,
    /// Organisations an account may own.
    pub organisations_per_account: u32,
    /// Accounts a repository may be shared with.
    pub shares_per_repository: u32,
    /// Access keys a user may have.
    pub keys_per_user: u32,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            key_file: PathBuf::from(paths::KEY_FILE),
            region: "region-1".to_owned(),
            passwords: true,
            password_checks: 2,
            token_lifetime: Period::from_secs(900),
            api_token_lifetime: Period::from_secs(86_400),
            login_lifetime: Period::from_secs(6 * 3600),
            clock_skew: Period::from_secs(900),
            developers_create_organisations: true,
            organisations_per_account: 1000,
            shares_per_repository: 500,
            keys_per_user: 2,
        }
    }
}

impl IdentitySettings {
    /// The first key whose value makes no sense, and why.
    pub(super) fn misfit(&self) -> Option<(&'static str, &'static str)> {
        let never = "must be more than nothing";
        let day = "must be a minute to 24 hours";
        let within_day = |period: Period| (60_000..=86_400_000).contains(&period.as_ms());
        let named = !self.region.is_empty()
            && self.region.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        let rows = [
            (self.key_file.as_os_str().is_empty(), "key_file", "must name a file"),
            (!named, "region", "must be letters, digits, '-', '_' and '.'"),
            (self.password_checks == 0, "password_checks", never),
            (!within_day(self.token_lifetime), "token_lifetime", day),
            (!within_day(self.api_token_lifetime), "api_token_lifetime", day),
            (!within_day(self.login_lifetime), "login_lifetime", day),
            (self.clock_skew.as_ms() == 0, "clock_skew", never),
        ];
        rows.into_iter().find(|(wrong, ..)| *wrong).map(|(_, key, message)| (key, message))
    }
}
