//! Backups of a server under a push load, by the real binary: what was acknowledged before is restored
//! elsewhere and pulled; what is killed is recognised and taken up; a full disk is told.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests fail by panicking and say why"
)]

mod support;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pierhead_storage_format::{paths, store};
use rustix::process::geteuid;
use serde_json::Value;
use support::clients::{Client, Scratch, find, require_as_root};
use support::server::binary;
use support::wait::{until, until_true};
use support::{Image, Kind, Repository, Rng, Server, Settings};

const SOON: Duration = Duration::from_secs(60);

struct Pushed {
    repository: Repository,
    tag: String,
    image: Image,
}

/// Pushers that go on until told to stop, and what was acknowledged to them so far.
struct Load {
    stop: Arc<AtomicBool>,
    pushed: Arc<Mutex<Vec<Pushed>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(server: &Server, pushers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pushed: Arc<Mutex<Vec<Pushed>>> = Arc::default();
        let next = Arc::new(AtomicUsize::new(0));
        let threads = (0..pushers)
            .map(|pusher| {
                let (stop, pushed, next) = (Arc::clone(&stop), Arc::clone(&pushed), Arc::clone(&next));
                let repository = server.repository();
                std::thread::spawn(move || {
                    let mut rng = Rng::named(&format!("pusher {pusher}"));
                    while !stop.load(Ordering::SeqCst) {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        let large = if number % 5 == 0 { 2_300_000 } else { 60_000 };
                        let kind = if number % 2 == 0 { Kind::Oci } else { Kind::Docker };
                        let image = Image::random(&mut rng, kind, &[500, large]);
                        let tag = format!("v{number}");
                        repository.push(&tag, &image);
                        pushed.lock().unwrap().push(Pushed { repository: repository.clone(), tag, image });
                    }
                })
            })
            .collect();
        Self { stop, pushed, threads }
    }

    fn acknowledged(&self) -> usize {
        self.pushed.lock().unwrap().len()
    }

    fn end(self) -> Vec<Pushed> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("no push fails");
        }
        std::mem::take(&mut *self.pushed.lock().unwrap())
    }
}

fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).output().expect("the binary starts")
}

fn text(output: &Output) -> String {
    let both = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn good(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("JSON: {}", text(output)))
}

fn create(server: &Server, to: &str, more: &[&str]) -> Value {
    let output = server.command(&[&["backup", "create", "--json", "--to", to], more].concat());
    good(&output)
}

fn pull_all(server: &Server, pushed: &[Pushed]) {
    for Pushed { repository, tag, image } in pushed {
        let restored = Repository::named(server.http(), &repository.name);
        restored.pull_and_compare(&image.digest(), image);
        restored.pull_and_compare(tag, image);
    }
}

/// Every image by its digest, as skopeo does it.
fn skopeo_all(server: &Server, pushed: &[Pushed]) {
    if find("skopeo").is_none() {
        return support::skipped("skopeo is not installed: pulled without it");
    }
    let scratch = Scratch::new();
    let policy = scratch.write("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
    let policy = policy.to_str().expect("a plain path").to_owned();
    let skopeo =
        Client::new("skopeo").always(&["--policy", &policy]).environment("HOME", &scratch.text("home"));
    for Pushed { repository, image, .. } in pushed {
        let from = format!("docker://{}/{}@{}", server.address(), repository.name, image.digest());
        let to = scratch.text("out");
        skopeo.run(&["copy", "--src-tls-verify=false", &from, &format!("dir:{to}")]);
        assert_eq!(fs::read(Path::new(&to).join("manifest.json")).expect("pulled"), image.manifest);
        fs::remove_dir_all(&to).expect("scratch");
    }
}

#[test]
fn a_backup_under_a_push_load_has_every_image_acknowledged_before_it() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let to = folder.path().join("backups").display().to_string();
    let load = Load::start(&server, 4);
    until_true("images are pushed", SOON, || load.acknowledged() >= 24);
    let before = load.acknowledged();
    let first = create(&server, &to, &[]);
    let between = load.acknowledged();
    assert!(between > before, "pushes go on meanwhile");
    until_true("more are pushed", SOON, || load.acknowledged() >= between + 8);
    let before_second = load.acknowledged();
    let second = create(&server, &to, &["--keep", "2", "--verify"]);
    let mut pushed = load.end();
    assert_eq!((first["missing"].as_u64(), second["missing"].as_u64()), (Some(0), Some(0)));
    assert!(second["kept"].as_u64() >= first["blobs"].as_u64(), "{second}");

    let drilled = good(&run(&["backup", "drill", &to, "--json"]));
    assert_eq!(drilled["ok"], true, "{drilled}");
    assert!(drilled["report"]["counts"]["manifests"].as_u64() >= Some(before_second as u64));
    assert!(!Path::new(&to).join("drill").exists(), "a drill cleans up");
    let verified = good(&run(&["backup", "verify", &to, "--all", "--json"]));
    assert_eq!(verified["points"].as_array().map(Vec::len), Some(2));

    drop(server);
    pushed.truncate(before_second);
    let name = first["name"].as_str().expect("a name");
    for (point, acknowledged, by_skopeo) in [(Some(name), before, false), (None, before_second, true)] {
        let data = folder.path().join(format!("restored-{by_skopeo}"));
        let at = data.display().to_string();
        let mut arguments = vec!["restore", &to, "--data", &at, "--json"];
        arguments.extend(point.map(|name| ["--point", name]).into_iter().flatten());
        assert_eq!(good(&run(&arguments))["ok"], true);
        // An earlier package is refused before the first start already.
        let level = fs::read_to_string(data.join(paths::LEVEL)).expect("noted");
        assert_eq!(level, store::encode_level());
        let again = run(&arguments);
        assert_eq!(again.status.code(), Some(1));
        assert!(text(&again).contains("is not empty"), "{}", text(&again));
        let Some(restored) = Server::on_data(&data, Settings::default()) else { return };
        pull_all(&restored, &pushed[..acknowledged]);
        if by_skopeo {
            skopeo_all(&restored, &pushed[..acknowledged]);
        }
    }
}

