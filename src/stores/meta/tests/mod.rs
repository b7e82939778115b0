//! A store in a scratch folder, a model, and ways to hurt it. Long ones are small by default and
//! full-sized with `PIERHEAD_FULL=1`.

mod crash;
mod engines;
mod faults;
mod index_damage;
mod journal_damage;
mod marks;
mod mending;
mod scale;
mod snapshot;
mod start;
mod suite;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pierhead_storage_format::keys::{CounterKey, RepositoryCountersKey, TableKey};
use pierhead_storage_format::paths;
use pierhead_storage_format::records::{CounterRecord, RepositoryCounters};
use tempfile::TempDir;

use super::engine::{Factory, MemoryEngine, sled_factory};
use super::{Meta, MetaError, OpenError, Opened, Options};
use crate::seams::TestClock;
use crate::stores::disk::faulty::{Faults, FaultyDisk};
use crate::stores::disk::{Disk, RealDisk};

pub(super) type Rows = BTreeMap<String, u64>;

pub(super) fn full_size() -> bool {
    std::env::var_os("PIERHEAD_FULL").is_some_and(|value| value == "1")
}

pub(super) fn memory_factory() -> Factory {
    Arc::new(|_, _| Ok(Arc::new(MemoryEngine::default())))
}

/// A data directory.
pub(super) struct House {
    dir: TempDir,
    pub(super) clock: Arc<TestClock>,
    pub(super) snapshot_after: u64,
    pub(super) factory: Factory,
    pub(super) boot: Option<String>,
    pub(super) check_at_once: u64,
}

impl House {
    pub(super) fn new(factory: Factory) -> Self {
        let dir = tempfile::tempdir().expect("scratch");
        let (boot, check_at_once) = (None, u64::MAX);
        Self { dir, clock: Arc::default(), snapshot_after: 64 << 20, factory, boot, check_at_once }
    }

    pub(super) fn sled() -> Self {
        Self::new(sled_factory())
    }

    pub(super) fn memory() -> Self {
        Self::new(memory_factory())
    }

    pub(super) fn small_snapshots(mut self) -> Self {
        self.snapshot_after = 16 << 10;
        self
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    pub(super) fn disk(&self) -> RealDisk {
        RealDisk::new(self.root())
    }

    pub(super) fn options(&self, disk: Arc<dyn Disk>) -> Options {
        Options {
            disk,
            index_dir: self.at(paths::INDEX),
            clock: Arc::clone(&self.clock) as _,
            cache_bytes: 8 << 20,
            snapshot_after: self.snapshot_after,
            boot: self.boot.clone(),
            check_at_once: self.check_at_once,
            on_full: Arc::new(|| false),
        }
    }

    pub(super) fn try_open(&self) -> Result<(Meta, Opened), OpenError> {
        super::open::open(self.options(Arc::new(self.disk())), Arc::clone(&self.factory))
    }

    pub(super) fn open(&self) -> (Meta, Opened) {
        self.try_open().expect("opens")
    }

    pub(super) fn open_faulty(&self) -> (Result<(Meta, Opened), OpenError>, Arc<Faults>) {
        let (disk, faults) = FaultyDisk::new(self.root());
        (self.open_on(disk), faults)
    }

    pub(super) fn open_on(&self, disk: FaultyDisk) -> Result<(Meta, Opened), OpenError> {
        super::open::open(self.options(Arc::new(disk)), Arc::clone(&self.factory))
    }

    /// A copy of it as it lies on the disk.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new(Arc::clone(&self.factory));
        copy_dir(self.root(), copy.root());
        Self { snapshot_after: self.snapshot_after, ..copy }
    }

    /// A copy of it while it runs: index first, then snapshots, then segments in order, so that
    /// what is copied later is newer, as a crash would leave it. Taken again if a snapshot came
    /// meanwhile.
    pub(super) fn image(&self) -> Self {
        loop {
            let image = Self { snapshot_after: self.snapshot_after, ..Self::new(Arc::clone(&self.factory)) };
            let finished = || {
                let all = self.snapshots().into_iter();
                all.filter(|p| p.extension().is_some_and(|e| e == "zst")).collect::<Vec<_>>()
            };
            let before = finished();
            for folder in [paths::INDEX, paths::SNAPSHOT, paths::JOURNAL] {
                fs::create_dir_all(image.at(folder)).expect("folder");
                for file in files(&self.at(folder)).into_iter().filter(|f| f.is_file()) {
                    let target = image.at(folder).join(file.file_name().expect("a name"));
                    let _ = fs::copy(&file, target); // may just have been renamed
                }
            }
            if finished() == before {
                return image;
            }
        }
    }

    /// Segments, ascending.
    pub(super) fn segments(&self) -> Vec<PathBuf> {
        files(&self.at(paths::JOURNAL))
    }

    pub(super) fn snapshots(&self) -> Vec<PathBuf> {
        files(&self.at(paths::SNAPSHOT))
    }
}

pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|e| e.expect("entry").path()).collect();
    files.sort();
    files
}

pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("folder") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

pub(super) fn key(name: impl Into<String>) -> CounterKey {
    CounterKey { name: name.into() }
}

/// Sets every name to `value`, in one change set; 0 removes.
pub(super) async fn put(meta: &Meta, names: Vec<String>, value: u64) -> Result<(), MetaError> {
    meta.commit(move |tx| {
        for name in names {
            if value == 0 {
                tx.delete(&key(name))?;
            } else {
                tx.put(&key(name), &CounterRecord { next: value })?;
            }
        }
        Ok(())
    })
    .await
}

pub(super) async fn put_one(meta: &Meta, name: &str, value: u64) -> Result<(), MetaError> {
    put(meta, vec![name.into()], value).await
}

pub(super) fn model(rows: &mut Rows, names: &[String], value: u64) {
    for name in names {
        if value == 0 {
            rows.remove(name);
        } else {
            rows.insert(name.clone(), value);
        }
    }
}

/// Every counter, by pages of 97.
pub(super) fn contents(meta: &Meta) -> Rows {
    let mut rows = Rows::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = meta.page::<CounterKey>(b"", after.as_deref(), 97).expect("readable");
        let Some((last, _)) = page.last() else { return rows };
        after = Some(last.encode());
        rows.extend(page.into_iter().map(|(key, record)| (key.name, record.next)));
    }
}

pub(super) fn repository(id: u64) -> RepositoryCountersKey {
    RepositoryCountersKey { repository: id }
}

pub(super) fn counters(value: u64) -> RepositoryCounters {
    RepositoryCounters { tags: value, ..RepositoryCounters::default() }
}

/// Waits until `holds`; fails after a minute.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
