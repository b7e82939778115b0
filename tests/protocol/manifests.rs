//! Manifests: every media type, by tag and by digest, byte for byte, and the refusals.

use crate::support::images::{
    ABSENT, DOCKER_FOREIGN, OCI_EMPTY, OCI_FOREIGN, OCI_INDEX, OCI_MANIFEST, artifact_of, descriptor,
    index_of, manifest_of, sha256, sha512,
};
use crate::support::{Image, Kind, Response, Rng, Server};
use serde_json::{Value, json};

/// The largest manifest that must be accepted.
const LIMIT: usize = 4 << 20;

fn assert_serves(answer: &Response, media_type: &str, digest: &str, bytes: &[u8]) {
    assert_eq!(answer.need("content-type"), media_type, "{answer}");
    assert_eq!(answer.need("docker-content-digest"), digest, "{answer}");
    assert_eq!(answer.need("content-length"), bytes.len().to_string(), "{answer}");
    assert!(answer.asked.starts_with("HEAD") || answer.body == bytes, "byte for byte");
}

#[test]
fn images_of_both_kinds_come_back_by_tag_and_by_digest() {
    let server = Server::shared();
    for kind in [Kind::Oci, Kind::Docker] {
        let repository = server.repository();
        let image = Image::random(&mut Rng::named("both kinds"), kind, &[100, 2000]);
        repository.push_blobs(&image);
        let put = repository.put_manifest("v1", image.media_type, &image.manifest).expect(201);
        let digest = image.digest();
        assert_eq!(put.need("docker-content-digest"), digest);
        assert_eq!(server.http().get(&put.location()).send().expect(200).body, image.manifest);
        for reference in ["v1", &digest] {
            for method in ["GET", "HEAD"] {
                let answer = repository.request(method, &format!("manifests/{reference}")).send().expect(200);
                assert_serves(&answer, image.media_type, &digest, &image.manifest);
            }
        }
        repository.pull_and_compare(&digest, &image);
    }
}

#[test]
fn a_manifest_pushed_by_digest_needs_no_tag() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("untagged"));
    let digest = image.digest();
    repository.push(&digest, &image);
    repository.get(&format!("manifests/{digest}")).expect(200);
    assert!(repository.tags().is_empty());
}

#[test]
fn indexes_of_both_kinds_come_back_and_so_do_their_children() {
    let server = Server::shared();
    for kind in [Kind::Oci, Kind::Docker] {
        let repository = server.repository();
        let mut rng = Rng::named("indexes");
        let children: Vec<Image> = (0..3).map(|_| Image::random(&mut rng, kind, &[300])).collect();
        for child in &children {
            repository.push(&child.digest(), child);
        }
        let descriptors: Vec<Value> = children.iter().map(Image::descriptor).collect();
        let index = index_of(kind, &descriptors);
        let (bytes, digest) = repository.push_value(Some("multi"), &index);
        let media_type = index["mediaType"].as_str().expect("a type");
        assert_serves(&repository.get("manifests/multi").expect(200), media_type, &digest, &bytes);
        for child in &children {
            repository.pull_and_compare(&child.digest(), child);
        }
    }
}

#[test]
fn an_index_may_be_empty_nested_or_ahead_of_its_children() {
    let server = Server::shared();
    let repository = server.repository();
    let (empty, empty_digest) = repository.push_value(Some("empty"), &index_of(Kind::Oci, &[]));
    let nested = index_of(Kind::Oci, &[descriptor(OCI_INDEX, &empty)]);
    repository.push_value(Some("nested"), &nested);
    let ahead = index_of(Kind::Oci, &[json!({ "mediaType": OCI_MANIFEST, "digest": ABSENT, "size": 7 })]);
    repository.push_value(Some("ahead"), &ahead);
    repository.get(&format!("manifests/{empty_digest}")).expect(200);
    repository.get("manifests/ahead").expect(200);
}

