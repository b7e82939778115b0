//! Paths against patterns such as `/api/v1/uploads/{id}`. A parameter is one part of the path,
//! decoded after the path was split: `acme%2Fweb` is one part, with a slash in it.

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

/// The parameters of `path`, as sent, if it is one of `pattern`. A slash at the end is another path,
/// and a parameter is never empty.
pub fn fit(pattern: &'static str, path: &str) -> Option<Params> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut params = Vec::new();
    loop {
        let (wanted, given) = match (wanted.next(), given.next()) {
            (None, None) => return Some(Params(params)),
            (Some(wanted), Some(given)) => (wanted, percent_decode_str(given).decode_utf8().ok()?),
            _ => return None,
        };
        match wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !given.is_empty() => params.push((name, given.into_owned())),
            None if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

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
            let found = fit(pattern, path);
            let found = found.as_ref().map(|params| (params.get("x"), params.get("y")));
            assert_eq!(found, expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back_out_of_its_place(x in ".{1,20}", y in ".{1,20}") {
            let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let path = format!("/a/{}/b/{}", encoded(&x), encoded(&y));
            let params = fit("/a/{x}/b/{y}", &path).expect("fits");
            prop_assert_eq!((params.get("x"), params.get("y"), params.len()), (x.as_str(), y.as_str(), 2));
        }

        #[test]
        fn no_path_makes_the_matcher_panic(path in "(/(a|b|%..?|.{0,5})){0,6}") {
            let _ = fit("/a/{x}/b/{y}", &path);
        }
    }
}
