//! TLS by the appliance's own CA, protocol versions, clients' certificates, a swap of the certificate
//! under load, what `config check` says of certificates, and `pierhead trust`. Clients are rustls
//! and openssl.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::clients::require;
use support::http::read_response;
use support::server::{binary, signal};
use support::wait::until_true;
use support::{Response, Server, Settings};

const SOON: Duration = Duration::from_secs(60);

type Issuer = CertifiedIssuer<'static, KeyPair>;
type Stream = StreamOwned<ClientConnection, TcpStream>;

fn own_ca() -> Settings {
    Settings::default().set("TLS_MODE", "auto")
}

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")).expect("a CA");
    roots
}

fn trusting(pem: &str) -> ClientConfig {
    ClientConfig::builder().with_root_certificates(roots(pem)).with_no_client_auth()
}

fn connect(server: &Server, config: ClientConfig, name: &str) -> Stream {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(connection, server.http().connect().expect("a connection"))
}

fn get(server: &Server, config: ClientConfig, name: &str, target: &str) -> Option<Response> {
    let mut stream = connect(server, config, name);
    stream.write_all(&server.http().get(target).head_bytes()).ok()?;
    read_response(&mut BufReader::new(stream), "GET", target.to_owned()).ok()
}

fn ca_of(data: &Path) -> String {
    fs::read_to_string(data.join("tls/ca.crt")).expect("the CA's certificate")
}

/// A CA of a test's own.
fn issuer() -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "a CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// Certificate and key, PEM, for this host.
fn issue(issuer: &Issuer, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    (params.signed_by(&key, issuer).expect("a certificate").pem(), key.serialize_pem())
}

fn write(folder: &Path, (certificate, key): &(String, String)) {
    fs::write(folder.join("cert.pem"), certificate).expect("a file in scratch");
    fs::write(folder.join("key.pem"), key).expect("a file in scratch");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn a_ca_of_its_own_is_made_once_given_to_anybody_and_certifies_every_name() {
    let Some(mut server) = Server::own(own_ca().set("TLS_NAMES", "r.example, *.r.example, 192.0.2.77"))
    else {
        return;
    };
    let ca = ca_of(server.data());
    for name in ["localhost", "127.0.0.1", "::1", "r.example", "x.r.example", "192.0.2.77"] {
        get(&server, trusting(&ca), name, "/v2/").unwrap_or_else(|| panic!("{name} is trusted")).expect(200);
    }
    assert!(get(&server, trusting(&ca), "other.example", "/v2/").is_none(), "a name that is none of ours");
    let given = get(&server, trusting(&ca), "localhost", "/ca.crt").expect("an answer").expect(200);
    assert_eq!(given.body, ca.as_bytes());
    server.kill();
    let leaf = fs::read(server.data().join("tls/server.pem")).expect("a certificate");
    server.start();
    assert_eq!(ca_of(server.data()), ca);
    assert_eq!(fs::read(server.data().join("tls/server.pem")).expect("a certificate"), leaf);
}

#[test]
fn plain_http_gives_no_ca_and_the_lab_is_plain_unless_told() {
    let Some(server) = Server::own(Settings::default()) else { return };
    server.http().get("/ca.crt").send().expect(404);
    assert!(!server.data().join("tls").exists());
}

#[test]
fn versions_and_protocols_are_those_agreed() {
    let both: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
    for http2 in [false, true] {
        let Some(server) = Server::own(own_ca().set("SERVER_HTTP2", &http2.to_string())) else { return };
        let ca = ca_of(server.data());
        for version in both {
            let config = ClientConfig::builder_with_protocol_versions(&[version]);
            let mut config = config.with_root_certificates(roots(&ca)).with_no_client_auth();
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let mut stream = connect(&server, config, "localhost");
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
            let wanted: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
            assert_eq!(stream.conn.alpn_protocol(), Some(wanted), "http2 = {http2}");
            assert_eq!(stream.conn.protocol_version(), Some(version.version));
        }
    }
}

#[test]
fn openssl_verifies_the_certificate_and_old_versions_are_refused() {
    if !require(&["openssl"]) {
        return;
    }
    let Some(server) = Server::own(own_ca()) else { return };
    let ca = server.data().join("tls/ca.crt");
    let rows = [("-tls1_2", true), ("-tls1_3", true), ("-tls1_1", false)];
    for (version, wanted) in rows {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &server.address().to_string(), version, "-CAfile", text(&ca)]);
        command.args(["-verify_return_error", "-verify_ip", "127.0.0.1"]).stdin(Stdio::null());
        let output = command.output().expect("openssl starts");
        let words = said(&output);
        assert_eq!(
            output.status.success() && words.contains("Verification: OK"),
            wanted,
            "{version}: {words}"
        );
    }
}

