//! Work that knows itself when its turn is, because it remembers that over restarts.

use std::pin::Pin;

/// Asked between two runs.
pub trait Timing: Send + Sync + 'static {
    /// Waits until there is work; at once if there is. After a run that did what there was, it waits again.
    fn due(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// When that will be, UTC milliseconds since 1970; none while it is open.
    fn next_at(&self) -> Option<u64>;

    /// Whether somebody paused it.
    fn is_paused(&self) -> bool;
}
