//! The container clients of the machine: found, run with a limit on their time, their daemons
//! started in scratch folders and taken away again, mounts included.

use super::images::{Image, OCI_CONFIG, OCI_INDEX, OCI_LAYER_ZSTD, OCI_MANIFEST, descriptor, sha256};
use super::server::signal;
use super::wait::until_true;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Debian's own paths come first: a machine may have another docker client earlier in PATH.
const PATHS: [&str; 6] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Seconds for one command of a client; each takes a few at most.
const LIMIT: &str = "180";

/// The path of a tool, if the machine has it.
pub fn find(name: &str) -> Option<PathBuf> {
    PATHS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// Whether all `tools` are here. If not: a failure where clients are required
/// (`PIERHEAD_REQUIRE_CLIENTS=1`, as in CI), elsewhere a loud line, and the test returns.
pub fn require(tools: &[&str]) -> bool {
    let missing: Vec<&str> = tools.iter().copied().filter(|tool| find(tool).is_none()).collect();
    skip_unless(missing.is_empty(), &format!("these clients are not installed: {missing:?}"))
}

/// As [`require`], for tools that only root can use.
pub fn require_as_root(tools: &[&str]) -> bool {
    require(tools) && skip_unless(rustix::process::geteuid().is_root(), "needs root")
}

/// As [`require`], for what is not a tool of the machine.
pub fn skip_unless(met: bool, reason: &str) -> bool {
    if !met {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        assert!(std::env::var("PIERHEAD_REQUIRE_CLIENTS").as_deref() != Ok("1"), "{test}: {reason}");
        super::skipped(reason);
    }
    met
}

/// A folder whose mounts and files go when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Short, since sockets below it have paths of at most 107 bytes.
    pub fn new() -> Self {
        let made = tempfile::Builder::new().prefix("ph").tempdir().expect("a scratch folder");
        Self(made.keep())
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    pub fn text(&self, below: &str) -> String {
        self.path(below).to_str().expect("a plain path").to_owned()
    }

    /// A file below, its folder made.
    pub fn write(&self, below: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder in scratch");
        fs::write(&path, content).expect("a file in scratch");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for _ in 0..3 {
            for point in mounts_below(&self.0).iter().rev() {
                let _ = Command::new("umount").arg("-l").arg(point).stderr(Stdio::null()).status();
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("left behind: {}: {error}", self.0.display());
        }
    }
}

fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(folder)).collect()
}

