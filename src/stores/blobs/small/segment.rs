//! One file of the log: appended to by the committer, needed until everybody whose blob it names has
//! said what became of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use pierhead_storage_format::small::{HEADER, Header, Key};
use pierhead_storage_format::{Digest, paths};

use super::Ground;
use crate::stores::blobs::lock;
use crate::stores::disk::{DiskFile, is_full};

/// Zeros are written so far ahead of the records, so that the sync of most groups changes no size.
const STEP: u64 = 1 << 20;
/// How often whoever waits for a segment looks whether the store is closed.
const LOOK: Duration = Duration::from_millis(100);

/// A segment, for those who still need it.
pub(super) struct Segment {
    pub(super) number: u64,
    needed: Mutex<Needed>,
    changed: Condvar,
}

#[derive(Default)]
struct Needed {
    /// Claims that are held.
    claims: usize,
    /// Blobs that nobody recorded.
    unrecorded: Vec<Digest>,
}

impl Segment {
    /// A claim on the record of `digest`.
    pub(super) fn claim(self: &Arc<Self>, digest: Digest) -> Claim {
        lock(&self.needed).claims += 1;
        Claim { segment: Arc::clone(self), digest, recorded: false }
    }

    /// Waits until no claim is held and gives what was not recorded; `None` if the store closes before.
    pub(super) fn settled(&self, ground: &Ground) -> Option<Vec<Digest>> {
        let mut needed = lock(&self.needed);
        while needed.claims > 0 {
            if ground.closing.load(Ordering::SeqCst) {
                return None;
            }
            needed = match self.changed.wait_timeout(needed, LOOK) {
                Ok((needed, _)) => needed,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Some(needed.unrecorded.clone())
    }
}

/// Keeps the record of a published blob until the metadata has its own.
pub(in crate::stores::blobs) struct Claim {
    segment: Arc<Segment>,
    digest: Digest,
    recorded: bool,
}

impl Claim {
    /// The metadata has recorded the blob. A claim that is merely dropped says that it has not.
    pub(in crate::stores::blobs) fn recorded(mut self) {
        self.recorded = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut needed = lock(&self.segment.needed);
        needed.claims -= 1;
        if !self.recorded {
            needed.unrecorded.push(self.digest);
        }
        if needed.claims == 0 {
            self.segment.changed.notify_all();
        }
    }
}

/// The open segment.
pub(super) struct Log {
    pub(super) segment: Arc<Segment>,
    pub(super) key: Key,
    file: Box<dyn DiskFile>,
    /// Where the next record goes.
    pub(super) end: u64,
    zeroed: u64,
    /// How many there are.
    pub(super) records: usize,
}

/// The file of a segment, and up to where its bytes are there.
fn make(
    ground: &Ground,
    header: &Header,
    spared: bool,
    part: &Path,
    path: &Path,
) -> io::Result<(Box<dyn DiskFile>, u64)> {
    let mut file = if spared { ground.disk.open(part)? } else { ground.disk.create(part)? };
    file.write_at(&header.encode(), 0)?;
    file.sync_data()?;
    let zeroed = file.len()?; // a used one is as good as zeroed: its records are another key's
    ground.disk.rename(part, path)?;
    ground.disk.sync_dir(Path::new(paths::SMALL))?;
    Ok((file, zeroed))
}

/// Where a segment that went waits to be used again; start-up removes it.
pub(super) fn spare() -> PathBuf {
    Path::new(paths::SMALL).join("spare.tmp")
}

impl Log {
    /// Makes the segment `number`. It appears under its name whole, with a header that is durable.
    pub(super) fn create(ground: &Ground, number: u64) -> io::Result<Self> {
        let mut id = [0; 16];
        ground.random.fill(&mut id)?;
        let header = Header { number, id };
        let spared = ground.spare.swap(false, Ordering::SeqCst);
        let path = paths::small_segment(number);
        let part = if spared { spare() } else { path.with_extension("log.tmp") };
        let made = make(ground, &header, spared, &part, &path);
        if made.is_err() {
            // Best effort: start-up removes the one, and finds nothing in the other.
            let _ = ground.disk.remove_file(&part).and_then(|()| ground.disk.remove_file(&path));
        }
        let (file, zeroed) = made?;
        let segment = Arc::new(Segment { number, needed: Mutex::default(), changed: Condvar::new() });
        Ok(Self { segment, key: header.key(), file, end: HEADER as u64, zeroed, records: 0 })
    }

    /// Appends encoded `records`, so many, durably; gives the buffer back to be used again. After an
    /// error nothing more may be appended.
    pub(super) fn append(&mut self, records: &mut Vec<u8>, count: usize) -> io::Result<()> {
        let end = self.end + records.len() as u64;
        if end > self.zeroed {
            let step = match self.file.allocate(end + STEP) {
                Err(error) if is_full(&error) => 0,
                result => result.map(|()| STEP)?,
            };
            records.resize(records.len() + usize::try_from(step).unwrap_or(0), 0);
            self.zeroed = end + step;
        }
        self.file.write_at(records, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        self.records += count;
        Ok(())
    }
}
