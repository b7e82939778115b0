//! What is told of a push that does not fit.

use std::fmt;

/// Whose quota it is, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An organisation's.
    Organisation(String),
    /// An account's.
    Account(String),
}

/// A quota that something does not fit in. Bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{whose} has a storage quota of {}, {} of it are used and {} reserved by uploads under way, and {} more are needed: \
     delete what is not needed, or ask for a larger quota",
    gigabytes(*.quota), gigabytes(*.used), gigabytes(*.reserved), gigabytes(*.needed)
)]
pub struct Full {
    /// Whose it is.
    pub whose: Whose,
    /// At most.
    pub quota: u64,
    /// Held now.
    pub used: u64,
    /// By uploads under way, without this one.
    pub reserved: u64,
    /// What did not fit.
    pub needed: u64,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organisation(name) => write!(f, "the organization {name}"),
            Self::Account(name) => write!(f, "the account {name}"),
        }
    }
}

/// Bytes as quotas are told: in GB of 10^9 bytes, exact, without zeros at the end.
pub fn gigabytes(bytes: u64) -> String {
    const GB: u64 = 1_000_000_000;
    let (whole, rest) = (bytes / GB, bytes % GB);
    if rest == 0 {
        return format!("{whole} GB");
    }
    let digits = format!("{rest:09}");
    format!("{whole}.{} GB", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_exactly_in_gigabytes() {
        for (bytes, text) in [
            (0, "0 GB"),
            (1, "0.000000001 GB"),
            (1_500_000_000, "1.5 GB"),
            (10_000_000_000, "10 GB"),
            (1 << 30, "1.073741824 GB"),
        ] {
            assert_eq!(gigabytes(bytes), text);
        }
    }

    #[test]
    fn a_refusal_says_whose_quota_it_is_and_what_does_not_fit() {
        let full = Full {
            whose: Whose::Organisation("acme".to_owned()),
            quota: 10_000_000_000,
            used: 9_000_000_000,
            reserved: 500_000_000,
            needed: 600_000_000,
        };
        let said = "the organization acme has a storage quota of 10 GB, 9 GB of it are used and 0.5 GB reserved by \
                    uploads under way, and 0.6 GB more are needed: delete what is not needed, or ask for a larger quota";
        assert_eq!(full.to_string(), said);
    }
}
