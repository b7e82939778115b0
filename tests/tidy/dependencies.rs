//! Dependencies: each version pinned, each line with its reason, and the lints taken by every crate.

use crate::source::top;
use std::fs;

const MANIFESTS: [&str; 3] = ["Cargo.toml", "storage-format/Cargo.toml", "bench/Cargo.toml"];

/// The lines of the dependency tables of a manifest: section, line number, line, the line before.
fn dependency_lines(manifest: &str) -> Vec<(String, usize, String, String)> {
    let text = fs::read_to_string(top().join(manifest)).expect("a manifest");
    let (mut section, mut before, mut found) = (String::new(), String::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if section.ends_with("dependencies") && line.contains('=') && !line.starts_with([' ', '#']) {
            found.push((section.clone(), index + 1, line.to_owned(), before.clone()));
        }
        before = line.to_owned();
    }
    found
}

/// The table as cargo reads it: name and version requirement of each dependency with one.
fn versions(manifest: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(top().join(manifest)).expect("a manifest");
    let table: toml::Table = toml::from_str(&text).expect("a manifest in TOML");
    let workspace = table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let own = ["dependencies", "dev-dependencies", "build-dependencies"].map(|name| table.get(name));
    let tables = own.into_iter().chain([workspace]).flatten().filter_map(toml::Value::as_table);
    let entries = tables.flatten();
    entries
        .filter_map(|(name, value)| {
            let version = value.as_str().or(value.get("version").and_then(toml::Value::as_str))?;
            Some((name.clone(), version.to_owned()))
        })
        .collect()
}

#[test]
fn every_version_is_pinned() {
    for manifest in MANIFESTS {
        for (name, version) in versions(manifest) {
            assert!(version.starts_with('='), "{manifest}: {name} = {version:?} is not pinned with `=`");
        }
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    // Versions are gathered in the workspace's table; the reason stands where a crate takes one, or,
    // for what the product's owner fixed, in the comment above that group.
    const FIXED: [&str; 11] = [
        "hyper", "tokio", "sled", "blake3", "sha2", "memmap2", "rustls", "zstd", "serde", "bincode",
        "governor",
    ];
    for manifest in ["Cargo.toml", "storage-format/Cargo.toml"] {
        for (section, number, line, before) in dependency_lines(manifest) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or("").to_owned();
            let own = name.starts_with("pierhead");
            let said =
                line.contains(" # ") || before.starts_with('#') || FIXED.contains(&name.as_str()) || own;
            assert!(
                said || section.starts_with("workspace"),
                "{manifest}:{number}: {name} has no reason beside it"
            );
        }
    }
}

#[test]
fn every_crate_takes_the_workspace_s_lints() {
    for manifest in MANIFESTS {
        let text = fs::read_to_string(top().join(manifest)).expect("a manifest");
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest}: [lints] workspace = true");
    }
}

#[test]
fn the_top_level_is_what_was_agreed() {
    for name in [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "storage-format",
        "tests",
        "bench",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
    ] {
        assert!(top().join(name).exists(), "{name} is missing");
    }
}

/// Two versions of one crate that are known, and whom to thank.
const TWICE: [(&str, &str); 10] = [
    ("bit-vec", "proptest and its own set of bits; tests only"),
    ("bitflags", "1 comes with sled's relatives on other systems"),
    ("getrandom", "0.2 comes with optional parts that are not built"),
    ("hashbrown", "0.16 comes with governor 0.10"),
    ("parking_lot", "0.11 comes with sled 0.34"),
    ("parking_lot_core", "as parking_lot"),
    ("redox_syscall", "another system's"),
    ("syn", "build time only"),
    ("untrusted", "one comes with an optional part that is not built"),
    ("windows-sys", "another system's"),
];

/// Crates that may not come in by any road; deny.toml has the reasons.
const UNWANTED: [&str; 7] =
    ["openssl", "openssl-sys", "native-tls", "reqwest", "chrono", "rustls-pemfile", "openssl-probe"];

#[test]
fn nothing_is_linked_twice_or_unwanted_without_a_reason() {
    let text = fs::read_to_string(top().join("Cargo.lock")).expect("the lock file");
    let lock: toml::Table = toml::from_str(&text).expect("a lock file in TOML");
    let packages = lock["package"].as_array().expect("packages");
    let mut names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    names.sort_unstable();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        let known = TWICE.iter().any(|(name, _)| *name == pair[0]);
        assert!(known, "{} is in Cargo.lock in two versions", pair[0]);
    }
    for name in UNWANTED {
        assert!(!names.contains(&name), "{name} is in Cargo.lock: see deny.toml");
    }
}
