//! Reading blobs: whole, by range, by condition.

use crate::support::images::{ABSENT, sha512};
use crate::support::{Repository, Rng, Server};

const LENGTH: usize = 4096;

/// A repository with one blob: its bytes and path.
fn blob_in(repository: &Repository, name: &str) -> (Vec<u8>, String) {
    let content = Rng::named(name).bytes(LENGTH);
    let digest = repository.push_blob(&content);
    (content, repository.path(&format!("blobs/{digest}")))
}

#[test]
fn a_blob_comes_back_byte_for_byte_with_digest_and_length() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("whole blobs");
    for length in [0, 1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, 5 << 20] {
        let content = rng.bytes(length);
        let digest = repository.push_blob(&content);
        for answer in
            [repository.get(&format!("blobs/{digest}")), repository.head(&format!("blobs/{digest}"))]
        {
            let answer = answer.expect(200);
            assert_eq!(answer.need("docker-content-digest"), digest);
            assert_eq!(answer.need("content-length"), length.to_string());
            assert!(
                answer.header("content-type").is_some_and(|kind| kind == "application/octet-stream"),
                "{answer}"
            );
            assert!(answer.asked.starts_with("HEAD") || answer.body == content, "{length} bytes differ");
        }
    }
}

#[test]
fn a_blob_may_be_named_by_sha512() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("sha512 blob").bytes(70_000);
    let digest = sha512(&content);
    repository.push_blob_as(&content, &digest);
    let answer = repository.get(&format!("blobs/{digest}")).expect(200);
    assert_eq!(answer.need("docker-content-digest"), digest);
    assert!(answer.body == content);
}

#[test]
fn an_absent_blob_is_404_blob_unknown() {
    let server = Server::shared();
    let repository = server.repository();
    repository.get(&format!("blobs/{ABSENT}")).refused(404, "BLOB_UNKNOWN");
    let head = repository.head(&format!("blobs/{ABSENT}")).expect(404);
    assert!(head.body.is_empty());
}

#[test]
fn a_blob_of_another_repository_is_unknown_here() {
    let server = Server::shared();
    let (there, here) = (server.repository(), server.repository());
    let digest = there.push_blob(b"knowing a digest never gives its bytes");
    here.push_blob(b"so that the repository exists");
    here.get(&format!("blobs/{digest}")).refused(404, "BLOB_UNKNOWN");
    here.head(&format!("blobs/{digest}")).expect(404);
}

#[test]
fn a_malformed_digest_is_400_digest_invalid() {
    let server = Server::shared();
    let repository = server.repository();
    let long = format!("sha256:{}", "a".repeat(65));
    let upper = format!("sha256:{}", "A".repeat(64));
    let bad = [
        "sha256:abc",
        "sha256:",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256",
        &long,
        &upper,
        "sha512:00",
    ];
    for digest in bad {
        repository.get(&format!("blobs/{digest}")).refused(400, "DIGEST_INVALID");
    }
}

#[test]
fn a_satisfiable_range_is_206_with_just_those_bytes() {
    let server = Server::shared();
    let (content, path) = blob_in(&server.repository(), "ranges");
    let table: &[(&str, usize, usize)] = &[
        ("bytes=0-0", 0, 1),
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, LENGTH),
        ("bytes=-500", LENGTH - 500, LENGTH),
        ("bytes=2000-5000", 2000, LENGTH),
        ("bytes=4095-4095", 4095, LENGTH),
        ("bytes=4095-", 4095, LENGTH),
        ("bytes=-99999", 0, LENGTH),
        ("bytes=0-4095", 0, LENGTH),
    ];
    for &(range, from, to) in table {
        let answer = server.http().get(&path).header("Range", range).send().expect(206);
        assert!(answer.body == content[from..to], "{range}: the bytes");
        assert_eq!(answer.need("content-range"), format!("bytes {from}-{}/{LENGTH}", to - 1), "{range}");
        assert_eq!(answer.need("content-length"), (to - from).to_string(), "{range}");
    }
}