#[test]
fn unknown_media_types_are_kept_as_opaque_bytes() {
    let server = Server::shared();
    let repository = server.repository();
    let opaque: &[(&str, &[u8])] = &[
        ("application/vnd.example.thing.v9+json", br#"{"hello":"world"}"#),
        ("application/vnd.example.binary", &[0, 159, 146, 150, 255]),
        (
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            br#"{"schemaVersion":1,"name":"x","tag":"y"}"#,
        ),
        (
            "application/vnd.oci.artifact.manifest.v1+json",
            br#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}"#,
        ),
    ];
    for (number, &(media_type, bytes)) in opaque.iter().enumerate() {
        let tag = format!("opaque{number}");
        repository.put_manifest(&tag, media_type, bytes).expect(201);
        assert_serves(
            &repository.get(&format!("manifests/{tag}")).expect(200),
            media_type,
            &sha256(bytes),
            bytes,
        );
    }
}

#[test]
fn a_manifest_without_a_media_type_member_takes_the_header_s() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("no mediaType"));
    repository.push_blobs(&image);
    let mut manifest = manifest_of(Kind::Oci, &image.config, &image.layers);
    manifest.as_object_mut().expect("an object").remove("mediaType");
    let bytes = serde_json::to_vec(&manifest).expect("JSON");
    repository.put_manifest("v1", OCI_MANIFEST, &bytes).expect(201);
    assert_serves(&repository.get("manifests/v1").expect(200), OCI_MANIFEST, &sha256(&bytes), &bytes);
}

#[test]
fn parameters_of_the_content_type_do_not_change_the_kind() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("charset"));
    repository.push_blobs(&image);
    repository.put_manifest("v1", &format!("{OCI_MANIFEST}; charset=utf-8"), &image.manifest).expect(201);
    let got = repository.get("manifests/v1").expect(200);
    assert!(got.need("content-type").starts_with(OCI_MANIFEST), "{got}");
}

#[test]
fn white_space_and_unknown_members_are_kept() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("white space"));
    repository.push_blobs(&image);
    let mut manifest = manifest_of(Kind::Oci, &image.config, &image.layers);
    manifest["org.example.future"] = json!({ "a": [1, 2, { "b": null }] });
    manifest["layers"][0]["data"] = json!("aGVsbG8=");
    let bytes = format!("\n  {}\n\n", serde_json::to_string_pretty(&manifest).expect("JSON"));
    repository.push_manifest("v1", bytes.as_bytes()).expect(201);
    assert_eq!(repository.get("manifests/v1").expect(200).body, bytes.as_bytes());
}

#[test]
fn a_manifest_may_be_named_by_sha512() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("sha512 manifest"));
    repository.push_blobs(&image);
    let digest = sha512(&image.manifest);
    let put = repository.put_manifest(&digest, image.media_type, &image.manifest).expect(201);
    assert_eq!(put.need("docker-content-digest"), digest);
    let got = repository.get(&format!("manifests/{digest}")).expect(200);
    assert_serves(&got, image.media_type, &digest, &image.manifest);
}

#[test]
fn a_manifest_whose_blobs_are_sha512_is_accepted() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("sha512 blobs");
    let (config, layer) = (rng.bytes(100), rng.bytes(1000));
    let mut manifest = manifest_of(Kind::Oci, &config, std::slice::from_ref(&layer));
    manifest["config"]["digest"] = json!(sha512(&config));
    manifest["layers"][0]["digest"] = json!(sha512(&layer));
    let bytes = serde_json::to_vec(&manifest).expect("JSON");
    repository.push_blob_as(&config, &sha512(&config));
    repository.push_manifest("v1", &bytes).expect_one(&[400, 404]);
    repository.push_blob_as(&layer, &sha512(&layer));
    repository.push_manifest("v1", &bytes).expect(201);
}

#[test]
fn a_tag_moves_when_it_is_pushed_again_and_the_old_manifest_stays() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("tag moves");
    let (old, new) = (Image::small(&mut rng), Image::small(&mut rng));
    let old_digest = repository.push("latest", &old);
    repository.push("latest", &new);
    assert_eq!(repository.get("manifests/latest").expect(200).body, new.manifest);
    assert_eq!(repository.get(&format!("manifests/{old_digest}")).expect(200).body, old.manifest);
    assert_eq!(repository.tags(), ["latest"]);
}

#[test]
fn a_conditional_get_of_an_unchanged_tag_is_304() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("conditional manifest");
    repository.push("v1", &Image::small(&mut rng));
    let tag = repository.head("manifests/v1").expect(200).need("etag").to_owned();
    let ask = || repository.request("GET", "manifests/v1").header("If-None-Match", &tag).send();
    assert!(ask().expect(304).body.is_empty());
    repository.push("v1", &Image::small(&mut rng));
    ask().expect(200);
}

