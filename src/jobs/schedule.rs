//! When a job's next run is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const DAY: u64 = 86_400_000;
const MINUTE: u64 = 60_000;
/// How soon after the start a daily job runs for the first time.
const SOON: u64 = 20_000;

/// A minute of the day, UTC: `03:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// When a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// So long after the start, and after each run.
    Every(Duration),
    /// Soon after the start, and each day then.
    Daily(TimeOfDay),
    /// When somebody asks.
    Asked,
}

impl Schedule {
    /// How many milliseconds from `now` until the next run, if the last one ended just now, or there was none yet.
    pub fn wait(self, now: u64, is_first: bool) -> Option<u64> {
        match self {
            Self::Every(period) => Some(u64::try_from(period.as_millis()).unwrap_or(u64::MAX)),
            Self::Daily(_) if is_first => Some(SOON),
            Self::Daily(at) => Some(at.last(now).saturating_add(DAY).saturating_sub(now)),
            Self::Asked => None,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(period) => {
                let seconds = period.as_secs();
                match (seconds % 3600, seconds % 60) {
                    (0, _) => write!(f, "every {}h", seconds / 3600),
                    (_, 0) => write!(f, "every {}min", seconds / 60),
                    _ => write!(f, "every {seconds}s"),
                }
            }
            Self::Daily(at) => write!(f, "daily at {at} UTC"),
            Self::Asked => f.write_str("when asked"),
        }
    }
}
