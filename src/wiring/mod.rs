//! Where the rooms are put together: what is opened in which order, and closed in which. Decides
//! nothing else. Called by `cli` only. `serve` runs the appliance, whose services are `rooms` (`gauges` are what it tells
//! `/metrics` of its stores, `admin` its socket for administrators, `managed` the service manager), `store` opens a data directory,
//! `offline` works on one that nobody serves, `repair` repairs one, `space` has stale uploads removed where space is low, `surfaces` finds who answers a path,
//! `protection` opens the guard, `reload` reads settings again, `tls` finds or makes the certificate, `people`
//! reads who there is.

mod admin;
mod audit;
mod backup;
mod collection;
mod gauges;
mod level;
mod managed;
mod memory;
mod offline;
mod owner;
mod people;
mod protection;
mod reload;
mod repair;
mod retention;
mod rooms;
mod serve;
mod space;
mod store;
mod surfaces;
#[cfg(test)]
mod tests;
mod tls;
mod upkeep;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use pierhead_storage_format::store::StoreError;

use crate::authority::AuthorityError;
use crate::server::{self, TlsError};
use crate::services;
use crate::services::access::{self, Refusal};
use crate::services::backup::BackupError;
use crate::services::maintenance;
use crate::services::signin::password::PasswordError;
use crate::stores::blobs::BlobError;
use crate::stores::lock::LockError;
use crate::stores::meta;
use crate::stores::secrets::SecretsError;
use crate::stores::trail::TrailError;

pub use backup::{
    BackupOptions, Drilled, From, Outcome, back_up, back_up_to_stream, backups, drill, restore,
    verify_backups,
};
pub use offline::{export, fsck, import, initialise};
pub use owner::go_on_as_owner;
pub use reload::Reread;
pub use repair::{Repair, RepairOptions, repair};
pub use serve::{Listening, serve};
pub use tls::{check_tls, own_ca};

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Who there is cannot be read.
    #[error(transparent)]
    People(#[from] access::LoadError),
    /// The key file cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The audit trail cannot be opened.
    #[error("the audit trail cannot be opened")]
    Trail(#[from] TrailError),
    /// Passwords cannot be checked.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The data directory cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The folder is no store of ours, or of another version.
    #[error("{} cannot be used", data.display())]
    Format {
        /// The data directory.
        data: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// There are blobs, but neither journal nor snapshot.
    #[error(
        "{} has blobs but no metadata: meta/ is missing (is a volume not mounted?). Nothing was changed; \
         put it back, or import an export",
        .0.display()
    )]
    MetadataLost(PathBuf),
    /// Files of somebody else are where the store would be made.
    #[error("{} is not empty and holds no Pierhead store; give an empty or a new folder", .0.display())]
    Foreign(PathBuf),
    /// There are blobs or a journal, but no `FORMAT`.
    #[error("{} has lost its FORMAT file, or was not made by Pierhead; nothing was changed", .0.display())]
    FormatLost(PathBuf),
    /// It is another user's, whose server could not read what is made there.
    #[error("{} belongs to user {owner}: run this as that user, or while the server runs", data.display())]
    OthersData {
        /// The data directory.
        data: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// It is another user's, who could not read what a repair leaves there.
    #[error("{} belongs to user {owner}: repair it as that user", data.display())]
    NotOwner {
        /// The data directory.
        data: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// What root began could not be gone on with as the owner of what is written.
    #[error("cannot go on as user {user}, whose folder {} is: run this as that user", folder.display())]
    CannotBecome {
        /// Who that is.
        user: u32,
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is none.
    #[error("{} holds no Pierhead store", .0.display())]
    NoStore(PathBuf),
    /// The check could not be done.
    #[error("the check was not finished")]
    Check(#[from] maintenance::CheckError),
    /// A repair ended early.
    #[error(transparent)]
    Repair(#[from] maintenance::RepairError),
    /// Opening the store for a repair would remove files, or what the log of small blobs has, that lost rows may have named.
    #[error(
        "not begun: a start, and so a repair, removes files of uploads that were cut short (B2, noted above) and blobs of \
         the log in small/ that have no row, and rows may be missing that named them. Keep a copy of the data directory \
         and restore the newest backup; or start the server once, which gives those up, stop it, and repair then"
    )]
    WouldClear,
    /// The export could not be written.
    #[error("nothing usable was exported")]
    Export(#[from] maintenance::ExportError),
    /// The import was refused or failed.
    #[error("nothing was imported")]
    Import(#[from] maintenance::ImportError),
    /// The metadata cannot be opened.
    #[error("cannot open the metadata")]
    Meta(#[from] meta::OpenError),
    /// The blobs cannot be opened.
    #[error("cannot open the blobs")]
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
    /// The socket for administrators cannot be had.
    #[error("{source}; `admin.socket` sets where it is")]
    Admin {
        /// Why.
        #[from]
        source: server::LocalError,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The appliance's own CA has no certificate for it.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Plain HTTP where others can reach it, and nobody said that it may be.
    #[error(
        "TLS is off, and {0} (server.listen) can be reached by others: set tls.mode, listen on loopback, \
         or allow it with tls.plain_http = true"
    )]
    PlainHttp(SocketAddr),
    /// The host refuses something every process needs.
    #[error("cannot start")]
    Host(#[source] io::Error),
    /// A backup was not made, or not restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A store is restored only where nothing is.
    #[error("{} is not empty: restore to a new or an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// A restore was interrupted here.
    #[error("{} holds a restore that was not finished: run `pierhead restore` again", .0.display())]
    Unrestored(PathBuf),
    /// Reading or writing what was asked for.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn io(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Io { what, source }
}
