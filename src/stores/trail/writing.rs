//! Appending to the log, and sealing it. The steps are those of `FORMAT.md`, "The audit trail".

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pierhead_storage_format::audit::{
    EventView, Item, LogHeader, LogKey, SegmentWriter, day_name, push_item,
};
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::{FormatError, paths};

use super::sealed::Segment;
use super::{Batch, Durable, LOG_BYTES, LOG_EVENTS, Trail, TrailError, lock};
use crate::stores::disk::{Disk, DiskFile};

/// How hard frames are compressed: what comes of 8 MiB in some 50 ms.
const LEVEL: i32 = 3;

/// The writer's own state.
pub(super) struct Log {
    /// The number the next log gets.
    pub(super) next: u64,
    pub(super) open: Option<Open>,
}

/// A log that is written, or, without a file, one that failed and waits to be sealed.
pub(super) struct Open {
    number: u64,
    day: String,
    key: LogKey,
    end: u64,
    file: Option<Box<dyn DiskFile>>,
    /// Something was written and not synced.
    dirty: bool,
}

impl Trail {
    /// Appends events, whose trace ids are higher than all before but for what came late. After an error
    /// none of them is there, and they may be given again. Seals the log first if the day of `now` is
    /// another than the log's, and afterwards if it has grown.
    pub fn append(&self, now: u64, events: Vec<(Id, Vec<u8>)>, durable: Durable) -> Result<(), TrailError> {
        let mut log = lock(&self.0.writing);
        let day = day_name(now);
        let has_failed = |open: &Open| open.file.is_none();
        if log.open.as_ref().is_some_and(|open| has_failed(open) || open.day != day) || self.is_grown() {
            self.seal_log(&mut log)?;
        }
        if !events.is_empty() {
            self.append_to(&mut log, &day, events)?;
        }
        if durable == Durable::Yes {
            self.sync_log(&mut log)?;
        }
        if self.is_grown()
            && let Err(error) = self.seal_log(&mut log)
        {
            // What was appended is there; the next append tries again first.
            tracing::warn!(%error, "the audit trail's log could not be sealed");
        }
        Ok(())
    }

    /// Seals what the log has, however little; for a close in order, so that a start has nothing to do.
    pub fn seal(&self) -> Result<(), TrailError> {
        self.seal_log(&mut lock(&self.0.writing))
    }

    fn is_grown(&self) -> bool {
        let view = lock(&self.0.view);
        let events: usize = view.batches.iter().map(|batch| batch.events.len()).sum();
        events >= LOG_EVENTS || view.batches.iter().map(|batch| batch.bytes).sum::<u64>() >= LOG_BYTES
    }

    fn append_to(&self, log: &mut Log, day: &str, events: Vec<(Id, Vec<u8>)>) -> Result<(), TrailError> {
        let mut raw = Vec::with_capacity(events.iter().map(|event| event.1.len() + 18).sum());
        let batch = batch(events, &mut raw)?;
        let open = match &mut log.open {
            Some(open) => open,
            none => none.insert(self.begin(&mut log.next, day)?),
        };
        let bytes = open.key.encode(open.end, &raw)?;
        let path = paths::audit_log(&open.day, open.number);
        let Some(file) = &mut open.file else { return Err(TrailError::Full) };
        if let Err(error) = file.write_at(&bytes, open.end) {
            // The next batch goes to the same place: what is left of this one is none.
            return Err(TrailError::io("writing", path)(error));
        }
        open.end += bytes.len() as u64;
        open.dirty = true;
        let mut view = lock(&self.0.view);
        view.log_bytes = open.end;
        view.batches.push(Arc::new(batch));
        Ok(())
    }

    fn sync_log(&self, log: &mut Log) -> Result<(), TrailError> {
        let Some(open) = log.open.as_mut().filter(|open| open.dirty) else { return Ok(()) };
        let Some(file) = &mut open.file else { return Err(TrailError::Full) };
        if let Err(error) = file.sync_data() {
            // What the kernel has dropped is still in memory: it becomes durable as a segment, now or later.
            open.file = None;
            let path = paths::audit_log(&open.day, open.number);
            let error = TrailError::io("syncing", path)(error);
            tracing::warn!(%error, "the audit trail's log failed; what it had is sealed");
            return self.seal_log(log);
        }
        open.dirty = false;
        Ok(())
    }

