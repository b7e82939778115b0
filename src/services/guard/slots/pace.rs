//! How fast the body of a request with a slot comes. Only time in which the body is waited for counts: a
//! slow disk is not the client's fault. A body that is slow is ended while another waits for the slot.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Slot;
use crate::services::error::SourceError;
use crate::services::uploads::Source;

/// Waiting that is looked at as a whole.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// How often, while the body is waited for, is looked whether another waits for the slot.
const LOOK: Duration = Duration::from_secs(1);
/// A body of so many bytes gives its slot back once it has come whole.
const SMALL: u64 = 64 << 10;

/// What a body has brought.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Time waited for the body in this window, and what it brought in it.
    waited: Duration,
    brought: u64,
    slow: bool,
}

impl Pace {
    /// Notes that `bytes` came after waiting for so long.
    fn note(&mut self, waited: Duration, bytes: u64, least_rate: u64) {
        self.waited += waited;
        self.brought = self.brought.saturating_add(bytes);
        if self.waited >= WINDOW {
            self.slow = self.brought < least_rate.saturating_mul(WINDOW.as_secs());
            (self.waited, self.brought) = (Duration::ZERO, 0);
        }
    }

    /// Whether the body was too slow in the last window.
    pub(super) const fn is_slow(&self) -> bool {
        self.slow
    }
}

/// A body whose request holds a slot, if it needs one.
pub struct Paced<'a, S> {
    body: S,
    slot: &'a mut Option<Slot>,
    brought: u64,
}

impl<'a, S: Source> Paced<'a, S> {
    /// `body`, for as long as it keeps pace. The slot is its request's: one that has come whole and was
    /// small gives it back, any other keeps it until the request has ended.
    pub const fn new(body: S, slot: &'a mut Option<Slot>) -> Self {
        Self { body, slot, brought: 0 }
    }

    /// The next of the body, or [`SourceError::TooSlow`].
    async fn paced(&mut self) -> Option<Result<Bytes, SourceError>> {
        loop {
            let begun = Instant::now();
            let next = tokio::select! {
                biased;
                next = self.body.next() => Some(next),
                () = tokio::time::sleep(LOOK) => None,
            };
            let bytes = match &next {
                Some(Some(Ok(bytes))) => bytes.len() as u64,
                _ => 0,
            };
            self.brought += bytes;
            if let Some(slot) = self.slot.as_mut() {
                slot.pace.note(begun.elapsed(), bytes, slot.slots.0.rules.least_rate);
                if slot.is_to_go() {
                    return Some(Err(SourceError::TooSlow));
                }
            }
            if let Some(next) = next {
                return next;
            }
        }
    }
}

impl<S: Source> Source for Paced<'_, S> {
    async fn next(&mut self) -> Option<Result<Bytes, SourceError>> {
        let next = if self.slot.is_some() { self.paced().await } else { self.body.next().await };
        if next.is_none() && self.brought <= SMALL {
            *self.slot = None;
        }
        next
    }
}
