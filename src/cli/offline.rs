//! Commands that have the data directory to themselves: `fsck`, with its repair, export and import.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::arguments::{ExportArguments, FsckArguments, ImportArguments, Place};
use super::draft::Draft;
use super::{Failure, logs, say, settings};
use crate::api::admin::CountsView;
use crate::causes;
use crate::config::Settings;
use crate::services::fsck::{Plan, Report, Severity, Stage};
use crate::services::maintenance::{Held, Step, Steps, opening};
use crate::wiring::{self, Repair, RepairOptions};

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The data directory meant; starts the log, too.
fn place(place: &Place) -> Result<PathBuf, Failure> {
    let settings = settings(Settings::default(), place.config.as_deref())?;
    logs::start(&settings.log);
    Ok(place.data.clone().unwrap_or(settings.storage.data))
}

pub fn fsck(arguments: &FsckArguments) -> Result<(), Failure> {
    if arguments.repair {
        return repair(arguments);
    }
    let data = place(&arguments.place)?;
    let report = wiring::fsck(&data, arguments.deep, &mut progress())?;
    if arguments.json {
        say(&format!("{}\n", json!({"ok": report.is_clean(), "report": report})))?;
    } else {
        say(&render(&report))?;
    }
    if report.is_clean() { Ok(()) } else { Err(Failure::Findings) }
}

fn repair(arguments: &FsckArguments) -> Result<(), Failure> {
    let mut settings = settings(Settings::default(), arguments.place.config.as_deref())?;
    logs::start(&settings.log);
    if let Some(data) = &arguments.place.data {
        settings.storage.data.clone_from(data);
    }
    let options = RepairOptions { deep: arguments.deep, dry_run: arguments.dry_run };
    let repair = wiring::repair(&settings, options, &mut progress())?;
    let outcome = Outcome::of(&repair);
    match arguments.json {
        true => say(&format!("{}\n", repair_json(&repair, outcome, arguments.dry_run)))?,
        false => say(&repair_words(&repair, outcome, arguments.dry_run))?,
    }
    match outcome {
        Outcome::Clean => Ok(()),
        Outcome::Repaired => Err(Failure::Repaired),
        Outcome::Damaged => Err(Failure::Findings),
    }
}

/// What a repair came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Clean,
    Repaired,
    Damaged,
}

impl Outcome {
    fn of(repair: &Repair) -> Self {
        if repair.failed.is_some() {
            return Self::Damaged;
        }
        let is_clean = repair.after.as_ref().unwrap_or(&repair.before).is_clean();
        match (is_clean, repair.before.is_clean()) {
            (false, _) => Self::Damaged,
            (true, true) => Self::Clean,
            (true, false) => Self::Repaired,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Repaired => "repaired",
            Self::Damaged => "damaged",
        }
    }
}

/// What would be done about a report, its fixes and what opening the store clears; and what would be held back.
fn planned(report: &Report) -> (Vec<Step>, Held) {
    if report.has_unknown_rows() {
        return (Vec::new(), Held::default());
    }
    let mut plan = Plan::default();
    plan.heed(report);
    let fixes = plan.choose(report.fixes.clone()).into_iter();
    let fixes = fixes.map(|fix| Step { id: fix.id, what: fix.does.clone() });
    let clears = report.findings.iter().filter(|finding| finding.severity != Severity::Error);
    let clears = clears.filter(|finding| !report.fixes.iter().any(|fix| fix.id == finding.id));
    let clears = clears.filter_map(|finding| {
        Some(Step { id: finding.id, what: format!("as a start: {} ({})", opening(finding)?, finding.what) })
    });
    (fixes.chain(clears).collect(), Held::of(&plan))
}

/// What is held back, and what that is for.
fn held_words(held: &Held) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for Step { id, what } in &held.back {
        let _ = writeln!(text, "{id} held back: {what}");
    }
    if !held.back.is_empty() {
        let count = held.by_id.values().sum::<u64>();
        let next = match held.because.is_empty() {
            true => {
                "Nothing else is found that is to be mended first. Restore a backup that has what was lost; without one, \
                 run the same command again once the other steps are done, which gives it up"
            }
            false => "Mend this first:",
        };
        let _ = writeln!(
            text,
            "{count} steps held back: they give up what rows that may be missing could need. {next}"
        );
    }
    for Step { id, what } in &held.because {
        let _ = writeln!(text, "    {id}: {what}");
    }
    text
}

fn repair_json(repair: &Repair, outcome: Outcome, dry_run: bool) -> Value {
    let Repair { before, steps, after, failed } = repair;
    let (plan, held) = dry_run.then(|| planned(before)).unzip();
    let failed = failed.as_ref().map(|error| causes::chain(error));
    json!({"ok": outcome != Outcome::Damaged, "outcome": outcome.name(), "dry_run": dry_run, "planned": plan, "held": held,
           "before": before, "steps": steps, "failed": failed, "report": after.as_ref().unwrap_or(before)})
}

