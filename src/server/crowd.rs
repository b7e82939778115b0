//! Who is connected: how many from each address, and which connections wait for nothing, so that the one
//! idle for longest makes room when there are as many as there may be.
//!
//! C1: an address (of IPv6, a /64) that is no trusted proxy never has more connections than its limit;
//! others are closed at once. C2: only a connection without a request under way and without a piece of an
//! answer left to take is shed, the one idle for longest first. C3: what is kept is bounded by the connections there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Peer;
use super::ahead::{Ahead, Window};
use super::io::Pulse;
use crate::config::{Cidr, ServerSettings, counted_as};

/// A connection that came just now is left the time to ask something.
const FRESH: Duration = Duration::from_secs(1);
/// One in so many connections is shed at a time: looking for the idle ones goes over all of them.
const SHARE: usize = 100;

/// Who is connected to one server.
#[derive(Debug)]
pub struct Crowd {
    limit: u32,
    per_address: u32,
    exempt: Vec<Cidr>,
    ahead: Arc<Ahead>,
    addresses: Mutex<HashMap<IpAddr, u32>>,
    seats: Mutex<HashMap<u64, Seat>>,
    numbers: AtomicU64,
    shed: AtomicU64,
    refused: AtomicU64,
}

/// A connection being served.
#[derive(Debug)]
struct Seat {
    pulse: Arc<Pulse>,
    shed: Arc<Notify>,
}