#[test]
fn a_stream_is_restored_and_one_that_was_cut_is_no_store_until_it_is_run_again() {
    let Some(mut server) = Server::own(Settings::default()) else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let load = Load::start(&server, 2);
    until_true("images are pushed", SOON, || load.acknowledged() >= 8);
    let pushed = load.end();
    let served = server.command(&["backup", "create", "--to", "-"]);
    assert!(served.status.success(), "{}", String::from_utf8_lossy(&served.stderr));
    server.kill();
    // The log of small blobs of the killed server is as good as their files.
    let stopped = server.command(&["backup", "create", "--to", "-"]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));

    for (name, stream) in [("served", &served.stdout), ("stopped", &stopped.stdout)] {
        let data = folder.path().join(name);
        let at = data.display().to_string();
        let mut restoring = restoring(&at);
        let mut input = restoring.stdin.take().expect("piped");
        input.write_all(&stream[..stream.len() / 2]).expect("taken");
        input.flush().expect("taken");
        until_true("some of it is there", SOON, || data.join("restore").exists());
        restoring.kill().expect("SIGKILL is delivered");
        restoring.wait().expect("the child is ours");
        let refused = run(&["serve", "--lab", "--listen", "127.0.0.1:0", "--data", &at]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused).contains("restore that was not finished"), "{}", text(&refused));
        let cut = restore_stream(&at, &stream[..stream.len() / 2]);
        assert_eq!(cut.status.code(), Some(1), "{}", text(&cut));
        assert_eq!(good(&restore_stream(&at, stream))["ok"], true);
        let Some(restored) = Server::on_data(&data, Settings::default()) else { return };
        pull_all(&restored, &pushed);
    }
}

