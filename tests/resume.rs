//! An upload that a crash cut short goes on: the old location answers, with an offset that is true, and
//! little is sent again. 300 MiB; with PIERHEAD_FULL=1 10 GiB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped"
)]

#[path = "support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use support::http::with_query;
use support::{Http, Repository, Rng, Server, Settings};

const MIB: u64 = 1 << 20;
/// What a client may have to send again.
const AGAIN: u64 = 64 * MIB;

/// A layer that is never whole in memory: MiB by MiB, none like another.
struct Layer {
    mib: u64,
    base: Vec<u8>,
}

impl Layer {
    fn new(name: &str) -> Self {
        let full = std::env::var_os("PIERHEAD_FULL").is_some();
        Self { mib: if full { 10_240 } else { 300 }, base: Rng::named(name).bytes(1 << 20) }
    }

    fn size(&self) -> u64 {
        self.mib * MIB
    }

    fn piece(&self, number: u64) -> Vec<u8> {
        let mut piece = self.base.clone();
        piece[..8].copy_from_slice(&number.to_le_bytes());
        piece
    }

    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        (0..self.mib).for_each(|number| hash.update(self.piece(number)));
        text(hash)
    }

    /// Writes `from..to`; false if the server went away.
    fn send(&self, to: &mut TcpStream, from: u64, end: u64) -> bool {
        let mut at = from;
        while at < end {
            let piece = self.piece(at / MIB);
            let start = usize::try_from(at % MIB).expect("within a MiB");
            let stop = usize::try_from((end - at / MIB * MIB).min(MIB)).expect("within a MiB");
            if to.write_all(&piece[start..stop]).is_err() {
                return false;
            }
            at += (stop - start) as u64;
        }
        true
    }
}

fn text(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A PATCH of `from..size` of which only the bytes up to `end` are sent.
fn patch(http: Http, location: &str, layer: &Layer, from: u64, end: u64) -> TcpStream {
    let mut stream = http.connect().expect("a connection");
    let (length, last) = (layer.size() - from, layer.size() - 1);
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nHost: registry\r\nContent-Length: {length}\r\n\
         Content-Range: {from}-{last}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the head is sent");
    assert!(layer.send(&mut stream, from, end), "the server takes the bytes");
    stream
}

fn offset(http: Http, location: &str) -> u64 {
    let status = http.get(location).send().expect(204);
    let range = status.need("range").to_owned();
    let last: u64 = range.strip_prefix("0-").and_then(|last| last.parse().ok()).expect("a range");
    last + 1
}

fn data_of(server: &Server, location: &str) -> PathBuf {
    let id = location.rsplit('/').next().and_then(|id| id.split('?').next()).expect("an id");
    server.data().join("uploads").join(id).join("data")
}

fn digest_of_file(path: PathBuf) -> String {
    let (mut file, mut hash) = (File::open(path).expect("the blob's file"), Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).expect("reads") {
            0 => return text(hash),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Sends the rest and finishes; the blob is whole and right, on the disk too.
fn finish(server: &Server, repository: &Repository, location: &str, layer: &Layer, from: u64) {
    let mut stream = patch(server.http(), location, layer, from, layer.size());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let digest = layer.digest();
    server.http().put(&with_query(location, &format!("digest={digest}"))).send().expect(201);
    let head = repository.head(&format!("blobs/{digest}")).expect(200);
    assert_eq!(head.need("content-length"), layer.size().to_string());
    let hex = digest.strip_prefix("sha256:").expect("a digest");
    let path = server.data().join("blobs/sha256").join(&hex[..2]).join(hex);
    assert_eq!(digest_of_file(path), digest);
    assert_eq!(fs::read_dir(server.data().join("uploads")).expect("uploads/").count(), 0);
}

#[test]
fn an_upload_killed_in_the_middle_goes_on_with_at_most_64_mib_sent_again() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let (layer, repository) = (Layer::new("killed"), server.repository());
    let location = repository.begin();
    let mut before = 0;
    for part in [3, 6] {
        let sent = layer.size() / 10 * part;
        let stream = patch(server.http(), &location, &layer, before, sent);
        server.kill();
        drop(stream);
        server.start();
        let offset = offset(server.http(), &location);
        assert!(offset <= sent && sent - offset <= AGAIN, "sent {sent}, there is {offset}");
        assert!(offset > before, "what was safe stays safe");
        before = offset;
    }
    finish(&server, &repository, &location, &layer, before);
}

#[test]
fn noise_in_the_last_megabytes_is_noticed_and_the_upload_goes_on_before_it() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let (layer, repository) = (Layer::new("torn"), server.repository());
    let location = repository.begin();
    let sent = layer.size() / 10 * 7;
    let stream = patch(server.http(), &location, &layer, 0, sent);
    server.kill();
    drop(stream);
    let data = File::options().write(true).open(data_of(&server, &location)).expect("the upload's file");
    let torn = data.metadata().expect("its length").len() - 80 * MIB;
    for mib in 0..80 {
        data.write_all_at(&Rng::seeded(mib).bytes(1 << 20), torn + mib * MIB).expect("writes noise");
    }
    server.start();
    let offset = offset(server.http(), &location);
    assert!(offset <= torn && torn - offset <= AGAIN, "torn at {torn}, goes on at {offset}");
    finish(&server, &repository, &location, &layer, offset);
}

#[test]
fn a_stop_keeps_every_byte_of_open_uploads_and_their_owner_s_repository() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let repository = server.repository();
    let (large, small, empty) = (repository.begin(), repository.begin(), repository.begin());
    let bytes = Rng::named("stopped").bytes((70 << 20) + 12_345);
    let half = bytes.len() / 2;
    for part in [&bytes[..half], &bytes[half..]] {
        server.http().patch(&large).body(part.to_vec()).send().expect(202);
        assert!(server.stop().success());
        server.start();
    }
    server.http().patch(&small).body(bytes[..1000].to_vec()).send().expect(404);
    server.http().get(&empty).send().expect(404);
    let small = repository.begin();
    server.http().patch(&small).body(bytes[..1000].to_vec()).send().expect(202);
    assert!(server.stop().success());
    server.start();
    assert_eq!(offset(server.http(), &large), bytes.len() as u64);
    assert_eq!(offset(server.http(), &small), 1000);
    let foreign = large.replace(&repository.name, "other/place");
    server.http().get(&foreign).send().expect(404);
    for (location, bytes) in [(&large, &bytes[..]), (&small, &bytes[..1000])] {
        let digest = support::sha256(bytes);
        server.http().put(&with_query(location, &format!("digest={digest}"))).send().expect(201);
        let pulled = repository.get(&format!("blobs/{digest}")).expect(200);
        assert!(pulled.body == bytes, "what was sent is there");
    }
    assert_eq!(fs::read_dir(server.data().join("uploads")).expect("uploads/").count(), 0);
}

