//! The log: lines on stderr, for people or for machines, times in UTC; where systemd's journal reads
//! stderr, events with fields (`journal`). What must not be in it is kept out where lines are made
//! (header values, query strings, secrets), not here.

mod journal;

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogSettings};
use crate::seams::{Clock, SystemClock};

/// Starts logging; the first call wins. A panic is logged, too, as an error.
pub fn start(settings: &LogSettings) {
    // Libraries speak up from `warn` on; the setting is about ourselves.
    let filter = EnvFilter::new(format!("warn,pierhead={}", settings.level.name()));
    let journal = std::env::var_os("JOURNAL_STREAM");
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_timer(Utc(SystemClock));
    // An error means that there is a log already.
    let _ = match settings.format {
        LogFormat::Text if journal::reads_stderr(journal.as_deref()) => {
            let journal = journal::Journal::at(Path::new(journal::SOCKET));
            tracing_subscriber::registry().with(filter).with(journal).try_init().map_err(Into::into)
        }
        LogFormat::Text => builder.with_env_filter(filter).with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.with_env_filter(filter).json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "a bug: panic");
    }));
}

/// RFC 3339 with milliseconds, in UTC.
struct Utc<C>(C);

impl<C: Clock> FormatTime for Utc<C> {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let ms = i64::try_from(self.0.now_ms()).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
        write!(writer, "{time:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::TestClock;

    #[test]
    fn times_are_utc_with_milliseconds() {
        let clock = TestClock::default();
        clock.set(1_700_000_000_007);
        let mut text = String::new();
        Utc(clock).format_time(&mut Writer::new(&mut text)).unwrap();
        assert_eq!(text, "2023-11-14T22:13:20.007Z");
    }
}
