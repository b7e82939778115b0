//! `pierhead doctor` of the real binary on this host: well, and with one thing wrong at a time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;
use support::clients::Scratch;
use support::server::binary;
use support::{Server, Settings};

/// The doctor for a server at `address` on `data`.
fn doctor(data: &Path, address: SocketAddr) -> Command {
    let mut command = binary();
    command.args(["doctor", "--json", "--host", "localhost", "--data"]).arg(data);
    command.env("PIERHEAD_SERVER_LISTEN", address.to_string());
    command
}

/// Whether it said that all works, and its findings.
fn run(mut command: Command) -> (bool, Vec<Value>) {
    let output = command.output().expect("the binary starts");
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let findings = answer["findings"].as_array().expect("a list").clone();
    assert_eq!(output.status.code(), Some(i32::from(answer["level"] == "fail")), "{answer:#}");
    (output.status.success(), findings)
}

/// What failed, as text.
fn failed(findings: &[Value]) -> String {
    let failed = findings.iter().filter(|finding| finding["level"] == "fail");
    failed.map(|finding| format!("{}: {}\n", finding["check"], finding["what"])).collect()
}

fn closed() -> Settings {
    Settings { closed: true, ..Settings::default() }
}

#[test]
fn a_server_that_is_well_is_found_well_and_its_client_gets_through() {
    let Some(server) = Server::own(closed()) else { return };
    fs::set_permissions(server.data(), fs::Permissions::from_mode(0o750)).expect("it is ours");
    let (works, findings) = run(doctor(server.data(), server.address()));
    assert!(works, "{}", failed(&findings));
    let said = |check: &str, words: &str| {
        findings
            .iter()
            .any(|finding| finding["check"] == check && finding["what"].as_str().unwrap().contains(words))
    };
    assert!(said("client", "asked to sign in"), "{findings:#?}");
    assert!(said("store", &format!("process {} has it", server.pid())), "{findings:#?}");
    assert!(said("name", "localhost is ") && said("server", "nobody can sign in"), "{findings:#?}");
    assert!(said("certificate", "it is for localhost") && said("files", "are right"), "{findings:#?}");
    assert!(
        fs::read_dir(server.data()).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("doctor"))
    );
}

#[test]
fn a_name_that_the_certificate_lacks_fails_as_it_does_for_clients() {
    let Some(server) = Server::own(closed()) else { return };
    let mut command = binary();
    command.args(["doctor", "--host", "registry.example:5000", "--data"]).arg(server.data());
    command.env("PIERHEAD_SERVER_LISTEN", server.address().to_string());
    let output = command.output().expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("fail  certificate  it is not for registry.example"), "{text}");
    assert!(text.contains("-> ") && text.contains("tls.names") && text.contains("fail  client"), "{text}");
}

#[test]
fn a_port_of_another_program_fails() {
    let scratch = Scratch::new();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address");
    let (works, findings) = run(doctor(&scratch.path("data"), address));
    let text = failed(&findings);
    assert!(!works && text.contains("port") && text.contains("is taken"), "{text}");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let (works, findings) = run(doctor(&scratch.path("data"), free));
    assert!(works, "a host before the first start is well: {}", failed(&findings));
}

#[test]
fn a_certificate_that_ended_fails() {
    let scratch = Scratch::new();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("names");
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let made = params.self_signed(&key).expect("a certificate");
    let mut command = doctor(&scratch.path("data"), "127.0.0.1:1".parse().expect("an address"));
    command.env("PIERHEAD_TLS_CERTIFICATE", scratch.write("server.pem", made.pem()));
    command.env("PIERHEAD_TLS_KEY", scratch.write("server.key", key.serialize_pem()));
    let (works, findings) = run(command);
    let text = failed(&findings);
    assert!(!works && text.contains("certificate") && text.contains("2021"), "{text}");
}

#[test]
fn a_disk_below_what_is_kept_back_fails() {
    let Some(server) = Server::own(closed()) else { return };
    let mut command = doctor(server.data(), server.address());
    command.env("PIERHEAD_STORAGE_RESERVE", "1000000GiB");
    let (works, findings) = run(command);
    let text = failed(&findings);
    assert!(!works && text.contains("disk") && text.contains("uploads are refused"), "{text}");
}

#[test]
fn a_secret_that_others_may_read_fails() {
    let Some(server) = Server::own(closed()) else { return };
    let key = server.data().join("tls/ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let (works, findings) = run(doctor(server.data(), server.address()));
    let text = failed(&findings);
    assert!(!works && text.contains("ca.key") && text.contains("0644"), "{text}");
}
