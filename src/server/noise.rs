//! Keeps one kind of log line from filling the log: clients can cause some at will.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// At most one line of a kind in this time.
const EVERY: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug, Default)]
pub struct Noise {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl Noise {
    /// Nothing was said yet.
    pub const fn new() -> Self {
        Self { state: Mutex::new(State { last: None, suppressed: 0 }) }
    }

    /// Whether to log now: then, how many were left out since the last line.
    pub fn speak(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            state.suppressed += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_one_line_and_the_next_line_counts_the_rest() {
        let noise = Noise::new();
        let start = Instant::now();
        assert_eq!(noise.speak(start), Some(0));
        for _ in 0..5 {
            assert_eq!(noise.speak(start + EVERY / 2), None);
        }
        assert_eq!(noise.speak(start + EVERY), Some(5));
    }
}
