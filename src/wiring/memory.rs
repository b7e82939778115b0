//! Gives memory that was freed back to the system. The C library's allocator keeps what lies between blocks in
//! use: after an index was rebuilt, or a million rows written, that was several times what is in use. Called from
//! a job, off the async threads: a walk over all free blocks, during which allocating threads may wait for some
//! milliseconds.

use std::fs;
use std::time::Duration;

use crate::jobs::{Job, Jobs};
use crate::seams::tasks;

const EVERY: Duration = Duration::from_secs(60);

/// Lets `jobs` do it.
pub fn watch(jobs: &Jobs) {
    let job = Job::every("memory", "gives memory that was freed back to the system", EVERY);
    jobs.every(job, |_| async { tasks::blocking(given_back).await.map_err(|error| error.to_string()) });
}

/// What was given back, in words.
fn given_back() -> String {
    let before = resident();
    trim();
    match (before, resident()) {
        (Some(before), Some(after)) => {
            format!("{} MiB given back, {} MiB resident", before.saturating_sub(after) >> 20, after >> 20)
        }
        _ => String::new(),
    }
}

/// Bytes; `None` where the system does not tell.
fn resident() -> Option<u64> {
    let told = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = told.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(target_env = "gnu")]
fn trim() {
    #[expect(unsafe_code, reason = "a call of the C library")]
    unsafe extern "C" {
        fn malloc_trim(keep: usize) -> std::ffi::c_int;
    }
    // SAFETY: it takes a number, and locks what it walks.
    #[expect(unsafe_code, reason = "as above")]
    unsafe {
        malloc_trim(0)
    };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks below the allocator's threshold for maps of their own, with every hundredth kept: what lies between
    /// is free and stays resident.
    /// Other tests of the process take memory meanwhile, so that one of several attempts is enough.
    #[test]
    fn what_lies_free_between_blocks_in_use_is_given_back() {
        let mut said = Vec::new();
        for _ in 0..10 {
            let mut blocks: Vec<Vec<u8>> = (0..100_000).map(|_| vec![1; 1000]).collect();
            let mut numbers = 0..;
            blocks.retain(|_| numbers.next().is_some_and(|number| number % 100 == 0));
            let before = resident().expect("Linux tells");
            said.push(given_back());
            let after = resident().expect("Linux tells");
            assert_eq!(blocks.len(), 1000);
            if after + (50 << 20) < before {
                return;
            }
        }
        panic!("about 95 MiB lay free: {said:?}");
    }
}
