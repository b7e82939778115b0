//! Uploads in one piece or streamed: begin, send, status, finish, cancel.

use crate::support::http::with_query;
use crate::support::images::{sha256, sha512};
use crate::support::wait::until_true;
use crate::support::{Repository, Rng, Server};
use std::io::Write;
use std::time::Duration;

/// The body is stored and the answer points at it.
fn assert_stored(repository: &Repository, answer: &crate::support::Response, digest: &str, content: &[u8]) {
    assert_eq!(answer.need("docker-content-digest"), digest, "{answer}");
    let got = repository.http.get(&answer.location()).send().expect(200);
    assert!(got.body == content, "the Location of a finished upload is the blob");
    assert!(repository.get(&format!("blobs/{digest}")).expect(200).body == content);
}

#[test]
fn a_post_with_the_digest_stores_the_blob_at_once() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("post only").bytes(20_000);
    let digest = sha256(&content);
    let post = repository.request("POST", &format!("blobs/uploads/?digest={digest}")).body(content.clone());
    assert_stored(&repository, &post.send().expect(201), &digest, &content);
}

#[test]
fn a_post_then_a_put_stores_the_blob() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("post and put").bytes(20_000);
    let digest = sha256(&content);
    let begun = repository.request("POST", "blobs/uploads/").send().expect(202);
    assert_eq!(begun.need("range"), "0-0");
    assert!(!begun.need("docker-upload-uuid").is_empty());
    let put = server.http().put(&with_query(&begun.location(), &format!("digest={digest}")));
    assert_stored(&repository, &put.body(content.clone()).send().expect(201), &digest, &content);
}

#[test]
fn a_post_without_the_final_slash_begins_an_upload_too() {
    let server = Server::shared();
    server.repository().request("POST", "blobs/uploads").send().expect(202);
}

#[test]
fn a_streamed_patch_then_an_empty_put_stores_the_blob() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("streamed").bytes(3_000_000);
    let digest = sha256(&content);
    let patched = server.http().patch(&repository.begin()).chunked(content.chunks(40_001)).send().expect(202);
    assert_eq!(patched.need("range"), format!("0-{}", content.len() - 1));
    let put =
        server.http().put(&with_query(&patched.location(), &format!("digest={digest}"))).send().expect(201);
    assert_stored(&repository, &put, &digest, &content);
}

#[test]
fn a_put_may_carry_its_body_in_transfer_chunks() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("chunked put").bytes(100_000);
    let digest = sha256(&content);
    let put = server.http().put(&with_query(&repository.begin(), &format!("digest={digest}")));
    assert_stored(&repository, &put.chunked(content.chunks(999)).send().expect(201), &digest, &content);
}

#[test]
fn the_empty_blob_can_be_pushed_in_every_way() {
    let server = Server::shared();
    let digest = sha256(b"");
    let repository = server.repository();
    repository.request("POST", &format!("blobs/uploads/?digest={digest}")).send().expect(201);
    let repository = server.repository();
    repository.push_blob(b"");
    let repository = server.repository();
    let patched = server.http().patch(&repository.begin()).send().expect(202);
    let put =
        server.http().put(&with_query(&patched.location(), &format!("digest={digest}"))).send().expect(201);
    assert_stored(&repository, &put, &digest, b"");
}

#[test]
fn status_is_204_with_the_bytes_so_far() {
    let server = Server::shared();
    let repository = server.repository();
    let location = repository.begin();
    let empty = server.http().get(&location).send().expect(204);
    assert_eq!(empty.need("range"), "0-0");
    let patched = server.http().patch(&location).body(vec![7; 1234]).send().expect(202);
    let status = server.http().get(&patched.location()).send().expect(204);
    assert_eq!(status.need("range"), "0-1233");
    assert!(status.header("location").is_some() && status.header("docker-upload-uuid").is_some(), "{status}");
}

