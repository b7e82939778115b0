//! How much an HTTP/2 client may send ahead of being read, bodies that nobody reads yet included. It is kept in memory, so
//! that a connection is given a part of what is left, of its address's and of all, when it comes, and gives it back when it
//! closes. Connections of HTTP/1 keep nothing and take nothing.
//!
//! A1: an address keeps [`ADDRESS`] bytes, and all keep [`ALL`], and [`LEAST`] for each connection beyond that.
//! A2: nobody's windows are smaller for what one address has; for what several very greedy ones have, all are.
//! A3: a stream is given a part of its connection's window, so that some which wait unread do not stop the others: 31 of
//! them, fewer where the windows are small, one where they are smallest.
//! A4: a stream has [`STREAM`] in any case: what a client has at once is for as long as its connection lasts, though others
//! leave, and less than that would be felt over any distance.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes for the connections of one address (of IPv6, a /64).
const ADDRESS: u64 = 128 << 20;
/// Bytes for all connections.
const ALL: u64 = 1 << 30;
/// Part of what is left that one connection takes, a reciprocal: the twentieth of an address has room for many streams
/// still.
const PART: u64 = 8;
/// The most of one connection.
const MOST: u64 = 32 << 20;
/// The least: two streams' windows.
const LEAST: u64 = 128 << 10;

/// Streams whose windows are a connection's, where that leaves a stream [`STREAM`]; fewer otherwise.
const STREAMS: u32 = 32;
/// The least that a stream has: HTTP/2's own default, 3.2 MB/s where a round trip takes 20 ms.
const STREAM: u32 = 64 << 10;

/// Bytes that so many connections may send ahead at most, by A1.
pub const fn most_ahead(connections: u32) -> u64 {
    ALL + LEAST * connections as u64
}

/// What the connections of a server may send ahead.
#[derive(Debug, Default)]
pub struct Ahead(Mutex<Given>);

/// What was given out. Has an entry for addresses with a connection and for none else.
#[derive(Debug, Default)]
struct Given {
    all: u64,
    of: HashMap<IpAddr, u64>,
}

impl Ahead {
    /// For a connection from `address`; of all together only, for one of no address's own.
    pub fn window(self: &Arc<Self>, address: Option<IpAddr>) -> Window {
        let mut given = lock(&self.0);
        let mut bytes = part(ALL, given.all);
        if let Some(address) = address {
            let of = given.of.entry(address).or_default();
            bytes = bytes.min(part(ADDRESS, *of));
            *of = of.saturating_add(bytes);
        }
        given.all = given.all.saturating_add(bytes);
        drop(given);
        Window { ahead: Arc::clone(self), address, bytes, counts: AtomicBool::new(true) }
    }
}

fn part(of: u64, given: u64) -> u64 {
    (of.saturating_sub(given) / PART).clamp(LEAST, MOST)
}

/// What one connection may send ahead, until it is dropped.
#[derive(Debug)]
pub struct Window {
    ahead: Arc<Ahead>,
    address: Option<IpAddr>,
    bytes: u64,
    counts: AtomicBool,
}

impl Window {
    /// Bytes, on the connection.
    pub fn of_connection(&self) -> u32 {
        u32::try_from(self.bytes).unwrap_or(u32::MAX)
    }

    /// Bytes, on each stream of it.
    pub fn of_stream(&self) -> u32 {
        (self.of_connection() / STREAMS).max(STREAM)
    }

    /// It is not needed: the client speaks HTTP/1. Costs a look at an atomic once that was said.
    pub fn is_unneeded(&self) {
        if !self.counts.load(Ordering::Relaxed) || !self.counts.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut given = lock(&self.ahead.0);
        given.all = given.all.saturating_sub(self.bytes);
        let Some(address) = self.address else { return };
        let Some(of) = given.of.get_mut(&address) else { return };
        *of = of.saturating_sub(self.bytes);
        if *of == 0 {
            given.of.remove(&address);
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.is_unneeded();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn one_address_takes_no_window_of_another_and_very_many_connections_take_bounded_memory_together() {
        let ahead = Arc::default();
        let mut all: Vec<Window> = (0..1024).map(|_| Ahead::window(&ahead, address(1))).collect();
        assert_eq!((all[0].of_connection(), all[1023].of_connection()), (16 << 20, 128 << 10));
        let sum = |all: &[Window]| all.iter().map(|window| window.bytes).sum::<u64>() >> 20;
        assert!(sum(&all) < 128 + 128, "{} MiB of one address", sum(&all));
        let other = ahead.window(address(2));
        assert_eq!(other.of_connection(), 16 << 20, "another's first");
        // The backstop: as many as there may be, of as many addresses as that needs, or of no address's own.
        for number in 1024..12_000 {
            all.push(ahead.window((number % 3 > 0).then(|| address(number / 200)).flatten()));
        }
        assert!(sum(&all) < 1024 + 1500, "{} MiB of all", sum(&all));
        drop((all, other));
        let given = lock(&ahead.0);
        assert_eq!((given.all, given.of.len()), (0, 0), "nothing is remembered");
    }

    #[test]
    fn who_speaks_http1_takes_nothing() {
        let ahead = Arc::default();
        let idle: Vec<Window> = (0..1000).map(|_| Ahead::window(&ahead, address(1))).collect();
        idle.iter().for_each(Window::is_unneeded);
        idle.iter().for_each(Window::is_unneeded);
        assert_eq!(ahead.window(address(1)).of_connection(), 16 << 20);
        drop(idle);
        assert_eq!(lock(&ahead.0).all, 0, "given back once");
    }

    #[test]
    fn a_stream_has_a_part_of_the_window_and_never_less_than_the_protocols_own_default() {
        let ahead: Arc<Ahead> = Arc::default();
        let of = |bytes| {
            let (ahead, counts) = (Arc::clone(&ahead), AtomicBool::new(false));
            Window { ahead, address: None, bytes, counts }.of_stream()
        };
        // The largest frame that is allowed fits each: 16 KiB at least.
        for (bytes, expected) in
            [(MOST, 1 << 20), (8 << 20, 256 << 10), (1 << 20, 64 << 10), (LEAST, 64 << 10)]
        {
            assert_eq!(of(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn of_twenty_connections_of_one_address_some_uploads_that_wait_stop_no_other_upload() {
        let ahead = Arc::default();
        let all: Vec<Window> = (0..20).map(|_| Ahead::window(&ahead, address(1))).collect();
        let last = &all[19];
        assert!(last.of_stream() >= 64 << 10, "{last:?}");
        assert!(last.of_connection() / last.of_stream() >= 16, "{last:?}");
    }
}
