//! `check`: what `fsck` checks, of a store that is served.
//!
//! Words: the *moment* is a change set; rows are those of journal and snapshots up to it. What came since is no finding.
//!
//! - O1: removals are held back from before the moment until all files of it were listed and all manifests read, not
//!   while blobs are read, which may take hours: then a blob is no finding whose row has gone (`live`).
//! - O2: what is under way is no finding: files on their way to a row, the end of the journal, the open log of the
//!   audit trail, files that are being written, uploads that somebody goes on with.
//! - O3: a finding of files that come and go by themselves is told only if it is there twice.
//! - O4: nothing is changed. The last report stays in memory, as large as `fsck`'s, until the next.
//!
//! Not looked at: whether the index agrees with the journal, which needs the index at rest: a start does, and `fsck`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use pierhead_storage_format::paths;

use super::check::{CheckError, check_rows, metadata, now_and_then};
use super::live::{GoesOn, LiveBlobs};
use super::permitted;
use crate::seams::{Clock, tasks};
use crate::services::access::{Action, Permit};
use crate::services::error::Error;
use crate::services::fsck::{Options, Report, Stage, Standing, strange_files, upload_ids};
use crate::stores::blobs::{Blobs, Hold};
use crate::stores::disk::Disk;
use crate::stores::meta::{self, CheckOptions, Meta};
use crate::stores::trail;

/// How often files that come and go are looked at before an error of that is believed.
const LOOKS: usize = 5;
/// How long an upload that nobody goes on with may take to go, by the clock that does not jump, milliseconds.
const GOING: u64 = 10_000;

/// What it looks at.
pub struct Served {
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// Rows, as they are now.
    pub meta: Meta,
    /// Files.
    pub blobs: Blobs,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Whether somebody goes on with an upload.
    pub is_open: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

/// Checks of a running appliance. Clones share everything.
#[derive(Clone)]
pub struct Checks(Arc<Inner>);

struct Inner {
    served: Served,
    last: Mutex<Option<Arc<Checked>>>,
}

/// A check that came to its end. Times are UTC milliseconds since 1970.
#[derive(Debug)]
pub struct Checked {
    /// When it began.
    pub began_at: u64,
    /// When it ended.
    pub ended_at: u64,
    /// Whether every blob was hashed.
    pub deep: bool,
    /// What was found.
    pub report: Report,
}

/// Is told how far it is.
pub type Progress = Box<dyn FnMut(Stage, u64) + Send>;

/// Bytes of an upload, and when the last came.
type Received = Option<(u64, SystemTime)>;

impl Checks {
    /// None yet.
    pub fn new(served: Served) -> Self {
        Self(Arc::new(Inner { served, last: Mutex::default() }))
    }

