//! Large blobs pushed as docker pushes them, with one PUT, many at once, and a very large one. Digests are known
//! before the clock runs: a client that hashes would share its core with the server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Bench, Sample};
use crate::client::Connection;
use crate::content::{Content, Filling, Pool};
use crate::error::BenchError;
use crate::load::{Operation, Until};
use crate::protocol;

/// Small blobs are pushed several times over, so that a sample is long enough for the kernel's CPU ticks.
const AT_LEAST: u64 = 512 << 20;
/// Uploads at once.
const MANY: usize = 20;

/// Measures pushes one after another; each blob is new to the registry.
pub async fn run(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let length = bench.sizes.blob;
    let case = format!("{} MiB, POST, streamed PATCH, PUT", length >> 20);
    Series { form: Form::Streamed, length, count: enough(length), connections: 1 }.run(bench, case).await
}

/// Measures the same with bodies that compress, so that one run has both.
pub async fn run_text(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let pool = Pool::new(bench.seed, Filling::Text);
    let length = bench.sizes.blob;
    let case = format!("{} MiB of text, POST, streamed PATCH, PUT", length >> 20);
    let series = Series { form: Form::Streamed, length, count: enough(length), connections: 1 };
    series.run_from(bench, &pool, case).await
}

/// Measures pushes whose length is announced.
pub async fn run_put(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let length = bench.sizes.blob;
    let case = format!("{} MiB, POST, PUT", length >> 20);
    Series { form: Form::Announced, length, count: enough(length), connections: 1 }.run(bench, case).await
}

/// Measures many pushes at once: memory and throughput.
pub async fn run_many(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let length = bench.sizes.many;
    let case = format!("{MANY} at once, {} MiB each, streamed", length >> 20);
    Series { form: Form::Streamed, length, count: MANY as u64, connections: MANY }.run(bench, case).await
}

/// Measures one very large push.
pub async fn run_large(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let length = bench.sizes.large;
    let case = format!("{} MiB once, POST, streamed PATCH, PUT", length >> 20);
    Series { form: Form::Streamed, length, count: 1, connections: 1 }.run(bench, case).await
}

/// How many blobs make a sample long enough.
pub fn enough(length: u64) -> u64 {
    AT_LEAST.div_ceil(length.max(1)).clamp(1, 64)
}

#[derive(Clone, Copy)]
enum Form {
    Streamed,
    Announced,
}

struct Series {
    form: Form,
    length: u64,
    count: u64,
    connections: usize,
}

impl Series {
    async fn run(self, bench: &Bench, case: String) -> Result<Vec<Sample>, BenchError> {
        self.run_from(bench, &bench.pool, case).await
    }

    async fn run_from(self, bench: &Bench, pool: &Pool, case: String) -> Result<Vec<Sample>, BenchError> {
        let Self { form, length, count, connections } = self;
        let operation = Push {
            repository: bench.repository("push"),
            form,
            blobs: blobs(pool, bench.seed, length, count),
            slowest_put: Mutex::default(),
        };
        let operation = Arc::new(operation);
        let mut sample = bench.measure(case, &operation, connections, Until::Count(count), length).await?;
        if let Some(slowest) = operation.slowest_put() {
            sample = sample.fact("slowest final PUT, ms", slowest.as_secs_f64() * 1e3);
        }
        if let Some((_, digest)) = operation.blobs.last() {
            bench.check_blob(&operation.repository, digest).await?;
        }
        Ok(vec![sample])
    }
}

/// Different blobs with their digests.
pub fn blobs(pool: &Pool, seed: u64, length: u64, count: u64) -> Vec<(Content, String)> {
    let blob = |number| {
        let content = pool.content(seed.wrapping_add(number), length);
        let digest = content.digest();
        (content, digest)
    };
    (0..count).map(blob).collect()
}

struct Push {
    repository: String,
    form: Form,
    blobs: Vec<(Content, String)>,
    slowest_put: Mutex<Option<Duration>>,
}

impl Push {
    fn slowest_put(&self) -> Option<Duration> {
        *self.slowest_put.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_put(&self, took: Duration) {
        let mut slowest = self.slowest_put.lock().unwrap_or_else(PoisonError::into_inner);
        *slowest = (*slowest).max(Some(took));
    }
}

impl Operation for Push {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        let (content, digest) = &self.blobs[turn as usize % self.blobs.len()];
        match self.form {
            Form::Streamed => {
                let put = protocol::push_streamed(connection, &self.repository, content, digest).await?;
                self.note_put(put);
                Ok(())
            }
            Form::Announced => protocol::push_announced(connection, &self.repository, content, digest).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_blobs_are_pushed_more_often() {
        let table = [(1 << 30, 1), (512 << 20, 1), (64 << 20, 8), (1 << 20, 64), (0, 64)];
        for (length, count) in table {
            assert_eq!(enough(length), count, "{length}");
        }
    }

    #[test]
    fn the_slowest_put_is_kept() {
        let push = Push {
            repository: String::new(),
            form: Form::Streamed,
            blobs: Vec::new(),
            slowest_put: Mutex::default(),
        };
        assert_eq!(push.slowest_put(), None);
        [2, 5, 3].map(Duration::from_millis).into_iter().for_each(|took| push.note_put(took));
        assert_eq!(push.slowest_put(), Some(Duration::from_millis(5)));
    }
}
