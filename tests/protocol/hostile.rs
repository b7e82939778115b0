//! Input nobody should send. Whatever comes, the answer is a refusal or a closed connection, what
//! is stored stays, and the next client is served.

use crate::support::http::with_query;
use crate::support::images::sha256;
use crate::support::{Image, Rng, Server};
use std::io::Write;

/// The status of each answer in `raw`; a closed connection has none.
fn statuses(raw: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(raw);
    let heads = text.match_indices("HTTP/1.").map(|(at, _)| &text[at..]);
    heads.filter_map(|head| head.split(' ').nth(1)?.parse().ok()).collect()
}

fn assert_refused(server: &Server, case: &str, request: &[u8]) {
    let raw = server.http().raw(request);
    let got = statuses(&raw);
    // 501 and 505 are HTTP's own refusals of a coding and a version.
    assert!(
        got.iter().all(|status| (400..500).contains(status) || [501, 505].contains(status)),
        "{case}: {got:?}"
    );
    server.http().get("/v2/").send().expect(200);
}

#[test]
fn a_malformed_head_is_refused_and_the_next_client_is_served() {
    let server = Server::shared();
    let huge = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Huge: {}\r\n\r\n", "a".repeat(4 << 20));
    let many = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: 1\r\n".repeat(20_000));
    let long_path = format!("GET /v2/{}/tags/list HTTP/1.1\r\nHost: x\r\n\r\n", "a/".repeat(100_000));
    let table: &[(&str, &[u8])] = &[
        ("not HTTP", b"hello\r\n\r\n"),
        ("TLS to a plain port", &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]),
        ("zeroes", &[0; 512]),
        ("no version", b"GET /v2/\r\nHost: x\r\n\r\n"),
        ("odd version", b"GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n"),
        ("a method of odd letters", b"G\x01T /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a space in the path", b"GET /v2/a b/tags/list HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a NUL in the path", b"GET /v2/a\0b/tags/list HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a NUL in a header", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n"),
        ("a header without a colon", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"),
        ("a header name with a space", b"GET /v2/ HTTP/1.1\r\nHost : x\r\n\r\n"),
        ("a header over several lines", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\n\r\n"),
        ("a huge header", huge.as_bytes()),
        ("very many headers", many.as_bytes()),
        ("a very long path", long_path.as_bytes()),
    ];
    for (case, request) in table {
        assert_refused(&server, case, request);
    }
}

#[test]
fn lengths_that_lie_are_refused_and_the_session_survives() {
    let server = Server::shared();
    let repository = server.repository();
    let location = repository.begin();
    let huge = "9".repeat(40);
    let headers: Vec<(&str, String)> = vec![
        ("negative", "Content-Length: -1\r\n".into()),
        ("no number", "Content-Length: abc\r\n".into()),
        ("overflow", format!("Content-Length: {huge}\r\n")),
        ("two that differ", "Content-Length: 5\r\nContent-Length: 6\r\n".into()),
        ("a list that differs", "Content-Length: 5, 6\r\n".into()),
        ("hexadecimal", "Content-Length: 0x5\r\n".into()),
        ("unknown coding", "Transfer-Encoding: magic\r\n".into()),
        ("chunked, not last", "Transfer-Encoding: chunked, gzip\r\n".into()),
    ];
    for (case, header) in headers {
        let request =
            format!("PATCH {location} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\nhello");
        assert_refused(&server, case, request.as_bytes());
        assert_eq!(server.http().get(&location).send().expect(204).need("range"), "0-0", "{case}");
    }
}

#[test]
fn transfer_chunks_that_lie_are_refused_and_nothing_is_published() {
    let server = Server::shared();
    let repository = server.repository();
    let bodies: &[(&str, &str)] = &[
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("a size that is no number", "zz\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("an overflowing size", "fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("too long a chunk", "3\r\nhello\r\n0\r\n\r\n"),
        ("too short a chunk", "9\r\nhello\r\n0\r\n\r\n"),
    ];
    let digest = sha256(b"hello");
    for (case, body) in bodies {
        let target = with_query(&repository.begin(), &format!("digest={digest}"));
        let request = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_refused(&server, case, request.as_bytes());
        repository.head(&format!("blobs/{digest}")).expect(404);
    }
}

#[test]
fn length_and_chunks_together_never_smuggle_a_second_request() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("smuggle"));
    repository.push("v1", &image);
    let hidden = format!(
        "DELETE {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        repository.path("manifests/v1")
    );
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}\
         GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        repository.path("blobs/uploads/"),
        hidden.len() + 5,
    );
    let got = statuses(&server.http().raw(request.as_bytes()));
    assert!(!got.contains(&200), "{got:?}");
    repository.pull_and_compare("v1", &image);
}

