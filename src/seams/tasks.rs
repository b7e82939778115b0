//! Work that must run to its end though the client that asked for it has gone: once a change
//! began to become durable, dropping it half-way would leave what start-up then has to clean.

use std::future::Future;

/// The work was lost to a panic, which has been logged; the caller answers "internal error".
#[derive(Debug, thiserror::Error)]
#[error("the work ended in a panic")]
pub struct Panicked;

/// Runs `work` on the runtime and waits for it; dropping the returned future does not stop it.
pub async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Panicked> {
    #[expect(clippy::disallowed_methods, reason = "the one place that lets work outlive its request")]
    let task = tokio::spawn(work);
    task.await.map_err(|_| Panicked)
}

/// Starts `work` that nobody waits for, also from a place that cannot wait, such as a drop. Outside a
/// runtime, which is at the end of the process, nothing happens.
pub fn aside(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}

/// Bytes from which on reading JSON is worth another thread: about 100 microseconds.
const HEAVY: usize = 64 << 10;

/// Runs `work` over so many bytes: here if they are few, off the async threads otherwise.
pub async fn over<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    if bytes < HEAVY { Ok(work()) } else { blocking(work).await }
}

/// Runs blocking `work` off the async threads and waits for it; it runs to its end in any case.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Panicked)
}
