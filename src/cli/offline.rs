//! Commands that have the data directory to themselves.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::arguments::{ExportArguments, FsckArguments, ImportArguments, Place};
use super::draft::Draft;
use super::{Failure, logs, say, settings};
use crate::config::Settings;
use crate::services::fsck::{Report, Stage};
use crate::wiring;

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The data directory meant; starts the log, too.
fn place(place: &Place) -> Result<PathBuf, Failure> {
    let settings = settings(Settings::default(), place.config.as_deref())?;
    logs::start(&settings.log);
    Ok(place.data.clone().unwrap_or(settings.storage.data))
}

pub fn fsck(arguments: &FsckArguments) -> Result<(), Failure> {
    let data = place(&arguments.place)?;
    let report = wiring::fsck(&data, arguments.deep, &mut progress())?;
    if arguments.json {
        say(&format!("{}\n", json!({"ok": report.is_clean(), "report": report})))?;
    } else {
        say(&render(&report))?;
    }
    if report.is_clean() { Ok(()) } else { Err(Failure::Findings) }
}

/// Tells a person at a terminal how far the check is, now and then.
fn progress() -> impl FnMut(Stage, u64) {
    let watched = io::stderr().is_terminal();
    let mut last = Instant::now();
    move |stage, done| {
        if watched && last.elapsed() >= PROGRESS_EVERY {
            last = Instant::now();
            // Nobody may be reading any more; the check goes on.
            let _ = write!(io::stderr(), "\r{:<14}{done:>12}\r", format!("{stage:?}").to_lowercase());
        }
    }
}

/// A report for people.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for finding in &report.findings {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        let _ = writeln!(text, "{} {severity}: {}\n    to do: {}", finding.id, finding.what, finding.advice);
    }
    for (id, count) in &report.by_id {
        let _ = writeln!(text, "{id}: {count} in all");
    }
    let counts = &report.counts;
    let _ = writeln!(
        text,
        "checked {} rows, {} repositories, {} manifests, {} blobs of {} bytes, {} files, {} hashed",
        counts.rows,
        counts.repositories,
        counts.manifests,
        counts.blobs,
        counts.bytes,
        counts.files,
        counts.hashed
    );
    text.push_str(if report.is_clean() { "nothing is wrong\n" } else { "something is wrong, see above\n" });
    text
}

pub fn export(arguments: &ExportArguments) -> Result<(), Failure> {
    let data = place(&arguments.place)?;
    let rows = export_to(&data, &arguments.output)?;
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

fn export_to(data: &Path, output: &Path) -> Result<u64, Failure> {
    if output == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(Failure::Usage("the export is not text: give --output FILE, or a pipe".to_owned()));
        }
        return Ok(wiring::export(data, &mut io::stdout().lock())?);
    }
    let cannot = |source| Failure::Io { what: format!("cannot make {}", output.display()), source };
    let mut draft = Draft::begin(output).map_err(cannot)?;
    let rows = wiring::export(data, &mut draft)?;
    draft.keep().map_err(cannot)?;
    Ok(rows)
}

fn input(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let what = || format!("cannot read {}", path.display());
    let opened = File::open(path);
    opened.map(|file| Box::new(file) as Box<dyn Read>).map_err(|source| Failure::Io { what: what(), source })
}
