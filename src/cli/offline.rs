//! Commands that have the data directory to themselves.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::arguments::{ExportArguments, FsckArguments, ImportArguments, Place};
use super::{Failure, logs, say, settings};
use crate::config::Settings;
use crate::wiring::{self, FsckReport};

/// The data directory meant; starts the log, too.
fn place(place: &Place) -> Result<PathBuf, Failure> {
    let settings = settings(Settings::default(), place.config.as_deref())?;
    logs::start(&settings.log);
    Ok(place.data.clone().unwrap_or(settings.storage.data))
}

pub fn fsck(arguments: &FsckArguments) -> Result<(), Failure> {
    let data = place(&arguments.place)?;
    let report = wiring::fsck(&data, arguments.deep)?;
    if arguments.json {
        let text = json!({"ok": report.findings.is_empty(), "report": report});
        say(&format!("{text}\n"))?;
    } else {
        say(&render(&report))?;
    }
    if report.findings.is_empty() { Ok(()) } else { Err(Failure::Findings) }
}

fn render(report: &FsckReport) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for finding in &report.findings {
        let _ = writeln!(text, "{finding}");
    }
    for (what, count) in &report.checked {
        let _ = writeln!(text, "checked {count} {what}");
    }
    let _ = match report.findings.len() {
        0 => writeln!(text, "nothing is wrong"),
        1 => writeln!(text, "1 finding"),
        count => writeln!(text, "{count} findings"),
    };
    text
}

pub fn export(arguments: &ExportArguments) -> Result<(), Failure> {
    let data = place(&arguments.place)?;
    let rows = wiring::export(&data, &mut *output(&arguments.output)?)?;
    // stdout may be the export itself.
    let text =
        if arguments.json { json!({"rows": rows}).to_string() } else { format!("{rows} rows written") };
    let _ = writeln!(io::stderr(), "{text}");
    Ok(())
}

pub fn import(arguments: &ImportArguments) -> Result<(), Failure> {
    let data = place(&arguments.place)?;
    let rows = wiring::import(&data, &mut *input(&arguments.input)?)?;
    let text = if arguments.json { json!({"rows": rows}).to_string() } else { format!("{rows} rows read") };
    say(&format!("{text}\n"))
}

fn output(path: &Path) -> Result<Box<dyn Write>, Failure> {
    if path == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(Failure::Usage("the export is not text: give --output FILE, or a pipe".to_owned()));
        }
        return Ok(Box::new(io::stdout().lock()));
    }
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    let what = || format!("cannot make {}", path.display());
    made.map(|file| Box::new(file) as Box<dyn Write>).map_err(|source| Failure::Io { what: what(), source })
}

fn input(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let what = || format!("cannot read {}", path.display());
    let opened = File::open(path);
    opened.map(|file| Box::new(file) as Box<dyn Read>).map_err(|source| Failure::Io { what: what(), source })
}
