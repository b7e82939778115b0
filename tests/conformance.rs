//! The OCI distribution conformance suite against the real binary, everything it can test switched
//! on. The suite is a Go program: it is taken from `PIERHEAD_CONFORMANCE`, or built from its module
//! at a fixed version. Where neither can be had the test is skipped, loudly, unless
//! `PIERHEAD_REQUIRE_CONFORMANCE=1`; `tests/protocol` asserts by itself what the suite asserts.
//! Verdicts come from its `junit.xml`: it exits 0 on a bad configuration, and counts what a registry
//! does not support as skipped.
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
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Server, Settings};

const MODULE: &str = "github.com/opencontainers/distribution-spec/conformance";
const VERSION: &str = "v0.0.0-20260716174315-967efdc079b9";

/// What the suite does last.
const LAST: &str = "invalid-digest-format/manifest-get";

/// The image of the sparse data set names a layer that was never pushed. Pierhead refuses it, since
/// what it accepts can be pulled whole (`MANIFEST_BLOB_UNKNOWN`, which the specification allows), unless
/// `registry.sparse_manifests` says otherwise; what the suite then asks about that one image fails with
/// it. The sparse index is accepted.
const SPARSE: &str = "an image is accepted only with its layers";

/// Cases the suite may not pass, how often each occurs, and why.
const REFUSED: [(&str, usize, &str); 7] = [
    ("sparse/push/manifest-by-digest", 1, SPARSE),
    ("sparse/push/manifest-by-tag", 1, SPARSE),
    ("sparse/tag-list", 1, SPARSE),
    ("sparse/head/manifest-head-by-digest", 1, SPARSE),
    ("sparse/head/manifest-head-by-tag", 1, SPARSE),
    ("sparse/pull/manifest-by-digest", 1, SPARSE),
    ("sparse/pull/manifest-by-tag", 1, SPARSE),
];

/// Cases the suite may skip, how often each occurs, and why.
const SKIPPED: [(&str, usize, &str); 0] = [];

const DATA: [&str; 15] = [
    "IMAGE",
    "INDEX",
    "INDEX_LIST",
    "SPARSE",
    "ARTIFACT",
    "SUBJECT",
    "SUBJECT_MISSING",
    "ARTIFACT_LIST",
    "SUBJECT_LIST",
    "DATA_FIELD",
    "NONDISTRIBUTABLE",
    "CUSTOM_FIELDS",
    "NO_LAYERS",
    "EMPTY_BLOB",
    "SHA512",
];

#[test]
fn the_oci_conformance_suite_passes_but_for_the_cases_listed() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let Some(suite) = suite_or_skip(scratch.path()) else { return };
    let cases = run(&suite, &Server::shared(), scratch.path());
    check(&cases, "failure", &REFUSED);
    check(&cases, "skipped", &SKIPPED);
}

#[test]
fn the_oci_conformance_suite_passes_whole_where_sparse_images_are_allowed() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let Some(suite) = suite_or_skip(scratch.path()) else { return };
    let sparse = Settings::default().set("REGISTRY_SPARSE_MANIFESTS", "true");
    let Some(server) = Server::own(sparse) else { return };
    let cases = run(&suite, &server, scratch.path());
    check(&cases, "failure", &[]);
    check(&cases, "skipped", &SKIPPED);
}

/// The suite's cases, run with all data sets against `server`.
fn run(suite: &Path, server: &Server, scratch: &Path) -> Vec<Case> {
    let mut command = Command::new(suite);
    command.env("OCI_VERSION", "dev").env("OCI_TLS", "disabled").env("OCI_RESULTS_DIR", scratch);
    command.env("OCI_REGISTRY", server.address().to_string()).current_dir(scratch);
    for name in DATA {
        command.env(format!("OCI_DATA_{name}"), "true");
    }
    let output = command.output().expect("the suite starts");
    let report = fs::read_to_string(scratch.join("junit.xml"))
        .unwrap_or_else(|error| panic!("no report ({error}): {}", String::from_utf8_lossy(&output.stderr)));
    let cases = cases(&report);
    eprintln!("conformance: {} cases, {:?}", cases.len(), count_by(&cases, |case| case.status.clone()));
    assert!(cases.iter().any(|case| case.name.starts_with(LAST)), "the suite ran to its end");
    assert!(
        cases.iter().all(|case| ["passed", "failure", "skipped"].contains(&&*case.status)),
        "a status we do not know"
    );
    cases
}

#[derive(Debug)]
struct Case {
    name: String,
    status: String,
    text: String,
}

/// The cases of a junit report. The suite writes one element a line, attributes quoted and escaped.
fn cases(report: &str) -> Vec<Case> {
    let attribute = |text: &str, name: &str| {
        let rest = text.split_once(&format!(" {name}=\"")).map_or("", |(_, rest)| rest);
        rest.split('"').next().unwrap_or("").to_owned()
    };
    let elements = report.split("<testcase ").skip(1);
    elements
        .map(|element| {
            let head = format!(" {}", element.split('>').next().unwrap_or(""));
            let name = attribute(&head, "name").replace("OCI Conformance Test/", "");
            Case { name, status: attribute(&head, "status"), text: element.to_owned() }
        })
        .collect()
}

fn count_by(cases: &[Case], key: impl Fn(&Case) -> String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for case in cases {
        *counts.entry(key(case)).or_insert(0) += 1;
    }
    counts
}

/// The cases of that status are those listed, in the number listed.
fn check(cases: &[Case], status: &str, listed: &[(&str, usize, &str)]) {
    let with_status: Vec<&Case> = cases.iter().filter(|case| case.status == status).collect();
    let listed: BTreeMap<String, usize> =
        listed.iter().map(|(name, count, _)| ((*name).to_owned(), *count)).collect();
    let mut found = BTreeMap::new();
    for case in &with_status {
        *found.entry(case.name.clone()).or_insert(0) += 1;
    }
    if found != listed {
        for case in with_status.iter().filter(|case| listed.get(&case.name) != found.get(&case.name)).take(10)
        {
            let text = case.text.replace("&#xA;", "\n").replace("&#34;", "\"");
            eprintln!("--- {status}: {}\n{}", case.name, text.chars().take(4000).collect::<String>());
        }
        panic!("{status}: found {found:#?}, expected {listed:#?}");
    }
}

/// A built suite, unless there is none, which is said loudly.
fn suite_or_skip(scratch: &Path) -> Option<PathBuf> {
    match suite(scratch) {
        Ok(path) => Some(path),
        Err(reason) => {
            let required = std::env::var("PIERHEAD_REQUIRE_CONFORMANCE").as_deref() == Ok("1");
            assert!(!required, "the conformance suite: {reason}");
            support::skipped(&reason);
            None
        }
    }
}

/// A built suite, or why there is none.
fn suite(scratch: &Path) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("PIERHEAD_CONFORMANCE") {
        return Ok(PathBuf::from(path));
    }
    let module = format!("module suite\ngo 1.24.0\nrequire {MODULE} {VERSION}\n");
    fs::write(scratch.join("go.mod"), module).map_err(|error| error.to_string())?;
    let binary = scratch.join("suite");
    let mut go = Command::new("go");
    go.args(["build", "-mod=mod", "-o"]).arg(&binary).arg(MODULE).current_dir(scratch);
    let output = go.output().map_err(|error| format!("no Go toolchain: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("").trim();
    if output.status.success() {
        Ok(binary)
    } else {
        Err(format!("`go build {MODULE}@{VERSION}` failed: {last}"))
    }
}
