//! Rates (`600/min`, `5/10s`, `off`): so many at once, and so many again each period.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Period;

/// The longest period of a rate.
const LONGEST: u64 = 86_400_000;
/// The most of a rate.
const MOST: u32 = 1_000_000_000;

/// A rate, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(Option<(u32, Period)>);

/// Why a text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not a number, a slash and a time.
    #[error("expected a rate such as 600/min, 10/s or 5/10min, or off")]
    Syntax,
    /// Out of range.
    #[error("a rate is 1 to {MOST} in a period of 1ms to 24h")]
    Range,
}

impl Rate {
    /// So many in so many seconds, both more than nothing.
    pub const fn new(count: u32, seconds: u32) -> Self {
        Self(Some((count, Period::from_secs(seconds))))
    }

    /// How many in how many milliseconds, both more than nothing; `None` for as many as come.
    pub const fn limit(self) -> Option<(u32, u64)> {
        match self.0 {
            Some((count, period)) => Some((count, period.as_ms())),
            None => None,
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        if text == "off" {
            return Ok(Self(None));
        }
        let (count, period) = text.split_once('/').ok_or(RateError::Syntax)?;
        let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u32 = match count.parse() {
            Ok(count) if is_number => count,
            Err(_) if is_number => return Err(RateError::Range),
            _ => return Err(RateError::Syntax),
        };
        let starts_with_digit = period.starts_with(|first: char| first.is_ascii_digit());
        let period = if starts_with_digit { period.parse() } else { format!("1{period}").parse::<Period>() };
        let period = period.map_err(|_| RateError::Syntax)?;
        let in_range = (1..=MOST).contains(&count) && (1..=LONGEST).contains(&period.as_ms());
        if in_range { Ok(Self(Some((count, period)))) } else { Err(RateError::Range) }
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((count, period)) = self.0 else { return f.write_str("off") };
        let period = period.to_string();
        let unit = period.strip_prefix('1').filter(|unit| !unit.starts_with(|c: char| c.is_ascii_digit()));
        write!(f, "{count}/{}", unit.unwrap_or(&period))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_time_and_what_is_none_is_refused() {
        let rows = [
            ("600/min", Ok(Some((600, 60_000)))),
            ("10/s", Ok(Some((10, 1_000)))),
            ("5/10min", Ok(Some((5, 600_000)))),
            ("1/1ms", Ok(Some((1, 1)))),
            ("1000000000/d", Ok(Some((1_000_000_000, 86_400_000)))),
            ("off", Ok(None)),
            ("0/s", Err(RateError::Range)),
            ("1/0s", Err(RateError::Range)),
            ("1/2d", Err(RateError::Range)),
            ("1000000001/s", Err(RateError::Range)),
            ("99999999999/s", Err(RateError::Range)),
            ("", Err(RateError::Syntax)),
            ("600", Err(RateError::Syntax)),
            ("/s", Err(RateError::Syntax)),
            ("+1/s", Err(RateError::Syntax)),
            ("-1/s", Err(RateError::Syntax)),
            ("1/", Err(RateError::Syntax)),
            ("1/fortnight", Err(RateError::Syntax)),
            ("1/s/s", Err(RateError::Syntax)),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<Rate>().map(Rate::limit), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_displayed_rate_reads_back_as_itself(count in 1..=MOST, period in 1..=LONGEST) {
            let period: Period = format!("{period}ms").parse().unwrap();
            let rate = Rate(Some((count, period)));
            prop_assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*", count in ".{0,12}", period in ".{0,12}") {
            let _ = text.parse::<Rate>();
            let _ = format!("{count}/{period}").parse::<Rate>();
        }
    }
}
