//! `GET` of manifests by tag: what every pull and every kubelet's check begins with.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;

use super::{Bench, Sample};
use crate::client::{Call, Connection};
use crate::content::Payload;
use crate::error::BenchError;
use crate::load::Operation;
use crate::protocol;

/// So many that one hot entry cannot carry the result, so few that all are hot.
const TAGS: usize = 64;

/// Measures GETs round robin over the tags of one repository.
pub async fn run(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let operation = Arc::new(prepare(bench).await?);
    let connections = bench.sizes.connections;
    let case = format!("GET by tag, {connections} connections");
    Ok(vec![bench.measure(case, &operation, connections, bench.span(), 0).await?])
}

async fn prepare(bench: &Bench) -> Result<Get, BenchError> {
    let repository = bench.repository("manifests");
    let mut connection = Connection::new(&bench.target);
    protocol::push_blob(&mut connection, &repository, Bytes::from_static(protocol::EMPTY_CONFIG)).await?;
    let mut images = Vec::with_capacity(TAGS);
    for number in 0..TAGS {
        let tag = format!("v{number}");
        let manifest = protocol::manifest(None, &format!("{number:04}"));
        let digest = protocol::push_manifest(&mut connection, &repository, &tag, &manifest).await?;
        let call = protocol::get_manifest(&repository, &tag)?;
        let reply = connection.ask(&call, Payload::EMPTY, StatusCode::OK).await?;
        if reply.body != manifest {
            return Err(BenchError::content(call.what(), "these are not the manifest's bytes"));
        }
        images.push(Image { call, digest, length: manifest.len() });
    }
    Ok(Get { images })
}

struct Image {
    call: Call,
    digest: String,
    length: usize,
}

struct Get {
    images: Vec<Image>,
}

impl Operation for Get {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        let image = &self.images[turn as usize % self.images.len()];
        let reply = connection.ask(&image.call, Payload::EMPTY, StatusCode::OK).await?;
        let named = reply.header("docker-content-digest") == Some(image.digest.as_str());
        if named && reply.body.len() == image.length {
            return Ok(());
        }
        Err(BenchError::content(image.call.what(), "another length or digest than the manifest's"))
    }
}
