//! Where the rooms are put together: what is opened in which order, and closed in which. Decides
//! nothing else. Called by `cli` only. `serve` runs the appliance, `store` opens a data directory,
//! `offline` works on one that nobody serves.

mod offline;
mod serve;
mod store;

use std::io;
use std::path::PathBuf;

use pierhead_storage_format::store::StoreError;

use crate::server::{self, TlsError};
use crate::services;
use crate::services::access::Refusal;
use crate::stores::blobs::BlobError;
use crate::stores::lock::LockError;

pub use offline::{FsckReport, export, fsck, import};
pub use serve::{Listening, serve};

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `serve` without `--lab`: nobody could sign in.
    #[error(
        "sign-in is not built yet in this version: use --lab, which is open to everybody it can be reached by"
    )]
    NoIdentity,
    /// The data directory cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The folder is no store of ours, or of another version.
    #[error("{}: {source}", data.display())]
    Format {
        /// The data directory.
        data: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Files of somebody else are where the store would be made.
    #[error("{} is not empty and holds no Pierhead store; give an empty or a new folder", .0.display())]
    Foreign(PathBuf),
    /// The blobs cannot be opened.
    #[error("cannot open the blobs: {0}")]
    Blobs(#[from] BlobError),
    /// A service refused or failed.
    #[error(transparent)]
    Service(#[from] services::error::Error),
    /// Not allowed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] server::BindError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The host refuses something every process needs.
    #[error("cannot start: {0}")]
    Host(#[source] io::Error),
    /// Reading or writing what was asked for.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Not in this version.
    #[error("{0} is not built yet")]
    NotBuilt(&'static str),
}

fn io(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Io { what, source }
}
