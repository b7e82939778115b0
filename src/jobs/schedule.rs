//! When a job's next run is.

use std::fmt;
use std::time::Duration;

use crate::config::TimeOfDay;

const DAY: u64 = 86_400_000;
/// How soon after the start a daily job runs for the first time.
const SOON: u64 = 20_000;

/// When a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// So long after the start, and after each run.
    Every(Duration),
    /// Soon after the start, and each day then.
    Daily(TimeOfDay),
    /// When somebody asks.
    Asked,
    /// When the work itself says so ([`Timing`](super::Timing)): about so often, or only when somebody asks.
    Own(Option<Duration>),
}

impl Schedule {
    /// How many milliseconds from `now` until the next run, if the last one ended just now, or there was none yet.
    pub fn wait(self, now: u64, is_first: bool) -> Option<u64> {
        match self {
            Self::Every(period) => Some(u64::try_from(period.as_millis()).unwrap_or(u64::MAX)),
            Self::Daily(_) if is_first => Some(SOON),
            Self::Daily(at) => Some(at.last(now).saturating_add(DAY).saturating_sub(now)),
            Self::Asked | Self::Own(_) => None,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(period) | Self::Own(Some(period)) => {
                let seconds = period.as_secs();
                match (seconds % 3600, seconds % 60) {
                    (0, _) => write!(f, "every {}h", seconds / 3600),
                    (_, 0) => write!(f, "every {}min", seconds / 60),
                    _ => write!(f, "every {seconds}s"),
                }
            }
            Self::Daily(at) => write!(f, "daily at {at} UTC"),
            Self::Asked | Self::Own(None) => f.write_str("when asked"),
        }
    }
}
