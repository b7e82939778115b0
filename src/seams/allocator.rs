//! The memory of the process, as the system sees it. The C library's allocator keeps what lies between blocks in use:
//! after an index was rebuilt, or a million rows written, that was several times what is in use. One of the two
//! places with `unsafe`: a call of the C library that no crate has.

use std::fs;

/// Bytes that the process has in memory; `None` where the system does not tell.
pub fn resident() -> Option<u64> {
    let told = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = told.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Gives memory that was freed back to the system. Blocks: it walks over all free blocks, during which threads that
/// allocate may wait for some milliseconds.
#[cfg(target_env = "gnu")]
pub fn give_back() {
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

/// Other allocators give it back by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}

#[cfg(target_env = "gnu")]
#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process of its own that measures.
    const ALONE: &str = "PIERHEAD_TEST_ALONE";
    const NAME: &str =
        "seams::allocator::tests::what_lies_free_between_blocks_in_use_is_given_back_and_nothing_else_is";

    /// In a process of its own: other tests of this one take and free memory meanwhile.
    #[test]
    fn what_lies_free_between_blocks_in_use_is_given_back_and_nothing_else_is() {
        if std::env::var_os(ALONE).is_some() {
            return measure();
        }
        let own = std::env::current_exe().expect("this program");
        let ran = Command::new(own).args(["--exact", NAME]).env(ALONE, "1").output().expect("started");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }

    /// Blocks below the allocator's threshold for maps of their own, with every hundredth kept: what lies between
    /// is free and stays resident.
    fn measure() {
        const FREE: u64 = 95 << 20;
        let mut blocks: Vec<Vec<u8>> = (0..100_000).map(|_| vec![1; 1000]).collect();
        let mut numbers = 0..;
        blocks.retain(|_| numbers.next().is_some_and(|number| number % 100 == 0));
        let before = resident().expect("Linux tells");
        give_back();
        let after = resident().expect("Linux tells");
        assert!(after + FREE / 2 < before, "{before} bytes, then {after}");
        assert!(blocks.len() == 1000 && blocks.iter().flatten().all(|byte| *byte == 1));
    }
}