#[test]
fn bytes_that_are_not_the_digest_in_the_path_are_400_digest_invalid() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("manifest digest"));
    repository.push_blobs(&image);
    let longer = [image.manifest.as_slice(), b"  "].concat();
    let digest = image.digest();
    repository.put_manifest(&digest, image.media_type, &longer).refused(400, "DIGEST_INVALID");
    repository.head(&format!("manifests/{digest}")).expect(404);
    repository
        .put_manifest("sha256:baddigeststring", image.media_type, &image.manifest)
        .refused(400, "DIGEST_INVALID");
    repository.get("manifests/sha256:baddigeststring").expect_one(&[400, 404]);
}

#[test]
fn an_absent_manifest_is_404_manifest_unknown() {
    let server = Server::shared();
    let repository = server.repository();
    repository.push("v1", &Image::small(&mut Rng::named("absent manifest")));
    repository.get("manifests/v2").refused(404, "MANIFEST_UNKNOWN");
    repository.get(&format!("manifests/{ABSENT}")).refused(404, "MANIFEST_UNKNOWN");
    repository.head("manifests/v2").expect(404);
}

#[test]
fn a_manifest_is_refused_when_a_layer_or_the_config_is_missing() {
    let server = Server::shared();
    let mut rng = Rng::named("missing parts");
    for kind in [Kind::Oci, Kind::Docker] {
        let image = Image::random(&mut rng, kind, &[100, 200]);
        let parts: Vec<&[u8]> = image.blobs().collect();
        for missing in 0..parts.len() {
            let repository = server.repository();
            for (number, blob) in parts.iter().enumerate().filter(|(number, _)| *number != missing) {
                assert_ne!(number, missing);
                repository.push_blob(blob);
            }
            let answer =
                repository.put_manifest("v1", image.media_type, &image.manifest).expect_one(&[400, 404]);
            assert_eq!(answer.error_code(), "MANIFEST_BLOB_UNKNOWN");
            assert!(
                answer.json().to_string().contains(&sha256(parts[missing])),
                "names the digest: {answer}"
            );
            repository.head("manifests/v1").expect(404);
            repository.push_blob(parts[missing]);
            repository.put_manifest("v1", image.media_type, &image.manifest).expect(201);
        }
    }
}

#[test]
fn a_layer_in_another_repository_does_not_count() {
    let server = Server::shared();
    let (there, here) = (server.repository(), server.repository());
    let image = Image::small(&mut Rng::named("other repository"));
    there.push("v1", &image);
    let answer = here.put_manifest("v1", image.media_type, &image.manifest).expect_one(&[400, 404]);
    assert_eq!(answer.error_code(), "MANIFEST_BLOB_UNKNOWN");
}

#[test]
fn non_distributable_layers_may_be_absent() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("foreign"));
    repository.push_blobs(&image);
    for (kind, foreign) in [(Kind::Oci, OCI_FOREIGN), (Kind::Docker, DOCKER_FOREIGN)] {
        let mut manifest = manifest_of(kind, &image.config, &image.layers);
        let layer =
            json!({ "mediaType": foreign, "digest": ABSENT, "size": 99, "urls": ["https://example.com/l"] });
        manifest["layers"].as_array_mut().expect("layers").insert(0, layer);
        repository.push_value(Some("foreign"), &manifest);
    }
}

#[test]
fn an_image_may_have_no_layers() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::random(&mut Rng::named("no layers"), Kind::Oci, &[]);
    repository.push("v1", &image);
    repository.pull_and_compare("v1", &image);
}

#[test]
fn artifacts_with_and_without_a_payload_are_accepted() {
    let server = Server::shared();
    let repository = server.repository();
    repository.push_blob(b"{}");
    repository.push_blob(b"payload");
    let with = artifact_of("application/vnd.example.with", b"payload", None);
    let (bytes, digest) = repository.push_value(Some("with"), &with);
    assert_serves(&repository.get("manifests/with").expect(200), OCI_MANIFEST, &digest, &bytes);
    let mut without = artifact_of("application/vnd.example.without", b"{}", None);
    without["layers"][0]["mediaType"] = json!(OCI_EMPTY);
    repository.push_value(Some("without"), &without);
    let mut list = index_of(Kind::Oci, &[descriptor(OCI_MANIFEST, &bytes)]);
    list["artifactType"] = json!("application/vnd.example.list");
    repository.push_value(Some("list"), &list);
}

