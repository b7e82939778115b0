//! Conditional requests (RFC 9110 §13) on content whose entity tag is its digest.

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use pierhead_storage_format::Digest;

use super::reply::Reply;

/// The entity tag, strong: equal digests mean equal bytes.
pub fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client has this content already (`If-None-Match`). A digest without quotation marks
/// counts, as clients of the Docker registry send it.
pub fn is_known(headers: &HeaderMap, digest: &Digest) -> bool {
    let digest = digest.to_string();
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok()).any(|line| {
        line.split(',').map(str::trim).any(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tag == "*" || tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(tag) == digest
        })
    })
}

/// Whether a `Range` is to be looked at: without `If-Range`, or with one that names this content.
/// Its comparison is strong, and a date never matches, since no `Last-Modified` is sent (§13.1.5).
pub fn allows_range(headers: &HeaderMap, digest: &Digest) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag(digest).as_bytes())
}

/// 304, with the headers a 200 would have that say which content it is.
pub fn not_modified(digest: &Digest) -> Reply {
    Reply::new(StatusCode::NOT_MODIFIED).digest(digest).with(header::ETAG, &etag(digest))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn digest() -> Digest {
        format!("sha256:{}", "a".repeat(64)).parse().expect("a digest")
    }

    #[test]
    fn an_entity_tag_matches_quoted_weak_listed_or_bare() {
        let it = digest().to_string();
        let cases = [
            ("quoted", format!("\"{it}\""), true),
            ("weak", format!("W/\"{it}\""), true),
            ("bare", it.clone(), true),
            ("in a list", format!("\"x\", \"{it}\""), true),
            ("any", "*".to_owned(), true),
            ("another", "\"x\"".to_owned(), false),
            ("part of it", format!("\"{}\"", &it[..20]), false),
            ("empty", String::new(), false),
        ];
        for (name, value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_str(&value).expect("a header"));
            assert_eq!(is_known(&headers, &digest()), expected, "{name}");
        }
        assert!(!is_known(&HeaderMap::new(), &digest()));
    }

    #[test]
    fn a_range_counts_only_for_the_very_same_content() {
        let it = digest().to_string();
        let cases = [
            ("the same", format!("\"{it}\""), true),
            ("weak", format!("W/\"{it}\""), false),
            ("a date", "Tue, 15 Nov 1994 12:45:26 GMT".to_owned(), false),
            ("another", "\"x\"".to_owned(), false),
        ];
        assert!(allows_range(&HeaderMap::new(), &digest()));
        for (name, value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_RANGE, HeaderValue::from_str(&value).expect("a header"));
            assert_eq!(allows_range(&headers, &digest()), expected, "{name}");
        }
    }
}
