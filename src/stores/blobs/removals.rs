//! Who holds back that blobs go: a backup copies what the metadata of a moment named, whatever became of the
//! names since. Nothing here is on the disk: who holds asks again after a restart.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Shared by all clones of a store.
#[derive(Clone, Default)]
pub(super) struct Removals(Arc<RwLock<()>>);

/// While it lives, no blob is removed; those found damaged still go to quarantine.
#[must_use]
pub struct Hold(#[expect(dead_code, reason = "held, not looked at")] OwnedRwLockReadGuard<()>);

/// Leave to remove blobs: no hold begins while it lives, so keep it for a batch, not for long.
#[must_use]
pub struct Removing(#[expect(dead_code, reason = "held, not looked at")] OwnedRwLockWriteGuard<()>);

impl Removals {
    pub(super) async fn hold(&self) -> Hold {
        Hold(Arc::clone(&self.0).read_owned().await)
    }

    pub(super) fn begin(&self) -> Option<Removing> {
        Arc::clone(&self.0).try_write_owned().ok().map(Removing)
    }
}
