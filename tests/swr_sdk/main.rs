//! Huawei's Python SDK drives the management API of the real binary over TLS, trusting the appliance's own CA. The
//! SDK comes from PyPI into an environment below `target/`; without network the tests say so and pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

mod days;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use serde_json::{Map, Value, json};
use support::{Server, Settings, skipped};

/// What `management.py` drives, as the SDK names it.
const MANAGEMENT: &[&str] = &[
    "check_agency",
    "create_agency",
    "create_authorization_token",
    "create_namespace",
    "create_namespace_auth",
    "create_repo",
    "create_repo_domains",
    "create_secret",
    "create_user_repository_auth",
    "delete_namespace_auth",
    "delete_namespaces",
    "delete_repo",
    "delete_repo_domains",
    "delete_user_repository_auth",
    "list_api_versions",
    "list_namespaces",
    "list_quotas",
    "list_repo_domains",
    "list_repos_details",
    "list_shared_repos_details",
    "show_access_domain",
    "show_api_version",
    "show_domain_overview",
    "show_domain_resource_reports",
    "show_namespace",
    "show_namespace_auth",
    "show_repository",
    "show_share_feature_gates",
    "show_user_repository_auth",
    "update_namespace_auth",
    "update_repo",
    "update_repo_domains",
    "update_user_repository_auth",
];

/// What `images.py` drives: all the rest of the basic edition.
const IMAGES: &[&str] = &[
    "create_image_sync_repo",
    "create_manual_image_sync_repo",
    "create_repo_tag",
    "create_retention",
    "create_trigger",
    "delete_image_sync_repo",
    "delete_repo_tag",
    "delete_retention",
    "delete_trigger",
    "list_image_auto_sync_repos_details",
    "list_references",
    "list_repo_accessories",
    "list_repo_details",
    "list_repository_tag",
    "list_repository_tags",
    "list_retention_histories",
    "list_retentions",
    "list_shared_repo_details",
    "list_sync_regions",
    "list_triggers_details",
    "show_repo_tag",
    "show_retention",
    "show_sync_job",
    "show_trigger",
    "update_retention",
    "update_trigger",
];

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/swr_sdk")
}

/// A Python with the SDK, made once; none, loudly, without Python or network.
fn python() -> Option<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("swr-sdk");
    let (python, ready) = (home.join("bin/python"), home.join("ready"));
    let wanted = std::fs::read_to_string(folder().join("requirements.txt")).expect("a file of this folder");
    if std::fs::read_to_string(&ready).is_ok_and(|made| made == wanted) {
        return Some(python);
    }
    let run = |program: &Path, arguments: &[&str]| match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            eprintln!("{}", said(&output));
            false
        }
        Err(_) => false,
    };
    let place = home.to_str().expect("a plain path");
    let requirements = folder().join("requirements.txt");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    let install = [&install[..], &[requirements.to_str().expect("a plain path")]].concat();
    if !run(Path::new("python3"), &["-m", "venv", "--clear", place]) || !run(&python, &install) {
        skipped("needs python3 with venv, and PyPI for Huawei's SDK");
        return None;
    }
    std::fs::write(&ready, wanted).expect("a file in scratch");
    Some(python)
}

fn command(server: &Server, line: &str) -> Value {
    let arguments: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    let output = server.command(&arguments);
    assert!(output.status.success(), "{line}: {}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What a script is told: where the server is, its CA, and the accounts `main` (`admin`, `ann`) and `beta` (`betty`).
fn furnished(server: &Server) -> Value {
    command(server, "init --generate-password");
    command(server, "user add ann");
    command(server, "account add beta --user betty --generate-password");
    let mut people = Map::new();
    for (account, user) in [("main", "admin"), ("main", "ann"), ("beta", "betty")] {
        let key = command(server, &format!("key add {user} --account {account}"));
        let shown = command(server, &format!("user show {user} --account {account}"));
        let person = json!({"id": shown["id"], "key": key["key"], "secret": key["secret"]});
        people.insert(user.to_owned(), person);
    }
    let ca = server.data().join("tls/ca.crt");
    json!({"endpoint": format!("https://{}", server.address()), "ca": ca, "people": people})
}

/// Runs a script, which is told `given`: the operations it prints, sorted.
fn run(python: &Path, script: &str, given: &str) -> Vec<String> {
    run_with(python, script, given, &[])
}

/// The same with more in its environment.
fn run_with(python: &Path, script: &str, given: &str, environment: &[(String, String)]) -> Vec<String> {
    let home = tempfile::tempdir().expect("a scratch folder");
    let mut child = Command::new(python)
        .arg(folder().join(script))
        .env("HOME", home.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the Python made above");
    // One that reads nothing may have ended already.
    drop(child.stdin.take().expect("piped").write_all(given.as_bytes()));
    let output = child.wait_with_output().expect("the child is ours");
    assert!(output.status.success(), "{script}:\n{}", said(&output));
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    serde_json::from_str(&last).expect("operations")
}

/// Runs a script against a server of its own: the operations it drove, sorted.
fn drive(script: &str) -> Option<Vec<String>> {
    let python = python()?;
    let server = Server::own(Settings { closed: true, ..Settings::default() }.set("TLS_MODE", "auto"))?;
    Some(run(&python, script, &furnished(&server).to_string()))
}

#[test]
fn the_python_sdk_manages_organisations_images_shares_and_logins() {
    let Some(driven) = drive("management.py") else { return };
    assert_eq!(driven, MANAGEMENT);
}

#[test]
fn the_python_sdk_manages_versions_and_is_refused_what_has_no_engine() {
    let Some(driven) = drive("images.py") else { return };
    assert_eq!(driven, IMAGES);
}

#[test]
fn the_scripts_drive_all_that_the_python_sdk_offers_of_the_basic_edition() {
    let Some(python) = python() else { return };
    let mut driven = [MANAGEMENT, IMAGES].concat();
    driven.sort_unstable();
    assert_eq!(run(&python, "basic.py", ""), driven);
}