    /// The last one that came to its end since the start.
    pub fn last(&self, permit: &Permit) -> Result<Option<Arc<Checked>>, Error> {
        match permit.covers_registry(Action::ReadStatus) {
            true => Ok(self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            false => Err(Error::Bug("a permit for something else")),
        }
    }

    /// Checks, as `fsck` does; `deep` hashes every blob. As long as `goes_on` says so, which may wait.
    pub async fn run(
        &self,
        permit: &Permit,
        deep: bool,
        (goes_on, progress): (GoesOn, Progress),
    ) -> Result<Arc<Checked>, CheckError> {
        permitted(permit)?;
        let hold = self.0.served.blobs.hold_removals().await;
        let inner = Arc::clone(&self.0);
        let done = tasks::blocking(move || inner.check(deep, (&goes_on, progress), hold)).await;
        done.unwrap_or_else(|panicked| Err(CheckError::Refused(Error::from(panicked))))
    }
}

impl Inner {
    fn check(
        &self,
        deep: bool,
        (goes_on, mut progress): (&GoesOn, Progress),
        hold: Hold,
    ) -> Result<Arc<Checked>, CheckError> {
        let Served { disk, meta, blobs, clock, .. } = &self.served;
        let (began_at, unknown) = (clock.now_ms(), self.unknown_uploads()?);
        let options = Options { deep, fixes: false }; // nobody would do them
        let files = |disk| Ok(LiveBlobs::new(disk, (meta.clone(), blobs.clone()), hold, Arc::clone(goes_on)));
        let checked = check_rows(disk, (files, goes_on.as_ref()), options, &mut *progress);
        let checked = asked(goes_on, || checked)?;
        let journal = twice(|| journal(disk.as_ref(), goes_on.as_ref()))?;
        let mut report = had(checked, &journal)?;
        let trail = twice(|| trail(disk.as_ref(), goes_on.as_ref()))?;
        for (id, what) in journal.into_iter().chain(trail) {
            report.add_metadata(id, what);
        }
        strange_files(disk.as_ref(), Standing::Served, &mut report)?;
        for id in self.abandoned(unknown, goes_on)?.into_keys() {
            let path = paths::upload_dir(&id);
            report.add_metadata("U1", format!("{}: nobody goes on with it", path.display()));
        }
        let checked = Arc::new(Checked { began_at, ended_at: clock.now_ms(), deep, report });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&checked));
        Ok(checked)
    }

    /// Folders of uploads that are no session's, with what there is of each: blobs that come in one request or are
    /// being published, and leftovers.
    fn unknown_uploads(&self) -> Result<BTreeMap<String, Received>, CheckError> {
        let ids = upload_ids(self.served.disk.as_ref(), Standing::Served)?;
        let ids = ids.into_iter().filter(|id| !(self.served.is_open)(id));
        Ok(ids.map(|id| (id.clone(), self.received(&id))).collect())
    }

    /// What cannot be looked at has gone, or does not grow.
    fn received(&self, id: &str) -> Received {
        let data = self.served.disk.open_read(&paths::upload_data(id)).ok()?.metadata().ok()?;
        Some((data.len(), data.modified().ok()?))
    }

    /// Those of `unknown` that stay as they are, since nobody goes on with them.
    fn abandoned(
        &self,
        mut unknown: BTreeMap<String, Received>,
        goes_on: &GoesOn,
    ) -> Result<BTreeMap<String, Received>, CheckError> {
        let until = self.served.clock.monotonic_ms().saturating_add(GOING);
        loop {
            let now = self.unknown_uploads()?;
            unknown.retain(|id, received| now.get(id) == Some(received));
            if unknown.is_empty() || self.served.clock.monotonic_ms() >= until {
                return Ok(unknown);
            }
            if !goes_on() {
                return Err(CheckError::Stopped);
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100)); // nobody unparks it
        }
    }
}

/// The outcome of `work`, unless it is to end.
fn asked<T>(goes_on: &GoesOn, work: impl FnOnce() -> Result<T, CheckError>) -> Result<T, CheckError> {
    if goes_on() { work() } else { Err(CheckError::Stopped) }
}

/// Rows that cannot be had are a finding of the journal; if there is none, nothing is known.
fn had(checked: Option<Report>, journal: &BTreeSet<Found>) -> Result<Report, CheckError> {
    match checked {
        None if journal.is_empty() => Err(CheckError::NoRows),
        checked => Ok(checked.unwrap_or_default()),
    }
}

