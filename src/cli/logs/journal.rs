//! The log where systemd's journal reads stderr: each event is handed to the journal with its priority
//! and its fields (`journalctl PIERHEAD_REQUEST_ID=...`), in the journal's native protocol. Where that
//! socket does not take it, the event is a line on stderr that begins with `<priority>`, which the
//! journal reads as well. Times are the journal's own.
//!
//! What is too long is cut; nothing here waits longer than [`PATIENCE`].

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::fs::fstat;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// The longest value of a field, in bytes. A datagram holds about 200 KiB.
const LONGEST: usize = 16 << 10;
/// Bytes of one event, about.
const MOST: usize = 96 << 10;
/// For a journal that is busy.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether stderr is the stream that `$JOURNAL_STREAM` names: one that the journal reads.
pub fn reads_stderr(variable: Option<&OsStr>) -> bool {
    let named = variable.and_then(OsStr::to_str).and_then(|text| text.split_once(':'));
    let Ok(stderr) = fstat(io::stderr()) else { return false };
    named.is_some_and(|(device, inode)| {
        device.parse() == Ok(stderr.st_dev) && inode.parse() == Ok(stderr.st_ino)
    })
}

/// Hands events to the journal.
pub struct Journal {
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// The journal that listens on `path`; without one, lines on stderr.
    pub fn at(path: &Path) -> Self {
        let connected = UnixDatagram::unbound().and_then(|socket| {
            socket.connect(path)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        });
        Self { socket: connected.ok() }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::new(*event.metadata().level(), event.metadata().target());
        event.record(&mut entry);
        let sent = self.socket.as_ref().is_some_and(|socket| socket.send(&entry.datagram()).is_ok());
        if !sent {
            // Nothing can be done about a stderr that is gone.
            let _ = io::stderr().lock().write_all(entry.line().as_bytes());
        }
    }
}

/// One event.
struct Entry {
    priority: u8,
    message: String,
    /// Name and value, to be shown after the message.
    shown: String,
    /// The fields as the journal takes them.
    fields: Vec<u8>,
}

impl Entry {
    fn new(level: Level, target: &str) -> Self {
        let priority = match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let mut fields = Vec::new();
        append(&mut fields, "SYSLOG_IDENTIFIER", "pierhead");
        append(&mut fields, "PRIORITY", &priority.to_string());
        append(&mut fields, "PIERHEAD_TARGET", target);
        Self { priority, message: String::new(), shown: String::new(), fields }
    }

    fn take(&mut self, name: &str, value: String) {
        let value = cut(value);
        if name == "message" {
            self.message = value;
        } else if self.fields.len() + value.len() < MOST {
            // Writing to a string cannot fail.
            let _ = write!(self.shown, " {name}={value}");
            append(&mut self.fields, &key(name), &value);
        }
    }

    fn datagram(&self) -> Vec<u8> {
        let mut bytes = self.fields.clone();
        append(&mut bytes, "MESSAGE", &format!("{}{}", self.message, self.shown));
        bytes
    }

    fn line(&self) -> String {
        let text = format!("{}{}", self.message, self.shown);
        format!("<{}>{}\n", self.priority, text.replace(['\n', '\r'], " "))
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.take(field.name(), super::super::chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field.name(), format!("{value:?}"));
    }
}

/// `PIERHEAD_` and the name, of the letters that the journal allows.
fn key(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("PIERHEAD_{}", name.chars().map(allowed).collect::<String>())
}

/// A field: `KEY=value`, or, if the value has lines, `KEY`, its length and the value.
fn append(bytes: &mut Vec<u8>, key: &str, value: &str) {
    bytes.extend_from_slice(key.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

fn cut(mut value: String) -> String {
    if value.len() > LONGEST {
        value.truncate(value.floor_char_boundary(LONGEST));
        value.push_str("...");
    }
    value
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn an_event_reaches_the_journal_with_its_priority_and_its_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::at(&path));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(request_id = "ab12", bytes = 7, "a request\nof two lines");
        });
        let mut buffer = [0; 4096];
        let length = journal.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        for expected in [
            "SYSLOG_IDENTIFIER=pierhead\n",
            "PRIORITY=4\n",
            "PIERHEAD_REQUEST_ID=ab12\n",
            "PIERHEAD_BYTES=7\n",
            "MESSAGE\n\u{2e}\0\0\0\0\0\0\0a request\nof two lines request_id=ab12 bytes=7\n",
        ] {
            assert!(text.contains(expected), "{expected:?} is missing:\n{text:?}");
        }
    }

    #[test]
    fn a_line_for_stderr_is_one_line_with_its_priority() {
        let mut entry = Entry::new(Level::ERROR, "here");
        entry.take("message", "two\nlines".to_owned());
        entry.take("why", "so".to_owned());
        assert_eq!(entry.line(), "<3>two lines why=so\n");
    }

    #[test]
    fn values_that_are_too_long_are_cut_and_an_event_has_an_end() {
        let mut entry = Entry::new(Level::INFO, "here");
        for _ in 0..100 {
            entry.take("a field", "é".repeat(LONGEST));
        }
        assert!(entry.datagram().len() < 200 << 10, "{}", entry.datagram().len());
    }

    #[test]
    fn a_stream_that_is_not_stderr_is_not_the_journal_s() {
        for variable in [None, Some(""), Some("0:0"), Some("x:y"), Some("1")] {
            assert!(!reads_stderr(variable.map(OsStr::new)), "{variable:?}");
        }
        let stderr = fstat(io::stderr()).unwrap();
        assert!(reads_stderr(Some(OsStr::new(&format!("{}:{}", stderr.st_dev, stderr.st_ino)))));
    }
}
