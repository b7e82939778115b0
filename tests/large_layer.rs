//! One very large layer goes in and out of the real binary: by skopeo, and by a plain client that times the final
//! PUT. What the server needs of memory must not depend on the layer's size, and the PUT must not read it again.
//!
//! CI size: a layer of 256 MiB. Full size: 10 GiB, which takes minutes and 20 GiB of the temporary folder:
//! `PIERHEAD_FULL=1 cargo test --release --test large_layer -- --nocapture --test-threads=1`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it skipped and measured"
)]

mod support;

use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::clients::{Scratch, find, require};
use support::http::{read_response, with_query};
use support::images::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, descriptor};
use support::{Rng, Server, Settings, sha256};

const MIB: usize = 1 << 20;
/// What a push may add to the memory the server had before it, however large the layer.
const ALLOWED: u64 = 64 << 10;
/// Of 10 GiB. Generous: on a busy machine the flush of what is still to be written takes seconds; a PUT that read or
/// hashed them again would take longer.
const FINAL_PUT: Duration = Duration::from_secs(15);
/// The final PUT has less of the processor than this part of what the bytes took: it hashes none of them again.
const SHARE: u64 = 5;
/// For skopeo at full size, on a busy machine.
const PATIENCE: &str = "1800";

/// One at a time: disk and memory are what is looked at.
static TURN: Mutex<()> = Mutex::new(());

/// MiB of the layer; `PIERHEAD_LAYER_MIB=n` if set.
fn size() -> usize {
    let asked = std::env::var("PIERHEAD_LAYER_MIB").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(usual_size)
}

fn usual_size() -> usize {
    if is_full() { 10 << 10 } else { 256 }
}

fn is_full() -> bool {
    std::env::var("PIERHEAD_FULL").as_deref() == Ok("1")
}

/// The layer's `number`th MiB: a few KiB of noise of its own, then zeros, so that the file of a layer is sparse and
/// still no two parts of it are alike. It begins as gzip does: clients compress again what does not.
fn piece(number: usize) -> Vec<u8> {
    let mut bytes = Rng::seeded(number as u64).bytes(4096);
    if number == 0 {
        bytes[..3].copy_from_slice(&[0x1f, 0x8b, 8]);
    }
    bytes.resize(MIB, 0);
    bytes
}

fn layer_digest(pieces: usize) -> String {
    let mut hash = Sha256::new();
    (0..pieces).for_each(|number| hash.update(piece(number)));
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[test]
fn a_very_large_layer_is_pushed_in_constant_memory_and_its_final_put_is_short() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let Some(server) = Server::own(Settings::default()) else { return };
    let repository = server.repository();
    let digest = layer_digest(size());
    let memory = Watched::start(server.pid());
    let idle = cpu(server.pid());
    let location = stream(&server, &repository.begin());
    let (streamed, begun) = (cpu(server.pid()), Instant::now());
    server.http().put(&with_query(&location, &format!("digest={digest}"))).send().expect(201);
    let (put, sync) = (begun.elapsed(), flush(server.data()));
    let (bytes, last) = (streamed - idle, cpu(server.pid()) - streamed);
    eprintln!(
        "{} MiB: final PUT {put:?}, {last} ticks of the processor after {bytes}; a flush of 4 KiB takes {sync:?}",
        size()
    );
    memory.check("a plain client pushes");
    assert!(last < bytes / SHARE, "the final PUT took {last} ticks of the processor, the bytes {bytes}");
    assert!(put < FINAL_PUT || !is_full(), "the final PUT took {put:?}");
    let head = repository.head(&format!("blobs/{digest}")).expect(200);
    assert_eq!(head.need("content-length"), (size() * MIB).to_string());
}

