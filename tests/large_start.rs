//! How soon a large store serves, and what memory that takes: as made by an import, stopped in order,
//! and killed. 10,000 blobs by default; 1,000,000 with `PIERHEAD_FULL=1`, where readiness must take
//! less than 2 s:
//! `PIERHEAD_FULL=1 cargo test --release --test large_start -- --nocapture`
//! The store is made in minutes; with `PIERHEAD_LARGE_STORE=folder` it is kept there and used again.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::dump::{Encoder, Header};
use pierhead_storage_format::keys::{
    BlobKey, BlobRepositoryKey, CounterKey, ManifestKey, ManifestReferenceKey, ManifestTagKey,
    OrganisationKey, RepositoryBlobKey, RepositoryCountersKey, RepositoryKey, Table, TableKey, TagKey,
};
use pierhead_storage_format::records::{
    BlobRecord, CounterRecord, ManifestKind, ManifestRecord, OrganisationRecord, Present, ReferenceRecord,
    ReferenceRole, RepositoryBlobRecord, RepositoryCounters, RepositoryRecord, TagRecord,
};
use pierhead_storage_format::{Algorithm, Digest};
use rustix::process::Signal;
use support::Http;
use support::server::{binary, signal};
use support::wait::until;

/// Blobs of an image: its manifest, a config, eight layers.
const IMAGE: u64 = 10;
/// Images of a repository.
const IMAGES: u64 = 100;
/// Rebuilding four million rows takes minutes where the machine is slow.
const DEADLINE: Duration = Duration::from_secs(900);
const READY: Duration = Duration::from_secs(2);

fn full() -> bool {
    std::env::var("PIERHEAD_FULL").as_deref() == Ok("1")
}

/// The rows of so many blobs, in whatever order they come.
struct Rows(Vec<(Table, Vec<u8>, Vec<u8>)>);

impl Rows {
    fn put<K: TableKey>(&mut self, key: &K, record: &K::Record) {
        self.0.push((K::TABLE, key.encode(), record.encode().expect("a small record")));
    }

    fn of(blobs: u64) -> Self {
        let mut rows = Self(Vec::new());
        let repositories = blobs.div_ceil(IMAGE * IMAGES);
        let organisation = OrganisationRecord { number: 1, created_at: 1, owner: None, creator: None };
        rows.put(&OrganisationKey { name: "large".into() }, &organisation);
        rows.put(&CounterKey { name: "organisation".into() }, &CounterRecord { next: 2 });
        rows.put(&CounterKey { name: "repository".into() }, &CounterRecord { next: repositories + 1 });
        for repository in 1..=repositories {
            rows.repository(repository);
        }
        rows
    }

    fn repository(&mut self, id: u64) {
        let name = format!("large/r{id:05}");
        self.put(&RepositoryKey { name: name.clone() }, &RepositoryRecord { id, created_at: 1 });
        let blobs = IMAGES * (IMAGE - 1);
        let counters =
            RepositoryCounters { tags: IMAGES, manifests: IMAGES, blobs, bytes: blobs << 20, pushed_at: 1 };
        self.put(&RepositoryCountersKey { repository: id }, &counters);
        for image in 0..IMAGES {
            let first = (id * IMAGES + image) * IMAGE;
            let tag = format!("v{image:03}");
            let manifest = digest(first);
            let kind = ManifestKind::Image;
            let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
            let record = ManifestRecord {
                media_type,
                size: 2000,
                kind,
                pushed_at: 1,
                subject: None,
                artifact_type: None,
            };
            self.put(&ManifestKey { repository: id, digest: manifest }, &record);
            let tagged = TagRecord { digest: manifest, pushed_at: 1 };
            self.put(&TagKey { repository: id, tag: tag.clone() }, &tagged);
            self.put(&ManifestTagKey { repository: id, digest: manifest, tag }, &Present {});
            for number in first..first + IMAGE {
                let (digest, size) = (digest(number), 1 << 20);
                self.put(&BlobKey { digest }, &BlobRecord { size, references: 1, changed_at: 1 });
                self.put(&BlobRepositoryKey { digest, name: name.clone() }, &Present {});
                if number > first {
                    let linked = RepositoryBlobRecord { size, linked_at: 1, references: 1 };
                    self.put(&RepositoryBlobKey { repository: id, digest }, &linked);
                    let reference = ReferenceRecord { role: ReferenceRole::Blob };
                    self.put(&ManifestReferenceKey { repository: id, manifest, digest }, &reference);
                }
            }
        }
    }

    /// Writes them as an export is; how many.
    fn write(mut self, path: &Path) -> usize {
        self.0.sort_unstable_by(|a, b| (a.0.number(), &a.1).cmp(&(b.0.number(), &b.1)));
        let mut out = zstd::Encoder::new(File::create(path).expect("a scratch file"), 1).expect("an encoder");
        let (mut dump, first) = Encoder::start(&Header::new(1, 1)).expect("a header");
        writeln!(out, "{first}").expect("written");
        for (table, key, value) in &self.0 {
            writeln!(out, "{}", dump.row(*table, key, value).expect("a row")).expect("written");
        }
        writeln!(out, "{}", dump.finish().expect("a trailer").1).expect("written");
        out.finish().expect("written");
        self.0.len()
    }
}

