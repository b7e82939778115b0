//! Why a backup was not made, or not restored.

use std::io;
use std::path::{Path, PathBuf};

use pierhead_storage_format::backup::tar::TarError;
use pierhead_storage_format::backup::{BLOBS, PointError};

use crate::services::error::Error;
use crate::services::fsck::Unreadable;
use crate::services::maintenance::{ExportError, ImportError};
use crate::stores::disk::is_full;
use crate::stores::lock::LockError;
use crate::stores::meta::TruthError;

/// Why a backup was not made, verified or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Not allowed.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The store's metadata cannot be read.
    #[error("the metadata cannot be read")]
    Metadata(#[source] TruthError),
    /// It cannot be written out.
    #[error("the metadata cannot be backed up")]
    Export(#[source] ExportError),
    /// That of the backup cannot be read in.
    #[error("the metadata of the backup cannot be restored")]
    Import(#[from] ImportError),
    /// The log of small blobs cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A file cannot be read or written.
    #[error("{what}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file of the folder, or of the new store, is another user's.
    #[error(
        "{what}. This is user {}, and something in {} is another's: take a folder of its own; or, as root, if nothing else is in \
         it: chown -R {} {}",
        user(), folder.display(), user(), folder.display()
    )]
    Denied {
        /// What was being done, with the path.
        what: String,
        /// The folder.
        folder: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The disk that is written to is full, or would leave the store too little.
    #[error("no space is left on the disk of {}: what was copied stays, and the next run goes on from it", .0.display())]
    Full(PathBuf),
    /// The folder is not one of backups.
    #[error("{} is not empty and holds no backups of Pierhead; give an empty or a new folder", .0.display())]
    Foreign(PathBuf),
    /// There is no folder of backups.
    #[error("{} holds no backups of Pierhead", .0.display())]
    NoBackups(PathBuf),
    /// No point in it is whole.
    #[error("no backup in {} is whole", .0.display())]
    NoPoint(PathBuf),
    /// The point asked for is not there, or not whole.
    #[error("there is no whole backup {name} in {}; `pierhead backup list` names them", folder.display())]
    PointUnknown {
        /// The folder.
        folder: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// The point's record.
    #[error(transparent)]
    Point(#[from] PointError),
    /// Another file of the point.
    #[error("{0} of the backup is damaged, or not of it; take another backup")]
    Damaged(String),
    /// What a point needs cannot be told, so that nothing may be removed.
    #[error(
        "the backup was made, but older ones were not removed: {BLOBS} of backup {0} is damaged, so that what it \
             needs cannot be told; remove its folder if it is not needed, and back up again"
    )]
    ListDamaged(String),
    /// A stream that is none of ours, or was cut.
    #[error(transparent)]
    Stream(#[from] TarError),
    /// Another process uses the folder.
    #[error("the backups are in use")]
    InUse(#[from] LockError),
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Says what was being done; a full disk at `root` is told apart.
pub(super) fn io(what: &'static str, root: &Path, path: &Path) -> impl Fn(io::Error) -> BackupError + use<> {
    let (root, path) = (root.to_owned(), root.join(path));
    move |source| {
        let what = format!("{what} {} failed", path.display());
        match source.kind() {
            _ if is_full(&source) => BackupError::Full(root.clone()),
            io::ErrorKind::PermissionDenied => BackupError::Denied { what, folder: root.clone(), source },
            _ => BackupError::Io { what, source },
        }
    }
}

/// As [`io`], for errors of the store that is backed up, whose disk is not written to.
pub(super) fn reading(path: &Path) -> impl Fn(io::Error) -> BackupError + use<> {
    let what = format!("{} cannot be read", path.display());
    move |source| BackupError::Io { what: what.clone(), source }
}
