//! Reads and pushes at once, three to one: what a busy team's registry does. How long reads and pushes took is kept
//! apart, since the latency of both together says little about either.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::{Bench, Sample};
use crate::call::Call;
use crate::client::Connection;
use crate::content::{self, Pool};
use crate::error::BenchError;
use crate::load::Operation;
use crate::payload::Payload;
use crate::protocol::{self, Blob};
use crate::statistics::Latency;

const LENGTH: usize = 64 << 10;
const IMAGES: u64 = 64;

/// Measures the mix.
pub async fn run(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let mixed = Arc::new(prepare(bench).await?);
    let connections = bench.sizes.connections;
    let case = format!(
        "3 GETs (manifest, {} KiB blob, manifest) to 1 push (blob and manifest), {connections} connections",
        LENGTH >> 10
    );
    let mut sample = bench.measure(case, &mixed, connections, bench.span(), 0).await?;
    for (name, took) in [("GET", &mixed.reads), ("push", &mixed.pushes)] {
        let took = std::mem::take(&mut *took.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(latency) = Latency::of(took) else { continue };
        sample = sample.fact(&format!("{name} p50, ms"), latency.p50_ms);
        sample = sample.fact(&format!("{name} p99, ms"), latency.p99_ms);
    }
    Ok(vec![sample])
}

async fn prepare(bench: &Bench) -> Result<Mixed, BenchError> {
    let mut connection = Connection::new(&bench.target);
    let mut mixed = Mixed {
        repository: bench.repository("mixed"),
        pool: bench.pool.clone(),
        seed: bench.seed,
        calls: Vec::new(),
        reads: Mutex::default(),
        pushes: Mutex::default(),
    };
    let config = Bytes::from_static(protocol::EMPTY_CONFIG);
    protocol::push_blob(&mut connection, &mixed.repository, config).await?;
    for number in 0..IMAGES {
        let (blob, manifest) = mixed.push(&mut connection, number, &format!("v{number}")).await?;
        let get_manifest = protocol::ask_manifest(Method::GET, &mixed.repository, &format!("v{number}"))?;
        let get_blob = Call::get(&protocol::blob_path(&mixed.repository, &blob.digest))?;
        mixed.calls.push([(get_manifest, manifest), (get_blob, blob)]);
    }
    Ok(mixed)
}

struct Mixed {
    repository: String,
    pool: Pool,
    seed: u64,
    /// Manifest and blob of each prepared image.
    calls: Vec<[(Call, Blob); 2]>,
    reads: Mutex<Vec<u64>>,
    pushes: Mutex<Vec<u64>>,
}

/// What a turn does: the first and third of four read a manifest, the second a blob, the fourth pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Read { image: usize, part: usize },
    Push,
}

fn deed(turn: u64, images: usize) -> Deed {
    match turn % 4 {
        3 => Deed::Push,
        part => Deed::Read { image: (turn / 4) as usize % images.max(1), part: part as usize % 2 },
    }
}

impl Mixed {
    async fn push(
        &self,
        connection: &mut Connection,
        number: u64,
        tag: &str,
    ) -> Result<(Blob, Blob), BenchError> {
        let bytes = self.pool.small(self.seed.wrapping_add(number.wrapping_mul(LENGTH as u64)), LENGTH);
        let blob = Blob { digest: content::digest(&bytes), size: LENGTH as u64 };
        protocol::push_blob(connection, &self.repository, bytes).await?;
        let config = Blob::of(protocol::EMPTY_CONFIG);
        let manifest = protocol::manifest(&config, std::slice::from_ref(&blob), tag);
        protocol::push_manifest(connection, &self.repository, tag, &manifest).await?;
        Ok((blob, Blob::of(&manifest)))
    }

    async fn read(&self, connection: &mut Connection, image: usize, part: usize) -> Result<(), BenchError> {
        let (call, blob) = &self.calls[image][part];
        let reply = connection.ask(call, Payload::EMPTY, StatusCode::OK).await?;
        if reply.body.len() as u64 == blob.size {
            return Ok(());
        }
        Err(BenchError::content(call.what(), "another length than what was pushed"))
    }
}

impl Operation for Mixed {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        let begun = Instant::now();
        let took = match deed(turn, self.calls.len()) {
            Deed::Push => {
                self.push(connection, IMAGES + turn, &format!("p{turn}")).await?;
                &self.pushes
            }
            Deed::Read { image, part } => {
                self.read(connection, image, part).await?;
                &self.reads
            }
        };
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        took.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fourth_turn_pushes_and_reads_take_manifests_and_blobs() {
        let deeds: Vec<Deed> = (0..8).map(|turn| deed(turn, 64)).collect();
        let read = |image, part| Deed::Read { image, part };
        let expected =
            [read(0, 0), read(0, 1), read(0, 0), Deed::Push, read(1, 0), read(1, 1), read(1, 0), Deed::Push];
        assert_eq!(deeds, expected);
        assert_eq!(deed(4 * 64, 64), read(0, 0), "images come round again");
    }
}
