//! Chunked uploads: chunks in order, chunks out of order, chunks that are not what they say.

use crate::support::http::with_query;
use crate::support::images::sha256;
use crate::support::{Repository, Response, Rng, Server};

fn patch(repository: &Repository, location: &str, from: usize, to: usize, body: &[u8]) -> Response {
    let range = format!("{from}-{}", to - 1);
    repository.http.patch(location).header("Content-Range", range).body(body).send()
}

fn range_of(repository: &Repository, location: &str) -> String {
    repository.http.get(location).send().expect(204).need("range").to_owned()
}

#[test]
fn chunks_in_order_make_the_blob() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("in order").bytes(10_000);
    let mut location = repository.begin();
    for (from, to) in [(0, 3000), (3000, 3001), (3001, 10_000)] {
        let answer = patch(&repository, &location, from, to, &content[from..to]).expect(202);
        assert_eq!(answer.need("range"), format!("0-{}", to - 1));
        location = answer.location();
    }
    let digest = sha256(&content);
    server.http().put(&with_query(&location, &format!("digest={digest}"))).send().expect(201);
    assert!(repository.get(&format!("blobs/{digest}")).expect(200).body == content);
}

#[test]
fn the_last_chunk_may_come_with_the_put() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("last with put").bytes(10_000);
    let location = patch(&repository, &repository.begin(), 0, 6000, &content[..6000]).expect(202).location();
    let digest = sha256(&content);
    let put = server.http().put(&with_query(&location, &format!("digest={digest}")));
    put.header("Content-Range", "6000-9999").body(&content[6000..]).send().expect(201);
    assert!(repository.get(&format!("blobs/{digest}")).expect(200).body == content);
}

#[test]
fn a_chunk_out_of_order_is_416_with_the_place_to_go_on_and_the_session_survives() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("out of order").bytes(9000);
    let location = patch(&repository, &repository.begin(), 0, 3000, &content[..3000]).expect(202).location();
    let table = [("a gap", 6000, 9000), ("again from the start", 0, 3000), ("an overlap", 2999, 5999)];
    for (case, from, to) in table {
        let refused = patch(&repository, &location, from, to, &content[from..to]).expect(416);
        assert_eq!(refused.need("range"), "0-2999", "{case}");
        assert_eq!(range_of(&repository, &refused.location()), "0-2999", "{case}");
    }
    let location = patch(&repository, &location, 3000, 9000, &content[3000..]).expect(202).location();
    let digest = sha256(&content);
    server.http().put(&with_query(&location, &format!("digest={digest}"))).send().expect(201);
}

#[test]
fn a_first_chunk_that_does_not_start_at_zero_is_416() {
    let server = Server::shared();
    let repository = server.repository();
    let location = repository.begin();
    let refused = patch(&repository, &location, 10, 20, &[0; 10]).expect(416);
    assert_eq!(refused.need("range"), "0-0");
    patch(&repository, &refused.location(), 0, 10, &[0; 10]).expect(202);
}

#[test]
fn a_last_chunk_out_of_order_is_416_and_the_session_survives() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("put out of order").bytes(6000);
    let digest = sha256(&content);
    let location = patch(&repository, &repository.begin(), 0, 3000, &content[..3000]).expect(202).location();
    let target = with_query(&location, &format!("digest={digest}"));
    let put = |range: &str, body: &[u8]| {
        server.http().put(&target).header("Content-Range", range).body(body).send()
    };
    put("4000-5999", &content[4000..]).expect(416);
    assert_eq!(range_of(&repository, &location), "0-2999");
    put("3000-5999", &content[3000..]).expect(201);
}

#[test]
fn a_content_range_that_is_none_is_refused_and_the_session_survives() {
    let server = Server::shared();
    let repository = server.repository();
    let location = patch(&repository, &repository.begin(), 0, 100, &[1; 100]).expect(202).location();
    let huge = format!("100-{}", "9".repeat(30));
    for range in ["abc", "", "-", "100", "100-", "-199", "199-100", "-1-5", "100-199-299", "0x64-0xc7", &huge]
    {
        let answer = server.http().patch(&location).header("Content-Range", range).body(vec![2; 100]).send();
        assert!([400, 416].contains(&answer.status), "{range:?}: {answer}");
        assert_eq!(range_of(&repository, &location), "0-99", "{range:?}");
    }
    patch(&repository, &location, 100, 200, &[2; 100]).expect(202);
}

#[test]
fn a_body_longer_or_shorter_than_its_content_range_is_refused_and_not_kept() {
    let server = Server::shared();
    let repository = server.repository();
    let location = repository.begin();
    for (case, length) in [("longer", 150), ("shorter", 50), ("empty", 0)] {
        let answer = patch(&repository, &location, 0, 100, &vec![3; length]);
        assert!([400, 416].contains(&answer.status), "{case}: {answer}");
        assert_eq!(range_of(&repository, &location), "0-0", "{case}");
    }
    patch(&repository, &location, 0, 100, &[3; 100]).expect(202);
}

#[test]
fn a_content_range_may_be_written_in_http_s_own_words() {
    let server = Server::shared();
    let location = server.repository().begin();
    let written =
        server.http().patch(&location).header("Content-Range", "bytes 0-99/*").body(vec![4; 100]).send();
    // Not in the specification; clients that send it are served or clearly refused.
    assert!([202, 400, 416].contains(&written.status), "{written}");
}

#[test]
fn patches_without_content_range_append() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("appended").bytes(5000);
    let mut location = repository.begin();
    for part in content.chunks(1700) {
        location = server.http().patch(&location).body(part).send().expect(202).location();
    }
    let digest = sha256(&content);
    server.http().put(&with_query(&location, &format!("digest={digest}"))).send().expect(201);
    assert!(repository.get(&format!("blobs/{digest}")).expect(200).body == content);
}

#[test]
fn two_writers_of_one_session_never_mix_their_bytes() {
    let server = Server::shared();
    let repository = server.repository();
    let content = Rng::named("two writers").bytes(4_000_000);
    let location = repository.begin();
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (repository, location, content) = (repository.clone(), location.clone(), content.clone());
            std::thread::spawn(move || patch(&repository, &location, 0, content.len(), &content).status)
        })
        .collect();
    let answers: Vec<u16> = writers.into_iter().map(|writer| writer.join().expect("an answer")).collect();
    assert!(answers.contains(&202), "one of them wins: {answers:?}");
    assert!(answers.iter().all(|status| [202, 409, 416, 429, 503].contains(status)), "{answers:?}");
    assert_eq!(range_of(&repository, &location), format!("0-{}", content.len() - 1));
    let digest = sha256(&content);
    server.http().put(&with_query(&location, &format!("digest={digest}"))).send().expect(201);
}
