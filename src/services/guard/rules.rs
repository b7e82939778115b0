//! What the settings decide, and the classes of requests.

use super::Network;
use crate::services::rates::Rate;

/// What a request does, as far as rates tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Asks for a token, by whatever way.
    SignIn,
    /// Reads images.
    Read,
    /// Writes images.
    Write,
    /// Asks the management.
    Manage,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::SignIn, Self::Read, Self::Write, Self::Manage];

    /// As it is told.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Read => "read",
            Self::Write => "write",
            Self::Manage => "manage",
        }
    }
}

/// A rate for each class, in the order of [`Class::ALL`]; `None` for no limit.
pub type ByClass = [Option<Rate>; Class::ALL.len()];

/// What the settings decide.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Networks that are held to nothing.
    pub trusted: Vec<Network>,
    /// Of all requests.
    pub ceiling: Option<Rate>,
    /// Of one address.
    pub address: ByClass,
    /// Of one user.
    pub user: ByClass,
    /// Of one account.
    pub account: ByClass,
    /// Whether the appliance bans by itself.
    pub bans: bool,
    /// Refused requests that are a flood: so many times what the rate lets through in the window.
    pub flood_factor: u32,
    /// That window, milliseconds.
    pub flood_window_ms: u64,
    /// Different wrong credentials, in the window, that are too many.
    pub failed_sign_ins: u32,
    /// Different tokens never given, alike.
    pub invalid_tokens: u32,
    /// That window, milliseconds.
    pub strike_window_ms: u64,
    /// Uploads received from one address at once, beyond which there are too many.
    pub parallel_uploads: u32,
    /// How long the first ban lasts, milliseconds.
    pub ban_ms: u64,
    /// How long one may last.
    pub longest_ban_ms: u64,
    /// How long after its end a ban makes the next one longer.
    pub forget_ms: u64,
}

/// How long bans last.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub first_ms: u64,
    pub longest_ms: u64,
    pub forget_ms: u64,
}

impl Terms {
    /// How long the ban of this number in a row lasts: twice as long as the one before.
    pub fn lasts(&self, times: u64) -> u64 {
        let doublings = u32::try_from(times.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        self.first_ms.saturating_mul(factor).min(self.longest_ms)
    }
}

impl Options {
    pub(super) const fn terms(&self) -> Terms {
        Terms { first_ms: self.ban_ms, longest_ms: self.longest_ban_ms, forget_ms: self.forget_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ban_in_a_row_is_twice_as_long_up_to_the_longest() {
        let terms = Terms { first_ms: 30, longest_ms: 1000, forget_ms: 0 };
        let cases = [(0, 30), (1, 30), (2, 60), (3, 120), (6, 960), (7, 1000), (64, 1000), (u64::MAX, 1000)];
        for (times, lasts) in cases {
            assert_eq!(terms.lasts(times), lasts, "{times}");
        }
    }
}
