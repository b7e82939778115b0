//! A closed loop: so many connections, each of which sends its next request when the last one is answered.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::Connection;
use crate::error::BenchError;
use crate::target::Target;

/// What is done over and over.
pub trait Operation: Send + Sync + 'static {
    /// Does it once. `turn` counts from 0 over all connections, so no two turns are alike.
    fn run(
        &self,
        connection: &mut Connection,
        turn: u64,
    ) -> impl Future<Output = Result<(), BenchError>> + Send;
}

/// When a loop ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// No operation begins after this time; those under way are finished.
    Elapsed(Duration),
    /// After exactly so many operations.
    Count(u64),
}

/// Runs the loop and returns how long each operation took, in microseconds. The first failure ends it.
pub async fn closed_loop<O: Operation>(
    target: &Arc<Target>,
    operation: &Arc<O>,
    connections: usize,
    until: Until,
) -> Result<Vec<u64>, BenchError> {
    let turns = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let worker = Worker {
            connection: Connection::new(target),
            operation: Arc::clone(operation),
            turns: Arc::clone(&turns),
        };
        workers.spawn(worker.work(begun, until));
    }
    let mut took = Vec::new();
    // On an early return the set is dropped, which ends the other workers.
    while let Some(worker) = workers.join_next().await {
        took.append(&mut worker??);
    }
    Ok(took)
}

struct Worker<O> {
    connection: Connection,
    operation: Arc<O>,
    turns: Arc<AtomicU64>,
}

impl<O: Operation> Worker<O> {
    async fn work(mut self, begun: Instant, until: Until) -> Result<Vec<u64>, BenchError> {
        let mut took = Vec::new();
        loop {
            // Time is looked at first: a turn that was taken is also done, so that turns done are 0 to the last.
            if matches!(until, Until::Elapsed(limit) if begun.elapsed() >= limit) {
                return Ok(took);
            }
            let turn = self.turns.fetch_add(1, Ordering::Relaxed);
            if matches!(until, Until::Count(count) if turn >= count) {
                return Ok(took);
            }
            let start = Instant::now();
            self.operation.run(&mut self.connection, turn).await?;
            took.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Mutex;

    use super::*;

    /// Never connects: a connection opens with its first request.
    fn nowhere() -> Arc<Target> {
        Arc::new(Target::local(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), None))
    }

    struct Remember {
        turns: Mutex<Vec<u64>>,
        fails_at: Option<u64>,
    }

    impl Operation for Remember {
        async fn run(&self, _: &mut Connection, turn: u64) -> Result<(), BenchError> {
            self.turns.lock().expect("no test panics with it").push(turn);
            tokio::task::yield_now().await;
            if self.fails_at == Some(turn) { Err(BenchError::Interrupted) } else { Ok(()) }
        }
    }

    #[tokio::test]
    async fn a_counted_loop_takes_every_turn_once() {
        let operation = Arc::new(Remember { turns: Mutex::default(), fails_at: None });
        let took = closed_loop(&nowhere(), &operation, 7, Until::Count(100)).await.expect("nothing fails");
        assert_eq!(took.len(), 100);
        let mut turns = operation.turns.lock().expect("the loop has ended").clone();
        turns.sort_unstable();
        assert_eq!(turns, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_timed_loop_ends_and_leaves_no_turn_out() {
        let operation = Arc::new(Remember { turns: Mutex::default(), fails_at: None });
        let limit = Until::Elapsed(Duration::from_millis(5));
        let took = closed_loop(&nowhere(), &operation, 2, limit).await.expect("nothing fails");
        let mut turns = operation.turns.lock().expect("the loop has ended").clone();
        turns.sort_unstable();
        assert_eq!(turns, (0..took.len() as u64).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_first_failure_ends_the_loop() {
        let operation = Arc::new(Remember { turns: Mutex::default(), fails_at: Some(10) });
        let result = closed_loop(&nowhere(), &operation, 3, Until::Count(u64::MAX)).await;
        assert!(matches!(result, Err(BenchError::Interrupted)));
    }
}
