//! Upload slots: each account receives so many request bodies of uploads at once; the next request waits
//! for its turn, its body unread, and is refused after a while.
//!
//! A *holder* is whose uploads are counted together. A slot is held by a request, not by a session, and
//! only by one that brings a body: from before its first byte is read until the request has ended, however it
//! ends, or until a small body has come whole (what is left of such a request is a commit, which many share).
//!
//! L1: a holder never has more slots than the limit, and one holder's use is nothing to another.
//! L2: those who wait get slots in the order they came. One who leaves, or is tired of it, gives up his place.
//! L3: there is something in memory for holders with a slot or a request that waits, and for nobody else.
//! L4: an upload is cut for being slow only while another waits for its holder's slots (`pace`).
//!
//! Does not read bodies: [`Paced`] passes on what another source brings.

mod pace;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::counted_as;
pub use crate::stores::space::Holder;
use pace::Pace;
pub use pace::Paced;

/// Requests of one holder that may wait; each keeps a connection.
const WAITING: usize = 1000;
/// Parts that the holders are spread over, so that they rarely meet at a lock.
const SHARDS: usize = 16;

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Slots of each holder.
    pub slots: usize,
    /// How long a request waits for one.
    pub wait: Duration,
    /// Bytes a second below which a holder's upload makes room for one that waits; 0 for never.
    pub least_rate: u64,
}

impl Holder {
    /// Nobody in particular, at this address.
    pub fn at(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Host, |address| Self::Address(counted_as(address)))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => write!(f, "account {id}"),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Host => f.write_str("this host"),
        }
    }
}

/// Why there was no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSlot {
    /// None became free in time, or too many wait already.
    #[error("every upload slot is taken")]
    Taken,
    /// The client left meanwhile.
    #[error("the client left")]
    Left,
}

/// The slots of all holders. Clones share everything.
#[derive(Clone)]
pub struct Slots(Arc<Inner>);

struct Inner {
    rules: Rules,
    shards: [Mutex<HashMap<Holder, Queue>>; SHARDS],
    hasher: RandomState,
    tickets: AtomicU64,
    held: AtomicUsize,
    waiting: AtomicUsize,
    refused: AtomicU64,
    cut: AtomicU64,
}

/// One holder's. Whoever waits does so because all slots are held.
#[derive(Default)]
struct Queue {
    held: usize,
    /// Held by requests that are being cut to make room.
    leaving: usize,
    waiting: VecDeque<(u64, oneshot::Sender<Slot>)>,
}

/// A slot, given back when this is dropped.
pub struct Slot {
    slots: Slots,
    holder: Holder,
    pace: Pace,
    /// Whether its request is being cut to make room.
    leaving: bool,
    /// Whether it is still to be given back.
    armed: bool,
}

/// How the slots are used, at one moment.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Slots of each holder.
    pub limit: usize,
    /// Slots held now, of all holders.
    pub held: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Since the start: requests that were refused.
    pub refused: u64,
    /// Since the start: uploads that were cut, being slow while others waited.
    pub cut: u64,
}

/// One holder's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Whose.
    pub holder: Holder,
    /// Slots held.
    pub held: usize,
    /// Requests that wait.
    pub waiting: usize,
}

