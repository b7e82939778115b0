//! Reading with several threads.

use std::io;

/// Runs `work` on so many threads, this one among them, until each has ended; the first error, this thread's before the
/// others'. `panicked` says what a panic of another thread is.
pub(super) fn together<E: Send>(
    threads: usize,
    work: impl Fn() -> Result<(), E> + Sync,
    panicked: impl Fn(io::Error) -> E,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&work)).collect();
        others.into_iter().fold(work(), |done, other| {
            done.and(other.join().unwrap_or_else(|_| Err(panicked(io::Error::other("a reader panicked")))))
        })
    })
}
