//! Has memory that was freed given back to the system from time to time, off the async threads (`seams::allocator`).

use std::time::Duration;

use crate::jobs::{Job, Jobs};
use crate::seams::{allocator, tasks};

const EVERY: Duration = Duration::from_secs(60);

/// Lets `jobs` do it.
pub fn watch(jobs: &Jobs) {
    let job = Job::every("memory", "gives memory that was freed back to the system", EVERY);
    jobs.every(job, |_| async { tasks::blocking(given_back).await.map_err(|error| error.to_string()) });
}

/// What was given back, in words.
fn given_back() -> String {
    let before = allocator::resident();
    allocator::give_back();
    match (before, allocator::resident()) {
        (Some(before), Some(after)) => {
            format!("{} MiB given back, {} MiB resident", before.saturating_sub(after) >> 20, after >> 20)
        }
        _ => String::new(),
    }
}