#[test]
fn a_cancelled_upload_is_gone() {
    let server = Server::shared();
    let location = server.repository().begin();
    let location = server.http().patch(&location).body(vec![1; 1000]).send().expect(202).location();
    server.http().delete(&location).send().expect(204);
    server.http().get(&location).send().refused(404, "BLOB_UPLOAD_UNKNOWN");
    server.http().patch(&location).body(vec![1; 10]).send().refused(404, "BLOB_UPLOAD_UNKNOWN");
    server.http().delete(&location).send().refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn a_finished_upload_is_gone() {
    let server = Server::shared();
    let location = server.repository().begin();
    let digest = sha256(b"finished");
    server
        .http()
        .put(&with_query(&location, &format!("digest={digest}")))
        .body("finished")
        .send()
        .expect(201);
    server.http().get(&location).send().refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn an_upload_belongs_to_its_repository() {
    let server = Server::shared();
    let (one, other) = (server.repository(), server.repository());
    other.push_blob(b"so that it exists");
    let stolen = one.begin().replace(&one.name, &other.name);
    server.http().get(&stolen).send().refused(404, "BLOB_UPLOAD_UNKNOWN");
    server.http().patch(&stolen).body("x").send().refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn an_unknown_upload_is_404_blob_upload_unknown() {
    let server = Server::shared();
    let repository = server.repository();
    let ids = [
        "00000000-0000-4000-8000-000000000000",
        "no-such-upload",
        "0123456789abcdef0123456789abcdef",
        "..",
        "%2e%2e",
    ];
    for id in ids {
        let answer = repository.get(&format!("blobs/uploads/{id}"));
        assert_eq!(answer.status, 404, "{answer}");
    }
}

#[test]
fn content_that_is_not_its_digest_is_400_digest_invalid_and_not_stored() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("wrong digest");
    let content = rng.bytes(5000);
    let wrong = sha256(&rng.bytes(5000));
    let query = format!("digest={wrong}");
    let post = repository.request("POST", &format!("blobs/uploads/?{query}")).body(content.clone());
    post.send().refused(400, "DIGEST_INVALID");
    let put = server.http().put(&with_query(&repository.begin(), &query)).body(content.clone());
    put.send().refused(400, "DIGEST_INVALID");
    let patched = server.http().patch(&repository.begin()).body(content.clone()).send().expect(202);
    server.http().put(&with_query(&patched.location(), &query)).send().refused(400, "DIGEST_INVALID");
    for digest in [wrong, sha256(&content)] {
        repository.head(&format!("blobs/{digest}")).expect(404);
    }
}

#[test]
fn a_finish_without_a_digest_or_with_a_malformed_one_is_400_and_the_session_survives() {
    let server = Server::shared();
    let repository = server.repository();
    let content = b"survives a bad finish".to_vec();
    let location =
        server.http().patch(&repository.begin()).body(content.clone()).send().expect(202).location();
    for query in
        ["", "digest=", "digest=sha256:abc", "digest=md5:d41d8cd98f00b204e9800998ecf8427e", "digest=%00"]
    {
        let target = if query.is_empty() { location.clone() } else { with_query(&location, query) };
        server.http().put(&target).send().refused(400, "DIGEST_INVALID");
    }
    let digest = sha256(&content);
    server.http().put(&with_query(&location, &format!("digest={digest}"))).send().expect(201);
}

#[test]
fn an_upload_announced_as_sha512_finishes_as_sha512() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("announced sha512").bytes(150_000);
    let digest = sha512(&content);
    let begun = repository.request("POST", "blobs/uploads/?digest-algorithm=sha512").send().expect(202);
    let patched = server.http().patch(&begun.location()).body(content.clone()).send().expect(202);
    let put =
        server.http().put(&with_query(&patched.location(), &format!("digest={digest}"))).send().expect(201);
    assert_stored(&repository, &put, &digest, &content);
}

#[test]
fn a_sha512_digest_needs_no_announcement_even_after_patches() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("unannounced sha512").bytes(150_000);
    let digest = sha512(&content);
    let mut location = repository.begin();
    for part in content.chunks(60_000) {
        location = server.http().patch(&location).body(part).send().expect(202).location();
    }
    let put = server.http().put(&with_query(&location, &format!("digest={digest}"))).send().expect(201);
    assert_stored(&repository, &put, &digest, &content);
}

