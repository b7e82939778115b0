//! The administration's API against the document it serves: what `pierhead openapi` prints is what the
//! server answers, and schemathesis (PyPI), which makes requests from the document, finds no answer that
//! the document does not have. schemathesis speaks TCP, so a bridge to the socket stands between, and the
//! peer the server sees is this process.
//!
//! It is installed into a folder of the build, it and all it needs at fixed versions (`fixtures/schemathesis.txt`):
//! with a fixed seed the requests are always the same. Where that cannot be (no network, no python3-venv) the test is
//! skipped, loudly; with `PIERHEAD_REQUIRE_CLIENTS=1` it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use support::http::read_response;
use support::{Server, Settings};

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,negative_data_rejection";
/// Requests an operation at most, beside those of the phase `coverage`: about a minute and a half in all.
const EXAMPLES: &str = "10";
const SEED: &str = "20";

/// Operations that the run cannot get done, and why.
const NEVER_DONE: [(&str, &str); 4] = [
    ("ban-create", "its bodies name nobody who can be banned; tests/guard.rs does it"),
    ("init", "there is an account before the first request"),
    ("removal-hold-end", "ids of holds are random"),
    ("removal-hold-renew", "the same"),
];

#[test]
fn the_server_answers_the_document_that_the_command_prints() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let mut stream = UnixStream::connect(server.data().join("admin.sock")).expect("a socket that listens");
    stream.write_all(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").expect("the request is sent");
    let answer = read_response(&mut BufReader::new(stream), "GET", "openapi".to_owned()).expect("an answer");
    assert_eq!(answer.expect(200).json(), printed());
}

/// What the command prints, without a server.
fn printed() -> Value {
    let output = support::server::binary().arg("openapi").output().expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn schemathesis_finds_no_answer_that_the_document_does_not_have() {
    let Some(tool) = schemathesis() else { return };
    let Some(server) = Server::own(Settings::default()) else { return };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let bridge = bridge(server.data().join("admin.sock"));
    let mut document = printed();
    strict(&mut document);
    fs::write(scratch.path().join("openapi.json"), document.to_string()).expect("a file");
    let statuses = scratch.path().join("statuses.json");
    let mut command = Command::new(tool);
    command.current_dir(scratch.path()).args(["run", "openapi.json", "--url", &format!("http://{bridge}")]);
    command.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES]);
    command.args(["--seed", SEED, "--generation-database", "none", "--request-timeout", "60"]);
    command.args(["--continue-on-failure", "--warnings", "off", "--no-color"]);
    // They are about the tool; one of them is how long a busy machine takes to make ten examples.
    command.args(["--suppress-health-check", "all"]);
    command.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("SCHEMATHESIS_HOOKS", "schemathesis_hooks");
    command.env("PIERHEAD_ADMIN", format!("http://{bridge}")).env("PIERHEAD_STATUSES", &statuses);
    command.env("PIERHEAD_REGISTRY", format!("http://{}", server.address()));
    let output = command.output().expect("schemathesis starts");
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{wrong}");
    assert!(said.contains("passed"), "it ran: {said}{wrong}");
    was_done(&statuses, &document);
}

/// Every operation was asked for, and done at least once, but for those listed.
fn was_done(statuses: &Path, document: &Value) {
    let text = fs::read_to_string(statuses).expect("the statuses");
    let statuses: BTreeMap<String, Vec<u16>> = serde_json::from_str(&text).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.values().flat_map(|methods| methods.as_object().expect("methods").values());
    let ids = operations.map(|operation| operation["operationId"].as_str().expect("an id"));
    let is_done = |id: &&str| statuses.get(*id).is_some_and(|seen| seen.contains(&200));
    let is_known = |id: &&str| NEVER_DONE.iter().any(|(known, _)| known == id);
    let only_refused: Vec<&str> = ids.filter(|id| !is_done(id) && !is_known(id)).collect();
    assert!(only_refused.is_empty(), "only refused: {only_refused:?}: {text}");
}

/// Answers may have no property that the document does not name. Clients get the open form, so that a
/// later version can add some.
fn strict(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object_mut().expect("schemas");
    for schema in schemas.iter_mut().filter(|(name, _)| *name != "OpenApi").map(|(_, schema)| schema) {
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = json!(false);
        }
    }
}

/// A TCP port of loopback whose connections end at `socket`.
fn bridge(socket: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // The server is gone: so is the test.
            let Ok(server) = UnixStream::connect(&socket) else { return };
            let (mut from, mut to) =
                (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let (mut from, mut to) = (server, client);
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

/// The tool, installed at its version unless that was done before; none, loudly, if it cannot be.
fn schemathesis() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let (tool, whole) = (folder.join("bin/st"), folder.join("installed"));
    let versions = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schemathesis.txt");
    let wanted = fs::read_to_string(&versions).expect("a file of this folder");
    if fs::read_to_string(&whole).is_ok_and(|made| made == wanted) {
        return Some(tool);
    }
    let python = support::clients::find("python3");
    let installed = python.ok_or_else(|| "python3 is not installed".to_owned()).and_then(|python| {
        let _ = fs::remove_dir_all(&folder);
        run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
        let install = ["install", "--quiet", "--disable-pip-version-check", "--retries", "10", "-r"];
        run(Command::new(folder.join("bin/pip")).args(install).arg(&versions))?;
        fs::write(&whole, &wanted).map_err(|error| error.to_string())
    });
    let reason = installed.as_ref().err().cloned().unwrap_or_default();
    support::clients::skip_unless(installed.is_ok(), &format!("schemathesis cannot be installed: {reason}"))
        .then_some(tool)
}

/// Runs a command; what it said if it failed.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}
