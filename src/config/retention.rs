//! `[retention]`: when policies are run by themselves, and the times of day that settings have.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const DAY: u64 = 86_400_000;
const MINUTE: u64 = 60_000;

/// `[retention]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSettings {
    /// When every policy is run, each day.
    pub at: TimeOfDay,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { at: TimeOfDay::at(3, 0) }
    }
}

/// A minute of the day, UTC: `03:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Hour and minute; what is over a day counts from its beginning again.
    pub const fn at(hour: u16, minute: u16) -> Self {
        Self((hour % 24) * 60 + minute % 60)
    }

    /// The last time it was this time, at `now` or before: UTC milliseconds.
    pub const fn last(self, now: u64) -> u64 {
        let at = self.0 as u64 * MINUTE;
        let today = now - now % DAY + at;
        if today <= now { today } else { today.saturating_sub(DAY) }
    }
}

/// Why a text is no time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time of day, UTC, as 03:00")]
pub struct NoTime;

impl FromStr for TimeOfDay {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let number = |part: &str, below: u16| {
            let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u16>().ok().filter(|number| is_plain && *number < below).ok_or(NoTime)
        };
        let (hour, minute) = text.split_once(':').ok_or(NoTime)?;
        Ok(Self::at(number(hour, 24)?, number(minute, 60)?))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = NoTime;

    fn try_from(text: String) -> Result<Self, NoTime> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_of_day_is_two_digits_a_colon_and_two_digits() {
        for (text, expected) in [("00:00", Some((0, 0))), ("03:00", Some((3, 0))), ("23:59", Some((23, 59)))]
        {
            assert_eq!(
                text.parse().ok(),
                expected.map(|(hour, minute)| TimeOfDay::at(hour, minute)),
                "{text}"
            );
        }
        for text in ["", "3:00", "24:00", "12:60", "03:00:00", "+3:00", "03-00", "0300"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_last_time_is_within_a_day_and_at_that_minute(minutes in 0u16..1440, now in DAY..u64::MAX / 2) {
            let at = TimeOfDay::at(minutes / 60, minutes % 60);
            let last = at.last(now);
            prop_assert!(last <= now && now - last < DAY);
            prop_assert_eq!(last % DAY, u64::from(minutes) * MINUTE);
            prop_assert_eq!(at.to_string().parse(), Ok(at));
        }

        #[test]
        fn no_text_makes_the_reader_of_times_panic(text in "\\PC{0,8}|[0-9:]{0,6}") {
            let _ = text.parse::<TimeOfDay>();
        }
    }
}