fn repair_words(repair: &Repair, outcome: Outcome, dry_run: bool) -> String {
    let Repair { before, steps, after, failed } = repair;
    let mut text = render(before);
    // Writing to a string cannot fail.
    if before.has_unknown_rows() {
        text.push_str(
            "NOTHING WAS REPAIRED: it is not known what all rows of the metadata are; see above what to do\n",
        );
        return text;
    }
    if dry_run {
        let (planned, held) = planned(before);
        for Step { id, what } in planned {
            let _ = writeln!(text, "{id} would: {what}");
        }
        text.push_str(&held_words(&held));
        text.push_str("nothing was changed\n");
        return text;
    }
    let Some(Steps { done, failed: undone, by_id, held }) = steps else { return text };
    for Step { id, what } in done {
        let _ = writeln!(text, "{id} done: {what}");
    }
    for Step { id, what } in undone {
        let _ = writeln!(text, "{id} NOT DONE: {what}");
    }
    let steps = by_id.values().sum::<u64>();
    if let Some(error) = failed {
        let error = causes::chain(error);
        let _ =
            writeln!(text, "{steps} steps done, then it FAILED: {error}; run it again when that is mended");
        return text;
    }
    let _ = writeln!(text, "{steps} steps done; what is left:");
    text.push_str(&render(after.as_ref().unwrap_or(before)));
    text.push_str(&held_words(held));
    text.push_str(match outcome {
        Outcome::Damaged => "NOT ALL OF IT COULD BE REPAIRED: see above what to do\n",
        Outcome::Repaired => "all of it is repaired\n",
        Outcome::Clean => "",
    });
    text
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
    for finding in &report.findings {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        text.push_str(&told(finding.id, &severity, &finding.what, (&finding.images, finding.advice)));
    }
    let found = report.by_id.iter().map(|(id, count)| (*id, *count));
    text.push_str(&ending(found, &CountsView::from(&report.counts), None, report.is_clean()));
    text
}

/// What a report ends with: how many findings there were of each id, how much was looked at, until when, and whether
/// nothing is wrong.
pub fn ending<'a>(
    found: impl Iterator<Item = (&'a str, u64)>,
    counts: &CountsView,
    ended_at: Option<&str>,
    ok: bool,
) -> String {
    // Writing to a string cannot fail.
    let mut text = String::new();
    for (id, count) in found {
        let _ = writeln!(text, "{id}: {count} in all");
    }
    let CountsView { rows, repositories, manifests, blobs, bytes, files, hashed } = counts;
    let _ = write!(
        text,
        "checked {rows} rows, {repositories} repositories, {manifests} manifests, {blobs} blobs of {bytes} bytes, \
         {files} files, {hashed} hashed"
    );
    if let Some(ended_at) = ended_at {
        let _ = write!(text, "; ended {ended_at}");
    }
    text.push_str(if ok { "\nnothing is wrong\n" } else { "\nsomething is wrong, see above\n" });
    text
}

/// A finding for people, with the images it concerns and what to do.
pub fn told(id: &str, severity: &str, what: &str, (images, advice): (&[String], &str)) -> String {
    let mut text = format!("{id} {severity}: {what}\n");
    for image in images {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    needed by {image}");
    }
    let _ = writeln!(text, "    to do: {advice}");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wiring::StartError;

    #[test]
    fn what_is_held_back_is_told_with_the_findings_it_is_for() {
        let step = |id, what: &str| Step { id, what: what.to_owned() };
        let held = Held {
            back: vec![step("R5", "set the references of a blob to 1")],
            by_id: [("R5", 1200)].into(),
            because: vec![step("R1", "tag acme/web:v1 names nothing")],
        };
        let text = held_words(&held);
        for words in ["R5 held back: set the references", "1200 steps held back", "    R1: tag acme/web:v1"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert_eq!(held_words(&Held::default()), "");
        let text = held_words(&Held { because: Vec::new(), ..held });
        assert!(text.contains("run the same command again") && !text.contains("Mend this"), "{text}");
    }

    #[test]
    fn a_repair_that_failed_says_what_it_did_and_why_it_ended() {
        let mut steps = Steps::default();
        steps.add("R8", "set the counters of acme/web".to_owned());
        let failed = Some(StartError::Host(io::Error::other("the disk is gone")));
        let repair = Repair { before: Report::default(), steps: Some(steps), after: None, failed };
        let outcome = Outcome::of(&repair);
        assert_eq!(outcome, Outcome::Damaged);
        let text = repair_words(&repair, outcome, false);
        for words in ["R8 done: set the counters of acme/web", "1 steps done, then it FAILED", "disk is gone"]
        {
            assert!(text.contains(words), "{words} in {text}");
        }
        let json = repair_json(&repair, outcome, false);
        assert_eq!(json["steps"]["by_id"]["R8"], 1);
        assert!(json["failed"].as_str().is_some_and(|why| why.contains("disk is gone")), "{json}");
    }
}
