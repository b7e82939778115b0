//! The server as a process: how it starts, what it refuses to start as, how it stops, and that what
//! it answered is there when it starts again.
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
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::certificates::renew;
use support::clients::{Client, require};
use support::http::{read_response, with_query};
use support::server::binary;
use support::wait::until_true;
use support::{Image, Kind, Rng, Server, Settings, sha256};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn images_and_tags_are_there_after_a_stop_and_after_a_crash() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let repository = server.repository();
    let mut rng = Rng::named("restart");
    let image = Image::random(&mut rng, Kind::Oci, &[100, 2_000_000]);
    repository.push("v1", &image);
    assert!(server.stop().success(), "a stop that was asked for is no failure");
    server.start();
    repository.pull_and_compare("v1", &image);
    let other = Image::small(&mut rng);
    repository.push("v2", &other);
    repository.delete("manifests/v1").expect(202);
    server.kill();
    server.start();
    assert_eq!(repository.tags(), ["v2"]);
    repository.pull_and_compare("v2", &other);
    repository.pull_and_compare(&image.digest(), &image);
}

#[test]
fn a_store_that_lost_its_metadata_is_refused_and_whole_again_when_it_is_back() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let repository = server.repository();
    let image = Image::small(&mut Rng::named("lost metadata"));
    repository.push("v1", &image);
    server.kill();
    let (meta, away) = (server.data().join("meta"), server.data().join(".meta-elsewhere"));
    std::fs::rename(&meta, &away).expect("as if its volume were not mounted");
    let output =
        binary().args(["serve", "--lab", "--listen", "127.0.0.1:0", "--data"]).arg(server.data()).output();
    let output = output.expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("no metadata"), "{said}");
    std::fs::rename(&away, &meta).expect("mounted");
    server.start();
    repository.pull_and_compare("v1", &image);
}

#[test]
fn an_empty_registry_is_still_empty_after_crashes() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    for _ in 0..3 {
        server.kill();
        server.start();
        let catalog = server.http().get("/v2/_catalog").send().expect(200).json();
        assert_eq!(catalog, serde_json::json!({ "repositories": [] }));
    }
}

#[test]
fn a_stop_lets_an_upload_under_way_finish() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let repository = server.repository();
    let content = Rng::named("graceful").bytes(1_000_000);
    let digest = sha256(&content);
    let target = with_query(&repository.begin(), &format!("digest={digest}"));
    let mut stream = server.http().connect().expect("a connection");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let put =
        server.http().put(&target).header("Content-Length", content.len()).header("Expect", "100-continue");
    stream.write_all(&put.head_bytes()).expect("the head is sent");
    // The server asks for the body when the upload has been taken up.
    let mut line = String::new();
    reader.read_line(&mut line).expect("an interim answer");
    assert!(line.starts_with("HTTP/1.1 100"), "{line}");
    reader.read_line(&mut line).expect("its end");
    stream.write_all(&content[..600_000]).expect("a part is sent");
    server.terminate();
    until_true("new connections are refused", SOON, || server.http().get("/v2/").try_send().is_err());
    stream.write_all(&content[600_000..]).expect("the rest is sent");
    let answer = read_response(&mut reader, "PUT", target).expect("an answer");
    answer.expect(201);
    assert!(server.wait_for_exit().success());
    server.start();
    assert!(repository.get(&format!("blobs/{digest}")).expect(200).body == content);
}

#[test]
fn the_lab_refuses_addresses_that_others_can_reach() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let output =
        binary().args(["serve", "--lab", "--listen", "0.0.0.0:0", "--data"]).arg(folder.path()).output();
    let output = output.expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("0.0.0.0"), "{said}");
}

