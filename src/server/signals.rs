//! SIGTERM and SIGINT stop (the second one at once), SIGHUP reloads.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

use super::stop::{Phase, Stop};

/// Takes the signals from here on; the future acts on them until it is dropped, and is to be
/// driven beside the server.
pub fn signals(stop: Stop, mut reload: impl FnMut()) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => advance(&stop),
                _ = interrupt.recv() => advance(&stop),
                _ = hangup.recv() => reload(),
            }
        }
    })
}

fn advance(stop: &Stop) {
    if stop.phase() == Phase::Running {
        tracing::info!("stopping: requests under way may finish; another signal stops at once");
        stop.begin();
    } else {
        tracing::warn!("stopping at once");
        stop.cut();
    }
}
