//! Whole small images: pushed as docker pushes them, one blob after another, and pulled again.

use std::sync::Arc;

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

const CONNECTIONS: usize = 8;
const LAYERS: [u64; 3] = [64 << 10, 16 << 10, 4 << 10];
/// Images that are pulled: so few that all are warm.
const PULLED: u64 = 64;

/// Measures pushes of images that share nothing, then pulls of the first ones.
pub async fn run(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let push = Push { repository: bench.repository("image"), pool: bench.pool.clone(), seed: bench.seed };
    let push = Arc::new(push);
    let what = format!("config, 3 layers and manifest, {CONNECTIONS} connections");
    let pushed = bench.measure(format!("push of {what}"), &push, CONNECTIONS, bench.span(), 0).await?;
    let numbers = 0..pushed.operations.clamp(1, PULLED);
    let pull = numbers.map(|number| push.image(number).calls(&push.repository)).collect::<Result<_, _>>()?;
    let pull = Arc::new(Pull { images: pull });
    let pulled = bench.measure(format!("pull of {what}"), &pull, CONNECTIONS, bench.span(), 0).await?;
    Ok(vec![pushed, pulled])
}

struct Push {
    repository: String,
    pool: Pool,
    seed: u64,
}

/// An image that is not pushed yet, or was.
struct Image {
    tag: String,
    blobs: Vec<Bytes>,
    manifest: Bytes,
}

impl Push {
    fn image(&self, number: u64) -> Image {
        let seed = self.seed.wrapping_add(number.wrapping_mul(1 << 20));
        let layers =
            LAYERS.iter().zip(1..).map(|(&length, layer)| self.pool.small(seed ^ layer, length as usize));
        let layers: Vec<Bytes> = layers.collect();
        let config = Bytes::from(format!(
            "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"{seed:016x}\",\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[]}}}}"
        ));
        let named: Vec<Blob> = layers.iter().map(|layer| Blob::of(layer)).collect();
        let manifest = protocol::manifest(&Blob::of(&config), &named, "image");
        Image { tag: format!("v{number}"), blobs: [layers, vec![config]].concat(), manifest }
    }
}

impl Image {
    /// What a client sends that has nothing of it, with the length of each answer.
    fn calls(&self, repository: &str) -> Result<Vec<(Call, u64)>, BenchError> {
        let manifest = protocol::ask_manifest(Method::GET, repository, &self.tag)?;
        let mut calls = vec![(manifest, self.manifest.len() as u64)];
        for blob in &self.blobs {
            let path = protocol::blob_path(repository, &content::digest(blob));
            calls.push((Call::get(&path)?, blob.len() as u64));
        }
        Ok(calls)
    }
}

impl Operation for Push {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        let image = self.image(turn);
        for blob in &image.blobs {
            let digest = content::digest(blob);
            protocol::ask_missing(connection, &self.repository, &digest).await?;
            protocol::push_small_streamed(connection, &self.repository, blob.clone(), &digest).await?;
        }
        protocol::push_manifest(connection, &self.repository, &image.tag, &image.manifest).await.map(drop)
    }
}

struct Pull {
    images: Vec<Vec<(Call, u64)>>,
}

impl Operation for Pull {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        for (call, length) in &self.images[turn as usize % self.images.len()] {
            let reply = connection.ask(call, Payload::EMPTY, StatusCode::OK).await?;
            if reply.body.len() as u64 != *length {
                return Err(BenchError::content(
                    call.what(),
                    format!("not the {length} bytes that were pushed"),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Filling;

    #[test]
    fn images_share_no_blob_and_come_out_the_same_each_time() {
        let pool = Pool::new(1, Filling::Random);
        let push = Push { repository: "a".to_owned(), pool, seed: 7 };
        let (one, other) = (push.image(0), push.image(1));
        assert_eq!(one.blobs.len(), 4);
        assert!(one.blobs.iter().all(|blob| !other.blobs.contains(blob)));
        assert_eq!(one.manifest, push.image(0).manifest);
        assert_ne!(one.manifest, other.manifest);
        let read: serde_json::Value = serde_json::from_slice(&one.manifest).expect("it was written as JSON");
        assert_eq!(read["layers"].as_array().map(Vec::len), Some(3));
        assert_eq!(one.calls("a").map(|calls| calls.len()).ok(), Some(5));
    }
}
