//! The catalog: many repositories with one image each, its config mounted from a repository that sorts last.

use bytes::Bytes;

use super::listing::{Add, Listing};
use super::{Bench, Sample};
use crate::client::Connection;
use crate::error::BenchError;
use crate::protocol;

/// Measures pages of the catalog.
pub async fn run(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let from = bench.repository("source");
    let mut connection = Connection::new(&bench.target);
    let config = Bytes::from_static(protocol::EMPTY_CONFIG);
    let config = protocol::push_blob(&mut connection, &from, config).await?;
    let listing = Listing {
        path: "/v2/_catalog".to_owned(),
        prefix: bench.repository("c"),
        entries: bench.sizes.repositories,
        noun: "repositories",
    };
    listing.run(bench, Repository { from, config, manifest: protocol::empty_manifest("catalog") }).await
}

struct Repository {
    from: String,
    config: String,
    manifest: Bytes,
}

impl Add for Repository {
    async fn add(&self, connection: &mut Connection, name: &str) -> Result<(), BenchError> {
        protocol::mount(connection, name, &self.from, &self.config).await?;
        protocol::push_manifest(connection, name, "latest", &self.manifest).await.map(drop)
    }
}
