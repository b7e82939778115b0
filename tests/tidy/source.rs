//! The files of the repository, and Rust text without what is not code.

use std::fs;
use std::path::{Path, PathBuf};

/// A file by its path from the top of the repository.
pub struct File {
    pub path: String,
    pub text: String,
}

pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the product, its crates and its tests.
pub fn rust_files() -> Vec<File> {
    let folders = ["src", "storage-format", "bench", "tests"];
    let mut files: Vec<File> = folders.iter().flat_map(|folder| files_below(folder, &["rs"])).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 20, "the source is found");
    files
}

/// The files below a folder whose names end so; build output left out.
pub fn files_below(folder: &str, extensions: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![top().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" && !name.starts_with("pierhead-data") {
                    folders.push(path);
                }
            } else if extensions.iter().any(|extension| name.ends_with(&format!(".{extension}"))) {
                found.push(read(path));
            }
        }
    }
    found
}

fn read(path: PathBuf) -> File {
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let path = path.strip_prefix(top()).expect("below the top").to_string_lossy().into_owned();
    File { path, text }
}

/// The lines of a Rust file with comments and the insides of string literals blanked, numbered
/// from 1. Enough of a lexer for well-formatted code; raw strings included.
pub fn code_lines(text: &str) -> Vec<(usize, String)> {
    let blanked = blank(text);
    blanked.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned())).collect()
}

fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest, out.chars().last()) {
            length
        } else if first == '"' {
            string(rest)
        } else {
            char_literal(rest).unwrap_or(0)
        };
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..skipped].chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    out
}

/// The length of a raw string literal at the start, if there is one.
fn raw_string(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|character| character.is_alphanumeric() || character == '_') {
        return None;
    }
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&closing)?;
    Some(prefix.len() + hashes + 1 + end + closing.len())
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal, told from a lifetime by its closing quote.
fn char_literal(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let content = if let Some(escaped) = body.strip_prefix('\\') {
        let after = escaped.chars().next()?.len_utf8() + 1;
        after + body[after..].find('\'')?
    } else {
        body.chars().next()?.len_utf8()
    };
    body[content..].starts_with('\'').then_some(content + 2)
}

#[test]
fn comments_and_strings_are_blanked_and_code_is_kept() {
    let table = [
        ("a // b\nc", "a     \nc"),
        ("a /* b\n*/ c", "a     \n   c"),
        (r#"f("x{y")"#, "f(     )"),
        (r##"f(r#"{"a"}"#)"##, "f(          )"),
        (r"f('{', '\'', 'a')", "f(   ,     ,    )"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        (r#"f("\\", x)"#, "f(    , x)"),
        ("for r in rows", "for r in rows"),
    ];
    for (text, wanted) in table {
        assert_eq!(blank(text), wanted, "{text}");
    }
}
