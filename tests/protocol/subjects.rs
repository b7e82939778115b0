//! `?tag=` on a manifest push, and manifests that name a subject.

use crate::support::images::{ABSENT, OCI_EMPTY, OCI_MANIFEST, artifact_of, sha512};
use crate::support::{Image, Repository, Rng, Server};
use serde_json::json;

/// Pushes what an artifact refers to.
fn push_parts(repository: &Repository, payload: &[u8]) {
    repository.push_blob(b"{}");
    repository.push_blob(payload);
}

#[test]
fn a_push_by_digest_sets_every_tag_it_names() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("tag parameters"));
    repository.push_blobs(&image);
    for digest in [image.digest(), sha512(&image.manifest)] {
        let reference = format!("{digest}?tag=one&tag=two&tag=three.3");
        let put = repository.put_manifest(&reference, image.media_type, &image.manifest).expect(201);
        let told =
            put.headers.iter().filter(|(name, _)| name == "oci-tag").flat_map(|(_, value)| value.split(','));
        let mut told: Vec<&str> = told.map(str::trim).collect();
        told.sort_unstable();
        assert_eq!(told, ["one", "three.3", "two"]);
        for tag in told {
            let got = repository.get(&format!("manifests/{tag}")).expect(200);
            assert_eq!(got.need("docker-content-digest"), digest);
        }
    }
}

#[test]
fn a_push_with_one_malformed_tag_sets_none() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("malformed tag parameter"));
    repository.push_blobs(&image);
    let reference = format!("{}?tag=good&tag=-bad", image.digest());
    repository.put_manifest(&reference, image.media_type, &image.manifest).expect(400);
    repository.head("manifests/good").expect(404);
    repository.head(&format!("manifests/{}", image.digest())).expect(404);
}

#[test]
fn a_manifest_with_a_subject_is_told_so() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("told so");
    let subject = Image::small(&mut rng);
    repository.push("v1", &subject);
    push_parts(&repository, b"signature");
    let artifact = artifact_of("application/vnd.example.sig", b"signature", Some(subject.descriptor()));
    let bytes = serde_json::to_vec(&artifact).expect("JSON");
    let put = repository.push_manifest("sig", &bytes).expect(201);
    assert_eq!(put.need("oci-subject"), subject.digest());
}

#[test]
fn a_manifest_without_a_subject_is_not() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("not told"));
    repository.push_blobs(&image);
    let put = repository.put_manifest("v1", image.media_type, &image.manifest).expect(201);
    assert_eq!(put.header("oci-subject"), None);
    assert_eq!(put.header("oci-tag"), None, "a tag in the path needs no confirmation");
}

#[test]
fn the_subject_may_be_absent() {
    let server = Server::shared();
    let repository = server.repository();
    push_parts(&repository, b"early");
    let subject = json!({ "mediaType": OCI_MANIFEST, "digest": ABSENT, "size": 123 });
    let artifact = artifact_of("application/vnd.example.early", b"early", Some(subject));
    let bytes = serde_json::to_vec(&artifact).expect("JSON");
    assert_eq!(repository.push_manifest("early", &bytes).expect(201).need("oci-subject"), ABSENT);
}

#[test]
fn a_subject_that_is_no_descriptor_is_400_manifest_invalid() {
    let server = Server::shared();
    let repository = server.repository();
    push_parts(&repository, b"odd subject");
    let odd = [json!("text"), json!({ "digest": "nonsense", "size": 1, "mediaType": OCI_EMPTY }), json!([1])];
    for subject in odd {
        let artifact = artifact_of("application/vnd.example.odd", b"odd subject", Some(subject));
        let bytes = serde_json::to_vec(&artifact).expect("JSON");
        repository.push_manifest("odd", &bytes).refused(400, "MANIFEST_INVALID");
    }
}