/// Who is connected, in numbers, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrowdFacts {
    /// Connections open.
    pub open: usize,
    /// As many as there may be.
    pub limit: u32,
    /// As many as one address may have; 0 for no limit.
    pub per_address: u32,
    /// Since the start: idle ones that were closed to make room.
    pub shed: u64,
    /// Since the start: those closed at once, their address having too many.
    pub refused: u64,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(settings: &ServerSettings) -> Self {
        Self {
            limit: settings.max_connections,
            per_address: settings.connections_per_address,
            exempt: settings.trusted_proxies.clone(),
            ahead: Arc::default(),
            addresses: Mutex::default(),
            seats: Mutex::default(),
            numbers: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// A place for a connection that has come, unless its address has too many.
    pub fn enter(self: &Arc<Self>, peer: &Peer) -> Option<Place> {
        let own = peer.ip().filter(|ip| !self.is_exempt(*ip)).map(counted_as);
        let counted = own.filter(|_| self.per_address > 0);
        if let Some(address) = counted {
            let mut addresses = lock(&self.addresses);
            let count = addresses.entry(address).or_default();
            if *count >= self.per_address {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            *count += 1;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Some(Place { crowd: Arc::clone(self), own, address: counted, number })
    }

    /// Asks the connections that are idle for longest to end; how many.
    pub fn shed(&self) -> usize {
        let now = Instant::now();
        let mut seats = lock(&self.seats);
        let idle = seats.iter().filter_map(|(number, seat)| Some((seat.pulse.idle_since()?, *number)));
        let mut idle: Vec<_> =
            idle.filter(|(since, _)| now.saturating_duration_since(*since) >= FRESH).collect();
        let share = (seats.len() / SHARE).max(1);
        if idle.len() > share {
            idle.select_nth_unstable(share);
            idle.truncate(share);
        }
        for (_, number) in &idle {
            if let Some(seat) = seats.remove(number) {
                seat.shed.notify_one();
            }
        }
        self.shed.fetch_add(idle.len() as u64, Ordering::Relaxed);
        idle.len()
    }

    /// How many there are.
    pub fn facts(&self) -> CrowdFacts {
        CrowdFacts {
            open: lock(&self.seats).len(),
            limit: self.limit,
            per_address: self.per_address,
            shed: self.shed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(address))
    }
}

/// A connection among the others, until it is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    /// Where it comes from, unless many do from there.
    own: Option<IpAddr>,
    /// The same, if its connections are counted.
    address: Option<IpAddr>,
    number: u64,
}

impl Place {
    /// The connection is served from now on; gives what tells it to end if it is idle.
    pub fn sit(&self, pulse: &Arc<Pulse>) -> Arc<Notify> {
        let shed = Arc::new(Notify::new());
        let seat = Seat { pulse: Arc::clone(pulse), shed: Arc::clone(&shed) };
        lock(&self.crowd.seats).insert(self.number, seat);
        shed
    }

    /// What the client may send ahead, if it speaks HTTP/2.
    pub fn window(&self) -> Window {
        self.crowd.ahead.window(self.own)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.crowd.seats).remove(&self.number);
        let Some(address) = self.address else { return };
        let mut addresses = lock(&self.crowd.addresses);
        let Some(count) = addresses.get_mut(&address) else { return };
        *count -= 1;
        if *count == 0 {
            addresses.remove(&address);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(per_address: u32) -> Arc<Crowd> {
        let proxy = "10.0.0.0/8".parse().expect("a network");
        let settings = ServerSettings {
            connections_per_address: per_address,
            trusted_proxies: vec![proxy],
            ..ServerSettings::default()
        };
        Arc::new(Crowd::new(&settings))
    }

    fn peer(address: &str) -> Peer {
        Peer::Network((address.parse::<IpAddr>().expect("an address"), 1).into())
    }

    #[test]
    fn an_address_has_as_many_connections_as_its_limit_and_proxies_any_number() {
        let local = Peer::Local { uid: 0, pid: None };
        let rows = [
            ("an address", 2, peer("192.0.2.1"), peer("192.0.2.1"), false),
            ("another address", 2, peer("192.0.2.1"), peer("192.0.2.2"), true),
            ("one /64", 2, peer("2001:db8::1"), peer("2001:db8::2"), false),
            ("another /64", 2, peer("2001:db8::1"), peer("2001:db8:0:1::1"), true),
            ("the same in IPv6's clothes", 2, peer("192.0.2.1"), peer("::ffff:192.0.2.1"), false),
            ("a trusted proxy", 2, peer("10.1.1.1"), peer("10.1.1.1"), true),
            ("a process of this host", 2, local, local, true),
            ("no limit", 0, peer("192.0.2.1"), peer("192.0.2.1"), true),
        ];
        for (name, limit, first, then, expected) in rows {
            let crowd = crowd(limit);
            let two: Vec<Place> = (0..2).filter_map(|_| crowd.enter(&first)).collect();
            assert_eq!(two.len(), 2, "{name}");
            assert_eq!(crowd.enter(&then).is_some(), expected, "{name}");
            assert_eq!(crowd.facts().refused, u64::from(!expected), "{name}");
            drop(two);
            assert!(crowd.enter(&then).is_some(), "{name}: there is room again");
            assert!(lock(&crowd.addresses).is_empty(), "{name}: nothing is remembered");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_idle_for_longest_is_shed_and_a_busy_or_new_one_never() {
        let crowd = crowd(0);
        let mut seats = Vec::new();
        for state in ["busy", "oldest", "old", "new"] {
            let (place, pulse) = (crowd.enter(&peer("192.0.2.1")).expect("room"), Arc::new(Pulse::new()));
            if state == "busy" {
                pulse.begin(false);
            }
            let shed = place.sit(&pulse);
            seats.push((state, place, pulse, shed));
            if state != "old" {
                tokio::time::advance(FRESH).await;
            } else {
                tokio::time::advance(FRESH * 2).await;
            }
        }
        tokio::time::advance(FRESH / 2).await;
        seats[3].2.begin(false);
        seats[3].2.end();
        for expected in ["oldest", "old"] {
            assert_eq!(crowd.shed(), 1);
            let (_, _, _, shed) = seats.iter().find(|seat| seat.0 == expected).expect("a seat");
            tokio::time::timeout(FRESH / 10, shed.notified()).await.expect(expected);
        }
        assert_eq!(crowd.shed(), 0, "the rest is busy or new");
        assert_eq!((crowd.facts().open, crowd.facts().shed), (2, 2));
    }
}
