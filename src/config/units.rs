//! Sizes (`10GiB`, `500MB`) and times (`30min`, `100ms`). A number without a unit is refused:
//! nobody should have to know whether 30 means seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Units by name, the smallest first; of two that fit, the later one is displayed.
type Units = &'static [(&'static str, u64)];

const SIZES: Units = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const TIMES: Units = &[("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Why a text is no size or time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// It does not start with a whole number.
    #[error("expected a whole number and a unit ({})", names(.0))]
    NoNumber(Units),
    /// What follows the number is no unit.
    #[error("expected one of the units {} after the number", names(.0))]
    NoUnit(Units),
    /// It does not fit in 64 bits.
    #[error("the value is too large")]
    TooLarge,
}

fn names(units: Units) -> String {
    units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn parse(text: &str, units: Units) -> Result<u64, UnitError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::NoNumber(units));
    }
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(UnitError::NoUnit(units))?;
    let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
    number.checked_mul(*factor).ok_or(UnitError::TooLarge)
}

/// The shortest exact way to write `value`: the unit that leaves the smallest whole number.
fn display(value: u64, units: Units, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| value.is_multiple_of(*factor);
    let largest = units.iter().filter(fits).max_by_key(|(_, factor)| *factor);
    match largest.filter(|_| value > 0).or(units.first()) {
        Some((name, factor)) => write!(f, "{}{name}", value / factor),
        None => write!(f, "{value}"),
    }
}

macro_rules! unit_type {
    ($name:ident, $units:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u64);

        impl FromStr for $name {
            type Err = UnitError;

            fn from_str(text: &str) -> Result<Self, UnitError> {
                parse(text, $units).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnitError;

            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                display(self.0, $units, f)
            }
        }
    };
}

unit_type!(Size, SIZES, "A number of bytes.");
unit_type!(Period, TIMES, "A length of time, in whole milliseconds.");

impl Size {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 2^20 bytes; at most 2^44 of them.
    pub const fn from_mib(mib: u32) -> Self {
        Self((mib as u64) << 20)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Period {
    /// So many seconds.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds as u64 * 1_000)
    }

    /// In milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// For timers.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn sizes_and_times_are_read_with_their_unit() {
        let sizes =
            [("10GiB", 10 << 30), ("500MB", 500_000_000), ("0B", 0), (" 4 MiB ", 4 << 20), ("1kB", 1000)];
        for (text, bytes) in sizes {
            assert_eq!(text.parse::<Size>().map(Size::bytes), Ok(bytes), "{text}");
        }
        let times = [("30min", 1_800_000), ("24h", 86_400_000), ("100ms", 100), ("2d", 172_800_000)];
        for (text, ms) in times {
            assert_eq!(text.parse::<Period>().map(Period::as_ms), Ok(ms), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_size_are_refused_and_the_units_are_named() {
        for text in
            ["", "GiB", "-1B", "1.5GiB", "10", "10gib", "10 G", "99999999999999999999B", "99999999TiB"]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        let Err(error) = "10".parse::<Size>() else { panic!("a bare number is no size") };
        assert!(error.to_string().contains("GiB"), "{error}");
    }

    #[test]
    fn display_takes_the_largest_unit_that_is_exact() {
        let rows = [(0, "0B"), (1 << 20, "1MiB"), (500_000_000, "500MB"), (1025, "1025B"), (2048, "2KiB")];
        for (bytes, text) in rows {
            assert_eq!(Size::from_bytes(bytes).to_string(), text);
        }
        assert_eq!(Period::from_secs(90).to_string(), "90s");
        assert_eq!(Period::from_secs(86_400).to_string(), "1d");
    }

    proptest! {
        #[test]
        fn a_displayed_value_reads_back_as_itself(value in any::<u64>(), shift in 0u32..64) {
            let value = value >> shift;
            prop_assert_eq!(Size(value).to_string().parse::<Size>(), Ok(Size(value)));
            prop_assert_eq!(Period(value).to_string().parse::<Period>(), Ok(Period(value)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<Size>();
            let _ = text.parse::<Period>();
        }
    }
}
