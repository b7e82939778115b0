//! The real binary without `--lab`, before anybody was made: nothing is open.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

mod support;

use support::{Server, Settings};

#[test]
fn a_registry_without_accounts_lets_nobody_in_and_says_how_to_make_one() {
    let Some(server) = Server::own(Settings::default().closed()) else { return };
    let http = server.http();
    let realm = format!("http://{}/swr/auth/v2/registry/auth/", server.address());
    let challenge = format!("Bearer realm=\"{realm}\",service=\"dockyard\"");
    let ping = http.get("/v2/").send().expect(401);
    assert_eq!(ping.need("www-authenticate"), challenge);
    let pull = format!("{challenge},scope=\"repository:a/b:pull\"");
    let push = format!("{challenge},scope=\"repository:a/b:pull,push\"");
    let cases = [
        ("GET", "/v2/a/b/tags/list", &pull),
        ("POST", "/v2/a/b/blobs/uploads/", &push),
        ("PUT", "/v2/a/b/manifests/v1", &push),
    ];
    // dGVzdDp0ZXN0 is test:test.
    for (method, path, expected) in cases {
        for credential in [None, Some("Basic dGVzdDp0ZXN0")] {
            let mut request = http.request(method, path);
            if let Some(credential) = credential {
                request = request.header("Authorization", credential);
            }
            let answer = request.send().expect(401);
            assert_eq!(answer.need("www-authenticate"), expected.as_str(), "{method} {path}");
            assert_eq!(answer.error_code(), "UNAUTHORIZED");
        }
    }
    server.until_logged("pierhead init");
}

#[test]
fn an_anonymous_token_is_given_and_opens_nothing_private() {
    let Some(server) = Server::own(Settings::default().closed()) else { return };
    let http = server.http();
    let given = http.get("/swr/auth/v2/registry/auth/?service=dockyard&scope=repository:a/b:pull").send();
    let given = given.expect(200).json();
    assert_eq!(given["token"], given["access_token"]);
    let token = format!("Bearer {}", given["token"].as_str().expect("text"));
    for path in ["/v2/", "/v2/a/b/tags/list", "/v2/_catalog"] {
        http.get(path).header("Authorization", &token).send().refused(401, "UNAUTHORIZED");
    }
    http.get("/swr/auth/v2/registry/auth")
        .header("Authorization", "Basic dGVzdDp0ZXN0")
        .send()
        .refused(401, "DENIED");
    http.post("/swr/auth/v2/registry/auth").send().expect(404);
    for path in ["/v3/projects", "/v3/auth/domains", "/v3.0/OS-USER/users/0"] {
        let answer = http.get(path).send().expect(401).json();
        assert_eq!(answer["error_code"], "APIGW.0301", "{path}");
    }
    http.get("/healthz").send().expect(200);
}
