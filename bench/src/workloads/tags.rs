//! The tags of one repository: one small image under many names.

use bytes::Bytes;

use super::listing::{Add, Listing};
use super::{Bench, Sample};
use crate::client::Connection;
use crate::error::BenchError;
use crate::protocol;

/// Measures pages of the tags.
pub async fn run(bench: &Bench) -> Result<Vec<Sample>, BenchError> {
    let repository = bench.repository("tags");
    let mut connection = Connection::new(&bench.target);
    protocol::push_blob(&mut connection, &repository, Bytes::from_static(protocol::EMPTY_CONFIG)).await?;
    let listing = Listing {
        path: format!("/v2/{repository}/tags/list"),
        prefix: "t".to_owned(),
        entries: bench.sizes.tags,
        noun: "tags",
    };
    listing.run(bench, Tag { repository, manifest: protocol::empty_manifest("tags") }).await
}

struct Tag {
    repository: String,
    manifest: Bytes,
}

impl Add for Tag {
    async fn add(&self, connection: &mut Connection, name: &str) -> Result<(), BenchError> {
        protocol::push_manifest(connection, &self.repository, name, &self.manifest).await.map(drop)
    }
}
