//! `Location` names a place the client can reach: relative, or the host it asked for.

use crate::support::{Response, Server, Settings};

/// True if no host but `hosts` is named.
fn names_only(answer: &Response, hosts: &[&str]) -> bool {
    let location = answer.need("location");
    let rest = match location.split_once("://") {
        Some((_, rest)) => rest,
        None => return location.starts_with('/') && !location.starts_with("//"),
    };
    hosts.iter().any(|host| rest.starts_with(&format!("{host}/")))
}

#[test]
fn a_location_is_relative_or_names_the_host_asked_for() {
    let server = Server::shared();
    let repository = server.repository();
    let address = server.address().to_string();
    let plain = repository.request("POST", "blobs/uploads/").send().expect(202);
    assert!(names_only(&plain, &[&address]), "{plain}");
    let named = repository
        .request("POST", "blobs/uploads/")
        .header("Host", "registry.example:5000")
        .send()
        .expect(202);
    assert!(names_only(&named, &["registry.example:5000"]), "{named}");
}

#[test]
fn forwarded_hosts_from_strangers_are_ignored() {
    let server = Server::shared();
    if crate::support::server::external().is_some() {
        crate::support::skipped("peers believe everybody's X-Forwarded-Host");
        return;
    }
    let repository = server.repository();
    let address = server.address().to_string();
    let answer = repository
        .request("POST", "blobs/uploads/")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Forwarded-Proto", "https")
        .header("Forwarded", "host=evil.example;proto=https")
        .send()
        .expect(202);
    assert!(names_only(&answer, &[&address]), "{answer}");
    assert!(!answer.need("location").contains("evil.example"));
}

#[test]
fn forwarded_hosts_from_a_trusted_proxy_are_named_or_the_location_is_relative() {
    let Some(server) = Server::own(Settings::default().set("SERVER_TRUSTED_PROXIES", "127.0.0.1/32")) else {
        return;
    };
    let repository = server.repository();
    let answer = repository
        .request("POST", "blobs/uploads/")
        .header("X-Forwarded-Host", "registry.example")
        .header("X-Forwarded-Proto", "https")
        .send()
        .expect(202);
    assert!(names_only(&answer, &["registry.example"]), "{answer}");
    let location = answer.need("location");
    assert!(!location.contains("://") || location.starts_with("https://"), "{location}");
}

#[test]
fn a_forwarded_host_that_is_none_never_reaches_the_location() {
    let Some(server) = Server::own(Settings::default().set("SERVER_TRUSTED_PROXIES", "127.0.0.1/32")) else {
        return;
    };
    let repository = server.repository();
    let address = server.address().to_string();
    for odd in ["a b", "evil.example/path?", "user@evil.example", "", "evil\\.example", "[::1", "x:99999999"]
    {
        let answer =
            repository.request("POST", "blobs/uploads/").header("X-Forwarded-Host", odd).send().expect(202);
        assert!(names_only(&answer, &[&address]), "{odd:?}: {answer}");
    }
}
