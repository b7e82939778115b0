//! TLS with a configured certificate: served, read again on SIGHUP, and never replaced by one that
//! does not fit. The client is rustls, trusting one certificate. A CA of the appliance's own is in
//! `tls_own.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use std::fs;
use std::io::{BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::certificates::{renew, settings};
use support::http::read_response;
use support::server::signal;
use support::wait::until_true;
use support::{Response, Server};

const SOON: Duration = Duration::from_secs(60);

/// `GET target` by a client that trusts just this certificate; none if it does not trust the server.
fn get(server: &Server, trusted: &CertificateDer<'static>, target: &str) -> Option<Response> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = rustls::StreamOwned::new(connection, server.http().connect().expect("a connection"));
    stream.write_all(&server.http().get(target).head_bytes()).ok()?;
    read_response(&mut BufReader::new(stream), "GET", target.to_owned()).ok()
}

fn serve(folder: &Path) -> Option<Server> {
    Server::own(settings(folder))
}

#[test]
fn a_configured_certificate_is_served_and_others_are_not_trusted() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let stranger = renew(folder.path());
    let own = renew(folder.path());
    let Some(server) = serve(folder.path()) else { return };
    get(&server, &own, "/v2/").expect("a trusted server").expect(200);
    assert!(get(&server, &stranger, "/v2/").is_none(), "another certificate is not trusted");
    let plain = server.http().get("/v2/").try_send();
    assert!(!plain.is_ok_and(|answer| answer.status == 200), "plain HTTP is not served on that port");
    get(&server, &own, "/v2/").expect("the server lives on").expect(200);
}

#[test]
fn a_renewed_certificate_is_used_after_sighup_without_a_restart() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    renew(folder.path());
    let Some(server) = serve(folder.path()) else { return };
    let renewed = renew(folder.path());
    signal(server.pid(), Signal::HUP);
    until_true("the new certificate is used", SOON, || get(&server, &renewed, "/v2/").is_some());
}

#[test]
fn a_pair_that_does_not_fit_changes_nothing() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let own = renew(folder.path());
    let Some(server) = serve(folder.path()) else { return };
    let key = fs::read(folder.path().join("key.pem")).expect("a key");
    renew(folder.path());
    fs::write(folder.path().join("key.pem"), key).expect("a file in scratch");
    let before = server.log().len();
    signal(server.pid(), Signal::HUP);
    until_true("the refusal is logged", SOON, || server.log()[before..].contains("certificate"));
    get(&server, &own, "/v2/").expect("the certificate in use stays").expect(200);
}

#[test]
fn a_certificate_that_cannot_be_read_is_refused_at_start_with_its_path() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    renew(folder.path());
    fs::write(folder.path().join("cert.pem"), "no certificate").expect("a file in scratch");
    let path = folder.path().join("cert.pem");
    let mut command = support::server::binary();
    command.args(["serve", "--lab", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path().join("data"));
    command.env("PIERHEAD_TLS_CERTIFICATE", &path).env("PIERHEAD_TLS_KEY", folder.path().join("key.pem"));
    let output = command.output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(path.to_str().expect("a plain path")), "{said}");
}
