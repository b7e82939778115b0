//! Paging by key: `n` and `last` of a query, and the `Link` to the next page (RFC 8288).

use super::errors::{Failure, Kind};
use super::query::{Query, encoded};

/// The longest `last` that is looked at: no name is longer.
const MAX_LAST: usize = 255;

/// The part of a list a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Paging<'a> {
    /// Items at most.
    pub limit: usize,
    /// The item before the first; need not exist.
    pub last: Option<&'a str>,
}

impl<'a> Paging<'a> {
    /// Reads `n` and `last`. Without `n`, or with a larger one, a page has `most` items.
    pub fn of(query: &'a Query, most: usize) -> Result<Self, Failure> {
        let limit = match query.some("n") {
            None => most,
            Some(n) if n.bytes().all(|b| b.is_ascii_digit()) => n.parse().unwrap_or(most).min(most),
            Some(_) => return Err(Failure::new(Kind::PageInvalid)),
        };
        let last = query.some("last");
        if last.is_some_and(|last| last.len() > MAX_LAST) {
            return Err(Failure::new(Kind::LastInvalid));
        }
        Ok(Self { limit, last })
    }

    /// The `Link` to what follows `last`. Relative, so that it leads to the host that was asked.
    pub fn link(&self, path: &str, last: &str) -> String {
        format!("<{path}?n={}&last={}>; rel=\"next\"", self.limit, encoded(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_number_asked_for_up_to_the_most() {
        let long = format!("last={}", "x".repeat(256));
        let cases = [
            ("nothing asked", "", Ok((100, None))),
            ("empty values", "n=&last=", Ok((100, None))),
            ("a number", "n=7&last=v1", Ok((7, Some("v1")))),
            ("none", "n=0", Ok((0, None))),
            ("too many", "n=101", Ok((100, None))),
            ("more than any number", "n=99999999999999999999999", Ok((100, None))),
            ("negative", "n=-1", Err(Kind::PageInvalid)),
            ("signed", "n=%2B1", Err(Kind::PageInvalid)),
            ("not a number", "n=ten", Err(Kind::PageInvalid)),
            ("last too long", &long, Err(Kind::LastInvalid)),
        ];
        for (name, query, expected) in cases {
            let query = Query::parse(query);
            let got = Paging::of(&query, 100).map(|p| (p.limit, p.last)).map_err(|f| f.kind());
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn the_link_encodes_where_the_next_page_starts() {
        let paging = Paging { limit: 2, last: None };
        assert_eq!(paging.link("/v2/_catalog", "a/b c"), "</v2/_catalog?n=2&last=a/b%20c>; rel=\"next\"");
    }
}
