//! What an administrator does to a store that nobody serves: `check` it, take its metadata out
//! and put it in (`dump`). Every call takes a permit to maintain the store. `check` and `dump`
//! read the journal and its snapshots, never the index, so that they say what is true.

mod check;
mod dump;

pub use check::{CheckError, check};
pub use dump::{ExportError, ImportError, export, export_moment, import};

use super::access::{Action, Permit};
use super::error::Error;

fn permitted(permit: &Permit) -> Result<(), Error> {
    if permit.covers_registry(Action::MaintainStore) {
        return Ok(());
    }
    Err(Error::Bug("a permit for something else"))
}
