//! Finds the line and the key that an error in a settings file is about. The file may be broken,
//! so this reads lines, not TOML: good enough for a message, never for a value.

/// The 1-based line of byte `offset`, and the key on it as `section.key`.
pub fn key_at(text: &str, offset: usize) -> (usize, String) {
    let upto = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line = upto.iter().filter(|byte| **byte == b'\n').count() + 1;
    let mut section = "";
    let mut key = "";
    for content in text.lines().take(line) {
        match parse(content) {
            Line::Section(name) => (section, key) = (name, ""),
            Line::Key(name) => key = name,
            Line::Other => {}
        }
    }
    let dot = if section.is_empty() || key.is_empty() { "" } else { "." };
    (line, format!("{section}{dot}{key}"))
}

/// The 1-based line that sets `section.key`, if there is one.
pub fn line_of(text: &str, section: &str, key: &str) -> Option<usize> {
    let mut current = "";
    for (index, content) in text.lines().enumerate() {
        match parse(content) {
            Line::Section(name) => current = name,
            Line::Key(name) if current == section && name == key => return Some(index + 1),
            Line::Key(_) | Line::Other => {}
        }
    }
    None
}

enum Line<'a> {
    Section(&'a str),
    Key(&'a str),
    Other,
}

fn parse(line: &str) -> Line<'_> {
    let line = line.trim();
    if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return if is_name(name.0) { Line::Section(name.0.trim()) } else { Line::Other };
    }
    match line.split_once('=') {
        Some((name, _)) if is_name(name) => Line::Key(name.trim()),
        _ => Line::Other,
    }
}

fn is_name(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    const FILE: &str =
        "# head\n[server]\nhttp2 = true\nlisten = [\n  \"a\",\n  \"b\",\n]\n\n[log]\nlevel = \"x\"\n";

    #[test]
    fn an_offset_is_found_as_line_and_key() {
        let rows = [("true", 3, "server.http2"), ("\"b\"", 6, "server.listen"), ("\"x\"", 10, "log.level")];
        for (needle, line, key) in rows {
            let offset = FILE.find(needle).unwrap();
            assert_eq!(key_at(FILE, offset), (line, key.to_owned()), "{needle}");
        }
    }

    #[test]
    fn a_key_is_found_in_its_own_section_only() {
        assert_eq!(line_of(FILE, "log", "level"), Some(10));
        assert_eq!(line_of(FILE, "server", "level"), None);
    }

    proptest! {
        #[test]
        fn no_text_and_no_offset_panic(text in "[\\[\\]=a.\\n #é]*", offset in any::<usize>()) {
            let _ = key_at(&text, offset);
            let _ = key_at(&text, offset % (text.len() + 1));
            let _ = line_of(&text, "a", "a");
        }
    }
}