#[test]
fn skopeo_pushes_a_very_large_layer_in_constant_memory_and_pulls_it_again() {
    if !require(&["skopeo"]) {
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let Some(server) = Server::own(Settings::default()) else { return };
    let (scratch, repository) = (Scratch::new(), server.repository());
    let (layer, manifest) = write_layout(&scratch);
    let remote = format!("docker://{}/{}:v1", server.address(), repository.name);
    let memory = Watched::start(server.pid());
    copy(&scratch, &format!("oci:{}:v1", scratch.text("in")), &remote);
    memory.check("skopeo pushes");
    assert_eq!(repository.get("manifests/v1").expect(200).need("docker-content-digest"), manifest);
    // Sparse or not, its source is not needed any more.
    fs::remove_dir_all(scratch.path("in")).expect("a folder in scratch");
    copy(&scratch, &remote, &format!("dir:{}", scratch.text("out")));
    let pulled = scratch.path(&layer.replace("sha256:", "out/"));
    assert_eq!(digest_of(&pulled), layer, "the layer comes back byte for byte");
    assert_eq!(sha256(&fs::read(scratch.path("out/manifest.json")).expect("a manifest")), manifest);
}

/// Sends the layer as docker does, in HTTP chunks whose sum is not announced; where it is finished.
fn stream(server: &Server, session: &str) -> String {
    let mut socket = server.http().connect().expect("a connection");
    let patch = server.http().patch(session).header("Content-Type", "application/octet-stream");
    // Its head alone: the chunks are sent as they are made.
    let head = patch.chunked(std::iter::empty()).head_bytes();
    socket.write_all(&head).expect("the head is sent");
    for number in 0..size() {
        let bytes = piece(number);
        write!(socket, "{:x}\r\n", bytes.len()).expect("a chunk is sent");
        socket.write_all(&bytes).expect("a chunk is sent");
        socket.write_all(b"\r\n").expect("a chunk is sent");
    }
    socket.write_all(b"0\r\n\r\n").expect("the end is sent");
    let answer = read_response(&mut BufReader::new(&socket), "PATCH", session.to_owned());
    answer.expect("an answer").expect(202).location()
}

/// How long this disk takes to flush almost nothing.
fn flush(folder: &Path) -> Duration {
    let mut file = tempfile::tempfile_in(folder).expect("a file in scratch");
    file.write_all(&[1; 4096]).expect("a file in scratch");
    let begun = Instant::now();
    file.sync_all().expect("the disk flushes");
    begun.elapsed()
}

/// An OCI layout with an image `v1` of one large, sparse layer: the digests of layer and manifest.
fn write_layout(scratch: &Scratch) -> (String, String) {
    let layer = layer_digest(size());
    let blob = |digest: &str| digest.replace("sha256:", "in/blobs/sha256/");
    let mut file = File::create(scratch.write(&blob(&layer), b"")).expect("a file in scratch");
    for number in 0..size() {
        file.seek(SeekFrom::Start((number * MIB) as u64)).expect("a file in scratch");
        file.write_all(&piece(number)[..4096]).expect("a file in scratch");
    }
    file.set_len((size() * MIB) as u64).expect("a file in scratch");
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer] }, "history": [],
    });
    let config = config.to_string().into_bytes();
    scratch.write(&blob(&sha256(&config)), &config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, &config),
        "layers": [{ "mediaType": OCI_LAYER, "digest": layer, "size": size() * MIB }],
    });
    let manifest = manifest.to_string().into_bytes();
    scratch.write(&blob(&sha256(&manifest)), &manifest);
    let mut entry = descriptor(OCI_MANIFEST, &manifest);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    scratch.write("in/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    scratch.write("in/index.json", json!({ "schemaVersion": 2, "manifests": [entry] }).to_string());
    (layer, sha256(&manifest))
}

/// As the shared support runs clients, but with the time that 10 GiB need.
fn copy(scratch: &Scratch, from: &str, to: &str) {
    let policy = scratch.write("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    let begun = Instant::now();
    let mut command = Command::new("timeout");
    command.args(["-k", "5", PATIENCE]).arg(find("skopeo").expect("skopeo is required by the caller"));
    command.arg("--policy").arg(policy).args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false"]);
    command.args([from, to]).env("HOME", scratch.text("home"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        command.env_remove(name);
    }
    let output = command.output().expect("skopeo starts");
    assert!(output.status.success(), "{from} to {to}:\n{}", String::from_utf8_lossy(&output.stderr));
    eprintln!("{} MiB by skopeo, {} to {}: {:?}", size(), scheme(from), scheme(to), begun.elapsed());
}

fn scheme(place: &str) -> &str {
    place.split(':').next().unwrap_or(place)
}

fn digest_of(path: &Path) -> String {
    let (mut hash, mut block) = (Sha256::new(), vec![0; MIB]);
    let mut file = File::open(path).expect("the blob was written");
    loop {
        let read = file.read(&mut block).expect("the blob can be read");
        if read == 0 {
            let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return format!("sha256:{hex}");
        }
        hash.update(&block[..read]);
    }
}

/// Memory of a process, sampled while something is done to it.
struct Watched {
    pid: u32,
    idle: u64,
    done: std::sync::Arc<AtomicBool>,
    samples: std::thread::JoinHandle<Vec<u64>>,
}

impl Watched {
    fn start(pid: u32) -> Self {
        // The peak counts from here on.
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the process is ours");
        let done = std::sync::Arc::new(AtomicBool::new(false));
        let ended = std::sync::Arc::clone(&done);
        let sample = move || {
            let mut samples = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                samples.push(memory(pid, "VmRSS:"));
                std::thread::park_timeout(Duration::from_millis(50));
            }
            samples
        };
        Self { pid, idle: memory(pid, "VmRSS:"), done, samples: std::thread::spawn(sample) }
    }

    /// It never needed much more than before, and not more in the second half than in the first.
    fn check(self, what: &str) {
        let peak = memory(self.pid, "VmHWM:");
        self.done.store(true, Ordering::Relaxed);
        let samples = self.samples.join().expect("reading /proc does not fail");
        let (first, second) = samples.split_at(samples.len() / 2);
        let most = |part: &[u64]| part.iter().copied().max().unwrap_or(self.idle);
        let (first, second) = (most(first), most(second));
        eprintln!("{what}: idle {} KiB, peak {peak}; first half {first}, second half {second}", self.idle);
        assert!(peak < self.idle + ALLOWED, "{what}: {peak} KiB at the peak, {} before", self.idle);
        assert!(
            second < first + ALLOWED / 2,
            "{what}: {first} KiB in the first half, {second} in the second"
        );
    }
}

/// Ticks of the processor, in the program and in the kernel, that a process has had.
fn cpu(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// KiB of a line of `/proc/<pid>/status`.
fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of the status");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