impl Slots {
    /// All free.
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(Inner {
            rules,
            shards: Default::default(),
            hasher: RandomState::new(),
            tickets: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }))
    }

    /// A slot for a request of `holder`, waited for if need be; `left` ends when its client leaves.
    pub async fn take(&self, holder: Holder, left: impl Future<Output = ()>) -> Result<Slot, NoSlot> {
        let mut waiting = match self.join(holder) {
            Ok(slot) => return Ok(slot),
            Err(Some(waiting)) => waiting,
            Err(None) => return Err(self.refused()),
        };
        tokio::select! {
            biased;
            slot = &mut waiting.turn => slot.map_err(|_| NoSlot::Left),
            () = tokio::time::sleep(self.0.rules.wait) => Err(self.refused()),
            () = left => Err(NoSlot::Left),
        }
    }

    /// How they are used now.
    pub fn facts(&self) -> Facts {
        let inner = &self.0;
        Facts {
            limit: inner.rules.slots,
            held: inner.held.load(Ordering::Relaxed),
            waiting: inner.waiting.load(Ordering::Relaxed),
            refused: inner.refused.load(Ordering::Relaxed),
            cut: inner.cut.load(Ordering::Relaxed),
        }
    }

    /// The holders with the most requests that wait, then with the most slots; so many.
    pub fn busiest(&self, most: usize) -> Vec<Use> {
        let mut uses = Vec::new();
        for shard in &self.0.shards {
            let of = |(holder, queue): (&Holder, &Queue)| Use {
                holder: *holder,
                held: queue.held,
                waiting: queue.waiting.len(),
            };
            uses.extend(lock(shard).iter().map(of));
        }
        uses.sort_unstable_by_key(|one| (std::cmp::Reverse((one.waiting, one.held)), one.holder));
        uses.truncate(most);
        uses
    }

    /// A slot at once, else a place among those who wait; neither if too many do.
    fn join(&self, holder: Holder) -> Result<Slot, Option<Waiting<'_>>> {
        let mut shard = self.shard(holder);
        let queue = shard.entry(holder).or_default();
        if queue.held < self.0.rules.slots {
            queue.held += 1;
            self.0.held.fetch_add(1, Ordering::Relaxed);
            return Ok(self.slot(holder));
        }
        if queue.waiting.len() >= WAITING {
            return Err(None);
        }
        let (sender, turn) = oneshot::channel();
        let ticket = self.0.tickets.fetch_add(1, Ordering::Relaxed);
        queue.waiting.push_back((ticket, sender));
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Err(Some(Waiting { slots: self, holder, ticket, turn }))
    }

    fn slot(&self, holder: Holder) -> Slot {
        Slot { slots: self.clone(), holder, pace: Pace::default(), leaving: false, armed: true }
    }

    /// A slot is free: the first who waits gets it.
    fn give_back(&self, holder: Holder, leaving: bool) {
        let mut shard = self.shard(holder);
        let Some(queue) = shard.get_mut(&holder) else { return };
        queue.leaving -= usize::from(leaving);
        while let Some((_, first)) = queue.waiting.pop_front() {
            self.0.waiting.fetch_sub(1, Ordering::Relaxed);
            match first.send(self.slot(holder)) {
                Ok(()) => return,
                // Nobody there any more. It is not to be given back under this lock.
                Err(mut slot) => slot.armed = false,
            }
        }
        queue.held -= 1;
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        if queue.held == 0 {
            shard.remove(&holder);
        }
    }

    /// Whether one more has to go, so that each who waits gets a slot.
    fn makes_room(&self, holder: Holder) -> bool {
        let mut shard = self.shard(holder);
        let Some(queue) = shard.get_mut(&holder) else { return false };
        let needed = queue.leaving < queue.waiting.len();
        queue.leaving += usize::from(needed);
        self.0.cut.fetch_add(u64::from(needed), Ordering::Relaxed);
        needed
    }

    fn refused(&self) -> NoSlot {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        NoSlot::Taken
    }

    fn shard(&self, holder: Holder) -> MutexGuard<'_, HashMap<Holder, Queue>> {
        let number = self.0.hasher.hash_one(holder) as usize % SHARDS;
        lock(&self.0.shards[number])
    }
}

impl Slot {
    /// Whether this request brings so little that another, who waits, is to have its slot.
    fn is_to_go(&mut self) -> bool {
        self.leaving = self.leaving || (self.pace.is_slow() && self.slots.makes_room(self.holder));
        self.leaving
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.armed {
            self.slots.give_back(self.holder, self.leaving);
        }
    }
}

/// A place among those who wait, given up when this is dropped.
struct Waiting<'a> {
    slots: &'a Slots,
    holder: Holder,
    ticket: u64,
    turn: oneshot::Receiver<Slot>,
}

impl Drop for Waiting<'_> {
    /// A slot that was sent and not received goes with `turn`, after this.
    fn drop(&mut self) {
        let mut shard = self.slots.shard(self.holder);
        let Some(queue) = shard.get_mut(&self.holder) else { return };
        let before = queue.waiting.len();
        queue.waiting.retain(|(ticket, _)| *ticket != self.ticket);
        self.slots.0.waiting.fetch_sub(before - queue.waiting.len(), Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
