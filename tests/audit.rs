//! The audit trail as an operator meets it: every change of the administration is in it, with its answer, over kills
//! and restarts; secrets never are; it is searched, exported and checked by the commands.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use support::server::binary;
use support::{Server, Settings};

const PASSWORD: &str = "a horse, of course";

fn run(data: &Path, line: &str, stdin: &str) -> Output {
    let mut command = binary();
    command.args(line.split(' ')).arg("--data").arg(data);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the binary starts");
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("the child is ours")
}

fn done(data: &Path, line: &str) -> String {
    let output = run(data, line, &format!("{PASSWORD}\n"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn listed(data: &Path, filter: &str) -> Vec<Value> {
    let answer = done(data, &format!("audit list --oldest --limit 1000 --json{filter}"));
    let page: Value = serde_json::from_str(&answer).expect("JSON");
    page["items"].as_array().expect("a list").clone()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["trace_name"].as_str().expect("text")).collect()
}

#[test]
fn what_administrators_do_is_in_the_trail_over_kills_and_never_a_secret() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    done(&data, "init --password-stdin");
    let settings = Settings::default().closed();
    let Some(mut server) = Server::on_data(&data, settings) else { return };
    let changes = [
        ("user add ann --password-stdin", "createUser", "ann"),
        ("org add acme", "createUserNamespace", "acme"),
        ("grant set acme ann edit", "createUserNamespaceAuth", "ann"),
        ("key add ann", "createAccessKey", "ann"),
        ("repo add acme/web", "createImageRepository", "acme/web"),
    ];
    for (line, ..) in changes {
        done(&data, line);
    }
    // Killed with the answer just given: it is there.
    done(&data, "org add last");
    server.kill();
    server.start();
    let events = listed(&data, "");
    let found = names(&events);
    for (line, name, resource) in changes {
        let fits = |event: &&Value| event["trace_name"] == name && event["resource_name"] == resource;
        assert_eq!(events.iter().filter(fits).count(), 1, "{line}: {found:?}");
    }
    for event in &events {
        let text = event.to_string();
        assert!(!text.contains(PASSWORD), "{text}");
        assert_eq!(event["trace_rating"], "normal", "{text}");
        assert_eq!(event["user"], "local administrator", "{text}");
        assert!(event["source_ip"].as_str().is_some_and(|source| source.starts_with("uid ")), "{text}");
    }
    let last = events.iter().rev().find(|event| event["trace_name"] == "createUserNamespace").expect("there");
    assert_eq!((&last["resource_name"], &last["code"]), (&"last".into(), &200.into()));

    // A refusal, and filters.
    assert!(!run(&data, "org add last", "").status.success());
    let warnings = listed(&data, " --rating warning");
    assert_eq!(names(&warnings), ["createUserNamespace"]);
    assert_eq!(warnings[0]["code"], 409);
    assert_eq!(listed(&data, " --resource last --since 1h").len(), 2);
    assert_eq!(listed(&data, " --user nobody").len(), 0);
    assert!(listed(&data, " --account main --name createUser").len() == 1);
    assert!(done(&data, "audit list").contains("createUser"));

    // Everything, as JSON lines, plain and packed.
    let plain = done(&data, "audit export --until 0s");
    let lines: Vec<Value> = plain.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.len() > 5 && lines.is_sorted_by_key(|line| line["trace_id"].to_string()));
    let packed = folder.path().join("events.zst");
    done(&data, &format!("audit export --zstd --output {}", packed.display()));
    let unpacked = zstd::decode_all(std::fs::File::open(&packed).expect("a file")).expect("zstd");
    assert!(String::from_utf8(unpacked).expect("UTF-8").starts_with(&plain[..plain.len() / 2]));
    assert!(!run(&data, &format!("audit export --output {}", packed.display()), "").status.success());

    assert!(done(&data, "status").contains("audit "));
    server.stop();
    let report: Value = serde_json::from_str(&done(&data, "fsck --json")).expect("JSON");
    assert_eq!(report["report"]["findings"].as_array().map(Vec::len), Some(0), "{report}");
}
