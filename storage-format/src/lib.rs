//! What Pierhead keeps on disk, and nothing else: paths, keys, records, journal frames, snapshots,
//! journals of uploads, the log of small blobs, outboards of blobs, the audit trail and the
//! engine-neutral dump.
//! `FORMAT.md` beside this crate is the contract, written for someone
//! who reads the disk without our code; the code here is its only implementation.
//!
//! Rules that always hold:
//! - F1: a released byte layout is never changed; a new one gets a new version and a step from the
//!   one before.
//! - F2: an unknown version, or a known one that does not decode, is an error, never a guess.
//! - F3: everything here is pure: bytes in, values out. No file is opened by this crate.
//!
//! Must not depend on anything of the server. Start at [`paths`], then [`keys`] and [`records`].

pub mod audit;
pub mod backup;
pub mod codec;
pub mod digest;
pub mod dump;
pub mod housekeeping;
pub mod identity;
pub mod journal;
pub mod key_file;
pub mod keys;
pub mod outboard;
pub mod paths;
pub mod protection;
pub mod quota;
pub mod records;
pub mod retention;
pub mod rows;
pub mod scrub;
pub mod small;
pub mod snapshot;
pub mod store;
pub mod upload;
pub mod usage;

pub use codec::FormatError;
pub use digest::{Algorithm, Digest};
