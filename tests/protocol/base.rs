//! `/v2/`, unknown routes, wrong methods, the shape of a refusal, and parameters that change nothing.

use crate::support::{Rng, Server, images};

#[test]
fn get_v2_answers_200_and_names_the_protocol() {
    let server = Server::shared();
    let answer = server.http().get("/v2/").send().expect(200);
    assert_eq!(answer.need("docker-distribution-api-version"), "registry/2.0");
    server.http().head("/v2/").send().expect(200);
}

#[test]
fn every_answer_below_v2_names_the_protocol() {
    let server = Server::shared();
    let repository = server.repository();
    for answer in [repository.get("tags/list"), repository.head(&format!("blobs/{}", images::ABSENT))] {
        assert_eq!(answer.need("docker-distribution-api-version"), "registry/2.0", "{answer}");
    }
}

#[test]
fn unknown_routes_are_404() {
    let server = Server::shared();
    let unknown = [
        "/v2/a/b",
        "/v2/a/b/",
        "/v2/a/b/nothing/x",
        "/v2/a/b/tags",
        "/v2/a/b/tags/other",
        "/v2/a/b/blobs/",
        "/v2/a/b/manifests/",
        "/v2/a/b/referrers/",
        "/v1/search",
        "/v3/",
        "/nothing-here",
    ];
    for target in unknown {
        let answer = server.http().get(target).send();
        assert_eq!(answer.status, 404, "{answer}");
    }
}

#[test]
fn a_wrong_method_is_405_and_says_which_are_right() {
    let server = Server::shared();
    let table = [
        ("POST", "/v2/".to_owned(), "GET"),
        ("PUT", "/v2/_catalog".to_owned(), "GET"),
        ("DELETE", "/v2/a/b/tags/list".to_owned(), "GET"),
        ("POST", format!("/v2/a/b/referrers/{}", images::ABSENT), "GET"),
        ("PATCH", "/v2/a/b/manifests/v1".to_owned(), "PUT"),
        ("PUT", format!("/v2/a/b/blobs/{}", images::ABSENT), "HEAD"),
        ("PUT", "/v2/a/b/blobs/uploads/".to_owned(), "POST"),
    ];
    for (method, target, right) in table {
        let answer = server.http().request(method, &target).send().refused(405, "UNSUPPORTED");
        let allowed: Vec<&str> = answer.need("allow").split(',').map(str::trim).collect();
        assert!(allowed.contains(&right) && !allowed.contains(&method), "{answer}");
    }
}

#[test]
fn a_refusal_is_json_with_code_and_message() {
    let server = Server::shared();
    let repository = server.repository();
    let answer = repository.get(&format!("blobs/{}", images::ABSENT)).refused(404, "BLOB_UNKNOWN");
    let body = answer.json();
    let errors = body["errors"].as_array().expect("an array");
    assert_eq!(errors.len(), 1);
    let members: Vec<&str> = errors[0].as_object().expect("an object").keys().map(String::as_str).collect();
    assert!(members.iter().all(|member| ["code", "message", "detail"].contains(member)), "{members:?}");
}

#[test]
fn the_answer_to_head_has_the_length_of_get_and_no_body() {
    let server = Server::shared();
    let repository = server.repository();
    let mut rng = Rng::named("head and get");
    let digest = repository.push_blob(&rng.bytes(3000));
    let head = repository.head(&format!("blobs/{digest}")).expect(200);
    assert_eq!(head.need("content-length"), "3000");
    // The bare socket: nothing may follow the head.
    let raw = server.http().raw(
        format!(
            "HEAD {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            repository.path(&format!("blobs/{digest}"))
        )
        .as_bytes(),
    );
    assert!(raw.ends_with(b"\r\n\r\n"), "{}", String::from_utf8_lossy(&raw));
}

#[test]
fn the_ns_parameter_of_mirror_clients_changes_nothing() {
    let server = Server::shared();
    let repository = server.repository();
    let image = images::Image::small(&mut Rng::named("ns"));
    let digest = repository.push("v1", &image);
    let got = repository.get("manifests/v1?ns=docker.io").expect(200);
    assert_eq!(got.body, image.manifest);
    repository.head(&format!("manifests/{digest}?ns=registry.example.com")).expect(200);
    let layer = images::sha256(&image.layers[0]);
    assert_eq!(repository.get(&format!("blobs/{layer}?ns=docker.io")).expect(200).body, image.layers[0]);
}

#[test]
fn several_requests_share_one_connection() {
    use std::io::{BufReader, Write};
    let server = Server::shared();
    let mut stream = server.http().connect().expect("a connection");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    for target in ["/v2/", "/v2/t/none/tags/list", "/v2/", "/no-such-route", "/v2/"] {
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").expect("the connection is open");
        let answer = crate::support::http::read_response(&mut reader, "GET", target.to_owned());
        assert!(matches!(answer.expect("an answer").status, 200 | 404));
    }
}
