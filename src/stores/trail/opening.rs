//! Opening the trail, and checking it while nobody has it open: what an earlier run left.
//!
//! A temporary file is removed; a log beside its segment is removed; any other log is sealed, with the batches
//! of it that hold. What does not hold is left where it is, counted, and goes with its day.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pierhead_storage_format::audit::{parse_day, read_log};
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::{FormatError, paths};

use super::sealed::Segment;
use super::writing::{Log, write_segment};
use super::{Inner, Trail, TrailError, View};
use crate::seams::Random;
use crate::stores::disk::Disk;

/// Bytes of a log that are read: more than any of ours has.
const MAX_LOG: u64 = 64 << 20;

/// A file of the trail that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Below the data directory.
    pub path: PathBuf,
    /// Why, in words for an operator.
    pub why: String,
    /// Its bytes.
    pub bytes: u64,
    /// When its day begins, UTC milliseconds.
    pub(super) day_begins: u64,
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Logs that were sealed.
    pub sealed: usize,
    /// Bytes at the ends of logs that were no batch: they were being written at the stop.
    pub torn: usize,
    /// Files that do not hold.
    pub damaged: Vec<Bad>,
}

/// A file by its day and number.
struct Found {
    day: String,
    number: u64,
    bytes: u64,
    begins: u64,
}

#[derive(Default)]
struct Files {
    segments: Vec<Found>,
    logs: Vec<Found>,
    parts: Vec<PathBuf>,
}

impl Trail {
    /// Opens the trail, or makes it. The caller holds the data directory's lock.
    pub fn open(disk: Arc<dyn Disk>, random: Arc<dyn Random>) -> Result<(Self, Leftovers), TrailError> {
        let root = Path::new(paths::AUDIT);
        disk.create_dir(root).map_err(TrailError::io("making", root))?;
        let files = files(disk.as_ref())?;
        for part in &files.parts {
            disk.remove_file(part).map_err(TrailError::io("removing", part))?;
        }
        let (mut view, mut leftovers) = (View::default(), Leftovers::default());
        for found in &files.segments {
            match Segment::open(disk.as_ref(), &found.day, found.number) {
                Ok(segment) => drop(view.segments.insert(found.number, Arc::new(segment))),
                Err(error) => leftovers.damaged.push(bad(found, "seg", &error)?),
            }
        }
        let numbers = files.segments.iter().chain(&files.logs).map(|found| found.number);
        let next = numbers.max().map_or(1, |last| last.saturating_add(1));
        for log in &files.logs {
            take_log(disk.as_ref(), log, &mut view, &mut leftovers)?;
        }
        view.damaged.clone_from(&leftovers.damaged);
        let inner = Inner {
            disk,
            random,
            writing: Mutex::new(Log { next, open: None }),
            view: Mutex::new(view),
            filters: Mutex::default(),
        };
        Ok((Self(Arc::new(inner)), leftovers))
    }
}

fn take_log(
    disk: &dyn Disk,
    log: &Found,
    view: &mut View,
    leftovers: &mut Leftovers,
) -> Result<(), TrailError> {
    let path = paths::audit_log(&log.day, log.number);
    let is_sealed = view.segments.contains_key(&log.number);
    if !is_sealed {
        let (events, torn) = match read(disk, log) {
            Ok(read) => read,
            Err(error) => {
                leftovers.damaged.push(bad(log, "log", &error)?);
                return Ok(());
            }
        };
        leftovers.torn += torn;
        leftovers.sealed += 1;
        match write_segment(disk, &log.day, log.number, events.iter()) {
            Ok(None) => {}
            Ok(Some(segment)) => drop(view.segments.insert(log.number, Arc::new(segment))),
            // As on a full disk, which must not keep the appliance from starting: the next start tries again.
            Err(error) => {
                leftovers.sealed -= 1;
                leftovers.damaged.push(bad(log, "log", &error)?);
                return Ok(());
            }
        }
    }
    disk.remove_file(&path).map_err(TrailError::io("removing", &path))
}

type Events = Vec<(Id, Box<[u8]>)>;

fn read(disk: &dyn Disk, log: &Found) -> Result<(Events, usize), TrailError> {
    let path = paths::audit_log(&log.day, log.number);
    let mut bytes = Vec::new();
    let file = disk.open_read(&path).map_err(TrailError::io("opening", &path))?;
    file.take(MAX_LOG).read_to_end(&mut bytes).map_err(TrailError::io("reading", &path))?;
    let damaged = |source| TrailError::Damaged { path: path.clone(), source };
    let (header, items, torn) = read_log(&bytes).map_err(damaged)?;
    if header.number != log.number {
        return Err(damaged(FormatError::Damaged("the log is another one than its name says")));
    }
    Ok((items.iter().map(|item| (item.id, item.record.into())).collect(), torn))
}

/// An error of the disk ends the opening; one of the bytes does not.
fn bad(found: &Found, ending: &str, error: &TrailError) -> Result<Bad, TrailError> {
    let name = format!("{:020}.{ending}", found.number);
    let why = match error {
        TrailError::Damaged { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    let path = paths::audit_day(&found.day).join(name);
    Ok(Bad { path, why, bytes: found.bytes, day_begins: found.begins })
}

fn files(disk: &dyn Disk) -> Result<Files, TrailError> {
    let root = Path::new(paths::AUDIT);
    let mut files = Files::default();
    for day in disk.list(root).map_err(TrailError::io("listing", root))?.into_iter().filter(|day| day.is_dir)
    {
        let Some(begins) = parse_day(&day.name) else { continue };
        let folder = paths::audit_day(&day.name);
        for file in disk.list(&folder).map_err(TrailError::io("listing", &folder))? {
            let found = |number| Found { day: day.name.clone(), number, bytes: file.len, begins };
            let number = |ending| paths::parse_numbered(&file.name, ending);
            if let Some(number) = number(".seg") {
                files.segments.push(found(number));
            } else if let Some(number) = number(".log") {
                files.logs.push(found(number));
            } else if number(".seg.tmp").or(number(".log.tmp")).is_some() {
                files.parts.push(folder.join(&file.name));
            }
        }
    }
    Ok(files)
}

/// What is wrong with a trail that nobody has open: the invariant, the file, and how. Changes nothing. Whether it came
/// to its end: `goes_on` is asked before each file.
pub fn check(
    disk: &dyn Disk,
    goes_on: &dyn Fn() -> bool,
    found: &mut dyn FnMut(&'static str, String, String),
) -> Result<bool, TrailError> {
    let files = files(disk)?;
    for part in &files.parts {
        found("A3", part.display().to_string(), "a file that was not finished".to_owned());
    }
    for log in &files.logs {
        if !goes_on() {
            return Ok(false);
        }
        let path = paths::audit_log(&log.day, log.number).display().to_string();
        match read(disk, log) {
            Ok((events, torn)) => {
                let what = format!("a log of {} events to be sealed, {torn} bytes torn", events.len());
                found("A3", path, what);
            }
            Err(error) => found("A1", path, bad(log, "log", &error)?.why),
        }
    }
    for file in &files.segments {
        if !goes_on() {
            return Ok(false);
        }
        let path = paths::audit_segment(&file.day, file.number).display().to_string();
        match Segment::open(disk, &file.day, file.number).and_then(|segment| segment.check(disk)) {
            Ok(()) => {}
            Err(error) => {
                let why = bad(file, "seg", &error)?.why;
                let is_order = why.contains("index says") || why.contains("in order");
                found(if is_order { "A2" } else { "A1" }, path, why);
            }
        }
    }
    Ok(true)
}