#[test]
fn a_certificate_that_went_away_is_made_again_on_sighup() {
    let Some(server) = Server::own(own_ca()) else { return };
    let ca = ca_of(server.data());
    let file = server.data().join("tls/server.pem");
    let before = fs::read(&file).expect("a certificate");
    fs::remove_file(&file).expect("a file of the store");
    signal(server.pid(), Signal::HUP);
    until_true("another certificate is there", SOON, || fs::read(&file).is_ok_and(|now| now != before));
    get(&server, trusting(&ca), "localhost", "/v2/").expect("it is trusted").expect(200);
}

#[test]
fn clients_show_certificates_where_they_are_asked() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (friends, strangers) = (issuer(), issuer());
    let named = |params: &mut CertificateParams| params.distinguished_name.push(DnType::CommonName, "node-7");
    let (friend, stranger) = (issue(&friends, named), issue(&strangers, named));
    let expired = issue(&friends, |params| params.not_after = date_time_ymd(2020, 1, 1));
    fs::write(folder.path().join("clients.crt"), friends.pem()).expect("a file in scratch");
    let rows = [
        ("off", [true, true, true, true]),
        ("optional", [true, true, false, false]),
        ("required", [false, true, false, false]),
    ];
    for (setting, wanted) in rows {
        let settings = own_ca().set("TLS_CLIENT_CERTIFICATES", setting).set("LOG_LEVEL", "debug");
        let settings = settings.set("TLS_CLIENT_CA", text(&folder.path().join("clients.crt")));
        let Some(server) = Server::own(settings) else { return };
        let ca = ca_of(server.data());
        let shown = [None, Some(&friend), Some(&stranger), Some(&expired)];
        for (case, (pair, wanted)) in shown.into_iter().zip(wanted).enumerate() {
            let config = match pair {
                None => trusting(&ca),
                Some((certificate, key)) => {
                    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("one")];
                    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                    let builder = ClientConfig::builder().with_root_certificates(roots(&ca));
                    builder.with_client_auth_cert(chain, key).expect("a client")
                }
            };
            let served = get(&server, config, "localhost", "/v2/").is_some_and(|answer| answer.status == 200);
            assert_eq!(served, wanted, "{setting}, case {case}");
        }
        let logged = || server.log().contains("\"client\":\"node-7\"");
        if setting == "off" {
            assert!(!logged());
        } else {
            until_true("the name is in the log", SOON, logged);
        }
    }
}

