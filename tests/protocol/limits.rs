//! Slow, stalled and large bodies: a transfer that makes progress is never cut, one that does not is,
//! and memory does not follow the size of what is sent.

use crate::support::http::{read_response, with_query};
use crate::support::images::sha256;
use crate::support::wait::until_true;
use crate::support::{Rng, Server, Settings};
use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_stalled_body_is_cut_and_its_session_stands_at_the_last_byte() {
    let Some(server) = Server::own(Settings::default().set("SERVER_BODY_IDLE_TIMEOUT", "1s")) else { return };
    let location = server.repository().begin();
    let mut stream = server.http().connect().expect("a connection");
    let head = server.http().patch(&location).header("Content-Length", 1000).head_bytes();
    stream.write_all(&[&head[..], &[5; 300]].concat()).expect("head and a part are sent");
    // Nothing more comes: the server answers or closes by itself.
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    until_true("the session stands at the last byte", SOON, || {
        server.http().get(&location).send().expect(204).need("range") == "0-299"
    });
    server.http().patch(&location).header("Content-Range", "300-999").body(vec![5; 700]).send().expect(202);
}

#[test]
fn a_slow_body_that_makes_progress_is_never_cut() {
    let Some(server) = Server::own(Settings::default().set("SERVER_BODY_IDLE_TIMEOUT", "4s")) else { return };
    let repository = server.repository();
    let content = vec![6; 25];
    let target = with_query(&repository.begin(), &format!("digest={}", sha256(&content)));
    let mut stream = server.http().connect().expect("a connection");
    let head = server.http().put(&target).header("Content-Length", content.len()).head_bytes();
    stream.write_all(&head).expect("the head is sent");
    // The body as a whole takes longer than may pass between two of its bytes.
    let begun = Instant::now();
    for (number, byte) in content.iter().enumerate() {
        let due = begun + Duration::from_millis(200) * u32::try_from(number).expect("a small number");
        until_true("the next byte is due", SOON, || Instant::now() >= due);
        stream.write_all(&[*byte]).expect("a byte is sent");
    }
    read_response(&mut BufReader::new(&stream), "PUT", target).expect("an answer").expect(201);
}

#[test]
fn a_head_that_never_ends_is_cut() {
    let Some(server) = Server::own(Settings::default().set("SERVER_HEADER_TIMEOUT", "1s")) else { return };
    let mut stream = server.http().connect().expect("a connection");
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("half a head is sent");
    let mut answer = Vec::new();
    // The client's own patience is a minute: to get here at all is the point.
    stream.read_to_end(&mut answer).expect("the server closes");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    server.http().get("/v2/").send().expect(200);
}

/// The most memory a process has had, in MiB.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") / 1024
}

#[test]
fn memory_does_not_follow_the_size_of_a_blob() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let repository = server.repository();
    let mut rng = Rng::named("memory");
    repository.push_blob(&rng.bytes(1 << 20));
    let before = peak_memory(server.pid());
    let content = rng.bytes(256 << 20);
    let digest = sha256(&content);
    let patched =
        server.http().patch(&repository.begin()).chunked(content.chunks(1 << 20)).send().expect(202);
    server.http().put(&with_query(&patched.location(), &format!("digest={digest}"))).send().expect(201);
    let grown = peak_memory(server.pid()) - before;
    assert!(grown < 96, "a push of 256 MiB took {grown} MiB more");
    assert!(repository.get(&format!("blobs/{digest}")).expect(200).body == content);
}

#[test]
fn a_reader_that_stops_reading_is_cut_and_others_are_served() {
    let Some(server) = Server::own(Settings::default().set("SERVER_WRITE_IDLE_TIMEOUT", "1s")) else {
        return;
    };
    let repository = server.repository();
    let digest = repository.push_blob(&Rng::named("stalled reader").bytes(64 << 20));
    let path = repository.path(&format!("blobs/{digest}"));
    let mut stalled = server.http().connect().expect("a connection");
    stalled.write_all(&server.http().get(&path).head_bytes()).expect("the head is sent");
    // It takes nothing until the server must have given up; then what is left ends early.
    let patience = Instant::now() + Duration::from_secs(4);
    until_true("others are served meanwhile", SOON, || {
        server.http().get("/v2/").send().expect(200);
        Instant::now() >= patience
    });
    let mut got = Vec::new();
    let _ = stalled.read_to_end(&mut got);
    assert!(got.len() < 64 << 20, "the answer was cut");
    server.http().head(&path).send().expect(200);
}
