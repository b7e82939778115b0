//! Waiting for a condition, never for a duration: a poll with a deadline and a name to fail with.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(5);

/// The first `Some` that `ready` gives; panics with `what` when `limit` has passed without one.
pub fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        park_timeout(POLL);
    }
}

/// As [`until`], for a condition without a value.
pub fn until_true(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    until(what, limit, || ready().then_some(()));
}
