//! `[protection]`: how much anybody may ask, and what gets him banned.

use serde::{Deserialize, Serialize};

use super::{Cidr, Period, Rate};

/// `[protection]`. All of it can be read again while the appliance runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProtectionSettings {
    /// Networks that are held to no rate and not banned.
    pub trusted: Vec<Cidr>,
    /// Requests of everybody.
    pub ceiling: Rate,
    /// Sign-ins from one address.
    pub address_sign_in: Rate,
    /// Reads from one address.
    pub address_read: Rate,
    /// Writes from one address.
    pub address_write: Rate,
    /// Management requests from one address.
    pub address_manage: Rate,
    /// Tokens for one user.
    pub user_sign_in: Rate,
    /// Reads of one user.
    pub user_read: Rate,
    /// Writes of one user.
    pub user_write: Rate,
    /// Management requests of one user.
    pub user_manage: Rate,
    /// Tokens for one account.
    pub account_sign_in: Rate,
    /// Reads of one account.
    pub account_read: Rate,
    /// Writes of one account.
    pub account_write: Rate,
    /// Management requests of one account.
    pub account_manage: Rate,
    /// Whether the appliance bans by itself.
    pub bans: bool,
    /// Refused requests, as a multiple of the rate, from which on it is a flood.
    pub flood_factor: u32,
    /// In how long.
    pub flood_window: Period,
    /// Different wrong credentials from one address.
    pub failed_sign_ins: u32,
    /// Different tokens that were never given, from one address.
    pub invalid_tokens: u32,
    /// In how long.
    pub strike_window: Period,
    /// Uploads received at once from one address.
    pub parallel_uploads: u32,
    /// How long the first ban lasts.
    pub ban: Period,
    /// How long a later one may last: each is twice as long as the one before.
    pub longest_ban: Period,
    /// How long after its end a ban makes the next one longer.
    pub forget_bans: Period,
}

impl Default for ProtectionSettings {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            ceiling: Rate::new(3_000_000, 60),
            address_sign_in: Rate::new(3_000, 60),
            address_read: Rate::new(60_000, 60),
            address_write: Rate::new(30_000, 60),
            address_manage: Rate::new(12_000, 60),
            user_sign_in: Rate::new(6_000, 60),
            user_read: Rate::new(120_000, 60),
            user_write: Rate::new(60_000, 60),
            user_manage: Rate::new(24_000, 60),
            account_sign_in: Rate::new(30_000, 60),
            account_read: Rate::new(600_000, 60),
            account_write: Rate::new(300_000, 60),
            account_manage: Rate::new(120_000, 60),
            bans: true,
            flood_factor: 10,
            flood_window: Period::from_secs(60),
            failed_sign_ins: 20,
            invalid_tokens: 100,
            strike_window: Period::from_secs(600),
            parallel_uploads: 1_000,
            ban: Period::from_secs(1_800),
            longest_ban: Period::from_secs(86_400),
            forget_bans: Period::from_secs(86_400),
        }
    }
}

/// The most wrong credentials that are remembered of an address.
const MOST_STRIKES: u32 = 200;

impl ProtectionSettings {
    /// Those of `--lab`, where everybody is on this host.
    pub(super) fn lab(networks: Vec<Cidr>) -> Self {
        Self { trusted: networks, ..Self::default() }
    }

    /// The first key whose value makes no sense, and why.
    pub(super) fn misfit(&self) -> Option<(&'static str, &'static str)> {
        let never = "must be more than nothing";
        let day = "must be a second to 24 hours";
        let strikes = "must be 1 to 200";
        let in_day = |period: Period| (1_000..=86_400_000).contains(&period.as_ms());
        let few = |strikes: u32| (1..=MOST_STRIKES).contains(&strikes);
        let rows = [
            (self.trusted.len() > 1000, "trusted", "can name 1000 networks at most"),
            (!(1..=1000).contains(&self.flood_factor), "flood_factor", "must be 1 to 1000"),
            (!in_day(self.flood_window), "flood_window", day),
            (!few(self.failed_sign_ins), "failed_sign_ins", strikes),
            (!few(self.invalid_tokens), "invalid_tokens", strikes),
            (!in_day(self.strike_window), "strike_window", day),
            (self.parallel_uploads == 0, "parallel_uploads", never),
            (self.ban.as_ms() < 1_000, "ban", "must be a second at least"),
            (self.longest_ban < self.ban, "longest_ban", "must be protection.ban at least"),
        ];
        rows.into_iter().find(|(wrong, ..)| *wrong).map(|(_, key, message)| (key, message))
    }
}
