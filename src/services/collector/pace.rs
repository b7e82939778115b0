//! Not faster than the settings say, and not longer than anybody wants.

use std::time::Duration;

use super::Collector;

/// What a batch may take at least, milliseconds: `count` things and `bytes` at rates a second, 0 for none.
fn least(count: u64, bytes: u64, counts: u64, rate: u64) -> u64 {
    let of = |amount: u64, rate: u64| amount.saturating_mul(1000).checked_div(rate).unwrap_or(0);
    of(count, counts).max(of(bytes, rate))
}

impl Collector {
    /// Waits until a batch that began at `since` (monotonic) has taken as long as it may at least, or is halted.
    pub(super) async fn keep_pace(&self, since: u64, count: u64, bytes: u64) {
        let options = self.0.options;
        let took = self.0.shelves.clock.monotonic_ms().saturating_sub(since);
        let rest = least(count, bytes, options.blobs, options.bytes).saturating_sub(took);
        if rest == 0 {
            return;
        }
        let halted = self.0.halt.notified();
        tokio::pin!(halted);
        halted.as_mut().enable();
        if !self.is_halted() {
            let _ = tokio::time::timeout(Duration::from_millis(rest), halted).await; // either is fine
        }
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
