//! The kernel's file caches, emptied so that a read comes from the disk. Only root may.

use std::fs::OpenOptions;
use std::io::{self, Write};

use crate::error::BenchError;

const SWITCH: &str = "/proc/sys/vm/drop_caches";

/// Why caches cannot be emptied here; `None` if they can.
pub fn hindrance() -> Option<String> {
    open(SWITCH).err().map(|error| format!("{SWITCH}: {error} (root may empty the kernel's caches)"))
}

/// Writes everything dirty to the disks, then empties the caches of the whole machine.
pub async fn empty() -> Result<(), BenchError> {
    let emptied = tokio::task::spawn_blocking(|| {
        // What is dirty is not dropped.
        rustix::fs::sync();
        open(SWITCH)?.write_all(b"3")
    });
    emptied.await?.map_err(BenchError::io("emptying the kernel's caches"))
}

fn open(path: &str) -> io::Result<std::fs::File> {
    OpenOptions::new().write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_switch_that_cannot_be_opened_is_a_hindrance() {
        assert!(open("/nowhere/at/all").is_err());
        assert_eq!(hindrance().is_none(), open(SWITCH).is_ok());
    }
}
