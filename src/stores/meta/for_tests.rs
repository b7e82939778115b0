//! A store for the tests of rooms above: on a real disk, checked whole at every start, as nothing but its folder is of
//! interest to them. This room's own tests set more.

use std::path::Path;
use std::sync::Arc;

use pierhead_storage_format::paths;

use super::{Meta, Options};
use crate::seams::SystemClock;
use crate::stores::disk::RealDisk;

impl Meta {
    /// Opens or makes the store in the data directory `root`.
    pub fn for_tests(root: &Path) -> Self {
        let options = Options {
            disk: Arc::new(RealDisk::new(root)),
            index_dir: root.join(paths::INDEX),
            clock: Arc::new(SystemClock),
            cache_bytes: 8 << 20,
            snapshot_after: 64 << 20,
            boot: None,
            check_at_once: u64::MAX,
            on_full: Arc::new(|| false),
        };
        Self::open(options).expect("opened").0
    }
}
