//! A house on a disk that fails, or whose power is cut, and what is left of it.

use std::path::Path;
use std::sync::Arc;

use super::super::super::offline::fsck;
use super::super::super::rooms::{services, shelves};
use super::super::super::store;
use super::{House, OPENED};
use crate::config::{Settings, Size};
use crate::seams::TestClock;
use crate::services::fsck::Report;
use crate::services::leases::Leases;
use crate::services::uploads::Uploads;
use crate::stores::blobs::Blobs;
use crate::stores::disk::Disk;
use crate::stores::lock::DataLock;

/// A house that nobody serves any more.
pub struct Ground {
    pub(super) settings: Settings,
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Arc<TestClock>,
}

impl House {
    /// A lab on a disk of the test's own.
    pub async fn on(disk: impl FnOnce(&Path) -> Arc<dyn Disk>, change: impl FnOnce(&mut Settings)) -> Self {
        Ground::of(Settings::lab(), change).up(disk).await
    }

    /// What a stop without notice leaves.
    pub fn fallen(self) -> Ground {
        let Self {
            settings,
            folder,
            clock,
            people,
            images,
            audit,
            collector,
            retention,
            guard,
            surfaces,
            store,
            ..
        } = self;
        drop((people, images, audit, collector, retention, guard, surfaces));
        drop(Arc::try_unwrap(store).map_err(|_| "nobody uses it").expect("the last"));
        Ground { settings, folder, clock }
    }

    /// Uploads as another process opens them on the same stores, and what they count on.
    pub fn uploads_again(&self) -> (Uploads, Arc<Leases>) {
        let shelves = shelves(&self.settings, &self.store, &self.people, self.clock.clone());
        (services(&self.settings, &shelves).1, Arc::clone(&shelves.leases))
    }

    /// The bytes.
    pub fn blobs(&self) -> &Blobs {
        &self.store.blobs
    }
}

impl Ground {
    /// An empty one.
    pub(super) fn of(mut settings: Settings, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let clock = Arc::new(TestClock::default());
        clock.set(OPENED);
        settings.storage.data = folder.path().join("data");
        settings.storage.ballast = Size::from_mib(1);
        settings.storage.reserve = Size::from_mib(1);
        settings.registry.delete = true;
        change(&mut settings);
        Self { settings, folder, clock }
    }

    /// Opens it again.
    pub async fn up(self, disk: impl FnOnce(&Path) -> Arc<dyn Disk>) -> House {
        let storage = &self.settings.storage;
        let lock = DataLock::create(&storage.data).expect("a lock");
        let opened = store::open_on(storage, lock, disk(&storage.data), self.clock.clone());
        House::furnished(true, self, opened.expect("a store").0).await
    }

    /// What `fsck` finds.
    pub fn check(&self) -> Report {
        fsck(&self.settings.storage.data, true, &mut |_, _| {}).expect("a report")
    }
}
