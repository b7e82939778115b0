//! Which room may name what: nothing flows back up, and each fixed crate has one owner.

use crate::source::{code_lines, rust_files};

/// A rule: files whose path starts with `room` may not contain any of `words` in code, but for
/// those whose path starts with one of `but`.
struct Wall {
    room: &'static str,
    but: &'static [&'static str],
    words: &'static [&'static str],
    reason: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        room: "src/services/",
        but: &[],
        words: &[
            "hyper",
            "http::",
            "http_body_util",
            "sled",
            "crate::api",
            "crate::server",
            "crate::cli",
            "StatusCode",
        ],
        reason: "the domain knows no transport, no engine and nothing above it",
    },
    Wall {
        room: "src/api/",
        but: &[],
        words: &["crate::stores", "stores::", "sled", "bincode", "crate::cli"],
        reason: "a surface parses, authorises, calls a service and renders; it touches no store",
    },
    Wall {
        room: "src/stores/",
        but: &[],
        words: &[
            "crate::services",
            "crate::api",
            "crate::server",
            "crate::cli",
            "crate::config",
            "hyper",
            "Permit",
        ],
        reason: "a store knows neither who calls nor why",
    },
    Wall {
        room: "src/server/",
        but: &[],
        words: &["crate::api", "crate::stores", "crate::services", "crate::cli", "sled"],
        reason: "the edge knows sockets, not routes and rules",
    },
    Wall {
        room: "src/seams/",
        but: &[],
        words: &["crate::services", "crate::api", "crate::server", "crate::stores", "crate::cli"],
        reason: "a seam decides nothing",
    },
    Wall {
        room: "src/stores/blobs/",
        but: &[],
        words: &["manifest", "Manifest", "crate::stores::meta", "stores::meta"],
        reason: "bytes do not know what they mean",
    },
    Wall {
        room: "",
        but: &["src/stores/meta/", "tests/tidy/"],
        words: &["sled::", "use sled"],
        reason: "sled is the index of stores/meta only",
    },
    Wall {
        room: "",
        but: &["storage-format/src/codec.rs", "tests/tidy/"],
        words: &["bincode"],
        reason: "one codec module, so that it can be replaced",
    },
    Wall {
        room: "storage-format/",
        but: &[],
        words: &["tokio", "hyper", "pierhead::"],
        reason: "the format stands alone",
    },
    Wall {
        room: "tests/",
        but: &["tests/tidy/"],
        words: &["use pierhead::"],
        reason: "black-box: the binary over a socket, and the format of the disk",
    },
];

#[test]
fn every_room_names_only_what_it_may() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let walls = WALLS.iter().filter(|wall| {
            file.path.starts_with(wall.room) && !wall.but.iter().any(|exempt| file.path.starts_with(exempt))
        });
        let lines = product_lines(&file.text);
        for wall in walls {
            for (number, line) in &lines {
                for word in wall.words.iter().filter(|word| names(line, word)) {
                    broken.push(format!("{}:{number}: names {word}: {}", file.path, wall.reason));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Code lines up to a file's own tests, which may bring parts of other rooms.
fn product_lines(text: &str) -> Vec<(usize, String)> {
    let lines = code_lines(text);
    let tests = lines.windows(2).position(|pair| {
        pair[0].1.trim() == "#[cfg(test)]"
            && pair[1].1.trim_start_matches("pub(crate) ").starts_with("mod tests")
    });
    lines.into_iter().take(tests.unwrap_or(usize::MAX)).collect()
}

/// Whether `word` stands in `line` as a path or a name, not inside a longer name.
fn names(line: &str, word: &str) -> bool {
    let inside = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = word.ends_with("::");
        !before.is_some_and(inside) && (open || !after.is_some_and(inside))
    })
}

/// Maps of blobs, and one call of the allocator.
const UNSAFE: [&str; 2] = ["src/stores/blobs/map.rs", "src/seams/allocator.rs"];

#[test]
fn unsafe_code_is_in_two_files_only() {
    for file in rust_files().iter().filter(|file| !UNSAFE.contains(&file.path.as_str())) {
        for (number, line) in code_lines(&file.text) {
            let word = names(&line, "unsafe") || line.contains("allow(unsafe_code");
            assert!(!word, "{}:{number}: unsafe code lives in {UNSAFE:?}", file.path);
        }
    }
}

#[test]
fn a_name_is_told_from_a_longer_one() {
    assert!(
        names("use sled::Db;", "sled::") && names("x: hyper", "hyper") && names("sha2::Digest, sled", "sled")
    );
    assert!(
        !names("use hyper_util::x;", "hyper")
            && !names("tousled::x", "sled::")
            && !names("http_body", "http::")
    );
}
