//! Backups: made while the store is served, verified, restored elsewhere.
//!
//! Words: a *folder* holds backups; a *point* is one of them, the store at one change set; the *pool* is
//! the folder's blobs, each once for all points. On the disk: `FORMAT.md` §12.
//!
//! - U1: a point has its name only when all it needs is durable; what was interrupted ends in `.part`, and the
//!   next run removes it and keeps the blobs it had copied.
//! - U2: a blob gets its name in a pool, or in a restored store, only when its bytes are durable; what is
//!   copied is hashed on the way, what is linked is only when that is asked for.
//! - U3: every blob that the point's metadata names is in the point, or in its list of those that the store
//!   itself has lost. While a server runs it holds removals back ([`Holds`]), so there is no third case.
//! - U4: a restore writes only where nothing is, and there is no store before its last step: until then
//!   `restore/` is there.
//!
//! Steps: `create` and `draft` (a point), `pool` (blobs), `prune` (old points, then blobs that no point names),
//! `restore`, `unpack` (a stream). A stop anywhere is taken up by the same command, run again. Must not know how a
//! data directory is opened or checked: that is `wiring`'s, who also writes `FORMAT` after a restore.

mod copy;
mod create;
mod draft;
mod error;
mod folder;
mod holds;
mod lists;
mod pool;
mod prune;
mod restore;
#[cfg(test)]
mod tests;
mod unpack;
mod verify;

pub use create::{Made, Maker, Source, Wanted, to_folder, to_stream};
pub use error::BackupError;
pub use folder::{Folder, Found, State};
pub use holds::{Held, Holds};
pub use restore::{Restored, Target, from_folder, from_stream};
pub use verify::{Verified, verify};

use super::access::{Action, Permit};
use super::error::Error;

/// What is being done, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The metadata is written, or read in.
    Metadata,
    /// Blobs are copied or linked.
    Blobs,
    /// Bytes are hashed.
    Verifying,
    /// Old points, and what only they needed, are removed.
    Pruning,
}

/// Told now and then, at least once a MiB, what was done: stage, blobs done, blobs there are (0 if that
/// is not known).
pub type Watch<'a> = dyn FnMut(Stage, u64, u64) + 'a;

fn permitted(permit: &Permit) -> Result<(), Error> {
    if permit.covers_registry(Action::MaintainStore) {
        return Ok(());
    }
    Err(Error::Bug("a permit for something else"))
}
