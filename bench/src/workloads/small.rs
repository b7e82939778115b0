//! Small blobs: `HEAD`, which a push sends for every layer, and pushes, where flushes to disk decide.

use std::sync::Arc;

use hyper::header::CONTENT_LENGTH;
use hyper::{Method, StatusCode};

use super::{Bench, Sample};
use crate::call::Call;
use crate::client::Connection;
use crate::content::{self, Pool};
use crate::error::BenchError;
use crate::load::Operation;
use crate::payload::Payload;
use crate::protocol;

const LENGTH: usize = 4096;
const BLOBS: u64 = 64;

/// Measures `HEAD` round robin over a few blobs.
pub async fn run_head(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let repository = bench.repository("head");
    let mut connection = Connection::new(&bench.target);
    let mut calls = Vec::new();
    for number in 0..BLOBS {
        let bytes = bench.pool.small(bench.seed ^ number, LENGTH);
        let digest = protocol::push_blob(&mut connection, &repository, bytes).await?;
        calls.push(Call::new(Method::HEAD, &protocol::blob_path(&repository, &digest))?);
    }
    let connections = bench.sizes.connections;
    let case = format!("HEAD, {connections} connections");
    Ok(vec![bench.measure(case, &Arc::new(Head { calls }), connections, bench.span(), 0).await?])
}

/// Measures pushes of blobs that are all different.
pub async fn run_push(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let (repository, pool) = (bench.repository("small"), bench.pool.clone());
    let operation = Arc::new(Push { repository, pool, seed: bench.seed });
    let connections = bench.sizes.connections;
    let case = format!("4 KiB, POST and PUT, {connections} connections");
    let sample = bench.measure(case, &operation, connections, bench.span(), 0).await?;
    operation.check(bench, sample.operations).await?;
    Ok(vec![sample])
}

struct Head {
    calls: Vec<Call>,
}

impl Operation for Head {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        let call = &self.calls[turn as usize % self.calls.len()];
        let reply = connection.ask(call, Payload::EMPTY, StatusCode::OK).await?;
        if reply.header(CONTENT_LENGTH).and_then(|length| length.parse().ok()) == Some(LENGTH) {
            return Ok(());
        }
        Err(BenchError::content(call.what(), "another Content-Length than the blob's"))
    }
}

struct Push {
    repository: String,
    pool: Pool,
    seed: u64,
}

impl Push {
    fn bytes(&self, turn: u64) -> bytes::Bytes {
        self.pool.small(self.seed.wrapping_add(turn.wrapping_mul(LENGTH as u64)), LENGTH)
    }

    /// Reads a few of the pushed blobs back.
    async fn check(&self, bench: &Bench, pushed: u64) -> Result<(), BenchError> {
        for turn in [0, pushed / 2, pushed.saturating_sub(1)] {
            bench.check_blob(&self.repository, &content::digest(&self.bytes(turn))).await?;
        }
        Ok(())
    }
}

impl Operation for Push {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        protocol::push_blob(connection, &self.repository, self.bytes(turn)).await.map(drop)
    }
}