#[test]
fn a_manifest_of_exactly_4_mib_is_accepted_and_comes_back() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("4 MiB"));
    repository.push_blobs(&image);
    let mut manifest = manifest_of(Kind::Oci, &image.config, &image.layers);
    manifest["annotations"] = json!({ "pad": "" });
    let bare = serde_json::to_vec(&manifest).expect("JSON").len();
    manifest["annotations"]["pad"] = json!("A".repeat(LIMIT - bare));
    let (bytes, digest) = repository.push_value(Some("large"), &manifest);
    assert_eq!(bytes.len(), LIMIT);
    assert_serves(&repository.get("manifests/large").expect(200), OCI_MANIFEST, &digest, &bytes);
}

#[test]
fn a_manifest_beyond_every_limit_is_refused_and_the_server_lives() {
    let server = Server::shared();
    let repository = server.repository();
    let huge = vec![b' '; 64 << 20];
    let refused = |answer: Response| {
        assert!([400, 413].contains(&answer.status), "{answer}");
        assert_eq!(answer.error_code(), "SIZE_INVALID");
    };
    // The server may close before it has read it all; then there is no answer, which will do.
    let put = || repository.request("PUT", "manifests/huge").header("Content-Type", OCI_MANIFEST);
    if let Ok(answer) = put().body(huge.clone()).try_send() {
        refused(answer);
    }
    if let Ok(answer) = put().chunked(huge.chunks(1 << 20)).try_send() {
        refused(answer);
    }
    repository.head("manifests/huge").expect(404);
}

#[test]
fn a_body_that_is_no_manifest_is_400_manifest_invalid() {
    let server = Server::shared();
    let repository = server.repository();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bad_digest = json!({ "schemaVersion": 2, "config": { "mediaType": "a/b", "digest": "nonsense", "size": 1 }, "layers": [] });
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("no JSON", b"not json".to_vec()),
        ("cut JSON", br#"{"schemaVersion":2,"#.to_vec()),
        ("an array", b"[]".to_vec()),
        ("a number", b"2".to_vec()),
        ("not UTF-8", vec![b'{', 0xff, b'}']),
        ("deep", deep.into_bytes()),
        ("layers is a text", br#"{"schemaVersion":2,"config":{},"layers":"x"}"#.to_vec()),
        ("a digest that is none", bad_digest.to_string().into_bytes()),
        ("two documents", br#"{"schemaVersion":2} {"schemaVersion":2}"#.to_vec()),
    ];
    for (case, body) in bodies {
        let answer = repository.put_manifest("bad", OCI_MANIFEST, &body).expect(400);
        assert_eq!(answer.error_code(), "MANIFEST_INVALID", "{case}: {answer}");
        repository.head("manifests/bad").expect(404);
    }
}

#[test]
fn a_size_that_is_no_size_is_400_manifest_invalid() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("odd sizes"));
    repository.push_blobs(&image);
    for size in [json!(-1), json!("12"), json!(1.5), json!(1e300), json!([1])] {
        let mut manifest = manifest_of(Kind::Oci, &image.config, &image.layers);
        manifest["layers"][0]["size"] = size.clone();
        let bytes = serde_json::to_vec(&manifest).expect("JSON");
        let answer = repository.push_manifest("odd", &bytes).expect(400);
        assert_eq!(answer.error_code(), "MANIFEST_INVALID", "{size}: {answer}");
    }
}

#[test]
fn a_media_type_that_contradicts_the_body_is_400_manifest_invalid() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("contradiction"));
    repository.push_blobs(&image);
    repository.put_manifest("v1", OCI_INDEX, &image.manifest).refused(400, "MANIFEST_INVALID");
    repository.head("manifests/v1").expect(404);
}

#[test]
fn a_manifest_without_a_content_type_is_taken_by_its_own_words_or_refused() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("no content type"));
    repository.push_blobs(&image);
    let answer = repository.request("PUT", "manifests/v1").body(image.manifest.clone()).send();
    if answer.expect_one(&[201, 400]).status == 201 {
        assert_eq!(repository.get("manifests/v1").expect(200).need("content-type"), OCI_MANIFEST);
    }
}

#[test]
fn the_accept_header_never_changes_the_bytes() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("accept"));
    repository.push("v1", &image);
    for accept in [image.media_type, "*/*", "application/json", "text/html, */*;q=0.1", "garbage;;;"] {
        let target = repository.path("manifests/v1");
        let got = server.http().get(&target).header("Accept", accept).send().expect(200);
        assert_eq!(got.body, image.manifest, "{accept}");
    }
}
