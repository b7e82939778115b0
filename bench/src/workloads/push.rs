//! Large blobs pushed as docker pushes them. Digests are known before the clock runs: a client that hashes would
//! share its core with the server.

use std::sync::Arc;

use super::{Bench, Sample};
use crate::client::{Call, Connection};
use crate::content::Content;
use crate::error::BenchError;
use crate::load::{Operation, Until};
use crate::protocol;

/// Small blobs are pushed several times over, so that a sample is long enough for the kernel's CPU ticks.
const AT_LEAST: u64 = 512 << 20;

/// Measures pushes one after another; each blob is new to the registry.
pub async fn run(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let length = bench.sizes.blob;
    let count = AT_LEAST.div_ceil(length.max(1)).clamp(1, 64);
    let operation = Arc::new(Push::prepare(bench, count));
    let case = format!("{} MiB, POST, streamed PATCH, PUT", length >> 20);
    let sample = bench.measure(case, &operation, 1, Until::Count(count), length).await?;
    operation.check(bench).await?;
    Ok(vec![sample])
}

struct Push {
    repository: String,
    blobs: Vec<(Content, String)>,
}

impl Push {
    fn prepare(bench: &Bench, count: u64) -> Self {
        let blob = |number| {
            let content = bench.pool.content(bench.seed.wrapping_add(number), bench.sizes.blob);
            let digest = content.digest();
            (content, digest)
        };
        Self { repository: bench.repository("push"), blobs: (0..count).map(blob).collect() }
    }

    /// Reads the last blob back.
    async fn check(&self, bench: &Bench) -> Result<(), BenchError> {
        let Some((_, digest)) = self.blobs.last() else { return Ok(()) };
        let call = Call::get(&protocol::blob_path(&self.repository, digest))?;
        if Connection::new(&bench.target).digest(&call).await? == *digest {
            return Ok(());
        }
        Err(BenchError::content(call.what(), "these are not the blob's bytes"))
    }
}

impl Operation for Push {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        let (content, digest) = &self.blobs[turn as usize % self.blobs.len()];
        protocol::push_streamed(connection, &self.repository, content, digest).await
    }
}