fn restoring(data: &str) -> std::process::Child {
    let mut command = binary();
    command.args(["restore", "-", "--data", data, "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary starts")
}

fn restore_stream(data: &str, stream: &[u8]) -> Output {
    let mut restoring = restoring(data);
    let mut input = restoring.stdin.take().expect("piped");
    let _ = input.write_all(stream); // one that was cut is given up early
    drop(input);
    restoring.wait_with_output().expect("it ends")
}

#[test]
fn a_backup_that_was_killed_is_recognised_and_the_next_one_goes_on_from_it() {
    let Some(server) = Server::own(Settings::default()) else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let to = folder.path().join("backups");
    let path = to.display().to_string();
    let load = Load::start(&server, 2);
    until_true("images are pushed", SOON, || load.acknowledged() >= 20);
    load.end();
    let mut interrupted = 0;
    // Each is killed a little later than the one before; where one ends first there is a whole backup more.
    for seen in ["points", "blobs", "blobs/sha256"] {
        let mut command = binary();
        command.args(["backup", "create", "--copy", "--to", &path, "--data"]).arg(server.data());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        until("the backup has begun", SOON, || {
            let begun = fs::read_dir(to.join(seen)).is_ok_and(|mut entries| entries.next().is_some());
            (begun || child.try_wait().expect("ours").is_some()).then_some(())
        });
        let _ = child.kill();
        child.wait().expect("the child is ours");
        let listed = good(&run(&["backup", "list", &path, "--json"]));
        let items = listed["items"].as_array().expect("a list");
        interrupted += items.iter().filter(|item| item["state"] == "interrupted").count();
        assert!(items.iter().all(|item| item["state"] != "damaged"), "{listed}");
    }
    assert!(interrupted > 0, "no backup was met half-way");
    let made = create(&server, &path, &["--copy", "--keep", "1", "--served-within", "1min"]);
    let listed = good(&run(&["backup", "list", &path, "--json"]));
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    let drilled = good(&run(&["backup", "drill", &path, "--json"]));
    assert_eq!((&drilled["ok"], &drilled["name"]), (&Value::Bool(true), &made["name"]));
    // A backup that is no longer heard of holds nothing for ever: the server still stops and starts.
    assert!(server.command(&["status"]).status.success());
}

#[test]
fn a_full_target_disk_is_told_and_the_server_is_unharmed() {
    if !require_as_root(&["mount", "umount"]) {
        return;
    }
    let Some(server) = Server::own(Settings::default()) else { return };
    assert!(geteuid().is_root());
    let scratch = Scratch::new(); // unmounts what is below it
    let small = scratch.text("small");
    fs::create_dir(&small).expect("made");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs", &small]).status();
    assert!(mounted.expect("mount starts").success());
    let repository = server.repository();
    let image = Image::random(&mut Rng::named("full"), Kind::Oci, &[4_000_000, 4_000_000]);
    repository.push("v1", &image);
    let to = format!("{small}/backups");
    let full = server.command(&["backup", "create", "--to", &to]);
    assert_eq!(full.status.code(), Some(1));
    assert!(text(&full).contains("no space is left on the disk of"), "{}", text(&full));
    repository.pull_and_compare("v1", &image);
    repository.push("v2", &Image::small(&mut Rng::named("after")));
    let listed = good(&run(&["backup", "list", &to, "--json"]));
    assert_eq!(listed["items"][0]["state"], "interrupted");
    let mut output = String::new();
    let remounted = Command::new("mount").args(["-o", "remount,size=40m", &small]).status();
    assert!(remounted.expect("mount starts").success());
    create(&server, &to, &[]);
    let drilled = run(&["backup", "drill", &to]);
    assert!(drilled.status.success(), "{}", text(&drilled));
    drilled.stdout.as_slice().read_to_string(&mut output).expect("text");
    assert!(output.contains("it is good"), "{output}");
}

/// A store that nobody serves, of an account.
fn initialised(folder: &Path) -> String {
    let data = folder.join("data").display().to_string();
    let made = run(&["init", "--generate-password", "--data", &data]);
    assert!(made.status.success(), "{}", text(&made));
    data
}

#[test]
fn a_backup_for_a_timer_is_of_a_store_that_is_served_and_keeps_no_server_from_starting() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = initialised(folder.path());
    let to = folder.path().join("backups");
    let path = to.display().to_string();
    let arguments = ["backup", "create", "--data", &data, "--to", &path, "--served-within", "300ms"];
    let refused = run(&arguments);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("no server serves the store"), "{}", text(&refused));
    assert!(!to.exists(), "nothing was begun");
}

const NOBODY: u32 = 65534;

/// Everything in a folder, itself included, that is not this user's.
fn not_of(user: u32, folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    if fs::symlink_metadata(folder).expect("there").uid() != user {
        found.push(folder.to_owned());
    }
    if folder.is_dir() {
        for entry in fs::read_dir(folder).expect("readable") {
            found.extend(not_of(user, &entry.expect("readable").path()));
        }
    }
    found
}

/// As root's cron may: nothing that is made is anybody else's to enter, unless it is said.
fn run_with_umask(arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(binary().get_program()).args(arguments);
    command.output().expect("the binary starts")
}

/// A store of the server's user in a folder that everybody may look into.
fn of_the_server_user(top: &Path) -> String {
    fs::set_permissions(top, Permissions::from_mode(0o755)).expect("ours");
    let data = initialised(top);
    let owned = Command::new("chown").args(["-R", &NOBODY.to_string(), &data]).status();
    assert!(owned.expect("it starts").success());
    data
}

