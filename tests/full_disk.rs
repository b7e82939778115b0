//! A full disk, on a small tmpfs and on a small ext4: uploads end in a clear error, pulls, HEADs
//! and lists go on, deletes work, memory stays bounded; when space returns everything works again
//! without a restart, and nothing acknowledged is lost.
//!
//! CI size and full size are the same: about 6 s. Needs root, ext4 and loop devices.
//! `cargo test --test full_disk -- --nocapture`
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod endurance;
mod support;

use endurance::filesystem::Filesystem;
use endurance::{Daemon, Habits, Launch, Load, sizes, verdict};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use pierhead_storage_format::{paths, store};
use support::clients::require_as_root;
use support::http::{read_response, with_query};
use support::server::binary;
use support::wait::until;
use support::{Image, Repository, Response, Rng, sha256};

const CHUNK: usize = 1 << 20;

/// Kilobytes: a server that kept a refused upload in memory would pass this.
const MEMORY: u64 = 350 << 10;

#[test]
fn a_full_tmpfs_refuses_uploads_and_nothing_else() {
    if require_as_root(&["mount", "umount"]) {
        fill_and_recover(Filesystem::tmpfs(72));
    }
}

#[test]
fn a_full_ext4_refuses_uploads_and_nothing_else() {
    if require_as_root(&["mkfs.ext4", "mount", "umount"]) {
        fill_and_recover(Filesystem::ext4(80));
    }
}

#[test]
fn an_upload_that_does_not_fit_beside_those_under_way_is_refused_at_its_beginning() {
    if !require_as_root(&["mount", "umount"]) {
        return;
    }
    let filesystem = Filesystem::tmpfs(72);
    let launch = Launch::on(&filesystem.data())
        .set("STORAGE_BALLAST", "1MiB")
        .set("STORAGE_RESERVE", "8MiB")
        .set("STORAGE_INDEX_CACHE", "8MiB");
    let server = launch.start();
    let (repository, mut rng) = (server_repository(&server), Rng::named("promised"));
    let most = filesystem.free() - (8 << 20);
    let length = usize::try_from(most * 2 / 3).expect("a small filesystem");
    let (first, second) = (rng.bytes(length), rng.bytes(length));
    let target = |bytes: &[u8]| format!("blobs/uploads/?digest={}", sha256(bytes));

    let mut begun = Announced::from("192.0.2.1", &repository, &target(&first), length);
    assert!(begun.is_let_in(), "{}", begun.line);
    begun.send(&first[..CHUNK]);
    // Refused before its body is asked for, though all that is free now would do.
    let refused = until("the first one has shown that it comes", Duration::from_secs(20), || {
        let head = asked_to_go_on(&repository, &target(&second), length);
        (!head.starts_with("HTTP/1.1 100")).then_some(head)
    });
    assert!(
        refused.starts_with("HTTP/1.1 507 Insufficient Storage: the registry's disk is full"),
        "{refused}"
    );
    begun.send(&first[CHUNK..]);
    begun.answer().expect(201);
    server.stop();
}

