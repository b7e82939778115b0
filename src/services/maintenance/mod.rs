//! What an administrator does to a store that nobody serves: `check` it, `repair` it, take its metadata out
//! and put it in (`dump`). `online` checks one that is served, whose files `live` reads. Every call takes a permit to
//! maintain the store. `check` and `dump` read the journal and its snapshots, never the index, so that they say what
//! is true.

mod check;
mod dump;
mod live;
mod online;
mod repair;
mod steps;

pub use check::{CheckError, check};
pub use dump::{ExportError, ImportError, export, export_moment, import};
pub use live::GoesOn;
pub use online::{Checked, Checks, Progress, Served};
pub use repair::{RepairError, Workshop, repair};
pub use steps::{Held, Step, Steps, opening};

use super::access::{Action, Permit};
use super::error::Error;

fn permitted(permit: &Permit) -> Result<(), Error> {
    if permit.covers_registry(Action::MaintainStore) {
        return Ok(());
    }
    Err(Error::Bug("a permit for something else"))
}
