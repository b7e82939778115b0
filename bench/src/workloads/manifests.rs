//! `GET` and `HEAD` of manifests by tag: what every pull and every kubelet's check begins with.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, StatusCode};

use super::{Bench, Sample};
use crate::call::{Call, Reply};
use crate::client::Connection;
use crate::error::BenchError;
use crate::load::Operation;
use crate::payload::Payload;
use crate::protocol;

/// So many that one hot entry cannot carry the result, so few that all are hot.
const TAGS: usize = 64;

/// Measures GETs or HEADs round robin over the tags of one repository.
pub async fn run(bench: &Bench, method: Method) -> Result<Vec<Sample>, BenchError> {
    let operation = Arc::new(prepare(bench, &method).await?);
    let connections = bench.sizes.connections;
    let case = format!("{method} by tag, {connections} connections");
    Ok(vec![bench.measure(case, &operation, connections, bench.span(), 0).await?])
}

/// Pushes the manifests; what asks for them round robin.
pub async fn prepare(bench: &Bench, method: &Method) -> Result<Ask, BenchError> {
    let repository = bench.repository("manifests");
    let mut connection = Connection::new(&bench.target);
    protocol::push_blob(&mut connection, &repository, Bytes::from_static(protocol::EMPTY_CONFIG)).await?;
    let mut images = Vec::with_capacity(TAGS);
    for number in 0..TAGS {
        let tag = format!("v{number}");
        let manifest = protocol::empty_manifest(&format!("{number:04}"));
        let digest = protocol::push_manifest(&mut connection, &repository, &tag, &manifest).await?;
        let get = protocol::ask_manifest(Method::GET, &repository, &tag)?;
        let reply = connection.ask(&get, Payload::EMPTY, StatusCode::OK).await?;
        if reply.body != manifest {
            return Err(BenchError::content(get.what(), "these are not the manifest's bytes"));
        }
        let call = protocol::ask_manifest(method.clone(), &repository, &tag)?;
        images.push(Image { call, digest, length: manifest.len() });
    }
    Ok(Ask { images })
}

struct Image {
    call: Call,
    digest: String,
    length: usize,
}

impl Image {
    /// `HEAD` has no body and says the length a `GET` would have.
    fn is(&self, reply: &Reply) -> bool {
        let announced = reply.header(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        reply.header("docker-content-digest") == Some(self.digest.as_str())
            && (reply.body.len() == self.length || (reply.body.is_empty() && announced == Some(self.length)))
    }
}

/// Asks for the manifests, one a turn, and checks what comes.
pub struct Ask {
    images: Vec<Image>,
}

impl Operation for Ask {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        let image = &self.images[turn as usize % self.images.len()];
        let reply = connection.ask(&image.call, Payload::EMPTY, StatusCode::OK).await?;
        if image.is(&reply) {
            return Ok(());
        }
        Err(BenchError::content(image.call.what(), "another length or digest than the manifest's"))
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn an_answer_is_the_manifests_by_digest_and_length() {
        let call = Call::get("/x").expect("this is a path");
        let image = Image { call, digest: "sha256:1".to_owned(), length: 2 };
        let table = [
            ("a body", "sha256:1", "2", "ab", true),
            ("a head", "sha256:1", "2", "", true),
            ("a head of another length", "sha256:1", "3", "", false),
            ("another length", "sha256:1", "3", "abc", false),
            ("another digest", "sha256:2", "2", "ab", false),
        ];
        for (row, digest, length, body, right) in table {
            let digest_name = HeaderName::from_static("docker-content-digest");
            let headers = [(digest_name, digest), (CONTENT_LENGTH, length)];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            let reply =
                Reply { headers: HeaderMap::from_iter(headers), body: Bytes::from_static(body.as_bytes()) };
            assert_eq!(image.is(&reply), right, "{row}");
        }
    }
}