#[test]
fn a_taken_port_and_a_taken_folder_are_named() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let address = server.address().to_string();
    let output =
        binary().args(["serve", "--lab", "--listen", &address, "--data"]).arg(folder.path()).output();
    let output = output.expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(&address), "{said}");

    let output =
        binary().args(["serve", "--lab", "--listen", "127.0.0.1:0", "--data"]).arg(server.data()).output();
    let output = output.expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let path = server.data().to_str().expect("a plain path");
    assert!(!output.status.success() && said.contains(path), "{said}");
}

#[test]
fn offline_commands_refuse_a_folder_in_use_and_find_a_healthy_one_healthy() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let repository = server.repository();
    repository.push("v1", &Image::small(&mut Rng::named("offline")));
    let refused = server.command(&["fsck"]);
    assert!(!refused.status.success(), "the server has the folder");
    assert!(server.stop().success());
    let checked = server.command(&["fsck", "--deep"]);
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success(), "{said}");
}

#[test]
fn health_readiness_and_metrics_are_on_their_own_listener() {
    let Some(server) = Server::own(Settings::default().set("METRICS_LISTEN", "127.0.0.1:0")) else { return };
    server.until_logged("monitoring on http://");
    let log = server.log();
    let url = log.lines().find_map(|line| line.split_once("monitoring on http://")).map(|(_, url)| url);
    let address = url.and_then(|url| url.split('/').next()).expect("the banner names the listener");
    let monitoring = support::Http { address: address.parse().expect("an address") };
    monitoring.get("/healthz").send().expect(200);
    monitoring.get("/readyz").send().expect(200);
    server.repository().push("v1", &Image::small(&mut Rng::named("metrics")));
    let text = String::from_utf8(monitoring.get("/metrics").send().expect(200).body).expect("text");
    assert!(text.contains("# TYPE"), "{text}");
    assert!(!text.contains(&server.repository().name), "no label of a size that clients choose");
}

#[test]
fn every_answer_has_a_request_id_that_is_in_the_log() {
    let Some(server) = Server::own(Settings::default().set("LOG_LEVEL", "debug")) else { return };
    let answer = server.repository().get("tags/list").expect(404);
    let id = answer.need("x-request-id").to_owned();
    until_true("the log has the request's id", SOON, || server.log().contains(&id));
}

#[test]
fn a_chunked_upload_that_expected_100_keeps_its_connection() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let patch = server.http().patch(&server.repository().begin()).header("Expect", "100-continue");
    let patch = patch.header("Connection", "keep-alive").chunked([&b"abc"[..]]).head_bytes();
    let next = server.http().get("/v2/").head_bytes();
    let answers = server.http().raw(&[&patch[..], b"3\r\nabc\r\n0\r\n\r\n", &next].concat());
    let answers = String::from_utf8_lossy(&answers);
    let first = answers.split("HTTP/1.1 200 ").next().expect("a first part");
    assert!(first.contains("HTTP/1.1 202 ") && !first.contains("connection: close"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200 "), "the connection serves another request: {answers}");
}

#[test]
fn the_log_has_no_control_characters_of_a_path() {
    let Some(server) = Server::own(Settings::default().set("LOG_LEVEL", "debug")) else { return };
    let answer = server.http().get("/v2/\u{9b}31m\u{202e}/x").send();
    let id = answer.need("x-request-id");
    until_true("the request is logged", SOON, || {
        server.log().lines().any(|line| line.contains(id) && line.contains("31m"))
    });
    assert!(!server.log().contains(['\u{9b}', '\u{202e}']), "{}", server.log());
}

#[test]
fn settings_that_serve_could_not_use_are_not_called_right() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    renew(folder.path());
    fs::copy(path("cert.pem"), path("other.pem")).expect("copied");
    renew(folder.path());
    let tls = |name: &str| format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", path(name), path("key.pem"));
    let rows = [
        ("[registry]\nmax_sessions = 0\n".to_owned(), "registry.max_sessions"),
        ("[registry]\nsessions_per_account = 0\n".to_owned(), "registry.sessions_per_account"),
        ("[registry]\nmax_layer = \"0B\"\n".to_owned(), "registry.max_layer"),
        (tls("none.pem"), "none.pem"),
        (tls("other.pem"), "does not fit"),
        (tls("cert.pem"), ""),
    ];
    for (text, words) in rows {
        fs::write(path("p.toml"), &text).expect("written");
        let output = binary().args(["config", "check", "--json", "--config", &path("p.toml")]).output();
        let output = output.expect("the binary starts");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(output.status.success(), words.is_empty(), "{text}: {answer}");
        assert_eq!(answer["ok"], words.is_empty());
        assert!(answer["problem"].as_str().unwrap_or_default().contains(words), "{text}: {answer}");
    }
}

