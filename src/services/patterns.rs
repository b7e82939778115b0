//! Regular expressions that users give: matched in linear time, against the whole of a text.

use regex::{Regex, RegexBuilder};

/// Characters of a pattern.
pub const MAX_PATTERN: usize = 1000;
/// Bytes that a compiled one takes, and again what matching keeps.
const MAX_COMPILED: usize = 1 << 20;
/// Groups within groups: the parser recurses.
const MAX_NESTING: u32 = 50;

/// A pattern that was read. It matches whole texts only, so that a bare `|` never widens what it is meant for.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    compiled: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Reads one; else what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().count() > MAX_PATTERN {
            return Err(format!("a pattern has 1 to {MAX_PATTERN} characters"));
        }
        let compile = |text: &str| {
            let mut builder = RegexBuilder::new(text);
            builder.size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).nest_limit(MAX_NESTING);
            builder.build()
        };
        // By itself first: what is no pattern must not become one between our parentheses, `a)|(b`.
        let wrong = |_| format!("{text:?} is no regular expression, or one that is too large");
        compile(text).map_err(wrong)?;
        let compiled = compile(&format!("^(?:{text})$")).map_err(wrong)?;
        Ok(Self { text: text.to_owned(), compiled })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_texts_only() {
        let cases = [
            ("^v2.*$", "v2.1", true),
            ("^v2.*$", "v1", false),
            ("v1", "v1", true),
            ("v1", "v1.0", false),
            ("a|b", "b", true),
            ("a|b", "ab", false),
            ("|v1", "v2", false),
            ("(.*a.*|.*s.*)", "latest", true),
            ("(.*a.*|.*s.*)", "v2", false),
            (r"\d+", "42", true),
            ("(?i)RC.*", "rc1", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::read(pattern).expect(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_or_too_large_is_refused() {
        let long = "a".repeat(MAX_PATTERN + 1);
        let deep = format!("{}a{}", "(".repeat(300), ")".repeat(300));
        for text in ["", "a)|(b", "(", "[", "*", r"\", "a{1000000}", "(?#", &long, &deep] {
            assert!(Pattern::read(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,40}|[()\\[\\]|*+?{}^$\\\\a0-9,]{0,40}", on in ".{0,20}") {
            if let Ok(pattern) = Pattern::read(&text) {
                let _ = pattern.matches(&on);
            }
        }
    }
}
