//! Names of repositories and tags: what they may be, and what a single component means.

use crate::support::images::OCI_MANIFEST;
use crate::support::{Image, Repository, Rng, Server};

#[test]
fn good_names_are_good() {
    let server = Server::shared();
    let long = format!("org/{}", "a".repeat(124));
    let unique = std::process::id();
    for name in [
        "a/b",
        "a/b/c/d/e/f/g",
        "o-r--g/x",
        "org/a.b_c__d-e---f",
        "org0/1",
        "o0/1",
        "org/blobs",
        "org/tags/list",
        "org/manifests/x",
        &long,
    ] {
        let repository = Repository::named(server.http(), name);
        let digest = repository.push_blob(format!("{unique} {name}").as_bytes());
        repository.get(&format!("blobs/{digest}")).expect(200);
        repository.get("tags/list").expect(200);
    }
}

#[test]
fn bad_names_are_400_name_invalid() {
    let server = Server::shared();
    let long = format!("org/{}", "a".repeat(300));
    let bad = [
        "A/b",
        "a/B",
        "a//b",
        "-a/b",
        "a-/b",
        "a/-b",
        "a/b-",
        "_a/b",
        "a/b_",
        "a/.b",
        "a/b.",
        "a..b/c",
        "a/b___c",
        "a._b/c",
        "a/b%20c",
        "a/%C3%BC",
        "a/b%00",
        "a/b%2f%2fc",
        "a/b:c",
        "a/b@c",
        "a/..%2Fb",
        "a/%2e%2e/b",
        "a/b!",
        "a/*",
        &long,
    ];
    for name in bad {
        let post = server.http().post(&format!("/v2/{name}/blobs/uploads/")).send();
        post.refused(400, "NAME_INVALID");
        server.http().get(&format!("/v2/{name}/tags/list")).send().refused(400, "NAME_INVALID");
        server.http().get(&format!("/v2/{name}/manifests/v1")).send().refused(400, "NAME_INVALID");
    }
}

#[test]
fn dots_in_a_path_never_climb() {
    let server = Server::shared();
    for target in [
        "/v2/../v2/a/tags/list",
        "/v2/a/../../etc/passwd",
        "/v2/a/b/blobs/../../../x",
        "/v2/%2e%2e/%2e%2e/tags/list",
    ] {
        let answer = server.http().get(target).send();
        assert!([400, 404].contains(&answer.status), "{answer}");
    }
}

#[test]
fn one_component_means_library() {
    let server = Server::shared();
    let name = format!("single{}", std::process::id());
    let image = Image::small(&mut Rng::named("library"));
    let short = Repository::named(server.http(), &name);
    let full = Repository::named(server.http(), &format!("library/{name}"));
    short.push("v1", &image);
    full.pull_and_compare("v1", &image);
    full.delete("manifests/v1").expect(202);
    short.head("manifests/v1").expect(404);
}

#[test]
fn good_tags_are_good() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("good tags"));
    repository.push_blobs(&image);
    let long = "t".repeat(128);
    for tag in ["v1", "V1", "_", "_._", "1.0-rc.1_x", "0", "a-", "a.", "LATEST", &long] {
        repository.put_manifest(tag, image.media_type, &image.manifest).expect(201);
        repository.get(&format!("manifests/{tag}")).expect(200);
    }
}

#[test]
fn bad_tags_are_refused_and_leave_nothing() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("bad tags"));
    repository.push_blobs(&image);
    let long = "t".repeat(129);
    for tag in [".a", "-a", "a:b:c", "a%20b", "a%00", "%C3%BC", "a%2Fb", "a+b", "a@b", "*", &long] {
        let answer = repository.put_manifest(tag, OCI_MANIFEST, &image.manifest);
        assert!([400, 404].contains(&answer.status), "{tag}: {answer}");
        let code = answer.error_code();
        assert!(
            [
                "TAG_INVALID",
                "MANIFEST_INVALID",
                "NAME_INVALID",
                "DIGEST_INVALID",
                "MANIFEST_UNKNOWN",
                "UNSUPPORTED"
            ]
            .contains(&&*code),
            "{tag}: {code}"
        );
        let read = repository.get(&format!("manifests/{tag}"));
        assert!([400, 404].contains(&read.status), "{tag}: {read}");
    }
    assert!(repository.tags().is_empty());
}

#[test]
fn a_colon_in_a_digest_may_be_escaped() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("escaped colon"));
    let digest = repository.push("v1", &image).replace(':', "%3A");
    repository.get(&format!("manifests/{digest}")).expect(200);
}
