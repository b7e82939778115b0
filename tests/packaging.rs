//! What is handed out, made of this build's binary: what the package says, holds and refuses, and that the
//! same input gives the same bytes. `packaging/test` lives through a package's life in a Debian of its own.
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
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::clients::{Scratch, require};
use support::server::binary;

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What it printed; panics with all of it when it failed.
fn done(command: &mut Command) -> String {
    let output = run(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A product of this build's binary, of the version 7.8.9 and the store level 42.
fn build(product: &str, out: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/build");
    let mut command = Command::new(script);
    command.arg(product).arg("--out").arg(out).arg("--binary").arg(binary().get_program());
    command
        .args(["--version", "7.8.9", "--store-level", "42", "--fast", "yes"])
        .env("SOURCE_DATE_EPOCH", "1767225600");
    let made = done(&mut command);
    PathBuf::from(made.lines().last().expect("a path"))
}

#[test]
fn the_package_says_what_it_needs_and_its_files_are_for_root_to_change_only() {
    if !require(&["dpkg-deb", "strip", "readelf", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let deb = build("deb", &scratch.path("out"));
    let field = |name: &str| done(Command::new("dpkg-deb").arg("-f").arg(&deb).arg(name)).trim().to_owned();
    assert_eq!((field("Package"), field("Version")), ("pierhead".to_owned(), "7.8.9".to_owned()));
    let needs: Vec<String> =
        field("Depends").split(", ").map(|need| need.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(needs, ["libc6", "libgcc-s1"], "nothing that a bare host lacks");

    let listed = done(Command::new("dpkg-deb").arg("-c").arg(&deb));
    for line in listed.lines() {
        assert!(line.contains(" root/root "), "{line}");
        let mode = line.split(' ').next().unwrap();
        assert!(["drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x"].contains(&mode), "{line}");
        assert_eq!(mode == "-rwxr-xr-x", line.ends_with("./usr/bin/pierhead"), "{line}");
    }
    for file in [
        "./etc/pierhead/pierhead.toml",
        "./lib/systemd/system/pierhead.service",
        "./lib/systemd/system/pierhead.socket",
        "./lib/systemd/system/pierhead-backup.service",
        "./lib/systemd/system/pierhead-backup.timer",
        "./usr/lib/sysusers.d/pierhead.conf",
        "./usr/lib/tmpfiles.d/pierhead.conf",
        "./usr/share/man/man1/pierhead.1.gz",
        "./usr/share/man/man1/pierhead-user-add.1.gz",
        "./usr/share/bash-completion/completions/pierhead",
        "./usr/share/doc/pierhead/sbom.cdx.json",
        "./usr/share/doc/pierhead/third-party-licences.gz",
        "./usr/share/doc/pierhead/install.md",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(file)), "{file} is missing:\n{listed}");
    }
    done(Command::new("dpkg-deb").arg("-R").arg(&deb).arg(scratch.path("tree")));
    let conffiles = fs::read_to_string(scratch.path("tree/DEBIAN/conffiles")).expect("conffiles");
    assert_eq!(conffiles, "/etc/pierhead/pierhead.toml\n");
    for script in ["preinst", "postinst", "prerm", "postrm"] {
        let path = scratch.path("tree/DEBIAN").join(script);
        assert!(
            !fs::read_to_string(&path).expect("a script").contains('@'),
            "{script}: something is not filled in"
        );
        done(Command::new("sh").arg("-n").arg(path));
    }
    let sample = fs::read_to_string(scratch.path("tree/etc/pierhead/pierhead.toml")).expect("settings");
    assert!(sample.lines().all(|line| line.is_empty() || line.starts_with(['#', '['])), "{sample}");
    let sbom = fs::read_to_string(scratch.path("tree/usr/share/doc/pierhead/sbom.cdx.json")).expect("a list");
    let sbom: serde_json::Value = serde_json::from_str(&sbom).expect("JSON");
    let names: Vec<_> =
        sbom["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"rustls") && names.contains(&"sled"), "{names:?}");
    assert!(!names.contains(&"proptest"), "what tests need is not linked");
}

/// A clone in `folder` that is all `packaging/version` looks at; `git` in it, as somebody at that second of a day.
fn git(folder: &Path, second: u32, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=n", "-c", "user.email=n@example"]).args(arguments);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
        command.env(who, format!("2026-01-01T00:00:{second:02}Z"));
    }
    done(&mut command)
}

/// Asked for what the tree's package would be called, by somebody whose git was told nothing.
fn ask_version(folder: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/version");
    run(Command::new(script)
        .arg(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1"))
}

/// What the tree's package would be called.
fn version(folder: &Path) -> String {
    let output = ask_version(folder);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A clone of one commit that is no release, in a folder of this name.
fn clone_of_a_commit(scratch: &Scratch, name: &str) -> PathBuf {
    let text = "[workspace.package]\nversion = \"0.1.0\"\n\n[package]\nname = \"x\"\n";
    scratch.write(&format!("{name}/Cargo.toml"), text);
    let folder = scratch.path(name);
    git(&folder, 0, &["init", "-q", "."]);
    git(&folder, 0, &["add", "."]);
    git(&folder, 1, &["commit", "-qm", "a change"]);
    folder
}

#[test]
fn no_commit_is_called_the_release_because_git_was_not_understood() {
    if !require(&["git", "ln"]) {
        return;
    }
    let scratch = Scratch::new();
    let folder = clone_of_a_commit(&scratch, "clone");
    let expected = version(&folder);
    assert!(expected.starts_with("0.1.0~git20260101000001."), "{expected}");

    std::os::unix::fs::symlink(&folder, scratch.path("link")).expect("a link");
    assert_eq!(version(&scratch.path("link")), expected, "reached by a link");

    // What git would not read for itself: root is not who owns it.
    if rustix::process::geteuid().is_root() {
        done(Command::new("chown").args(["-R", "65534"]).arg(&folder));
        let plain = run(Command::new("git")
            .arg("-C")
            .arg(&folder)
            .args(["log", "-1"])
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1"));
        assert!(!plain.status.success(), "git refuses: {plain:?}");
        assert_eq!(version(&folder), expected, "another user's");
    } else {
        support::skipped("another user's clone: needs root");
    }

    fs::remove_file(scratch.path("clone/.git/HEAD")).expect("damaged");
    let refused = ask_version(&folder);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("git does not tell the commit of"), "{said}");
}

#[test]
fn a_clone_without_the_release_in_its_history_says_so() {
    if !require(&["git"]) {
        return;
    }
    let scratch = Scratch::new();
    let whole = clone_of_a_commit(&scratch, "whole");
    git(&whole, 1, &["tag", "v0.1.0"]);
    git(&whole, 2, &["commit", "-qm", "after it", "--allow-empty"]);
    let from = format!("file://{}", whole.display());
    git(&whole, 3, &["clone", "-q", "--depth", "1", &from, &scratch.text("shallow")]);
    let (whole, shallow) = (ask_version(&whole), ask_version(&scratch.path("shallow")));
    let told = |output: &Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(told(&whole).starts_with("0.1.0+git20260101000002.") && whole.stderr.is_empty(), "{whole:?}");
    // A build goes on, and its package can be told from the release.
    assert!(shallow.status.success(), "{shallow:?}");
    assert_eq!(told(&shallow), told(&whole).replace('+', "~"));
    let said = String::from_utf8_lossy(&shallow.stderr).into_owned();
    assert!(said.contains("lacks history"), "{said}");
}

#[test]
fn the_level_that_the_program_notes_is_the_one_that_its_package_has() {
    let counted = done(&mut Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/level")));
    let level = pierhead_storage_format::store::LEVEL.to_string();
    assert_eq!(
        counted.trim(),
        level,
        "a golden file came: raise LEVEL in storage-format/src/store.rs, and in FORMAT.md"
    );
}

#[test]
fn versions_of_commits_sort_in_order_and_around_the_release() {
    if !require(&["git", "dpkg"]) {
        return;
    }
    let scratch = Scratch::new();
    let folder = fs::canonicalize(scratch.path("")).expect("a folder");
    let cargo = |version: &str| {
        let text = format!("[workspace.package]\nversion = \"{version}\"\n\n[package]\nname = \"x\"\n");
        scratch.write("Cargo.toml", text);
    };
    let commit = |second| git(&folder, second, &["commit", "-qam", "a change", "--allow-empty"]);
    cargo("0.1.0");
    assert_eq!(version(&folder), "0.1.0", "outside of a clone");
    git(&folder, 0, &["init", "-q", "."]);
    git(&folder, 0, &["add", "."]);
    let mut versions = Vec::new();
    for second in [1, 2] {
        commit(second);
        versions.push(version(&folder));
    }
    assert!(versions[0].starts_with("0.1.0~git20260101000001."), "{versions:?}");
    git(&folder, 3, &["tag", "v0.1.0"]);
    versions.push(version(&folder));
    assert_eq!(versions[2], "0.1.0", "a release is plain");
    scratch.write("Cargo.toml", "[workspace.package]\nversion = \"0.1.0\"\n");
    assert!(version(&folder).ends_with(".changed"), "{}", version(&folder));
    commit(4);
    versions.push(version(&folder));
    cargo("0.2.0");
    commit(5);
    versions.push(version(&folder));
    for pair in versions.windows(2) {
        done(Command::new("dpkg").args(["--compare-versions", &pair[0], "lt", &pair[1]]));
    }
}

/// Files of a host: path and content.
type Host<'a> = &'a [(&'a str, &'a str)];

/// Runs the package's preinst against a host that looks like this; whether it went on, and what it said.
fn preinst(scratch: &Scratch, script: &str, host: Host<'_>, allowed: bool) -> (bool, String) {
    let root = scratch.path("host");
    let _ = fs::remove_dir_all(&root);
    for (path, content) in host {
        scratch.write(&format!("host/{path}"), content);
    }
    // The same script, its absolute paths below a folder.
    let root = root.to_str().expect("a plain path").to_owned();
    let script =
        script.replace("/etc/", &format!("{root}/etc/")).replace("/var/lib/", &format!("{root}/var/lib/"));
    let script = script
        .replace("/usr/share/", &format!("{root}/usr/share/"))
        .replace("/srv/", &format!("{root}/srv/"));
    let mut command = Command::new("sh");
    command.args(["-c", &script, "preinst", "upgrade", "9.9.9"]);
    if allowed {
        command.env("PIERHEAD_ALLOW_DOWNGRADE", "1");
    }
    let output = run(&mut command);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_version_that_could_not_read_the_store_is_refused_before_anything_is_unpacked() {
    if !require(&["dpkg-deb", "strip", "readelf", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let deb = build("deb", &scratch.path("out"));
    done(Command::new("dpkg-deb").arg("-e").arg(&deb).arg(scratch.path("control")));
    let script = fs::read_to_string(scratch.path("control/preinst")).expect("a script");
    let (level, kept) = ("usr/share/pierhead/store-level", "var/lib/pierhead/.store-level");
    let format = "var/lib/pierhead/FORMAT";
    // The path in the settings is below the test's root, too.
    let elsewhere = format!("[storage]\ndata = \"{}\"\n", scratch.text("host/srv/images"));
    let settings = ("etc/pierhead/pierhead.toml", elsewhere.as_str());
    let rows: [(&str, Host<'_>, bool, bool); 11] = [
        ("a new host", &[], false, true),
        ("the same level", &[(level, "42\n"), (kept, "42\n")], false, true),
        ("a lower level", &[(level, "41\n")], false, true),
        ("a higher level", &[(level, "43\n")], false, false),
        ("a higher level, and it is allowed", &[(level, "43\n")], true, true),
        ("a higher one was here before", &[(kept, "43\n")], false, false),
        ("a later format", &[(format, "pierhead store, format 9\n")], false, false),
        ("a damaged FORMAT is the server's business", &[(format, "x\n")], false, true),
        ("a damaged level", &[(kept, "x\n")], false, true),
        (
            "a later format elsewhere",
            &[settings, ("srv/images/FORMAT", "pierhead store, format 9\n")],
            false,
            false,
        ),
        ("a higher level elsewhere", &[settings, ("srv/images/.store-level", "43\n")], false, false),
    ];
    for (name, host, allowed, expected) in rows {
        let (went_on, said) = preinst(&scratch, &script, host, allowed);
        assert_eq!(went_on, expected, "{name}: {said}");
        assert!(expected || said.contains("pierhead 7.8.9 is not installed:"), "{name}: {said}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_the_sums_are_theirs() {
    if !require(&["dpkg-deb", "strip", "readelf", "python3", "ldd"]) {
        return;
    }
    let scratch = Scratch::new();
    let sums = ["one", "two"].map(|out| {
        build("all", &scratch.path(out));
        done(Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(scratch.path(out)));
        fs::read_to_string(scratch.path(out).join("SHA256SUMS")).expect("sums")
    });
    assert_eq!(sums[0], sums[1]);
    assert_eq!(sums[0].lines().count(), 3, "{}", sums[0]);
}

#[test]
fn the_tarball_installs_below_a_folder_keeps_settings_and_can_be_taken_away() {
    if !require(&["strip", "readelf", "python3", "tar"]) {
        return;
    }
    let scratch = Scratch::new();
    let archive = build("tarball", &scratch.path("out"));
    done(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(scratch.path("")));
    let installer = scratch.path("pierhead-7.8.9-linux-amd64/install.sh");
    let install =
        || Command::new(&installer).arg("--root").arg(scratch.path("root")).output().expect("it starts");
    assert!(install().status.success());
    let settings = scratch.path("root/etc/pierhead/pierhead.toml");
    fs::write(&settings, "[log]\nlevel = \"warn\"\n").expect("an operator's change");
    assert!(install().status.success());
    assert_eq!(fs::read_to_string(&settings).expect("settings"), "[log]\nlevel = \"warn\"\n");
    assert!(scratch.path("root/etc/pierhead/pierhead.toml.new").exists());
    done(
        Command::new(scratch.path("root/usr/bin/pierhead"))
            .args(["config", "check", "--config"])
            .arg(&settings),
    );
    fs::write(&settings, "[storage]\ndata = \"/srv/images\"\n").expect("an operator's change");
    for file in ["usr/share/pierhead/store-level", "srv/images/.store-level"] {
        let before = fs::read(scratch.path("root").join(file)).unwrap_or_default();
        scratch.write(&format!("root/{file}"), "43\n");
        let refused = install();
        assert!(
            !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("level 43"),
            "{file}: {refused:?}"
        );
        scratch.write(&format!("root/{file}"), before);
    }
    done(Command::new(&installer).arg("--remove").arg("--root").arg(scratch.path("root")));
    assert!(settings.exists() && !scratch.path("root/usr/bin/pierhead").exists());
    fs::write(scratch.path("pierhead-7.8.9-linux-amd64/files/usr/bin/pierhead"), "cut").expect("damage");
    let damaged = install();
    assert!(
        !damaged.status.success() && String::from_utf8_lossy(&damaged.stderr).contains("damaged"),
        "{damaged:?}"
    );
}
