//! Large blobs read back: from a warm cache, where the socket should be the limit; right after they were pushed,
//! with the cache as the push has left it; and from the disk.

use std::sync::Arc;

use super::{Bench, Sample, counted, push};
use crate::cache;
use crate::call::Call;
use crate::client::Connection;
use crate::error::BenchError;
use crate::load::{Operation, Until};
use crate::protocol;

const STREAMS: [usize; 2] = [1, 8];
/// Reads of one warm case, whatever the number of connections: long enough for the kernel's CPU ticks.
const READS: u64 = 8;
/// Cold blobs of several streams are this much smaller: each is read once and has to be pushed first.
const SMALLER: u64 = 4;

/// Measures reads of one blob at one and at several connections.
pub async fn run_warm(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let operation = Arc::new(Pull::prepare(bench, bench.sizes.blob, 1).await?);
    // Twice: a registry may wait for a second read before it keeps bytes in memory.
    operation.check(bench).await?;
    operation.check(bench).await?;
    let mut samples = Vec::new();
    for streams in STREAMS {
        samples.push(operation.measure(bench, streams, READS, "warm").await?);
    }
    Ok(samples)
}

/// Measures one read of each of a few blobs that nobody has read before; checks them afterwards.
pub async fn run_after_push(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let length = bench.sizes.blob;
    let count = push::enough(length);
    let operation = Arc::new(Pull::prepare(bench, length, count).await?);
    let sample = operation.measure(bench, 1, count, "right after the push").await?;
    operation.check(bench).await?;
    Ok(vec![sample])
}

/// Measures reads of blobs that are in no cache; each stream reads its own.
pub async fn run_cold(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let mut samples = Vec::new();
    for streams in STREAMS {
        let length = if streams == 1 { bench.sizes.blob } else { (bench.sizes.blob / SMALLER).max(1) };
        let operation = Arc::new(Pull::prepare(bench, length, streams as u64).await?);
        cache::empty().await?;
        samples.push(operation.measure(bench, streams, streams as u64, "cold").await?);
        operation.check(bench).await?;
    }
    Ok(samples)
}

struct Pull {
    repository: String,
    digests: Vec<String>,
    calls: Vec<Call>,
    length: u64,
}

impl Pull {
    /// Pushes the blobs.
    async fn prepare(bench: &Bench, length: u64, count: u64) -> Result<Self, BenchError> {
        let repository = bench.repository(&format!("pull-{count}"));
        let mut connection = Connection::new(&bench.target);
        let (mut digests, mut calls) = (Vec::new(), Vec::new());
        for (content, digest) in push::blobs(&bench.pool, bench.seed, length, count) {
            protocol::push_streamed(&mut connection, &repository, &content, &digest).await?;
            calls.push(Call::get(&protocol::blob_path(&repository, &digest))?);
            digests.push(digest);
        }
        Ok(Self { repository, digests, calls, length })
    }

    async fn measure(
        self: &Arc<Self>,
        bench: &Bench,
        streams: usize,
        reads: u64,
        state: &str,
    ) -> Result<Sample, BenchError> {
        let case = format!("{} MiB, {}, {state}", self.length >> 20, counted(streams, "stream"));
        bench.measure(case, self, streams, Until::Count(reads), self.length).await
    }

    /// Reads the last blob, which must be what was pushed.
    async fn check(&self, bench: &Bench) -> Result<(), BenchError> {
        let Some(digest) = self.digests.last() else { return Ok(()) };
        bench.check_blob(&self.repository, digest).await
    }
}

impl Operation for Pull {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        let call = &self.calls[turn as usize % self.calls.len()];
        let length = connection.drain(call).await?;
        if length == self.length {
            return Ok(());
        }
        Err(BenchError::content(call.what(), format!("{length} bytes instead of {}", self.length)))
    }
}
