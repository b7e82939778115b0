//! Large blobs read back from a warm cache: the socket should be the limit.

use std::sync::Arc;

use super::{Bench, Sample};
use crate::client::{Call, Connection};
use crate::error::BenchError;
use crate::load::{Operation, Until};
use crate::protocol;

const STREAMS: [usize; 2] = [1, 8];
/// Reads of one case, whatever the number of connections: long enough for the kernel's CPU ticks.
const READS: u64 = 8;

/// Measures reads of one blob at one and at several connections.
pub async fn run(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let operation = Arc::new(prepare(bench).await?);
    let mut samples = Vec::new();
    for streams in STREAMS {
        let streams_text = if streams == 1 { "1 stream".to_owned() } else { format!("{streams} streams") };
        let case = format!("{} MiB, {streams_text}, warm", operation.length >> 20);
        let until = Until::Count(READS);
        samples.push(bench.measure(case, &operation, streams, until, operation.length).await?);
    }
    Ok(samples)
}

/// Pushes the blob and reads it once, which checks it and warms the cache.
async fn prepare(bench: &Bench) -> Result<Pull, BenchError> {
    let (repository, length) = (bench.repository("pull"), bench.sizes.blob);
    let content = bench.pool.content(bench.seed, length);
    let digest = content.digest();
    let mut connection = Connection::new(&bench.target);
    protocol::push_streamed(&mut connection, &repository, &content, &digest).await?;
    let call = Call::get(&protocol::blob_path(&repository, &digest))?;
    if connection.digest(&call).await? == digest {
        return Ok(Pull { call, length });
    }
    Err(BenchError::content(call.what(), "these are not the blob's bytes"))
}

struct Pull {
    call: Call,
    length: u64,
}

impl Operation for Pull {
    async fn run(&self, connection: &mut Connection, _: u64) -> Result<(), BenchError> {
        let length = connection.drain(&self.call).await?;
        if length == self.length {
            return Ok(());
        }
        Err(BenchError::content(self.call.what(), format!("{length} bytes instead of {}", self.length)))
    }
}
