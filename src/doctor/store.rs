//! The data directory: whether it is a store that this program knows, and who has it. Its lock is looked
//! up in `/proc/locks`, never taken: a server that starts at that moment must not be refused.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pierhead_storage_format::{paths, store};
use rustix::fs::{major, minor};

use super::Finding;

pub(super) struct Facts {
    pub(super) format: Format,
    /// The process that has the lock; 0 if it cannot be told which.
    pub(super) holder: Option<u32>,
}

pub(super) enum Format {
    /// No data directory, or nothing in it.
    None,
    /// There are files and no `FORMAT`.
    Lost,
    /// What `FORMAT` says.
    Found(Result<(), store::StoreError>),
    /// It cannot be read.
    Unread(io::ErrorKind),
}

impl Facts {
    /// Whether a process has the store.
    pub(super) const fn is_held(&self) -> bool {
        self.holder.is_some()
    }
}

pub(super) fn look(data: &Path) -> Facts {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let lock = fs::metadata(data.join(paths::LOCK)).ok();
    let holder = lock.and_then(|lock| holder(&locks, lock.dev(), lock.ino()));
    Facts { format: format(data), holder }
}

fn format(data: &Path) -> Format {
    match fs::read(data.join(paths::FORMAT)) {
        Ok(bytes) => Format::Found(store::decode(&bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => match data.join(paths::JOURNAL).exists() {
            true => Format::Lost,
            false => Format::None,
        },
        Err(error) => Format::Unread(error.kind()),
    }
}

/// Who has a flock(2) on the file, by lines such as `1: FLOCK  ADVISORY  WRITE 123 fd:00:456 0 EOF`.
pub(super) fn holder(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let place = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ours = words.get(1) == Some(&"FLOCK") && words.get(5) == Some(&place.as_str());
        ours.then(|| words.get(4).and_then(|pid| pid.parse().ok()).unwrap_or(0))
    })
}

pub(super) fn judge(facts: &Facts, data: &Path) -> Vec<Finding> {
    let data = data.display();
    let format = match &facts.format {
        Format::None => {
            Finding::ok("store", format!("there is none in {data} yet; the first start makes it"))
        }
        Format::Lost => Finding::fail(
            "store",
            format!("{data} has a journal and no FORMAT file"),
            "put back its one line, `pierhead store, format 1` (docs/troubleshooting.md)",
        ),
        Format::Found(Ok(())) => Finding::ok("store", format!("{data} is a store that this version knows")),
        Format::Found(Err(error)) => Finding::fail(
            "store",
            format!("{data}: {error}"),
            "use the version that made it, or another data directory",
        ),
        Format::Unread(kind) => Finding::warn(
            "store",
            format!("{data} cannot be read: {kind}"),
            "run this as root or as the service's user",
        ),
    };
    let who = match facts.holder {
        Some(0) => Finding::ok("store", "a server has it"),
        Some(pid) => Finding::ok("store", format!("process {pid} has it")),
        None => Finding::warn(
            "store",
            "no server has it",
            "start it: systemctl start pierhead; its log: journalctl -u pierhead",
        ),
    };
    vec![format, who]
}
