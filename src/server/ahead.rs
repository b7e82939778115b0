//! How much an HTTP/2 client may send ahead of being read, bodies that nobody reads yet included. It is kept in memory, so
//! that it is a part of what there is for all of them, by how many are connected when it comes: a few are not slowed down on
//! a long line, and very many take what [`BUDGET`] and [`LEAST`] say.

/// Bytes for all; shared out as by the first to come, so that n connections have ln(n) times it at most, and `LEAST` each.
const BUDGET: u32 = 128 << 20;
/// The most of one connection: a gigabit over 130 ms.
const MOST: u32 = 16 << 20;
/// The least: enough for any speed where a round trip takes a fraction of a millisecond.
const LEAST: u32 = 128 << 10;

/// The window of a connection, and of each stream on it, where `open` are open, itself included. Bytes.
pub fn window(open: usize) -> u32 {
    let open = u32::try_from(open).unwrap_or(u32::MAX).max(1);
    (BUDGET / open).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_connections_have_wide_windows_and_very_many_take_bounded_memory_together() {
        for (open, expected) in
            [(0, MOST), (1, MOST), (8, MOST), (64, 2 << 20), (1024, LEAST), (usize::MAX, LEAST)]
        {
            assert_eq!(window(open), expected, "{open}");
        }
        // Whoever came when so many others were there that still are.
        for (connections, mebibytes) in [(1024, 800), (10_000, 2000), (12_000, 2200)] {
            let all: u64 = (1..=connections).map(|open| u64::from(window(open))).sum();
            assert!(all < mebibytes << 20, "{connections}: {} MiB", all >> 20);
        }
    }
}
