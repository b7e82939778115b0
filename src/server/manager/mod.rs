//! The service manager that may have started the process: systemd, or whatever speaks its protocols.
//! No library of it is linked; without one everything here does nothing.
//!
//! Words: to *notify* is to send `KEY=value` lines in a datagram to `$NOTIFY_SOCKET` (`notify`); an
//! *inherited* socket is one that the manager listens on for us, from descriptor 3 on (`inherited`).
//! M1: READY goes out when requests are taken, not before. M2: a ping of the watchdog goes out only after
//! the asker was told that the appliance is alive. M3: the manager is never waited for; what it does
//! not take is lost. M4: `LISTEN_FDS` and `LISTEN_PID` leave the environment as they are read; the other
//! variables stay, and nobody inherits them, as no program is ever started.
//!
//! Must not know what is alive, only be told. Look next: `wiring::managed`, `systemd/pierhead.service`.

mod inherited;
mod notify;

use std::ffi::OsString;
use std::time::Duration;

pub use inherited::Inherited;
pub use notify::Notifier;

/// What the service manager gave the process.
pub struct Manager {
    /// How it is told things.
    pub notifier: Notifier,
    /// How long it waits for a ping before it takes the process for dead; none if it does not.
    pub watchdog: Option<Duration>,
    /// What it listens on for us.
    pub inherited: Inherited,
}

impl Manager {
    /// Takes everything over; to be called once, before there is a second thread.
    pub fn take() -> Self {
        let variable = |name: &str| std::env::var_os(name);
        Self {
            notifier: Notifier::to(variable("NOTIFY_SOCKET").as_deref()),
            watchdog: watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id()),
            inherited: Inherited::take(),
        }
    }
}

/// The period of the watchdog, if it is ours.
fn watchdog(usec: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let number = |text: OsString| text.to_str().and_then(|text| text.parse::<u64>().ok());
    if pid.is_some_and(|pid| number(pid) != Some(u64::from(own))) {
        return None;
    }
    usec.and_then(number).filter(|usec| *usec > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_ours_only_if_it_names_this_process_or_none() {
        let rows = [
            ("none", None, None, None),
            ("no process named", Some("2000000"), None, Some(2)),
            ("ours", Some("2000000"), Some("7"), Some(2)),
            ("another's", Some("2000000"), Some("8"), None),
            ("no number", Some("soon"), Some("7"), None),
            ("nothing", Some("0"), Some("7"), None),
            ("no process", Some("2000000"), Some(""), None),
        ];
        for (name, usec, pid, expected) in rows {
            let found = watchdog(usec.map(OsString::from), pid.map(OsString::from), 7);
            assert_eq!(found, expected.map(Duration::from_secs), "{name}");
        }
    }
}