    /// Makes a new log; it appears under its name whole, with a header that is durable.
    fn begin(&self, next: &mut u64, day: &str) -> Result<Open, TrailError> {
        let mut id = [0; 16];
        self.0.random.fill(&mut id).map_err(TrailError::io("naming", paths::AUDIT))?;
        let number = *next;
        *next += 1;
        let (header, path) = (LogHeader { number, id }, paths::audit_log(day, number));
        let bytes = header.encode();
        let file = publish(self.0.disk.as_ref(), day, &path, &bytes)?;
        let (key, end) = (header.key(), bytes.len() as u64);
        lock(&self.0.view).log_bytes = end;
        Ok(Open { number, day: day.to_owned(), key, end, file: Some(file), dirty: false })
    }

    fn seal_log(&self, log: &mut Log) -> Result<(), TrailError> {
        let Some(open) = &log.open else { return Ok(()) };
        let batches = lock(&self.0.view).batches.clone();
        let events = batches.iter().flat_map(|batch| &batch.events);
        let segment = write_segment(self.0.disk.as_ref(), &open.day, open.number, events)?;
        let path = paths::audit_log(&open.day, open.number);
        log.open = None;
        let mut view = lock(&self.0.view);
        view.batches.clear();
        view.log_bytes = 0;
        if let Some(segment) = segment {
            view.segments.insert(segment.number, Arc::new(segment));
        }
        drop(view);
        // Left behind, it is beside its segment, and start-up removes it.
        if let Err(error) = self.0.disk.remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "a sealed log of the audit trail stays");
        }
        Ok(())
    }
}

fn batch(events: Vec<(Id, Vec<u8>)>, raw: &mut Vec<u8>) -> Result<Batch, FormatError> {
    let (mut from, mut to) = (u64::MAX, 0);
    let mut kept = Vec::with_capacity(events.len());
    for (id, record) in events {
        let at = EventView::of(&record)?.at;
        (from, to) = (from.min(at), to.max(at));
        push_item(raw, Item { id, record: &record })?;
        kept.push((id, record.into_boxed_slice()));
    }
    kept.sort_by_key(|event| event.0);
    Ok(Batch { events: kept, bytes: raw.len() as u64, from, to })
}

/// Makes a segment of events in any order, of which those that come twice count once; none of none.
pub(super) fn write_segment<'a>(
    disk: &dyn Disk,
    day: &str,
    number: u64,
    events: impl Iterator<Item = &'a (Id, Box<[u8]>)>,
) -> Result<Option<Segment>, TrailError> {
    let mut events: Vec<_> = events.collect();
    events.sort_by_key(|event| event.0);
    events.dedup_by_key(|event| event.0);
    if events.is_empty() {
        return Ok(None);
    }
    let path = paths::audit_segment(day, number);
    let packing = path.clone();
    let mut writer = SegmentWriter::new(number, move |raw: &[u8]| {
        zstd::bulk::compress(raw, LEVEL).map_err(TrailError::io("packing", packing.clone()))
    });
    for (id, record) in events {
        writer.push(Item { id: *id, record })?;
    }
    drop(publish(disk, day, &path, &writer.finish()?)?);
    Segment::open(disk, day, number).map(Some)
}

/// Writes a file under its name with `.tmp`, makes it durable, renames it and makes its name durable.
fn publish(disk: &dyn Disk, day: &str, path: &Path, bytes: &[u8]) -> Result<Box<dyn DiskFile>, TrailError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".tmp");
    let part = PathBuf::from(part);
    let folder = paths::audit_day(day);
    let made = (|| -> io::Result<Box<dyn DiskFile>> {
        make_day(disk, &folder)?;
        disk.remove_file(&part)?;
        let mut file = disk.create(&part)?;
        file.write_at(bytes, 0)?;
        file.sync_data()?;
        disk.rename(&part, path)?;
        disk.sync_dir(&folder)?;
        Ok(file)
    })();
    made.map_err(|error| {
        let _ = disk.remove_file(&part); // start-up removes it, too
        TrailError::io("writing", path)(error)
    })
}

fn make_day(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    let root = Path::new(paths::AUDIT);
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if disk.list(root)?.iter().any(|entry| entry.name == name) {
        return Ok(());
    }
    disk.create_dir(folder)?;
    disk.sync_dir(root)?;
    disk.sync_dir(Path::new(""))
}