#[test]
fn a_failed_export_leaves_nothing_and_the_corrected_one_goes_on() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    assert!(server.stop().success());
    let folder = tempfile::tempdir().expect("a scratch folder");
    let target = folder.path().join("metadata.zst");
    let export = |data: &Path| {
        let mut command = binary();
        command.args(["export-metadata", "--data"]).arg(data).arg("--output").arg(&target);
        command.output().expect("the binary starts")
    };
    let files = || fs::read_dir(folder.path()).expect("a folder").count();
    assert!(!export(&folder.path().join("none")).status.success());
    assert_eq!(files(), 0, "nothing is left");
    let done = export(server.data());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let written = fs::read(&target).expect("the export");
    assert!(!written.is_empty());
    let again = export(server.data());
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("metadata.zst"), "{said}");
    assert!(fs::read(&target).expect("the export") == written && files() == 1, "it is not replaced");
    let piped = server.command(&["export-metadata"]);
    assert!(piped.status.success() && !piped.stdout.is_empty());
}

#[test]
fn http_2_is_spoken_where_it_is_switched_on() {
    if !require(&["curl"]) {
        return;
    }
    for (setting, wanted) in [("true", true), ("false", false)] {
        let Some(server) = Server::own(Settings::default().set("SERVER_HTTP2", setting)) else { return };
        let curl = Client::new("curl").always(&["-sS", "--http2-prior-knowledge", "-o", "/dev/null"]);
        let url = format!("http://{}/v2/", server.address());
        let (succeeded, said) = curl.attempt(&["-w", "%{http_version} %{http_code}", &url]);
        assert_eq!(succeeded && said == "2 200", wanted, "http2 = {setting}: {said}");
        server.http().get("/v2/").send().expect(200);
    }
}

/// The file of a blob, by the digest in its name.
fn blob_file(folder: &Path, digest: &str) -> PathBuf {
    let hex = digest.split(':').nth(1).expect("a digest");
    let mut folders = vec![folder.join("blobs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the store") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == hex || name == digest) {
                return path;
            }
        }
    }
    panic!("no file of {digest} below {}", folder.display());
}

#[test]
fn a_push_heals_a_blob_whose_stored_bytes_are_damaged() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let repository = server.repository();
    let content = Rng::named("healed").bytes(3_000_000);
    let digest = repository.push_blob(&content);
    let file = blob_file(server.data(), &digest);
    let mut flipped = content.clone();
    flipped[1_234_567] ^= 1;
    for (case, damage) in [("flipped", Some(&flipped[..])), ("cut", Some(&content[..1000])), ("gone", None)] {
        // A new file: the store never writes to a published one, nor does damage of this kind.
        fs::remove_file(&file).expect("a published file");
        if let Some(bytes) = damage {
            fs::write(&file, bytes).expect("a file of the store");
        }
        let read = repository.request("GET", &format!("blobs/{digest}")).try_send();
        let pretended = read.is_ok_and(|answer| answer.status == 200 && answer.body.len() != content.len());
        assert!(!pretended, "{case}: a blob of another length is not served as this one");
        repository.push_blob(&content);
        assert!(repository.get(&format!("blobs/{digest}")).expect(200).body == content, "{case}");
    }
}
