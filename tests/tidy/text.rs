//! Sizes, heads, and words that have no place in what is delivered.

use crate::source::{File, code_lines, files_below, rust_files};

const FILE_CEILING: usize = 500;
const FUNCTION_CEILING: usize = 70;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Files whose lines are data, not prose or code of ours.
const DATA: &[&str] = &["Cargo.lock", "LICENSE"];

/// Written in parts, so that this file does not contain them.
fn unwanted() -> Vec<String> {
    [("to", "do!"), ("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK"), ("#[ign", "ore"), ("db", "g!(")]
        .map(|(first, second)| format!("{first}{second}"))
        .to_vec()
}

fn texts() -> Vec<File> {
    let extensions = ["rs", "toml", "md", "txt", "run", "sh", "yml", "yaml", "json"];
    let mut files = files_below(".", &extensions);
    for name in ["check", ".ci/run"] {
        let text =
            std::fs::read_to_string(crate::source::top().join(name)).expect("a script of the repository");
        files.push(File { path: name.to_owned(), text });
    }
    files.retain(|file| !DATA.iter().any(|data| file.path.ends_with(data)));
    files
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    for file in rust_files() {
        let exempt = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        let length = file.text.lines().count();
        assert!(
            exempt || length <= FILE_CEILING,
            "{}: {length} lines, {FILE_CEILING} at most: split it by topic",
            file.path
        );
    }
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut long = Vec::new();
    for file in rust_files() {
        for (name, line, length) in functions(&file.text) {
            if length > FUNCTION_CEILING {
                long.push(format!(
                    "{}:{line}: fn {name} has {length} lines, {FUNCTION_CEILING} at most",
                    file.path
                ));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Name, first line and length of each function: from `fn` to the brace at the same indent, which
/// is where rustfmt puts it.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines = code_lines(text);
    let mut found = Vec::new();
    for (index, (number, line)) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let closing = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let body = &lines[index..];
        let one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
        let end = body
            .iter()
            .position(|(_, line)| line.trim_end() == closing || line.trim_end() == format!("{closing}}}"));
        if let Some(end) = end.filter(|_| !one_line) {
            found.push((name, *number, end + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut rest = line.trim_start();
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "extern \"C\" "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name: String = rest
        .strip_prefix("fn ")?
        .chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

#[test]
fn a_function_is_measured_from_its_head_to_its_closing_brace() {
    let text = "impl A {\n    pub async fn one(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n\n    fn two() {}\n}\nfn three() {\n    let s = \"\n}\n\";\n}\n";
    let measured: Vec<(String, usize)> =
        functions(text).into_iter().map(|(name, _, length)| (name, length)).collect();
    assert_eq!(measured, [("one".to_owned(), 5), ("three".to_owned(), 5)]);
}

#[test]
fn every_module_says_first_what_it_is_for() {
    for file in rust_files() {
        assert!(
            file.text.starts_with("//!"),
            "{}: begins with `//!` lines that say what it is for",
            file.path
        );
    }
}

#[test]
fn nothing_is_put_off_and_no_test_is_switched_off() {
    for file in texts() {
        for (number, line) in file.text.lines().enumerate() {
            let found = unwanted().into_iter().find(|word| contains_word(line, word));
            assert_eq!(found, None, "{}:{}: has no place here", file.path, number + 1);
        }
    }
}

fn contains_word(line: &str, word: &str) -> bool {
    let inside = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = !word.ends_with(char::is_alphanumeric);
        !before.is_some_and(inside) && (open || !after.is_some_and(inside))
    })
}

#[test]
fn no_path_of_a_build_machine_and_no_address_of_its_mirrors_is_written_down() {
    let parts = [
        ("/wo", "rk/"),
        ("/tmp", "/w/"),
        ("/ho", "me/"),
        ("/ro", "ot/"),
        ("/usr/local/", "cargo"),
        ("://mir", "ror"),
    ];
    for file in texts() {
        for (number, line) in file.text.lines().enumerate() {
            for (first, second) in parts {
                let path = format!("{first}{second}");
                assert!(!line.contains(&path), "{}:{}: names {path}", file.path, number + 1);
            }
        }
    }
}

#[test]
fn lines_end_without_white_space_and_files_with_one_newline() {
    for file in texts() {
        if file.path.contains("golden") {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            assert!(
                !line.ends_with([' ', '\t', '\r']),
                "{}:{}: white space at the end",
                file.path,
                number + 1
            );
        }
        let ends_well = file.text.is_empty() || (file.text.ends_with('\n') && !file.text.ends_with("\n\n"));
        assert!(ends_well, "{}: ends with one newline", file.path);
    }
}

#[test]
fn names_of_tests_are_sentences() {
    for file in rust_files() {
        let lines: Vec<&str> = file.text.lines().collect();
        for (index, line) in
            lines.iter().enumerate().filter(|(_, line)| matches!(line.trim(), "#[test]" | "#[tokio::test]"))
        {
            let name = lines[index + 1..].iter().find_map(|line| function_name(line)).unwrap_or_default();
            let words = name.split('_').filter(|word| !word.is_empty()).count();
            let good = words >= 3 && !name.starts_with("test_");
            assert!(
                good,
                "{}:{}: {name:?} does not say condition and outcome ({line})",
                file.path,
                index + 2
            );
        }
    }
}