#[test]
fn who_announces_much_and_sends_little_leaves_others_room_and_is_kept_what_he_was_promised() {
    if !require_as_root(&["mount", "umount"]) {
        return;
    }
    let filesystem = Filesystem::tmpfs(100);
    let server = small(&filesystem).start();
    let (repository, mut rng) = (server_repository(&server), Rng::named("greedy"));
    let length = usize::try_from((filesystem.free() - (8 << 20)) / 4).expect("a small filesystem");
    let bodies: Vec<Vec<u8>> = (0..20).map(|_| rng.bytes(length)).collect();
    // All are let in: each fits alone, and nothing came. The first of them are promised their room.
    let mut let_in = Vec::new();
    for body in &bodies {
        let target = format!("blobs/uploads/?digest={}", sha256(body));
        let mut announced = Announced::from("192.0.2.7", &repository, &target, length);
        assert!(announced.is_let_in(), "{}", announced.line);
        announced.send(&body[..1]);
        let_in.push((announced, body));
    }
    let data = filesystem.data();
    let status = binary().args(["status", "--data"]).arg(&data).output().expect("runs");
    let shown = String::from_utf8(status.stdout).expect("text");
    assert!(shown.contains("address 192.0.2.7: "), "{shown}");

    // Others find room at once, whether they say their length or not.
    let bytes = rng.bytes(CHUNK);
    let target = format!("blobs/uploads/?digest={}", sha256(&bytes));
    repository.request("POST", &target).body(bytes).send().expect(201);
    let location = repository.begin();
    repository.http.patch(&location).chunked([&rng.bytes(CHUNK)[..]]).send().expect(202);
    for number in 0..3 {
        repository.push(&format!("v{number}"), &Image::random(&mut rng, support::Kind::Oci, &[3000, 70_000]));
    }
    // And the first of them find their room.
    for (mut announced, body) in let_in.into_iter().take(3) {
        announced.send(&body[1..]);
        announced.answer().expect(201);
    }
    server.stop();
}

#[test]
fn uploads_that_come_at_once_find_the_room_of_stale_ones_one_after_another() {
    const EACH: usize = 6 << 20;
    if !require_as_root(&["mount", "umount"]) {
        return;
    }
    let filesystem = Filesystem::tmpfs(80);
    // The marks are one, so that nobody but who is to be refused ends a session.
    let launch = small(&filesystem).set("STORAGE_SOFT_MARK", "8MiB").set("STORAGE_STALE_UPLOAD", "1ms");
    let server = launch.start();
    let (repository, mut rng) = (server_repository(&server), Rng::named("stale"));
    while filesystem.free() > (8 << 20) + EACH as u64 {
        server.http().patch(&repository.begin()).body(rng.bytes(EACH)).send().expect(202);
    }
    let bodies: Vec<Vec<u8>> = (0..5).map(|_| rng.bytes(EACH)).collect();
    std::thread::scope(|scope| {
        for (number, body) in bodies.iter().enumerate() {
            let repository = &repository;
            scope.spawn(move || {
                let target = format!("blobs/uploads/?digest={}", sha256(body));
                let request = repository
                    .request("POST", &target)
                    .header("X-Forwarded-For", format!("192.0.2.{number}"));
                request.body(body.clone()).send().expect(201);
            });
        }
    });
    server.stop();
}

/// Small enough for a small filesystem, and told by its clients where they are.
fn small(filesystem: &Filesystem) -> Launch {
    Launch::on(&filesystem.data())
        .set("STORAGE_BALLAST", "1MiB")
        .set("STORAGE_RESERVE", "8MiB")
        .set("STORAGE_INDEX_CACHE", "8MiB")
        .set("SERVER_TRUSTED_PROXIES", "127.0.0.0/8")
}

/// A body that was announced, and how that was answered.
struct Announced {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Announced {
    fn from(address: &str, repository: &Repository, target: &str, length: usize) -> Self {
        let request = repository.request("POST", target).header("Content-Length", length);
        let request = request.header("X-Forwarded-For", address).header("Expect", "100-continue");
        let mut stream = BufReader::new(repository.http.connect().expect("a connection"));
        stream.get_mut().write_all(&request.head_bytes()).expect("the head is sent");
        let mut line = String::new();
        stream.read_line(&mut line).expect("an answer");
        Self { stream, line }
    }

    fn is_let_in(&self) -> bool {
        self.line.starts_with("HTTP/1.1 100")
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("sent");
    }

