//! Free space and inodes where the data is.

use std::path::Path;

use super::{Finding, nearest};
use crate::config::StorageSettings;

/// Of the whole, in percent: less free than that is little.
const LITTLE: u64 = 10;

#[derive(Clone, Copy)]
pub(super) struct Facts {
    /// Bytes free to the service's user.
    pub(super) free: u64,
    pub(super) total: u64,
    /// 0 of 0 where there is no limit.
    pub(super) inodes_free: u64,
    pub(super) inodes: u64,
}

pub(super) fn look(data: &Path) -> Option<Facts> {
    let found = rustix::fs::statvfs(nearest(data)).ok()?;
    Some(Facts {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        total: found.f_blocks.saturating_mul(found.f_frsize),
        inodes_free: found.f_favail,
        inodes: found.f_files,
    })
}

pub(super) fn judge(facts: Option<Facts>, storage: &StorageSettings) -> Vec<Finding> {
    let Some(facts) = facts else {
        let advice = "run this as root or as the service's user";
        return vec![Finding::warn("disk", "the free space cannot be asked", advice)];
    };
    let gib = |bytes: u64| {
        let tenths = bytes / (1 << 30) * 10 + bytes % (1 << 30) * 10 / (1 << 30);
        format!("{}.{} GiB", tenths / 10, tenths % 10)
    };
    let (free, total, reserve) = (gib(facts.free), gib(facts.total), gib(storage.reserve.bytes()));
    let what = format!("{free} of {total} are free, {reserve} are kept back");
    let space = if facts.free < storage.reserve.bytes() {
        Finding::fail(
            "disk",
            format!("{what}: uploads are refused"),
            "remove images or make the disk larger (docs/data-directory.md); storage.reserve sets what is kept back",
        )
    } else if facts.free / 2 < storage.reserve.bytes() || facts.free < facts.total / 100 * LITTLE {
        Finding::warn(
            "disk",
            what,
            "make room before uploads are refused: remove images or make the disk larger",
        )
    } else {
        Finding::ok("disk", what)
    };
    let mut findings = vec![space];
    if facts.inodes > 0 && facts.inodes_free < facts.inodes / 100 {
        let what = format!("{} of {} inodes are free", facts.inodes_free, facts.inodes);
        findings.push(Finding::warn(
            "disk",
            what,
            "each blob is a file: make the file system with more inodes",
        ));
    }
    findings
}