#[test]
fn an_unsatisfiable_range_is_416_and_names_the_length() {
    let server = Server::shared();
    let repository = server.repository();
    let (_, path) = blob_in(&repository, "bad ranges");
    for range in ["bytes=4096-", "bytes=5000-10000", "bytes=500-0", "bytes=-0"] {
        let answer = server.http().get(&path).header("Range", range).send().expect(416);
        assert_eq!(answer.need("content-range"), format!("bytes */{LENGTH}"), "{range}");
    }
    let empty = repository.push_blob(b"");
    let path = repository.path(&format!("blobs/{empty}"));
    server.http().get(&path).header("Range", "bytes=0-").send().expect(416);
}

#[test]
fn a_range_that_is_no_range_or_several_gives_the_whole_blob() {
    let server = Server::shared();
    let (content, path) = blob_in(&server.repository(), "odd ranges");
    let odd = [
        "bytes=0-10,20-30",
        "bytes=0-10, -5",
        "items=0-10",
        "bytes=a-b",
        "bytes=",
        "bytes=-",
        "0-10",
        "bytes=1--2",
    ];
    for range in odd {
        let answer = server.http().get(&path).header("Range", range).send().expect(200);
        assert!(answer.body == content, "{range}");
    }
}

#[test]
fn a_range_beyond_every_number_is_answered_and_harms_nothing() {
    let server = Server::shared();
    let (content, path) = blob_in(&server.repository(), "huge ranges");
    let huge = "9".repeat(40);
    for range in [
        format!("bytes=0-{huge}"),
        format!("bytes={huge}-"),
        format!("bytes=-{huge}"),
        format!("bytes={huge}-{huge}"),
    ] {
        let answer = server.http().get(&path).header("Range", &range).send();
        assert!([200, 206, 416].contains(&answer.status), "{answer}");
        assert!(answer.status == 416 || answer.body == content, "{range}");
    }
}

#[test]
fn ranges_of_a_large_blob_meet_without_gap_or_overlap() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("large ranges").bytes((6 << 20) + 123);
    let digest = repository.push_blob(&content);
    let path = repository.path(&format!("blobs/{digest}"));
    let mut got = Vec::new();
    for start in (0..content.len()).step_by((1 << 20) + 7) {
        let end = (start + (1 << 20) + 6).min(content.len() - 1);
        got.extend(
            server.http().get(&path).header("Range", format!("bytes={start}-{end}")).send().expect(206).body,
        );
    }
    assert!(got == content);
}

#[test]
fn a_condition_that_names_the_digest_is_304_without_a_body() {
    let server = Server::shared();
    let (content, path) = blob_in(&server.repository(), "conditions");
    let tag = server.http().head(&path).send().expect(200).need("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong validator: {tag}");
    for condition in [tag.clone(), "*".to_owned(), format!("\"other\", {tag}"), format!("W/{tag}")] {
        let answer = server.http().get(&path).header("If-None-Match", &condition).send().expect(304);
        assert_eq!(answer.need("etag"), tag, "{condition}");
        assert!(answer.body.is_empty());
    }
    let answer = server.http().get(&path).header("If-None-Match", "\"other\"").send().expect(200);
    assert!(answer.body == content);
}

#[test]
fn a_resumed_download_gets_its_range_only_if_the_blob_is_the_same() {
    let server = Server::shared();
    let (content, path) = blob_in(&server.repository(), "if-range");
    let tag = server.http().head(&path).send().expect(200).need("etag").to_owned();
    let ask = |validator: &str| {
        server.http().get(&path).header("Range", "bytes=100-").header("If-Range", validator).send()
    };
    assert!(ask(&tag).expect(206).body == content[100..]);
    assert!(ask("\"other\"").expect(200).body == content);
}
