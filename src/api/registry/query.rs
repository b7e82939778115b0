//! The query of a request, and percent-encoding both ways.
//!
//! Unknown parameters are ignored everywhere, `ns` (the host a mirror's client meant) among them.
//! A `+` stands for itself, not for a blank: no value of this protocol has blanks in it, while media
//! types (`artifactType=application/spdx+json`) have plus signs that people forget to encode.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What may stand in a query value unencoded: RFC 3986's unreserved characters, and `:` and `/`,
/// which digests, media types and repository names have and §3.4 allows.
const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/');

/// The parameters, decoded, in their order. Its size is bounded by the request line's.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part after the `?`. Never fails: bytes that are not UTF-8 become a character that
    /// no parser of a value accepts.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The first value of `name` that is not empty.
    pub fn some(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Every value of `name`, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Decodes a path; `None` if it is not UTF-8.
pub fn decoded_path(path: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(path).decode_utf8().ok()
}

/// Encodes one query value.
pub fn encoded(value: &str) -> String {
    utf8_percent_encode(value, VALUE).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded_and_kept_in_order() {
        let query = Query::parse("tag=1.0&n=5&tag=latest&mount=sha256%3Aab&empty=&flag&&=x&ns=docker.io");
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["1.0", "latest"]);
        assert_eq!(query.get("mount"), Some("sha256:ab"));
        assert_eq!((query.get("empty"), query.some("empty")), (Some(""), None));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("last"), None);
    }

    #[test]
    fn a_plus_sign_stands_for_itself() {
        let query = Query::parse("artifactType=application/spdx+json");
        assert_eq!(query.get("artifactType"), Some("application/spdx+json"));
        assert_eq!(Query::parse("artifactType=a%2Fb%2Bc").get("artifactType"), Some("a/b+c"));
    }

    #[test]
    fn broken_encoding_is_kept_as_it_is_and_broken_utf_8_is_marked() {
        let query = Query::parse("a=%zz&b=%ff&c=%");
        assert_eq!(
            (query.get("a"), query.get("b"), query.get("c")),
            (Some("%zz"), Some("\u{fffd}"), Some("%"))
        );
        assert_eq!(decoded_path("/v2/%ff/tags/list"), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(name in "[a-w]{1,8}", value in ".{0,60}") {
            let text = format!("x=1&{name}={}&y=2", encoded(&value));
            let query = Query::parse(&text);
            prop_assert_eq!(query.get(&name), Some(value.as_str()));
            prop_assert!(!encoded(&value).contains(['&', '=', '>', '<', '"', ' ', ';']));
        }

        #[test]
        fn no_text_makes_the_query_parser_panic(text in ".{0,80}") {
            let query = Query::parse(&text);
            let _ = query.get("n");
        }
    }
}