/// A finding by its id.
type Found = (&'static str, String);

/// What is found by two looks (O3).
fn twice(look: impl Fn() -> Result<BTreeSet<Found>, CheckError>) -> Result<BTreeSet<Found>, CheckError> {
    let first = again(&look)?;
    if first.is_empty() {
        return Ok(first);
    }
    let second = again(&look)?;
    Ok(first.intersection(&second).cloned().collect())
}

/// A file may go between the list and the look at it.
fn again<T>(look: impl Fn() -> Result<T, CheckError>) -> Result<T, CheckError> {
    let mut looks = 1;
    loop {
        match look() {
            Err(CheckError::Stopped) => return Err(CheckError::Stopped),
            Err(_) if looks < LOOKS => looks += 1,
            result => return result,
        }
    }
}

/// Journal and snapshots, but for what is being written.
fn journal(disk: &dyn Disk, goes_on: &dyn Fn() -> bool) -> Result<BTreeSet<Found>, CheckError> {
    const UNDER_WAY: [&str; 2] = ["M2", "M7"];
    let options = CheckOptions { index_dir: None, scratch: paths::INDEX_CHECKED.into(), cache_bytes: 0 };
    let found = meta::check_while(disk, &options, &now_and_then(goes_on)).map_err(metadata)?;
    let found = found.into_iter().filter(|finding| !UNDER_WAY.contains(&finding.id));
    Ok(found.map(|finding| (finding.id, format!("{}: {}", finding.what, finding.detail))).collect())
}

/// The audit trail, but for what is not sealed yet.
fn trail(disk: &dyn Disk, goes_on: &dyn Fn() -> bool) -> Result<BTreeSet<Found>, CheckError> {
    let mut found = BTreeSet::new();
    let mut add = |id, file, why| {
        if id != "A3" {
            found.insert((id, format!("{file}: {why}")));
        }
    };
    let is_whole = trail::check(disk, goes_on, &mut add).map_err(CheckError::Trail)?;
    if is_whole { Ok(found) } else { Err(CheckError::Stopped) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::repair::tests::shop;
    use super::*;
    use crate::seams::TestClock;

    #[test]
    fn rows_that_cannot_be_had_are_never_a_clean_check() {
        let journal = BTreeSet::from([("M1", "a segment".to_owned())]);
        assert!(matches!(had(None, &BTreeSet::new()), Err(CheckError::NoRows)));
        assert!(had(None, &journal).is_ok());
        assert!(had(Some(Report::default()), &BTreeSet::new()).is_ok());
    }

    #[test]
    fn the_journal_and_the_trail_are_not_looked_at_any_more_once_a_check_is_to_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let shop = shop(folder.path());
        fs::create_dir_all(folder.path().join("audit/2026-01-01")).expect("made");
        fs::write(folder.path().join(paths::audit_log("2026-01-01", 1)), b"").expect("written");
        let (disk, looks) = (shop.disk.as_ref(), std::cell::Cell::new(0));
        let ends = || {
            looks.set(looks.get() + 1);
            false
        };
        assert!(matches!(twice(|| journal(disk, &ends)), Err(CheckError::Stopped)));
        assert!(matches!(twice(|| trail(disk, &ends)), Err(CheckError::Stopped)));
        assert_eq!(looks.get(), 2, "each is asked once, and not tried again");
        assert!(journal(disk, &|| true).is_ok() && trail(disk, &|| true).is_ok());
    }

    #[tokio::test]
    async fn an_upload_that_bytes_come_to_is_not_abandoned() {
        for grows in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let shop = shop(folder.path());
            let data = folder.path().join(paths::upload_data("000000000000000000000000000000aa"));
            fs::create_dir_all(data.parent().expect("a folder")).expect("made");
            fs::write(&data, b"a layer").expect("written");
            let clock = Arc::new(TestClock::default());
            let (disk, meta, blobs) = (shop.disk, shop.meta, shop.blobs);
            let is_open = Arc::new(|_: &str| false);
            let inner = Checks::new(Served { disk, meta, blobs, clock: clock.clone(), is_open }).0;
            let unknown = inner.unknown_uploads().expect("readable");
            assert_eq!(unknown.len(), 1);
            let goes_on: GoesOn = Arc::new(move || {
                if grows {
                    fs::write(&data, b"a layer that is longer").expect("written");
                }
                clock.set(clock.now_ms() + 2 * GOING);
                true
            });
            let left = inner.abandoned(unknown, &goes_on).expect("readable");
            assert_eq!(left.len(), usize::from(!grows), "{grows}");
        }
    }
}
