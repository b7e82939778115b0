//! Panics of the engine as errors. sled panics on some damaged files; that is an operating error
//! here, so its panics go to the log as one line, not to stderr as a crash.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::EngineError;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

fn install_hook() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                tracing::debug!(panic = %info, "a panic that is handled");
            } else {
                before(info);
            }
        }));
    });
}

/// Runs `work`; a panic in it becomes [`EngineError::Broken`] and is not printed.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    guarded_job(work).unwrap_or_else(|panic| Err(EngineError::Broken(format!("it panicked: {panic}"))))
}

/// Runs `work`; a panic in it becomes an error with its message, and is not printed.
pub(crate) fn guarded_job<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    let outer = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(outer);
    result.map_err(|payload| text(payload.as_ref()).to_owned())
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
