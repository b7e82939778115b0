//! The admin socket of a running server, and the commands that ask on it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use std::fs::{self, Permissions};
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use support::certificates::renew;
use support::http::read_response;
use support::server::{binary, lab};
use support::wait::{until, until_true};
use support::{Response, Rng, Server, Settings, text};

const SOON: Duration = Duration::from_secs(60);

fn server() -> Option<Server> {
    Server::own(Settings::default())
}

fn socket(server: &Server) -> PathBuf {
    server.data().join("admin.sock")
}

/// One request on the admin socket, as `head` (method and target) and body say.
fn ask(server: &Server, head: &str, body: &[u8]) -> Response {
    let mut stream = UnixStream::connect(socket(server)).expect("a socket that listens");
    stream.set_read_timeout(Some(support::http::PATIENCE)).expect("a time limit");
    let length = body.len();
    let request =
        format!("{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the head is sent");
    // A refusal may come before everything is written.
    let _ = stream.write_all(body);
    let method = head.split(' ').next().expect("a method");
    read_response(&mut BufReader::new(stream), method, head.to_owned()).expect("an answer")
}

/// Runs a command that must succeed; what it printed.
fn done(server: &Server, arguments: &[&str]) -> String {
    let output = server.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that must be refused; what it said.
fn refused(output: &Output, code: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn uploads(server: &Server) -> Vec<Value> {
    let answer: Value = serde_json::from_str(&done(server, &["upload", "list", "--json"])).expect("JSON");
    answer["items"].as_array().expect("a list").clone()
}

fn id(location: &str) -> String {
    location.rsplit('/').next().expect("a location").to_owned()
}

/// An upload of which `bytes` came, and whose request goes on.
fn receiving(server: &Server, location: &str, bytes: u64) -> TcpStream {
    let mut stream = server.http().connect().expect("a connection");
    let head = server.http().patch(location).header("Content-Length", 10 * bytes).head_bytes();
    stream.write_all(&head).expect("the head is sent");
    stream.write_all(&Rng::named("receiving").bytes(bytes as usize)).expect("a part is sent");
    until_true("the part is seen", SOON, || {
        uploads(server).iter().any(|u| u["state"] == "receiving" && u["offset"] == bytes)
    });
    stream
}

#[test]
fn an_upload_is_listed_while_it_is_received_and_while_it_waits() {
    let Some(server) = server() else { return };
    assert_eq!(done(&server, &["upload", "list"]), "no upload is open\n");
    let (first, second) = (server.repository(), server.repository());
    let (busy, waiting) = (first.begin(), second.begin());
    let _stream = receiving(&server, &busy, 3 << 20);
    let name = |location: &str| {
        location.split("/v2/").nth(1).and_then(|p| p.split("/blobs/").next()).unwrap().to_owned()
    };
    for (location, state, offset) in [(&busy, "receiving", 3 << 20), (&waiting, "waiting", 0)] {
        let shown = ask(&server, &format!("GET /api/v1/uploads/{}", id(location)), b"").expect(200).json();
        assert_eq!((&shown["state"], &shown["offset"]), (&json!(state), &json!(offset)));
        assert_eq!((&shown["repository"], &shown["actor"]), (&json!(name(location)), &json!("anonymous")));
        let keys: Vec<&String> = shown.as_object().expect("an object").keys().collect();
        let all = ["actor", "age_ms", "id", "idle_ms", "offset", "opened_at", "repository", "state"];
        assert_eq!(keys, all, "the shape of an upload");
    }
    let table = done(&server, &["upload", "list", "--repository", &name(&busy)]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("ID "), "{table}");
    assert!(lines[1].starts_with(&id(&busy)) && lines[1].contains("3.0 MiB"), "{table}");
    let status: Value = serde_json::from_str(&done(&server, &["status", "--json"])).expect("JSON");
    assert_eq!(status["uploads"], json!({"open": 2, "receiving": 1, "limit": status["uploads"]["limit"]}));
}

#[test]
fn a_list_pages_by_id_until_there_is_no_next() {
    let Some(server) = server() else { return };
    let repository = server.repository();
    let mut opened: Vec<String> = (0..5).map(|_| id(&repository.begin())).collect();
    opened.sort();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = ask(&server, &format!("GET /api/v1/uploads?limit=2{after}"), b"").expect(200).json();
        seen.extend(
            page["items"].as_array().expect("a list").iter().map(|u| u["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, opened);
}

#[test]
fn an_upload_at_rest_is_aborted_with_its_files_and_unknown_to_its_client() {
    let Some(server) = server() else { return };
    let location = server.repository().begin();
    server.http().patch(&location).body(vec![7; 100_000]).send().expect(202);
    let folder = server.data().join("uploads").join(id(&location));
    assert!(folder.exists());
    let would = done(&server, &["upload", "abort", "--dry-run", &id(&location)]);
    assert!(would.contains("would abort") && folder.exists(), "{would}");
    let said = done(&server, &["upload", "abort", &id(&location)]);
    assert!(said.contains(&id(&location)) && said.contains("97.7 KiB"), "{said}");
    assert!(!folder.exists(), "its space is free when the command is done");
    server.http().get(&location).send().refused(404, "BLOB_UPLOAD_UNKNOWN");
    server.http().patch(&location).body("more").send().refused(404, "BLOB_UPLOAD_UNKNOWN");
    let again = server.command(&["upload", "abort", &id(&location)]);
    assert!(refused(&again, 1).contains("there is no such upload"));
}

#[test]
fn an_upload_that_is_being_received_is_aborted_and_its_request_fails_at_once() {
    let Some(server) = server() else { return };
    let location = server.repository().begin();
    let stream = receiving(&server, &location, 1 << 20);
    let aborted = ask(&server, &format!("DELETE /api/v1/uploads/{}", id(&location)), b"").expect(200).json();
    assert_eq!(aborted["state"], "receiving");
    assert!(!server.data().join("uploads").join(id(&location)).exists());
    // The client has not sent the rest, and is not waited for.
    let answer = read_response(&mut BufReader::new(stream), "PATCH", location.clone()).expect("an answer");
    answer.refused(404, "BLOB_UPLOAD_UNKNOWN");
    server.http().get(&location).send().refused(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(uploads(&server), Vec::<Value>::new());
    // The place is free again, and the server well.
    server.repository().push_blob(b"after the abort");
}

#[test]
fn a_last_request_that_is_under_way_is_aborted_too() {
    let Some(server) = server() else { return };
    let repository = server.repository();
    let location = repository.begin();
    let content = Rng::named("last").bytes(1 << 20);
    let digest = support::sha256(&content);
    let target = support::http::with_query(&location, &format!("digest={digest}"));
    let mut stream = server.http().connect().expect("a connection");
    let put = server.http().put(&target).header("Content-Length", content.len()).head_bytes();
    stream.write_all(&put).expect("the head is sent");
    stream.write_all(&content[..500_000]).expect("a part is sent");
    until_true("the part is seen", SOON, || uploads(&server).iter().any(|u| u["offset"] == 500_000));
    done(&server, &["upload", "abort", &id(&location)]);
    let answer = read_response(&mut BufReader::new(stream), "PUT", target).expect("an answer");
    answer.refused(404, "BLOB_UPLOAD_UNKNOWN");
    repository.head(&format!("blobs/{digest}")).expect(404);
    repository.push_blob(&content);
}

#[test]
fn uploads_are_aborted_by_repository_age_and_idleness_and_all_at_once() {
    let Some(server) = server() else { return };
    let (one, other) = (server.repository(), server.repository());
    let (mine, theirs) = (id(&one.begin()), id(&other.begin()));
    for conditions in [&["--older-than", "1h"][..], &["--idle-for", "1h"], &["--repository", "no/such"]] {
        let said = done(&server, &[&["upload", "abort"], conditions].concat());
        assert_eq!(said, "aborted 0 in all, 0 B\n", "{conditions:?}");
    }
    let said = done(
        &server,
        &["upload", "abort", "--repository", one.path("").replace("/v2/", "").trim_end_matches('/')],
    );
    assert!(said.contains(&mine) && !said.contains(&theirs), "{said}");
    let would = done(&server, &["upload", "abort", "--all", "--dry-run", "--json"]);
    let would: Value = serde_json::from_str(&would).expect("JSON");
    assert_eq!((would["dry_run"].clone(), would["items"][0]["id"].clone()), (json!(true), json!(theirs)));
    assert_eq!(uploads(&server).len(), 1);
    assert!(done(&server, &["upload", "abort", "--older-than", "0s", "--idle-for", "0s"]).contains(&theirs));
    assert!(uploads(&server).is_empty());
}

#[test]
fn wrong_usage_is_told_from_refusal_by_its_exit_code() {
    let Some(server) = server() else { return };
    let wrong: [&[&str]; 5] = [
        &["upload", "abort"],
        &["upload", "abort", "../status"],
        &["upload", "abort", "--all", "5f0c0d4c9f1e4b7a8d2e3f4a5b6c7d8e"],
        &["upload", "abort", "--older-than", "2"],
        &["upload", "frob"],
    ];
    for arguments in wrong {
        refused(&server.command(arguments), 2);
    }
    let said = refused(&server.command(&["upload", "list", "--repository", "No/Name"]), 1);
    assert!(said.contains("No/Name"), "{said}");
}

#[test]
fn what_the_api_does_not_know_is_refused_in_one_shape() {
    let Some(server) = server() else { return };
    let large = vec![b' '; (1 << 20) + 1];
    let cases: [(&str, &[u8], u16, &str); 15] = [
        ("GET /api/v1/frob", b"", 404, "path_unknown"),
        ("GET /v2/", b"", 404, "path_unknown"),
        ("GET /api/v1/status/", b"", 404, "path_unknown"),
        ("PUT /api/v1/status", b"", 405, "method_unknown"),
        ("GET /api/v1/uploads?frob=1", b"", 400, "query_invalid"),
        ("GET /api/v1/status?frob=1", b"", 400, "query_invalid"),
        ("GET /api/v1/uploads?limit=0", b"", 400, "query_invalid"),
        ("POST /api/v1/uploads/abort", b"{\"frob\": 1}", 400, "body_invalid"),
        ("POST /api/v1/uploads/abort", b"", 400, "body_invalid"),
        // A list is no object, though serde would read it as one.
        ("POST /api/v1/uploads/abort", b"[null, 0, 0, true]", 400, "body_invalid"),
        ("POST /api/v1/accounts", b"[\"acme\", {\"name\": \"ann\"}]", 400, "body_invalid"),
        ("POST /api/v1/accounts", b"{\"name\": \"acme\", \"administrator\": [\"ann\"]}", 400, "body_invalid"),
        ("GET /api/v1/status", b"{}", 400, "body_invalid"),
        ("POST /api/v1/uploads/abort", &large, 413, "body_too_large"),
        ("DELETE /api/v1/uploads/0", b"", 404, "upload_unknown"),
    ];
    for (head, body, status, code) in cases {
        let answer = ask(&server, head, body).expect(status).json();
        let error = answer["error"].as_object().expect("an error");
        assert_eq!(error.keys().collect::<Vec<_>>(), ["code", "message"], "{head}");
        assert_eq!((error["code"].as_str(), error["message"].is_string()), (Some(code), true), "{head}");
    }
    let allow = ask(&server, "PUT /api/v1/uploads/0", b"").expect(405);
    assert_eq!(allow.need("allow"), "GET, DELETE");
}

#[test]
fn a_repository_is_shown_by_its_whole_name_though_the_path_leaves_library_out() {
    let Some(server) = server() else { return };
    let first = json!({"name": "main", "administrator": {"name": "root1"}}).to_string();
    ask(&server, "POST /api/v1/init", first.as_bytes()).expect(200);
    for head in ["PUT /api/v1/repositories/web", "GET /api/v1/repositories/web"] {
        let body: &[u8] = if head.starts_with("PUT") { b"{}" } else { b"" };
        assert_eq!(ask(&server, head, body).expect(200).json()["name"], "library/web", "{head}");
    }
}

#[test]
fn the_status_says_where_the_server_listens_and_how_it_is() {
    let Some(server) = server() else { return };
    let status: Value = serde_json::from_str(&done(&server, &["status", "--json"])).expect("JSON");
    assert_eq!(status["listening"]["addresses"], json!([server.address().to_string()]));
    assert_eq!(status["listening"]["admin"], json!(socket(&server)));
    assert_eq!((&status["process"], &status["metadata"]["readable"]), (&json!(server.pid()), &json!(true)));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let words = done(&server, &["status"]);
    assert!(words.contains(&server.address().to_string()) && words.contains("well"), "{words}");
    let index = ask(&server, "GET /api/v1", b"").expect(200).json();
    assert!(index["items"].as_array().expect("a list").iter().any(|o| o["path"] == "/api/v1/status"));
}

#[test]
fn a_reload_reads_the_certificate_again_or_says_why_not() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    renew(folder.path());
    let Some(server) = Server::own(support::certificates::settings(folder.path())) else { return };
    renew(folder.path());
    assert!(done(&server, &["reload"]).contains("new certificate"));
    fs::write(folder.path().join("cert.pem"), "no certificate").expect("a file in scratch");
    let said = refused(&server.command(&["reload"]), 1);
    assert!(said.contains("nothing was changed") && said.contains("cert.pem"), "{said}");
}

/// The command as another user of this host, if this one may become him.
fn as_nobody(scratch: &Path, socket: &Path) -> Option<Output> {
    // Where the binary was built, others may have no way.
    let program = scratch.join("pierhead");
    // By another process: a program that this one holds open for writing cannot be run, and what other threads
    // start at that moment holds it for a while, too.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_pierhead")).arg(&program).status();
    assert!(copied.expect("cp starts").success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    let output = command.args(["status", "--socket"]).arg(socket).output().ok()?;
    (!text(&output.stderr).starts_with("setpriv:")).then_some(output)
}

#[test]
fn another_user_is_refused_by_the_files_mode_and_by_who_he_is() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = folder.path().join("data");
    let Some(server) = Server::on_data(&data, Settings::default()) else { return };
    for path in [folder.path(), &data] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("our folder");
    }
    let socket = socket(&server);
    let mode = fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let Some(output) = as_nobody(folder.path(), &socket) else {
        support::skipped("needs root and setpriv, to become another user");
        return;
    };
    assert!(refused(&output, 1).contains("you may not use"));
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).expect("our socket");
    let output = as_nobody(folder.path(), &socket).expect("as before");
    assert!(refused(&output, 1).contains("you are user 65534"));
    done(&server, &["status"]);
}

#[test]
fn without_a_server_a_command_says_so_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let output = binary().args(["status", "--data"]).arg(folder.path()).output().expect("the binary starts");
    let said = refused(&output, 1);
    assert!(said.contains("no server answers") && said.contains("pierhead serve"), "{said}");
}

#[test]
fn the_socket_goes_at_a_stop_and_one_that_a_crash_left_is_replaced() {
    let Some(mut server) = server() else { return };
    assert!(socket(&server).exists());
    assert!(server.stop().success());
    assert!(!socket(&server).exists(), "a stop removes it");
    server.start();
    server.kill();
    assert!(socket(&server).exists(), "a crash leaves it");
    assert!(refused(&server.command(&["status"]), 1).contains("no server answers"));
    let fsck = server.command(&["fsck"]);
    assert!(fsck.status.success(), "{}", text(&fsck.stdout));
    server.start();
    done(&server, &["status"]);
}

#[test]
fn a_second_server_on_the_same_data_leaves_the_socket_of_the_first_alone() {
    let Some(server) = server() else { return };
    let second = server.command(&["serve", "--lab", "--listen", "127.0.0.1:0"]);
    assert!(refused(&second, 1).contains("in use by process"));
    done(&server, &["status"]);
}

/// Starts a server on fresh data with `admin.socket` set; what it said when it refused.
fn refused_with_socket(path: &Path) -> String {
    let folder = tempfile::tempdir().expect("a scratch folder");
    refused(&lab(folder.path()).env("PIERHEAD_ADMIN_SOCKET", path).output().expect("the binary starts"), 1)
}

#[test]
fn a_socket_path_that_is_taken_or_no_socket_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (file, taken) = (folder.path().join("file"), folder.path().join("taken"));
    fs::write(&file, "somebody's").expect("a file in scratch");
    let said = refused_with_socket(&file);
    assert!(said.contains("is not a socket") && said.contains("admin.socket"), "{said}");
    assert_eq!(fs::read_to_string(&file).expect("still there"), "somebody's");
    let _listener = UnixListener::bind(&taken).expect("a listener of another program");
    assert!(refused_with_socket(&taken).contains("another process listens"));
    assert!(fs::metadata(&taken).expect("still there").file_type().is_socket());
    assert!(refused_with_socket(&folder.path().join("no/such/folder")).contains("cannot listen on"));
}

#[test]
fn the_socket_can_be_elsewhere_far_down_or_off() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let deep = folder.path().join("d".repeat(150));
    fs::create_dir(&deep).expect("a folder in scratch");
    let path = deep.join("s");
    let settings = Settings::default().set("ADMIN_SOCKET", path.to_str().expect("a plain path"));
    let Some(mut server) = Server::own(settings) else { return };
    let ask =
        |path: &Path| binary().args(["status", "--socket"]).arg(path).output().expect("the binary starts");
    assert!(ask(&path).status.success(), "{}", text(&ask(&path).stderr));
    assert!(!socket(&server).exists());
    server.stop();
    assert!(!path.exists());
    let Some(mut off) = Server::own(Settings::default().set("ADMIN_SOCKET", "")) else { return };
    assert!(!socket(&off).exists());
    off.repository().push_blob(b"it serves all the same");
    assert!(off.stop().success());
}

#[test]
fn an_idle_administrator_does_not_hold_up_a_stop() {
    let Some(mut server) = server() else { return };
    let _idle = UnixStream::connect(socket(&server)).expect("a socket that listens");
    server.terminate();
    let gone = socket(&server);
    until("the socket goes", SOON, || (!gone.exists()).then_some(()));
    assert!(server.wait_for_exit().success());
    server.until_logged("every request was finished");
}