#[test]
fn no_request_fails_while_the_certificate_is_swapped_under_load() {
    const CONNECTIONS: usize = 8;
    const SWAPS: usize = 20;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let issuer = issuer();
    write(folder.path(), &issue(&issuer, |_| ()));
    let Some(server) = Server::own(support::certificates::settings(folder.path())) else { return };
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let opened = AtomicUsize::new(0);
    let (server, ca) = (&server, issuer.pem());
    std::thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let (done, served, opened, ca) = (&done, &served, &opened, &ca);
            scope.spawn(move || {
                let head = server.http().get("/v2/").header("Connection", "keep-alive").head_bytes();
                // Half of them stay on one connection for long, half ask once on each.
                let most = if number % 2 == 0 { 500 } else { 1 };
                while !done.load(Ordering::SeqCst) {
                    let mut stream = BufReader::new(connect(server, trusting(ca), "localhost"));
                    opened.fetch_add(1, Ordering::SeqCst);
                    for _ in 0..most {
                        stream.get_mut().write_all(&head).expect("a request is taken");
                        let answer = read_response(&mut stream, "GET", "/v2/".to_owned());
                        answer.expect("an answer").expect(200);
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let in_use = || server.log().matches("certificate in use").count();
        for _ in 0..SWAPS {
            let (before, so_far) = (in_use(), served.load(Ordering::SeqCst));
            write(folder.path(), &issue(&issuer, |_| ()));
            signal(server.pid(), Signal::HUP);
            until_true("the certificate is swapped", SOON, || in_use() > before);
            until_true("requests go on", SOON, || served.load(Ordering::SeqCst) >= so_far + CONNECTIONS);
        }
        done.store(true, Ordering::SeqCst);
    });
    let (served, opened) = (served.load(Ordering::SeqCst), opened.load(Ordering::SeqCst));
    eprintln!("{SWAPS} swaps, {opened} connections, {served} requests, none failed");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_by_config_check_and_at_start() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let issuer = issuer();
    let good = issue(&issuer, |_| ());
    let with = |certificate: String| (certificate, good.1.clone());
    let rows = [
        ("good", good.clone(), ""),
        ("with its CA", with(format!("{}{}", good.0, issuer.pem())), ""),
        (
            "expired",
            issue(&issuer, |params| params.not_after = date_time_ymd(2021, 1, 2)),
            "expired at 2021-01-02",
        ),
        (
            "not yet valid",
            issue(&issuer, |params| params.not_before = date_time_ymd(2090, 1, 2)),
            "not valid before 2090-01-02",
        ),
        ("another's key", with(issue(&issuer, |_| ()).0), "does not fit"),
        ("wrong order", with(format!("{}{}", issuer.pem(), good.0)), "wrong order"),
        ("no names", issue(&issuer, |params| params.subject_alt_names.clear()), "names no host"),
        ("no certificate", with("hello".to_owned()), "no certificate"),
        ("no key", (good.0.clone(), "hello".to_owned()), "no private key"),
    ];
    let (config, data) = (folder.path().join("p.toml"), folder.path().join("data"));
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let settings = format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", text(&certificate), text(&key));
    fs::write(&config, settings).expect("a file in scratch");
    for (case, pair, words) in rows {
        write(folder.path(), &pair);
        let checked =
            binary().args(["config", "check", "--config", text(&config)]).output().expect("it runs");
        assert_eq!(checked.status.success(), words.is_empty(), "{case}: {}", said(&checked));
        assert!(said(&checked).contains(words), "{case}: {}", said(&checked));
        if !words.is_empty() {
            let mut serve = binary();
            serve.args(["serve", "--lab", "--listen", "127.0.0.1:0", "--data", text(&data)]);
            let started = serve.args(["--config", text(&config)]).output().expect("it runs");
            assert!(
                !started.status.success() && said(&started).contains(words),
                "{case}: {}",
                said(&started)
            );
            assert!(!data.exists(), "{case}: nothing was made");
        }
    }
}

#[test]
fn settings_of_tls_that_cannot_be_are_refused_in_words() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let config = folder.path().join("p.toml");
    let rows = [
        ("", ""),
        ("mode = \"auto\"\nnames = [\"r.example\", \"10.0.0.1\"]", ""),
        ("mode = \"off\"", "tls.plain_http"),
        ("mode = \"off\"\nplain_http = true", ""),
        ("mode = \"configured\"", "tls.plain_http"),
        ("mode = \"files\"", "needs tls.certificate"),
        ("mode = \"of\"", "tls.mode"),
        ("names = [\"https://r.example\"]", "tls.names"),
        ("names = [\"r.example:5000\"]", "without a port"),
        ("client_certificates = \"required\"", "needs tls.client_ca"),
        ("client_certificates = \"required\"\nclient_ca = \"/none.pem\"", "/none.pem"),
        ("client_certificates = \"optional\"\nclient_ca = \"x\"\nmode = \"off\"", "needs TLS"),
        ("certificate = \"x\"", "tls.key"),
    ];
    for (lines, words) in rows {
        fs::write(&config, format!("[tls]\n{lines}\n")).expect("a file in scratch");
        let checked =
            binary().args(["config", "check", "--config", text(&config)]).output().expect("it runs");
        assert_eq!(checked.status.success(), words.is_empty(), "{lines}: {}", said(&checked));
        assert!(said(&checked).contains(words), "{lines}: {}", said(&checked));
    }
}

#[test]
fn trust_tells_and_writes_what_clients_need_without_a_server() {
    let Some(mut server) = Server::own(own_ca()) else { return };
    let ca = ca_of(server.data());
    let before = tempfile::tempdir().expect("a scratch folder");
    let none = binary().args(["trust", "--data", text(before.path())]).output().expect("it runs");
    assert!(!none.status.success() && said(&none).contains("tls/ca.crt"), "{}", said(&none));
    assert!(server.stop().success());

    assert_eq!(server.command(&["trust", "--ca"]).stdout, ca.as_bytes());
    let told = said(&server.command(&["trust", "--host", "r.example:5000", "--host", "10.0.0.1"]));
    for words in [
        "/etc/docker/certs.d/r.example:5000/ca.crt",
        "/etc/containerd/certs.d/r.example:5000/hosts.toml",
        "/etc/containers/certs.d/10.0.0.1/ca.crt",
        "/usr/local/share/ca-certificates/pierhead-r.example_5000.crt",
        "update-ca-certificates",
        "config_path",
        "SHA-256",
    ] {
        assert!(told.contains(words), "{words} is missing:\n{told}");
    }
    let root = tempfile::tempdir().expect("a scratch folder");
    let host = ["trust", "--host", "r.example:5000", "--root", text(root.path()), "--json", "--write"];
    let run = |more: &[&str]| {
        let output = server.command(&[&host[..], more].concat());
        let json = serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default();
        (output, json)
    };
    let (_, json) = run(&["docker,containerd", "--write", "system"]);
    let files = json["files"].as_array().expect("files");
    assert!(files.len() == 4 && files.iter().all(|file| file["state"] == "written"), "{json}");
    let path = root.path().join("etc/docker/certs.d/r.example:5000/ca.crt");
    assert_eq!(fs::read_to_string(&path).expect("the file written"), ca);
    assert_eq!(run(&["docker"]).1["files"][0]["state"], "unchanged");
    fs::write(&path, "somebody else's").expect("a file in scratch");
    let (refused, _) = run(&["docker"]);
    assert!(!refused.status.success() && said(&refused).contains("--force"), "{}", said(&refused));
    assert_eq!(run(&["docker", "--force"]).1["files"][0]["state"], "written");
    let bad = server.command(&["trust", "--host", "../../x"]);
    assert_eq!(bad.status.code(), Some(2), "{}", said(&bad));
}
