//! Huawei's Go SDK drives the management API of the real binary over TLS, trusting the appliance's own CA. The SDK
//! comes by the module proxy and is built below `target/`; without Go or network the test says so and passes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{Server, Settings, skipped};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The program beside this file; none, loudly, without Go or network.
fn program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("swr-go");
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/swr_go"))
        .output();
    let why = match &built {
        Ok(output) if output.status.success() => return Some(program),
        Ok(output) => said(output),
        Err(error) => error.to_string(),
    };
    // A program that no longer compiles is a failure, and not a machine without network.
    assert!(!why.contains("main.go:"), "{why}");
    skipped(&format!("needs Go, and its module proxy for Huawei's SDK: {why}"));
    None
}

fn command(server: &Server, line: &str) -> Value {
    let arguments: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    let output = server.command(&arguments);
    assert!(output.status.success(), "{line}: {}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn huaweis_go_sdk_drives_organisations_images_shares_and_logins_and_is_refused_as_it_understands() {
    let Some(program) = program() else { return };
    let settings = Settings { closed: true, ..Settings::default() }.set("TLS_MODE", "auto");
    let Some(server) = Server::own(settings) else { return };
    command(&server, "init --generate-password");
    command(&server, "account add beta --user betty --generate-password");
    let key = command(&server, "key add admin");
    let output = Command::new(program)
        .arg(format!("https://{}", server.address()))
        .env("SSL_CERT_FILE", server.data().join("tls/ca.crt"))
        .env("DRIVE_AK", key["key"].as_str().expect("text"))
        .env("DRIVE_SK", key["secret"].as_str().expect("text"))
        .env("DRIVE_OTHER", "beta")
        .output()
        .expect("the program just built");
    assert!(output.status.success(), "{}", said(&output));
}
