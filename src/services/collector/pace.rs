//! Not faster than the settings say, and not longer than anybody wants.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Collector;
use crate::services::images::Course;

/// What a batch may take at least, milliseconds: `count` things and `bytes` at rates a second, 0 for none.
fn least(count: u64, bytes: u64, counts: u64, rate: u64) -> u64 {
    let of = |amount: u64, rate: u64| amount.saturating_mul(1000).checked_div(rate).unwrap_or(0);
    of(count, counts).max(of(bytes, rate))
}

impl Collector {
    /// Waits until a batch that began at `since` (monotonic) has taken as long as it may at least, or is halted.
    pub(super) async fn keep_pace(&self, since: u64, count: u64, bytes: u64) {
        self.pace(since, count, bytes, || self.is_halted()).await;
    }

    async fn pace(&self, since: u64, count: u64, bytes: u64, ends: impl Fn() -> bool + Send) {
        let options = self.0.options;
        let took = self.0.shelves.clock.monotonic_ms().saturating_sub(since);
        let rest = least(count, bytes, options.blobs, options.bytes).saturating_sub(took);
        if rest == 0 {
            return;
        }
        let over = tokio::time::sleep(Duration::from_millis(rest));
        tokio::pin!(over);
        loop {
            let told = self.0.halt.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if ends() {
                return;
            }
            tokio::select! {
                () = &mut over => return,
                () = told => {}
            }
        }
    }
}

impl Course for Collector {
    fn is_halted(&self) -> bool {
        Self::is_halted(self)
    }

    async fn rest(&self, since: u64, count: u64) {
        // A batch of which nothing goes may come after many others like it.
        tokio::task::yield_now().await;
        self.keep_pace(since, count, 0).await;
    }
}

/// The same, but that a pause does not hold it up: for what somebody asked for.
pub(super) struct UntilStopped<'a>(pub(super) &'a Collector);

impl Course for UntilStopped<'_> {
    fn is_halted(&self) -> bool {
        self.0.0.stopping.load(Ordering::SeqCst)
    }

    async fn rest(&self, since: u64, count: u64) {
        self.0.pace(since, count, 0, || self.is_halted()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::least;

    #[test]
    fn a_batch_takes_as_long_as_the_slower_of_both_rates_says() {
        let cases = [
            ("no rates", 500, 1 << 30, 0, 0, 0),
            ("by number", 500, 10, 1000, 1 << 30, 500),
            ("by bytes", 1, 1 << 30, 1000, 1 << 28, 4000),
            ("nothing", 0, 0, 10, 10, 0),
        ];
        for (name, count, bytes, counts, rate, expected) in cases {
            assert_eq!(least(count, bytes, counts, rate), expected, "{name}");
        }
    }
}