    /// The answer to the whole of it.
    fn answer(mut self) -> Response {
        let mut blank = String::new();
        self.stream.read_line(&mut blank).expect("the end of the first answer");
        read_response(&mut self.stream, "POST", "an announced body".to_owned()).expect("an answer")
    }
}

/// The status line that answers a request for `100 Continue`.
fn asked_to_go_on(repository: &Repository, target: &str, length: usize) -> String {
    Announced::from("192.0.2.1", repository, target, length).line
}

#[test]
fn a_start_on_a_full_disk_gives_the_ballast_up_to_note_the_level_of_the_store() {
    if !require_as_root(&["mount", "umount"]) {
        return;
    }
    let filesystem = Filesystem::tmpfs(72);
    let launch = small(&filesystem);
    launch.start().stop();
    let at = |name: &str| filesystem.data().join(name);
    assert!(at(paths::BALLAST).exists(), "there is something to give up");
    fs::write(at(paths::LEVEL), "1\n").expect("an earlier program's");
    filesystem.fill(0);
    let server = launch.start();
    assert_eq!(fs::read_to_string(at(paths::LEVEL)).expect("there"), store::encode_level());
    server.stop();
}

fn fill_and_recover(filesystem: Filesystem) {
    let data = filesystem.data();
    let launch = Launch::on(&data)
        .set("STORAGE_BALLAST", "4MiB")
        .set("STORAGE_RESERVE", "10MiB")
        .set("STORAGE_INDEX_CACHE", "8MiB");
    let server = launch.start();
    let mut load = Load::new(2, sizes::seed(), Habits::usual());
    load.script(server.http(), 60);
    let repository = server_repository(&server);
    let images = some_images(&repository, 12);
    // Someone else's file, which goes later: so space returns.
    let foreign = filesystem.root().join("foreign");
    fs::write(&foreign, vec![1; 16 << 20]).expect("space for it");

    let mut rng = Rng::named("full disk");
    fill_by_uploads(&repository, &mut rng);
    everything_else_goes_on(&server, &repository, &images, 0);
    uploads_are_refused(&repository, &mut rng, filesystem.free());
    // Changes at random: what the full disk refuses has not happened.
    load.script(server.http(), 60);

    // The reserve gone as well, and the ballast still there: deletes go on.
    let filler = filesystem.fill(0);
    everything_else_goes_on(&server, &repository, &images, 3);
    load.script(server.http(), 20);
    // The ballast gone as well: whatever cannot be done is said, and pulls go on.
    filesystem.fill(0);
    load.script(server.http(), 20);
    pulls_go_on(&repository, &images[6..]);
    uploads_are_refused(&repository, &mut rng, 8 << 20);
    let (_, most) = server.memory();
    assert!(most < MEMORY, "{most} kB of memory were in use");

    fs::remove_file(filler).expect("the filler goes");
    fs::remove_file(foreign).expect("the foreign file goes");
    everything_works_again(&server, &repository, &images, &mut rng);
    load.script(server.http(), 60);
    finish(server, &launch, &mut load);
}

fn server_repository(server: &Daemon) -> Repository {
    Repository::named(server.http(), "full/disk")
}

fn some_images(repository: &Repository, count: usize) -> Vec<Image> {
    let mut rng = Rng::named("images of the full disk");
    let push = |number: usize| {
        let image = Image::random(&mut rng, support::Kind::Oci, &[3000, 70_000]);
        repository.push(&format!("v{number}"), &image);
        repository.push_blob(format!("loose {number}").as_bytes());
        image
    };
    (0..count).map(push).collect()
}

/// Ends at the first refusal, which must be in the protocol's words.
fn fill_by_uploads(repository: &Repository, rng: &mut Rng) {
    for _ in 0..200 {
        let bytes = rng.bytes(CHUNK);
        let target = format!("blobs/uploads/?digest={}", sha256(&bytes));
        let response = repository.request("POST", &target).body(bytes).send();
        if response.status != 201 {
            return refused(response);
        }
    }
    panic!("200 MiB went into a filesystem of less than 100");
}

fn refused(response: Response) {
    assert_eq!(response.status, 507, "a full disk is 507 Insufficient Storage: {response}");
    assert_eq!(response.error_code(), "UNAVAILABLE", "{response}");
}

/// In every way, and with more bytes than there is space (`free`).
fn uploads_are_refused(repository: &Repository, rng: &mut Rng, free: u64) {
    let bytes = rng.bytes(CHUNK);
    refused(
        repository.request("POST", &format!("blobs/uploads/?digest={}", sha256(&bytes))).body(bytes).send(),
    );
    let session = repository.request("POST", "blobs/uploads/").send();
    if session.status == 202 {
        // Whether at the beginning or in the middle: it ends in the error.
        let large = rng.bytes(usize::try_from(free).expect("a small filesystem") + 4 * CHUNK);
        let target = with_query(&session.location(), &format!("digest={}", sha256(&large)));
        refused(repository.http.put(&target).body(large).send());
        repository.http.delete(&session.location()).send().expect_one(&[204, 404]);
    } else {
        refused(session);
    }
    let manifest = Image::small(rng);
    let response = repository.put_manifest("new", manifest.media_type, &manifest.manifest);
    assert!(response.status == 507 || response.status == 400, "a manifest on a full disk: {response}");
}

fn pulls_go_on(repository: &Repository, images: &[Image]) {
    for image in images {
        repository.pull_and_compare(&image.digest(), image);
        repository.head(&format!("manifests/{}", image.digest())).expect(200);
        repository.head(&format!("blobs/{}", sha256(&image.layers[1]))).expect(200);
    }
}

/// Pulls of all images from `first` on, lists, and the removal of some of image `first`'s things.
fn everything_else_goes_on(server: &Daemon, repository: &Repository, images: &[Image], first: usize) {
    pulls_go_on(repository, &images[first + 3..]);
    server.http().get("/v2/_catalog").send().expect(200);
    assert!(repository.tags().contains(&format!("v{}", first + 3)));
    repository.delete(&format!("manifests/v{first}")).expect(202);
    repository.get(&format!("manifests/v{first}")).expect(404);
    repository.delete(&format!("manifests/{}", images[first + 1].digest())).expect(202);
    repository.get(&format!("manifests/v{}", first + 1)).expect(404);
    let loose = sha256(format!("loose {first}").as_bytes());
    repository.delete(&format!("blobs/{loose}")).expect(202);
    repository.head(&format!("blobs/{loose}")).expect(404);
}

fn everything_works_again(server: &Daemon, repository: &Repository, images: &[Image], rng: &mut Rng) {
    // Free space is looked at from time to time, not at each request.
    let content = rng.bytes(CHUNK);
    let target = format!("blobs/uploads/?digest={}", sha256(&content));
    until("uploads work again", Duration::from_secs(30), || {
        let response = repository.request("POST", &target).body(content.clone()).send();
        (response.status == 201).then_some(()).or_else(|| still_refused(response))
    });
    let image = Image::random(rng, support::Kind::Docker, &[100, 2 * CHUNK]);
    repository.push("again", &image);
    repository.pull_and_compare("again", &image);
    everything_else_goes_on(server, repository, images, 6);
}

fn still_refused<T>(response: Response) -> Option<T> {
    refused(response);
    None
}

fn finish(server: Daemon, launch: &Launch, load: &mut Load) {
    let log = server.stop();
    assert!(!log.contains("panicked at"), "{log}");
    let told: Vec<_> = log.lines().filter(|line| line.contains("stores::meta")).collect();
    eprintln!("the server said of its index:\n{}", told.join("\n"));
    assert!(!log.contains("\"status\":503"), "an index that breaks comes up again unseen by clients: {log}");
    verdict::sound(&launch.data);
    let server = launch.start();
    // Blobs of this file's own are on the disk as well: files are not compared.
    verdict::kept(server.http(), None, &mut load.writers, &load.common);
    let repository = server_repository(&server);
    assert!(repository.tags().contains(&"again".to_owned()), "pushed after space returned");
    server.stop();
}