/// A command line of a client, run to its end within a limit.
pub struct Client {
    program: PathBuf,
    always: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Client {
    pub fn new(name: &str) -> Self {
        let program = find(name).unwrap_or_else(|| panic!("{name} is not installed"));
        Self { program, always: Vec::new(), environment: Vec::new() }
    }

    /// Arguments before those of each run.
    pub fn always(mut self, arguments: &[&str]) -> Self {
        self.always.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What it printed (both streams); panics with all of it when it failed.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let (succeeded, text) = self.attempt(arguments);
        let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
        assert!(succeeded, "{} {} failed:\n{text}", self.program.display(), shown.join(" "));
        text
    }

    /// Whether it succeeded, and what it printed.
    pub fn attempt<S: AsRef<OsStr>>(&self, arguments: &[S]) -> (bool, String) {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", LIMIT]).arg(&self.program).args(&self.always).args(arguments);
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null());
        // A proxy or a login of the person who runs the tests has no part in them.
        for name in
            ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "DOCKER_HOST", "DOCKER_CONTEXT"]
        {
            command.env_remove(name);
        }
        let output = command.output().expect("the client starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// A daemon in the foreground, ended by SIGTERM, then SIGKILL.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Daemon {
    pub fn start(name: &str, arguments: &[&str], log: PathBuf) -> Self {
        let file = fs::File::create(&log).expect("a log file");
        let mut command = Command::new(find(name).unwrap_or_else(|| panic!("{name} is not installed")));
        command.args(arguments).stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        Self { child: command.spawn().expect("the daemon starts"), log, name: name.to_owned() }
    }

    /// Waits until `probe` says it answers.
    pub fn ready(mut self, probe: impl Fn() -> bool) -> Self {
        let limit = Duration::from_secs(60);
        until_true(&format!("{} answers", self.name), limit, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended at start: {status}", self.name);
            }
            probe()
        });
        self
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- {} ---\n{}", self.name, lines[lines.len().saturating_sub(30)..].join("\n"));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.child.id(), Signal::TERM);
            let (child, mut ended) = (&mut self.child, false);
            for _ in 0..2000 {
                ended = !matches!(child.try_wait(), Ok(None));
                if ended {
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
            if !ended {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A runnable image: a static busybox, and a file `/proof` that says which image it is.
pub struct Runnable {
    /// The root file system as an uncompressed tar.
    pub tar: Vec<u8>,
    pub folder: PathBuf,
    pub proof: String,
}

impl Runnable {
    pub fn new(scratch: &Scratch, name: &str, proof: &str) -> Self {
        let below = format!("{name}-rootfs");
        fs::create_dir_all(scratch.path(&format!("{below}/bin"))).expect("a folder in scratch");
        for folder in ["tmp", "proc", "sys", "dev", "etc"] {
            fs::create_dir_all(scratch.path(&format!("{below}/{folder}"))).expect("a folder in scratch");
        }
        let busybox = find("busybox").expect("busybox is required by the caller");
        fs::copy(busybox, scratch.path(&format!("{below}/bin/busybox"))).expect("busybox is readable");
        for applet in ["sh", "cat", "true"] {
            let link = scratch.path(&format!("{below}/bin/{applet}"));
            std::os::unix::fs::symlink("busybox", link).expect("a link in scratch");
        }
        scratch.write(&format!("{below}/etc/passwd"), "root:x:0:0:root:/:/bin/sh\n");
        scratch.write(&format!("{below}/proof"), format!("{proof}\n"));
        let (folder, tar) = (scratch.path(&below), scratch.path(&format!("{name}.tar")));
        let sorted = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
        let made =
            Command::new("tar").args(sorted).arg("-C").arg(&folder).arg("-cf").arg(&tar).arg(".").status();
        assert!(made.is_ok_and(|status| status.success()), "tar packs the root file system");
        Self { tar: fs::read(tar).expect("the tar just made"), folder, proof: proof.to_owned() }
    }

    /// As an OCI image of one layer, compressed by zstd if asked.
    pub fn image(&self, architecture: &str, zstd: bool) -> Image {
        let config = serde_json::to_vec(&json!({
            "architecture": architecture, "os": "linux",
            "config": { "Cmd": ["/bin/cat", "/proof"], "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [sha256(&self.tar)] },
            "history": [{ "created": "2020-01-01T00:00:00Z", "created_by": "test" }],
        }))
        .expect("a JSON value");
        let (layer_type, layer) = if zstd {
            (OCI_LAYER_ZSTD, zstd::encode_all(self.tar.as_slice(), 1).expect("zstd compresses"))
        } else {
            ("application/vnd.oci.image.layer.v1.tar", self.tar.clone())
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config), "layers": [descriptor(layer_type, &layer)],
        });
        let manifest = serde_json::to_vec(&manifest).expect("a JSON value");
        Image { media_type: OCI_MANIFEST, config, layers: vec![layer], manifest }
    }
}

/// Writes an OCI image layout with the tag `v1` at `below`: the digest the tag names, an index's
/// if there is more than one image.
pub fn write_layout(scratch: &Scratch, below: &str, images: &[(&str, &Image)]) -> String {
    let blob = |content: &[u8]| {
        let digest = sha256(content);
        let hex = digest.trim_start_matches("sha256:");
        scratch.write(&format!("{below}/blobs/sha256/{hex}"), content);
    };
    let mut entries = Vec::new();
    for (architecture, image) in images {
        image.blobs().for_each(blob);
        blob(&image.manifest);
        let mut entry = image.descriptor();
        entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
        entries.push(entry);
    }
    let mut top: Value = if let [one] = entries.as_slice() {
        one.clone()
    } else {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
        let bytes = serde_json::to_vec(&index).expect("a JSON value");
        blob(&bytes);
        descriptor(OCI_INDEX, &bytes)
    };
    top["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    let digest = top["digest"].as_str().expect("a digest").to_owned();
    scratch.write(&format!("{below}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    scratch
        .write(&format!("{below}/index.json"), json!({ "schemaVersion": 2, "manifests": [top] }).to_string());
    digest
}

/// The layout at `below` as one tar (`oci-archive`).
pub fn pack_layout(scratch: &Scratch, below: &str) -> String {
    let archive = scratch.text(&format!("{below}.tar"));
    let folder = scratch.text(below);
    let made = Command::new("tar").args(["-C", &folder, "-cf", &archive, "."]).status();
    assert!(made.is_ok_and(|status| status.success()), "tar packs the layout");
    archive
}