fn digest(number: u64) -> Digest {
    Digest::new(Algorithm::Sha256, blake3::hash(&number.to_le_bytes()).as_bytes()).expect("32 bytes")
}

struct Running {
    child: Child,
    log: PathBuf,
    http: Http,
    ready: Duration,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts, and waits until a list of tags is answered.
    fn start(data: &Path, log: &Path) -> Self {
        let output = File::create(log).expect("a scratch file");
        let mut command = binary();
        command.args(["serve", "--lab", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a descriptor")).stderr(output);
        let began = Instant::now();
        let mut child = command.spawn().expect("the binary starts");
        let address = until("the server listens", DEADLINE, || {
            assert!(child.try_wait().expect("ours").is_none(), "{}", text(log));
            text(log).lines().find_map(listening)
        });
        let http = Http { address };
        let tags = http.get("/v2/large/r00001/tags/list").send().expect(200).json();
        let ready = began.elapsed();
        assert_eq!(tags["tags"].as_array().map(Vec::len), Some(100), "{tags}");
        Self { child, log: log.to_owned(), http, ready }
    }

    /// Pushes something small; how long it took.
    fn push(&self, what: &str) -> Duration {
        let began = Instant::now();
        let path = format!("/v2/large/r00001/blobs/uploads/?digest={}", support::sha256(what.as_bytes()));
        self.http.post(&path).body(what.as_bytes().to_vec()).send().expect(201);
        began.elapsed()
    }

    /// Resident memory now and at most, in MiB.
    fn memory(&self) -> [u64; 2] {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        ["VmRSS:", "VmHWM:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says so");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
        })
    }

    /// CPU seconds, user and system, so far.
    fn cpu(&self) -> [f64; 2] {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        [fields[11], fields[12]].map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0)
    }

    fn report(&self, what: &str) {
        let [ready_rss, ready_peak] = self.memory();
        let [user, system] = self.cpu();
        let pushed = self.push(what);
        let [rss, peak] = self.memory();
        eprintln!(
            "{what}: ready after {:.2} s ({user:.2} s of CPU and {system:.2} s in the kernel) with {ready_rss} \
             MiB (at most {ready_peak}); first push after {:.2} s more, then {rss} MiB (at most {peak})",
            self.ready.as_secs_f64(),
            pushed.as_secs_f64()
        );
    }

    fn stop(mut self) {
        let began = Instant::now();
        signal(self.child.id(), Signal::TERM);
        let status = until("the server ends", DEADLINE, || self.child.try_wait().expect("the child is ours"));
        assert!(status.success(), "{status}\n{}", text(&self.log));
        eprintln!("stopped in {:.2} s", began.elapsed().as_secs_f64());
    }
}

fn text(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

fn listening(line: &str) -> Option<SocketAddr> {
    let (_, url) = line.split_once("listening on ")?;
    let (_, address) = url.split_once("://")?;
    address.trim().parse::<SocketAddr>().ok().filter(SocketAddr::is_ipv4)
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries.map(|entry| entry.expect("readable").metadata().expect("readable").len()).sum()
}

fn make(data: &Path, dump: &Path) {
    let blobs = if full() { 1_000_000 } else { 10_000 };
    let rows = Rows::of(blobs).write(dump);
    let began = Instant::now();
    let import = binary().arg("import-metadata").arg("--data").arg(data).arg("--input").arg(dump).output();
    let import = import.expect("the binary starts");
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    eprintln!("{blobs} blobs, {rows} rows, imported in {:.1} s", began.elapsed().as_secs_f64());
}

#[test]
fn a_store_of_many_blobs_serves_soon_after_a_stop_and_after_a_kill() {
    let scratch = tempfile::Builder::new().prefix("pierhead-large-").tempdir().expect("a scratch folder");
    let kept = std::env::var_os("PIERHEAD_LARGE_STORE").map(PathBuf::from);
    let folder = kept.as_deref().unwrap_or(scratch.path());
    let (data, log) = (folder.join("data"), scratch.path().join("log"));
    if !data.exists() {
        make(&data, &scratch.path().join("dump.zst"));
        let server = Running::start(&data, &log);
        server.report("imported (the index is built)");
        server.stop();
    }
    let mib = size(&data.join("meta/index")) >> 20;
    eprintln!("the index has {mib} MiB");
    let in_time = |server: &Running| {
        assert!(!full() || server.ready < READY, "ready after {:?}\n{}", server.ready, text(&log));
    };
    for round in ["stopped", "stopped again"] {
        let server = Running::start(&data, &log);
        server.report(round);
        in_time(&server);
        if round == "stopped" {
            server.stop();
        } // else killed
    }
    let server = Running::start(&data, &log);
    server.report("killed");
    in_time(&server);
    server.stop();
}
