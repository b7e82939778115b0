//! Where the world outside comes in: time, randomness and the allocator here, the disk in `stores::disk`.
//! The product is given the real ones by `main`; tests give their own. Nothing here decides
//! anything.

pub mod allocator;
mod clock;
mod random;
pub mod tasks;

pub use clock::{Clock, SystemClock};
pub use random::{OsRandom, Random};

#[cfg(test)]
pub use clock::TestClock;
#[cfg(test)]
pub use random::TestRandom;
