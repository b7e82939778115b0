//! Cross-repository mounts: with and without a source, and the fall back to an upload.

use crate::support::http::with_query;
use crate::support::images::{ABSENT, sha256};
use crate::support::{Image, Repository, Response, Rng, Server};

fn mount(repository: &Repository, query: &str) -> Response {
    repository.request("POST", &format!("blobs/uploads/?{query}")).send()
}

#[test]
fn a_mount_from_a_repository_that_has_the_blob_is_201() {
    let server = Server::shared();
    let (source, target) = (server.repository(), server.repository());
    let content = Rng::named("mount").bytes(3000);
    let digest = source.push_blob(&content);
    let answer = mount(&target, &format!("mount={digest}&from={}", source.name)).expect(201);
    assert_eq!(answer.need("docker-content-digest"), digest);
    assert!(server.http().get(&answer.location()).send().expect(200).body == content);
    assert!(answer.location().contains(&target.name), "{answer}");
}

#[test]
fn the_source_may_be_written_with_percent_signs() {
    let server = Server::shared();
    let (source, target) = (server.repository(), server.repository());
    let digest = source.push_blob(b"escaped source");
    let query = format!("mount={}&from={}", digest.replace(':', "%3A"), source.name.replace('/', "%2F"));
    mount(&target, &query).expect(201);
}

#[test]
fn a_mount_without_a_source_finds_the_blob_itself() {
    let server = Server::shared();
    let (source, target) = (server.repository(), server.repository());
    let content = Rng::named("anonymous mount").bytes(3000);
    let digest = source.push_blob(&content);
    let answer = mount(&target, &format!("mount={digest}")).expect(201);
    assert!(server.http().get(&answer.location()).send().expect(200).body == content);
}

#[test]
fn a_mount_that_cannot_be_falls_back_to_an_upload() {
    let server = Server::shared();
    let (elsewhere, target) = (server.repository(), server.repository());
    let content = Rng::named("fall back").bytes(3000);
    let digest = sha256(&content);
    elsewhere.push_blob(b"it exists, without the blob");
    let cases = [
        format!("mount={digest}&from={}", elsewhere.name),
        format!("mount={digest}&from=no/such/repository"),
        format!("mount={digest}"),
        format!("mount={ABSENT}&from={}", target.name),
    ];
    for query in &cases {
        let begun = mount(&target, query).expect(202);
        let put = server.http().put(&with_query(&begun.location(), &format!("digest={digest}")));
        if query.contains(ABSENT) {
            server.http().get(&begun.location()).send().expect(204);
        } else {
            put.body(content.clone()).send().expect(201);
            target.delete(&format!("blobs/{digest}")).expect(202);
        }
    }
}

#[test]
fn a_mount_of_a_blob_that_is_here_already_is_201() {
    let server = Server::shared();
    let repository = server.repository();
    let digest = repository.push_blob(b"already here");
    mount(&repository, &format!("mount={digest}&from={}", repository.name)).expect(201);
}

#[test]
fn a_mounted_blob_outlives_its_source() {
    let server = Server::shared();
    let (source, target) = (server.repository(), server.repository());
    let content = Rng::named("outlives").bytes(3000);
    let digest = source.push_blob(&content);
    mount(&target, &format!("mount={digest}&from={}", source.name)).expect(201);
    source.delete(&format!("blobs/{digest}")).expect(202);
    source.head(&format!("blobs/{digest}")).expect(404);
    assert!(target.get(&format!("blobs/{digest}")).expect(200).body == content);
}

#[test]
fn an_image_can_be_pushed_by_mounts_alone() {
    let server = Server::shared();
    let (source, target) = (server.repository(), server.repository());
    let image = Image::small(&mut Rng::named("mounts alone"));
    source.push("v1", &image);
    for blob in image.blobs() {
        mount(&target, &format!("mount={}&from={}", sha256(blob), source.name)).expect(201);
    }
    target.put_manifest("v1", image.media_type, &image.manifest).expect(201);
    target.pull_and_compare("v1", &image);
}

#[test]
fn a_mount_of_a_malformed_digest_is_400_digest_invalid() {
    let server = Server::shared();
    let repository = server.repository();
    for digest in ["sha256:abc", "x", "sha256:"] {
        mount(&repository, &format!("mount={digest}&from=a/b")).refused(400, "DIGEST_INVALID");
    }
}
