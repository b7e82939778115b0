//! skopeo: copies in every direction, lists, inspects, deletes; and what it carries: indexes, zstd
//! layers, artifacts with a subject.

use crate::support::clients::{Client, Runnable, Scratch, require, write_layout};
use crate::support::images::{OCI_INDEX, OCI_LAYER_ZSTD, OCI_MANIFEST, artifact_of};
use crate::support::{Image, Kind, Rng, Server, certificates, sha256};
use std::fs;

const PLAIN: [&str; 2] = ["--src-tls-verify=false", "--dest-tls-verify=false"];

/// skopeo with a home of its own: its cache of blobs seen elsewhere would hide uploads.
fn skopeo(scratch: &Scratch) -> Client {
    let policy = scratch.write("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    let policy = policy.to_str().expect("a plain path").to_owned();
    Client::new("skopeo").always(&["--policy", &policy]).environment("HOME", &scratch.text("home"))
}

fn copy(skopeo: &Client, arguments: &[&str]) {
    skopeo.run(&[&["copy"], &PLAIN[..], arguments].concat());
}

#[test]
fn skopeo_copies_an_image_in_and_out_byte_for_byte() {
    if !require(&["skopeo"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let repository = server.repository();
    let skopeo = skopeo(&scratch);
    let image = Image::random(&mut Rng::named("skopeo copy"), Kind::Oci, &[100_000, 3_000_000]);
    let digest = write_layout(&scratch, "in", &[("amd64", &image)]);
    let remote = format!("docker://{}/{}", server.address(), repository.name);
    copy(&skopeo, &[&format!("oci:{}:v1", scratch.text("in")), &format!("{remote}:v1")]);
    repository.pull_and_compare("v1", &image);
    copy(&skopeo, &[&format!("{remote}@{digest}"), &format!("dir:{}", scratch.text("out"))]);
    assert_eq!(fs::read(scratch.path("out/manifest.json")).expect("a manifest"), image.manifest);
    for blob in image.blobs() {
        let name = sha256(blob).replace("sha256:", "out/");
        assert!(fs::read(scratch.path(&name)).expect("a blob") == blob);
    }
}

#[test]
fn skopeo_inspects_lists_and_deletes() {
    if !require(&["skopeo", "busybox"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let repository = server.repository();
    let skopeo = skopeo(&scratch);
    let image = Runnable::new(&scratch, "image", "inspected").image("amd64", false);
    for tag in ["v1", "v2"] {
        repository.push(tag, &image);
    }
    let other = Image::random(&mut Rng::named("skopeo delete"), Kind::Docker, &[1000]);
    repository.push("other", &other);
    let remote = |tag: &str| format!("docker://{}/{}{tag}", server.address(), repository.name);
    let inspected = skopeo.run(&["inspect", "--tls-verify=false", &remote(":v1")]);
    assert!(inspected.contains(&image.digest()), "{inspected}");
    let raw = skopeo.run(&["inspect", "--raw", "--tls-verify=false", &remote(":other")]);
    assert_eq!(raw.as_bytes(), other.manifest);
    let listed = skopeo.run(&["list-tags", "--tls-verify=false", &remote("")]);
    assert!(["v1", "v2", "other"].iter().all(|tag| listed.contains(tag)), "{listed}");
    skopeo.run(&["delete", "--tls-verify=false", &remote(":v1")]);
    assert_eq!(repository.tags(), ["other"], "skopeo deletes the manifest, and with it both of its tags");
}

#[test]
fn skopeo_copies_an_index_with_all_its_images() {
    if !require(&["skopeo", "busybox"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let (here, there) = (server.repository(), server.repository());
    let skopeo = skopeo(&scratch);
    let architectures = ["amd64", "arm64", "s390x"];
    let images: Vec<Image> = architectures
        .iter()
        .map(|architecture| {
            // zstd: skopeo compresses plain layers on the way, which would change the digests.
            Runnable::new(&scratch, architecture, &format!("for {architecture}")).image(architecture, true)
        })
        .collect();
    let entries: Vec<(&str, &Image)> = architectures.into_iter().zip(&images).collect();
    let digest = write_layout(&scratch, "multi", &entries);
    let remote = |name: &str| format!("docker://{}/{name}:multi", server.address());
    copy(&skopeo, &["--all", &format!("oci:{}:v1", scratch.text("multi")), &remote(&here.name)]);
    copy(&skopeo, &["--all", &remote(&here.name), &remote(&there.name)]);
    for repository in [&here, &there] {
        let index = repository.get("manifests/multi").expect(200);
        assert_eq!(index.need("docker-content-digest"), digest);
        assert_eq!(index.need("content-type"), OCI_INDEX);
        for image in &images {
            repository.pull_and_compare(&image.digest(), image);
        }
    }
    assert!(images[0].manifest.windows(OCI_LAYER_ZSTD.len()).any(|part| part == OCI_LAYER_ZSTD.as_bytes()));
}

#[test]
fn skopeo_syncs_a_repository_to_another_place_and_to_a_folder() {
    if !require(&["skopeo"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let repository = server.repository();
    let skopeo = skopeo(&scratch);
    let mut rng = Rng::named("skopeo sync");
    let images = [Image::small(&mut rng), Image::random(&mut rng, Kind::Docker, &[2000])];
    for (tag, image) in ["one", "two"].into_iter().zip(&images) {
        repository.push(tag, image);
    }
    let source = format!("{}/{}", server.address(), repository.name);
    let below = format!("mirror{}", std::process::id());
    let target = format!("{}/{below}", server.address());
    skopeo.run(&[&["sync", "--src", "docker", "--dest", "docker"], &PLAIN[..], &[&source, &target]].concat());
    let last = repository.name.rsplit('/').next().expect("a name");
    let mirrored = crate::support::Repository::named(server.http(), &format!("{below}/{last}"));
    for (tag, image) in ["one", "two"].into_iter().zip(&images) {
        mirrored.pull_and_compare(tag, image);
    }
    fs::create_dir_all(scratch.path("folder")).expect("a folder in scratch");
    let folder = scratch.text("folder");
    skopeo.run(&["sync", "--src", "docker", "--dest", "dir", "--src-tls-verify=false", &source, &folder]);
}

#[test]
fn skopeo_pushes_the_same_image_again_without_sending_a_blob() {
    if !require(&["skopeo"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let repository = server.repository();
    let image = Image::random(&mut Rng::named("skopeo again"), Kind::Oci, &[50_000]);
    write_layout(&scratch, "in", &[("amd64", &image)]);
    let skopeo = skopeo(&scratch);
    let push = || {
        let remote = format!("docker://{}/{}:v1", server.address(), repository.name);
        skopeo.run(
            &[&["--debug", "copy"], &PLAIN[..], &[&format!("oci:{}:v1", scratch.text("in")), &remote]]
                .concat(),
        )
    };
    assert!(push().contains("PATCH"), "the first push uploads");
    let again = push();
    assert!(!again.contains("PATCH"), "the second push finds its blobs there:\n{again}");
    repository.pull_and_compare("v1", &image);
}

#[test]
fn an_artifact_with_a_subject_goes_through() {
    if !require(&["skopeo"]) {
        return;
    }
    let (server, scratch) = (Server::shared(), Scratch::new());
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("artifact subject"));
    repository.push("v1", &image);
    let payload = b"a signature of the image".to_vec();
    repository.push_blob(b"{}");
    repository.push_blob(&payload);
    let artifact = artifact_of("application/vnd.example.signature", &payload, Some(image.descriptor()));
    let (bytes, digest) = repository.push_value(None, &artifact);
    let remote = format!("docker://{}/{}@{digest}", server.address(), repository.name);
    copy(&skopeo(&scratch), &["--preserve-digests", &remote, &format!("dir:{}", scratch.text("out"))]);
    assert_eq!(fs::read(scratch.path("out/manifest.json")).expect("a manifest"), bytes);
    let referrers = repository.get(&format!("referrers/{}", image.digest())).expect(200).json();
    assert_eq!(referrers["manifests"][0]["digest"], digest.as_str());
    assert_eq!(referrers["manifests"][0]["mediaType"], OCI_MANIFEST);
}

#[test]
fn skopeo_trusts_a_server_by_its_certificate_and_refuses_it_without() {
    if !require(&["skopeo"]) {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("tls")).expect("a folder in scratch");
    certificates::renew(&scratch.path("tls"));
    let Some(server) = Server::own(certificates::settings(&scratch.path("tls"))) else { return };
    fs::create_dir_all(scratch.path("trust")).expect("a folder in scratch");
    fs::copy(scratch.path("tls/cert.pem"), scratch.path("trust/ca.crt")).expect("a file in scratch");
    let image = Image::random(&mut Rng::named("skopeo tls"), Kind::Oci, &[300_000]);
    write_layout(&scratch, "in", &[("amd64", &image)]);
    let (skopeo, source) = (skopeo(&scratch), format!("oci:{}:v1", scratch.text("in")));
    let remote = format!("docker://{}/tls/image:v1", server.address());
    let (succeeded, said) = skopeo.attempt(&["copy", &source, &remote]);
    assert!(!succeeded && said.contains("certificate"), "{said}");
    let trust = scratch.text("trust");
    skopeo.run(&["copy", "--dest-cert-dir", &trust, &source, &remote]);
    skopeo.run(&["copy", "--src-cert-dir", &trust, &remote, &format!("dir:{}", scratch.text("out"))]);
    assert_eq!(fs::read(scratch.path("out/manifest.json")).expect("a manifest"), image.manifest);
}
