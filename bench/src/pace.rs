//! An open loop: requests are due at even times, whatever the answers do, and how long each took counts from when it
//! was due. A registry that stands still is so charged for every request that it kept waiting, not for one a
//! connection, and the load stays the same however quick the answers are.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::error::BenchError;
use crate::load::Operation;
use crate::target::Target;

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests a second, of all connections.
    pub per_second: u32,
    /// Connections; requests that find none free wait.
    pub connections: usize,
}

/// Asks at this rate for as long as `span` takes; what is due by then is still done. Returns how long each
/// operation took, in microseconds from when it was due, and what `span` came to. The first failure ends it.
pub async fn open_loop<O: Operation, T>(
    target: &Arc<Target>,
    operation: &Arc<O>,
    rate: Rate,
    span: impl Future<Output = Result<T, BenchError>>,
) -> Result<(Vec<u64>, T), BenchError> {
    let (stop, stopped) = mpsc::channel();
    let (tick, due) = unbounded_channel();
    // The runtime's own timers tick in milliseconds, which is longer than an answer takes: a thread keeps the time.
    drop(tokio::task::spawn_blocking(move || beat(rate.per_second, &tick, &stopped)));
    let due = Arc::new(Mutex::new(due));
    let mut workers = JoinSet::new();
    for _ in 0..rate.connections {
        workers.spawn(work(Connection::new(target), Arc::clone(operation), Arc::clone(&due)));
    }
    // Dropped with this future, which ends the beat, and with the beat the workers.
    let mut stop: Option<mpsc::Sender<()>> = Some(stop);
    let (mut span, mut outcome) = (pin!(span), None);
    let mut took = Vec::new();
    loop {
        tokio::select! {
            ended = &mut span, if stop.is_some() => {
                outcome = Some(ended?);
                stop = None;
            }
            worker = workers.join_next() => match (worker, outcome) {
                (Some(worker), kept) => {
                    took.append(&mut worker??);
                    outcome = kept;
                }
                (None, Some(outcome)) => return Ok((took, outcome)),
                // Workers end by failure, which was returned, or after the beat, which ends after the span.
                (None, None) => return Err(BenchError::Interrupted),
            }
        }
    }
}

/// A request that is due.
struct Due {
    turn: u64,
    at: Instant,
}

/// Sends what is due when it is due until the other end of `stopped` is dropped.
fn beat(per_second: u32, tick: &UnboundedSender<Due>, stopped: &mpsc::Receiver<()>) {
    let begun = Instant::now();
    for turn in 0.. {
        let at = begun + Duration::from_secs_f64(turn as f64 / f64::from(per_second.max(1)));
        let wait = at.saturating_duration_since(Instant::now());
        let waited = stopped.recv_timeout(wait);
        if waited != Err(RecvTimeoutError::Timeout) || tick.send(Due { turn, at }).is_err() {
            return;
        }
    }
}

async fn work<O: Operation>(
    mut connection: Connection,
    operation: Arc<O>,
    due: Arc<Mutex<UnboundedReceiver<Due>>>,
) -> Result<Vec<u64>, BenchError> {
    let mut took = Vec::new();
    loop {
        let next = due.lock().await.recv().await;
        let Some(Due { turn, at }) = next else { return Ok(took) };
        operation.run(&mut connection, turn).await?;
        took.push(u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Never connects: a connection opens with its first request.
    fn nowhere() -> Arc<Target> {
        Arc::new(Target::local(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), None))
    }

    /// The first turn takes a while; the rest answer at once, or fail.
    struct Stall {
        first: Duration,
        fails: bool,
        done: AtomicU64,
    }

    impl Operation for Stall {
        async fn run(&self, _: &mut Connection, turn: u64) -> Result<(), BenchError> {
            if turn == 0 {
                tokio::time::sleep(self.first).await;
            } else if self.fails {
                return Err(BenchError::Interrupted);
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    fn stall(first: Duration, fails: bool) -> Arc<Stall> {
        Arc::new(Stall { first, fails, done: AtomicU64::new(0) })
    }

    const RATE: Rate = Rate { per_second: 1000, connections: 1 };

    #[tokio::test]
    async fn a_request_that_had_to_wait_for_its_connection_has_taken_that_long() {
        let operation = stall(Duration::from_millis(50), false);
        let span = async {
            while operation.done.load(Ordering::Relaxed) < 40 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(7)
        };
        let (took, outcome) = open_loop(&nowhere(), &operation, RATE, span).await.expect("nothing fails");
        assert_eq!((outcome, took.len() as u64), (7, operation.done.load(Ordering::Relaxed)));
        // Due a millisecond apart behind one that took 50: the tenth had to wait some 40.
        assert!(took[0] >= 50_000 && took[10] >= 30_000, "{took:?}");
    }

    #[tokio::test]
    async fn a_failure_ends_it_before_its_span() {
        let operation = stall(Duration::ZERO, true);
        let span = std::future::pending::<Result<(), BenchError>>();
        let result = open_loop(&nowhere(), &operation, RATE, span).await;
        assert!(matches!(result, Err(BenchError::Interrupted)));
    }

    #[tokio::test]
    async fn a_span_that_fails_ends_it() {
        let span = async { Err::<(), _>(BenchError::content("it", "is wrong")) };
        let result = open_loop(&nowhere(), &stall(Duration::ZERO, false), RATE, span).await;
        assert!(matches!(result, Err(BenchError::Content { .. })));
    }
}