#[test]
fn targets_of_every_odd_kind_are_refused() {
    let server = Server::shared();
    let table = [
        "/v2/a%/b/tags/list",
        "/v2/a%zz/b/tags/list",
        "/v2/a/b/manifests/%ff%fe",
        "/v2/a/b/manifests/",
        "/v2/a/b/blobs/sha256:%00",
        "/v2//tags/list",
        "/v2/tags/list",
        "//v2/",
        "/v2/a/b/blobs/uploads/%2e%2e%2f%2e%2e",
        "/v2/a/b/blobs/uploads/../../../../etc/passwd",
        "/v2/a/b/blobs/uploads/%00",
        "/%00",
        "/v2/%0d%0aX-A:%20b/tags/list",
        "*",
    ];
    for target in table {
        let answer = server.http().get(target).send();
        assert!((400..500).contains(&answer.status), "{answer}");
        assert_eq!(answer.header("x-a"), None, "no header is injected by {target}");
    }
    server.http().get("/v2/").send().expect(200);
}

#[test]
fn odd_query_strings_are_refused_or_ignored_never_a_failure() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("odd queries"));
    repository.push("v1", &image);
    let long = format!("last={}", "z".repeat(5000));
    for query in
        ["%", "&&&", "=", "a=b=c", "n=1&last=%ff", "last=%00", "last=..%2F..", "?", &long, "n=1;last=a"]
    {
        let answer = repository.get(&format!("tags/list?{query}"));
        assert!([200, 400].contains(&answer.status), "{answer}");
    }
}

#[test]
fn headers_that_do_not_parse_are_refused_or_ignored_never_a_failure() {
    let server = Server::shared();
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("odd headers"));
    let digest = repository.push("v1", &image);
    let table = [
        ("Range", "bytes=0-\u{fc}"),
        ("If-None-Match", "no quotes"),
        ("If-None-Match", "\"open"),
        ("Accept", "\u{1F600}"),
        ("Content-Type", "nonsense"),
        ("Authorization", "Basic !!!!"),
        ("Authorization", "Bearer"),
        ("Expect", "miracles"),
        ("If-Modified-Since", "yesterday"),
        ("X-Forwarded-For", "999.999.999.999"),
        ("Cookie", ";;;==="),
        ("TE", "a,b,,"),
    ];
    for (name, value) in table {
        let answer = repository.request("GET", &format!("manifests/{digest}")).header(name, value).send();
        assert!(answer.status == 200 || (400..500).contains(&answer.status), "{name}: {answer}");
    }
}

#[test]
fn connections_that_say_nothing_do_not_keep_others_out() {
    let server = Server::shared();
    let mut silent: Vec<_> = (0..100).map(|_| server.http().connect().expect("a connection")).collect();
    for (number, stream) in silent.iter_mut().enumerate().filter(|(number, _)| number % 2 == 0) {
        write!(stream, "GET /v2/{number}").expect("half a request line");
    }
    server.http().get("/v2/").send().expect(200);
}

#[test]
fn random_bytes_never_stop_the_server() {
    let server = Server::shared();
    let mut rng = Rng::named("noise");
    let seed = format!(
        "PUT /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\nContent-Length: 2\r\n\r\n{{}}",
        "a/b"
    );
    for _ in 0..300 {
        let mut bytes = seed.clone().into_bytes();
        for _ in 0..=rng.below(6) {
            let at = rng.below(bytes.len());
            bytes[at] = rng.bytes(1)[0];
        }
        let got = statuses(&server.http().raw_cut(&bytes));
        assert!(
            got.iter().all(|status| *status < 500 || [501, 505].contains(status)),
            "{got:?} for {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    server.http().get("/v2/").send().expect(200);
}