#[test]
fn an_upload_cut_by_a_stop_in_the_middle_of_a_request_keeps_what_had_come() {
    let settings = Settings::default().set("SERVER_STOP_TIMEOUT", "1s");
    let Some(mut server) = Server::own(settings) else { return };
    let (layer, repository) = (Layer::new("cut"), server.repository());
    let location = repository.begin();
    let sent = 20 * MIB + 777;
    let stream = patch(server.http(), &location, &layer, 0, sent);
    let data = data_of(&server, &location);
    let most = || fs::metadata(&data).is_ok_and(|file| file.len() >= sent - 2 * MIB);
    support::wait::until_true("the bytes are on their way", std::time::Duration::from_secs(60), most);
    server.stop();
    drop(stream);
    server.start();
    let there = offset(server.http(), &location);
    assert!(there <= sent && there >= sent - 2 * MIB, "sent {sent}, there is {there}");
    server.http().delete(&location).send().expect(204);
}

#[test]
fn while_an_upload_is_proved_others_are_served_and_a_stop_is_clean() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let (layer, repository) = (Layer::new("proved"), server.repository());
    let location = repository.begin();
    let sent = layer.size() / 10 * 9;
    drop(patch(server.http(), &location, &layer, 0, sent));
    server.kill();
    server.start();
    let bytes = Rng::named("beside").bytes(1000);
    repository.push_blob(&bytes);
    assert!(server.stop().success(), "whether the proof is at its end or not");
    server.start();
    let offset = offset(server.http(), &location);
    assert!(offset <= sent && sent - offset <= AGAIN + 8 * MIB, "sent {sent}, there is {offset}");
    server.http().delete(&location).send().expect(204);
    assert_eq!(fs::read_dir(server.data().join("uploads")).expect("uploads/").count(), 0);
}
