//! Paths against patterns such as `/api/v1/uploads/{id}`, and the rows of a surface's table against requests.
//! A path is taken as sent (a signature is checked over that) and decoded part by part: `acme%2Fweb` is one
//! part, with a slash in it. A slash at the end is another path, and a parameter is never empty.

use hyper::Method;
use percent_encoding::percent_decode_str;

/// Parameters by name, in the order of the pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// The value of one; empty if the pattern has none of this name.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    /// Names and values, in the order of the pattern.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The parameters of `path`, as sent, if it is one of `pattern`; `value` makes one of a part as it was decoded.
pub fn fit(
    pattern: &'static str,
    path: &str,
    value: impl Fn(&'static str, String) -> String,
) -> Option<Params> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut params = Vec::new();
    loop {
        let (wanted, given) = match (wanted.next(), given.next()) {
            (None, None) => return Some(Params(params)),
            (Some(wanted), Some(given)) => (wanted, percent_decode_str(given).decode_utf8().ok()?),
            _ => return None,
        };
        match wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !given.is_empty() => params.push((name, value(name, given.into_owned()))),
            None if wanted == given => {}
            _ => return None,
        }
    }
}

/// A row of a surface's table, as a request is compared with it.
pub trait Routed: 'static {
    /// How it is asked for.
    fn method(&self) -> &Method;
    /// The parameters of a path, if it is its.
    fn fit(&self, path: &str) -> Option<Params>;
}

/// What a request asks for.
pub struct Found<R: 'static> {
    /// The operation.
    pub row: &'static R,
    /// What its path has in the place of the parameters.
    pub params: Params,
}

/// What a request asks for is not there.
pub enum NotFound {
    /// No row has the path.
    Path,
    /// Rows have the path and not the method: the methods they have, as `Allow` has them.
    Method(String),
}

/// The row for a method on a path as sent. Of two paths that fit, the one with fewer parameters.
pub fn find<R: Routed>(rows: &'static [R], method: &Method, path: &str) -> Result<Found<R>, NotFound> {
    let mut fitting: Vec<Found<R>> =
        rows.iter().filter_map(|row| Some(Found { row, params: row.fit(path)? })).collect();
    fitting.sort_by_key(|found| found.params.len());
    let allow: Vec<&str> = fitting.iter().map(|found| found.row.method().as_str()).collect();
    let missing = if allow.is_empty() { NotFound::Path } else { NotFound::Method(allow.join(", ")) };
    fitting.into_iter().find(|found| found.row.method() == method).ok_or(missing)
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn plain(pattern: &'static str, path: &str) -> Option<Params> {
        fit(pattern, path, |_, value| value)
    }

    #[test]
    fn a_path_fits_its_pattern_part_by_part() {
        let pattern = "/api/v1/a/{x}/b/{y}";
        let cases = [
            ("/api/v1/a/1/b/2", Some(("1", "2"))),
            ("/api/v1/a/acme%2Fweb/b/%C3%A9", Some(("acme/web", "é"))),
            ("/api/v1/a/1/b/2/", None),
            ("/api/v1/a//b/2", None),
            ("/api/v1/a/1/b", None),
            ("/api/v1/a/1/c/2", None),
            ("/api/v1/a/%ff/b/2", None),
            ("", None),
        ];
        for (path, expected) in cases {
            let found = plain(pattern, path);
            let found = found.as_ref().map(|params| (params.get("x"), params.get("y")));
            assert_eq!(found, expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back_out_of_its_place(x in ".{1,20}", y in ".{1,20}") {
            let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let path = format!("/a/{}/b/{}", encoded(&x), encoded(&y));
            let params = plain("/a/{x}/b/{y}", &path).expect("fits");
            prop_assert_eq!((params.get("x"), params.get("y"), params.len()), (x.as_str(), y.as_str(), 2));
        }

        #[test]
        fn no_path_makes_the_matcher_panic(path in "(/(a|b|%..?|.{0,5})){0,6}") {
            let _ = plain("/a/{x}/b/{y}", &path);
        }
    }
}