#[test]
fn an_unknown_digest_algorithm_is_400() {
    let server = Server::shared();
    let repository = server.repository();
    let answer = repository.request("POST", "blobs/uploads/?digest-algorithm=md5").send();
    answer.refused(400, "DIGEST_INVALID");
}

#[test]
fn a_push_of_a_blob_that_is_there_already_succeeds() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("twice").bytes(9000);
    let digest = repository.push_blob(&content);
    repository.push_blob(&content);
    assert!(repository.get(&format!("blobs/{digest}")).expect(200).body == content);
}

#[test]
fn a_vanished_client_leaves_its_session_at_the_last_byte_received() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("vanished").bytes(2_000_000);
    let location = repository.begin();
    let received = 1_234_567;
    let mut stream = server.http().connect().expect("a connection");
    let head = server.http().patch(&location).header("Content-Length", content.len()).head_bytes();
    stream.write_all(&head).expect("the head is sent");
    stream.write_all(&content[..received]).expect("a part is sent");
    drop(stream);
    let wanted = format!("0-{}", received - 1);
    until_true("the session stands at the last byte received", Duration::from_secs(20), || {
        server.http().get(&location).send().expect(204).need("range") == wanted
    });
    let rest =
        server.http().patch(&location).header("Content-Range", format!("{received}-{}", content.len() - 1));
    let patched = rest.body(&content[received..]).send().expect(202);
    let digest = sha256(&content);
    let put =
        server.http().put(&with_query(&patched.location(), &format!("digest={digest}"))).send().expect(201);
    assert_stored(&repository, &put, &digest, &content);
}

#[test]
fn a_put_cut_short_stores_nothing_under_the_digest() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("cut put").bytes(500_000);
    let location = repository.begin();
    let target = with_query(&location, &format!("digest={}", sha256(&content)));
    let mut stream = server.http().connect().expect("a connection");
    let head = server.http().put(&target).header("Content-Length", content.len()).head_bytes();
    stream.write_all(&head).expect("the head is sent");
    stream.write_all(&content[..content.len() - 1]).expect("all but a byte is sent");
    drop(stream);
    until_true("the session notices the cut", Duration::from_secs(20), || {
        let status = server.http().get(&location).send();
        status.status == 404 || status.expect(204).header("range") != Some("0-0")
    });
    repository.head(&format!("blobs/{}", sha256(&content))).expect(404);
}

#[test]
fn transfer_chunks_cut_short_store_nothing_under_the_digest() {
    let server = Server::shared();
    let repository = server.repository();
    let content = b"complete, but for the last chunk".to_vec();
    let digest = sha256(&content);
    let target = with_query(&repository.begin(), &format!("digest={digest}"));
    let mut request = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    request += &format!("{:x}\r\n{}\r\n", content.len(), String::from_utf8(content).expect("text"));
    let answer = String::from_utf8_lossy(&server.http().raw_cut(request.as_bytes())).into_owned();
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    repository.head(&format!("blobs/{digest}")).expect(404);
}

#[test]
fn an_expect_continue_is_answered_before_the_body_is_sent() {
    use std::io::BufRead;
    let server = Server::shared();
    let repository = server.repository();
    let digest = sha256(b"go on");
    let target = with_query(&repository.begin(), &format!("digest={digest}"));
    let mut stream = server.http().connect().expect("a connection");
    let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
    let request = server.http().put(&target).header("Expect", "100-continue").header("Content-Length", 5);
    stream.write_all(&request.head_bytes()).expect("the head is sent");
    let mut line = String::new();
    reader.read_line(&mut line).expect("an interim answer");
    assert!(line.starts_with("HTTP/1.1 100"), "{line}");
    reader.read_line(&mut line).expect("its end");
    stream.write_all(b"go on").expect("the body is sent");
    crate::support::http::read_response(&mut reader, "PUT", target).expect("an answer").expect(201);
}
