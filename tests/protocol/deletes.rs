//! Deletes: by tag, by digest, of blobs; they take effect at once and never take what is in use.

use crate::support::images::{ABSENT, index_of, sha256};
use crate::support::{Image, Kind, Rng, Server};

#[test]
fn deleting_a_tag_leaves_the_manifest_and_its_other_tags() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("delete a tag"));
    repository.push("one", &image);
    repository.push("two", &image);
    repository.delete("manifests/one").expect(202);
    repository.get("manifests/one").refused(404, "MANIFEST_UNKNOWN");
    repository.pull_and_compare("two", &image);
    repository.pull_and_compare(&image.digest(), &image);
    assert_eq!(repository.tags(), ["two"]);
}

#[test]
fn deleting_a_manifest_takes_its_tags_along() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("delete a manifest");
    let (image, other) = (Image::small(&mut rng), Image::small(&mut rng));
    repository.push("one", &image);
    repository.push("two", &image);
    repository.push("other", &other);
    let digest = image.digest();
    repository.delete(&format!("manifests/{digest}")).expect(202);
    for reference in ["one", "two", &digest] {
        repository.head(&format!("manifests/{reference}")).expect(404);
    }
    assert_eq!(repository.tags(), ["other"]);
}

#[test]
fn deleting_what_is_not_there_is_404() {
    let server = Server::shared();
    let repository = server.repository();
    repository.push("v1", &Image::small(&mut Rng::named("delete absent")));
    repository.delete("manifests/v2").refused(404, "MANIFEST_UNKNOWN");
    repository.delete(&format!("manifests/{ABSENT}")).refused(404, "MANIFEST_UNKNOWN");
    repository.delete(&format!("blobs/{ABSENT}")).refused(404, "BLOB_UNKNOWN");
    server.repository().delete("manifests/v1").expect(404);
}

#[test]
fn a_blob_no_manifest_uses_can_be_deleted() {
    let server = Server::shared();
    let repository = server.repository();
    let digest = repository.push_blob(&Rng::named("delete a blob").bytes(1000));
    repository.delete(&format!("blobs/{digest}")).expect(202);
    repository.get(&format!("blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
    repository.delete(&format!("blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
}

#[test]
fn a_blob_in_use_is_not_deleted_until_its_manifest_is() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("blob in use"));
    repository.push("v1", &image);
    for blob in image.blobs() {
        let refused = repository.delete(&format!("blobs/{}", sha256(blob))).expect_one(&[405, 409]);
        assert!(["UNSUPPORTED", "DENIED"].contains(&&*refused.error_code()), "{refused}");
        let message = refused.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("manifest"), "says that a manifest uses it: {message}");
    }
    repository.pull_and_compare("v1", &image);
    repository.delete(&format!("manifests/{}", image.digest())).expect(202);
    for blob in image.blobs() {
        repository.delete(&format!("blobs/{}", sha256(blob))).expect(202);
    }
}

#[test]
fn what_was_deleted_can_be_pushed_again() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("pushed again"));
    for _ in 0..3 {
        repository.push("v1", &image);
        repository.pull_and_compare("v1", &image);
        repository.delete(&format!("manifests/{}", image.digest())).expect(202);
        for blob in image.blobs() {
            repository.delete(&format!("blobs/{}", sha256(blob))).expect(202);
        }
        repository.head("manifests/v1").expect(404);
    }
}

#[test]
fn deleting_an_index_leaves_its_children() {
    let server = Server::shared();
    let repository = server.repository();
    let child = Image::small(&mut Rng::named("children stay"));
    repository.push(&child.digest(), &child);
    let (_, index) = repository.push_value(Some("multi"), &index_of(Kind::Oci, &[child.descriptor()]));
    repository.delete(&format!("manifests/{index}")).expect(202);
    repository.pull_and_compare(&child.digest(), &child);
}

#[test]
fn a_delete_in_one_repository_leaves_the_same_image_in_another() {
    let server = Server::shared();
    let (here, there) = (server.repository(), server.repository());
    let image = Image::small(&mut Rng::named("same image"));
    here.push("v1", &image);
    there.push("v1", &image);
    here.delete(&format!("manifests/{}", image.digest())).expect(202);
    for blob in image.blobs() {
        here.delete(&format!("blobs/{}", sha256(blob))).expect(202);
    }
    there.pull_and_compare("v1", &image);
}