#[test]
fn root_is_led_nowhere_by_what_the_server_user_has_on_the_way_to_the_backups() {
    if !require_as_root(&["chown"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let top = scratch.path();
    let data = of_the_server_user(top);
    for folder in ["roots", "theirs", "theirs/kept", "sticky"] {
        fs::create_dir(top.join(folder)).expect("made");
    }
    fs::set_permissions(top.join("sticky"), Permissions::from_mode(0o1777)).expect("ours");
    std::os::unix::fs::symlink(top.join("roots"), top.join("theirs/daily")).expect("made");
    std::os::unix::fs::symlink(top.join("roots"), top.join("sticky/daily")).expect("made");
    for name in ["theirs", "theirs/daily", "sticky/daily"] {
        std::os::unix::fs::lchown(top.join(name), Some(NOBODY), None).expect("root may");
    }
    let rows = [
        ("a link in a folder of the server user's", "theirs/daily"),
        ("a folder that is made behind that link", "theirs/daily/new"),
        ("a link of the server user's where anybody may make one", "sticky/daily"),
        ("root's folder in a folder of the server user's", "theirs/kept"),
    ];
    for (name, folder) in rows {
        let to = top.join(folder).display().to_string();
        let refused = run(&["backup", "create", "--data", &data, "--to", &to]);
        assert_eq!(refused.status.code(), Some(1), "{name}: {}", text(&refused));
        let said = text(&refused);
        assert!(said.contains("Permission denied") && said.contains(&to), "{name}: {said}");
        for folder in ["roots", "theirs/kept"] {
            assert_eq!(fs::read_dir(top.join(folder)).expect("root's").count(), 0, "{name}: {folder}");
        }
    }
}

#[test]
fn what_root_backs_up_is_the_server_users_to_go_on_with_unless_the_folder_is_roots() {
    if !require_as_root(&["chown", "setpriv"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let top = scratch.path();
    let data = of_the_server_user(top);
    let below = |folder: &str, user, mode| {
        fs::create_dir(top.join(folder)).expect("made");
        std::os::unix::fs::chown(top.join(folder), Some(user), None).expect("root may");
        fs::set_permissions(top.join(folder), Permissions::from_mode(mode)).expect("ours");
    };
    for (folder, user, mode) in [
        ("theirs", NOBODY, 0o755),
        ("roots", 0, 0o755),
        ("closed", 0, 0o700),
        ("shut", 0, 0o700),
        ("shut/theirs", NOBODY, 0o755),
    ] {
        below(folder, user, mode);
    }
    let rows = [
        ("made anew", "new/here/backups", "new/here/backups", NOBODY),
        ("the server user's", "theirs", "theirs", NOBODY),
        ("root's", "roots", "roots", 0),
        ("where the server's user cannot come", "closed", "closed/backups", 0),
    ];
    for (name, first, folder, user) in rows {
        let to = top.join(folder).display().to_string();
        for _ in 0..2 {
            let made = run_with_umask(&["backup", "create", "--data", &data, "--to", &to]);
            assert!(made.status.success(), "{name}: {}", text(&made));
        }
        assert_eq!(not_of(user, &top.join(first)), Vec::<std::path::PathBuf>::new(), "{name}");
    }
    // What that user had left there before it was closed would lead root elsewhere.
    fs::write(top.join("precious"), "kept").expect("written");
    std::os::unix::fs::symlink(top.join("precious"), top.join("shut/theirs/LOCK")).expect("a link");
    let to = top.join("shut/theirs").display().to_string();
    let refused = run_with_umask(&["backup", "create", "--data", &data, "--to", &to]);
    assert!(!refused.status.success(), "the server user's, where that user cannot come: {}", text(&refused));
    assert_eq!(fs::read_to_string(top.join("precious")).expect("there"), "kept");
    for above in ["new", "new/here"] {
        let made = fs::metadata(top.join(above)).expect("made");
        assert_eq!((made.uid(), made.mode() & 0o7777), (0, 0o755), "{above} is nobody's to change");
    }
    // As the timer does.
    let program = top.join("pierhead");
    fs::copy(binary().get_program(), &program).expect("a copy");
    for (folder, refused) in
        [("new/here/backups", None), ("theirs", None), ("roots", Some("chown -R 65534 "))]
    {
        let to = top.join(folder);
        let output = until("the copy may be run", SOON, || {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
            command.args(["backup", "create", "--data", &data, "--to"]).arg(&to);
            // A process that another test starts meanwhile holds what this one wrote the copy with, for a moment.
            Some(command.output().expect("it starts"))
                .filter(|output| !text(output).contains("Text file busy"))
        });
        let said = text(&output);
        assert_eq!(output.status.success(), refused.is_none(), "{folder}: {said}");
        assert!(refused.is_none_or(|words| said.contains(words)), "{folder}: {said}");
    }
}
