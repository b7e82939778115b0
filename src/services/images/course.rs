//! What holds up work that goes through much, however large one repository is: it is asked between two batches.

/// Whoever runs such work.
pub trait Course: Sync {
    /// Whether the work is to end here; what is left waits for the next run.
    fn is_halted(&self) -> bool;

    /// Waits until a batch of `count` things that began at `since` (monotonic milliseconds) has taken as long as it may
    /// at least, or the work is halted.
    fn rest(&self, since: u64, count: u64) -> impl Future<Output = ()> + Send;
}

/// Work that somebody asked for and waits for: nothing holds it up.
pub(super) struct Unhindered;

impl Course for Unhindered {
    fn is_halted(&self) -> bool {
        false
    }

    async fn rest(&self, _: u64, _: u64) {}
}
