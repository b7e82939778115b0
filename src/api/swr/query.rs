//! What a list is asked for: the parameters after the `?`, and those inside `filter` (`key::value` joined by `|`).
//!
//! F1: where there is a `filter`, plain parameters are not looked at. F2: a value that is empty asks for nothing.
//! F3: keys that an operation does not know are left alone: SDKs and manuals of other years have others.
//! F4: `limit` is 100 without one and 1,000 at most; a list has an order whether it is asked for or not.

use super::errors::{Failure, Kind};
use crate::api::registry::query::Query;

/// Items of a page at most, and if nothing is said.
const MOST: usize = 1000;
const USUAL: usize = 100;

/// What was asked for.
#[derive(Debug, Default)]
pub struct Asked(Vec<(String, String)>);

/// A page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Items before it.
    pub offset: usize,
    /// Items of it at most.
    pub limit: usize,
}

/// Which way a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The smallest, or oldest, first.
    Ascending,
    /// The other way round.
    Descending,
}

impl Asked {
    /// Reads the part after the `?`; `plain` are the parameters that may stand outside of `filter`.
    pub fn parse(query: &Query, plain: &[&str]) -> Result<Self, Failure> {
        if let Some(filter) = query.some("filter") {
            return Self::filter(filter);
        }
        let pairs = plain.iter().filter_map(|name| Some(((*name).to_owned(), query.some(name)?.to_owned())));
        Ok(Self(pairs.collect()))
    }

    /// Reads a filter, decoded.
    fn filter(text: &str) -> Result<Self, Failure> {
        let mut pairs = Vec::new();
        for part in text.split('|').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once("::").unwrap_or((part, ""));
            if key.is_empty() || !part.contains("::") {
                return Err(Failure::about(Kind::FilterInvalid, format!("{part:?} is not key::value")));
            }
            pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(pairs))
    }

    /// What was asked of `key`, if anything: the first value that is not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        let of = self.0.iter().filter(|(name, value)| name == key && !value.is_empty());
        of.map(|(_, value)| value.as_str()).next()
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(Failure::about(Kind::QueryInvalid, format!("{key} is neither true nor false"))),
        }
    }

    /// The page.
    pub fn paging(&self) -> Result<Paging, Failure> {
        self.paging_of(USUAL, MOST)
    }

    /// The page where other limits hold.
    pub fn paging_of(&self, usual: usize, most: usize) -> Result<Paging, Failure> {
        let wrong = |what: String| Failure::about(Kind::PageInvalid, what);
        let limit = match self.get("limit").map(str::parse::<usize>) {
            None => usual,
            Some(Ok(limit)) if (1..=most).contains(&limit) => limit,
            Some(_) => return Err(wrong(format!("limit is a number from 1 to {most}"))),
        };
        // Beyond it nothing is: a number of 32 bits is what clients have.
        let offset = match self.get("offset").map(str::parse::<u32>) {
            None => 0,
            Some(Ok(offset)) => offset as usize,
            Some(Err(_)) => return Err(wrong("offset is a number from 0".to_owned())),
        };
        Ok(Paging { offset, limit })
    }

    /// What the list is ordered by, of `known` (words with what they mean), and which way; the way is
    /// descending where only the column is said, as SWR has it.
    pub fn order<T: Copy>(&self, known: &[(&str, T)]) -> Result<Option<(T, Direction)>, Failure> {
        let direction = match self.get("order_type") {
            None => None,
            Some(text) if text.eq_ignore_ascii_case("asc") => Some(Direction::Ascending),
            Some(text) if text.eq_ignore_ascii_case("desc") => Some(Direction::Descending),
            Some(_) => return Err(Failure::about(Kind::QueryInvalid, "order_type is asc or desc")),
        };
        let Some(column) = self.get("order_column") else { return Ok(None) };
        let column = known.iter().find(|(word, _)| *word == column).map(|(_, column)| *column);
        let column = column.ok_or_else(|| {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            Failure::about(Kind::OrderInvalid, format!("this, only by {}", words.join(", ")))
        })?;
        Ok(Some((column, direction.unwrap_or(Direction::Descending))))
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &[&str] = &["namespace", "name", "limit", "offset", "order_column", "order_type", "public"];

    fn asked(text: &str) -> Asked {
        Asked::parse(&Query::parse(text), PLAIN).expect(text)
    }

    #[test]
    fn a_filter_is_read_in_every_spelling_and_wins_over_plain_parameters() {
        let cases = [
            ("namespace=acme", Some("acme")),
            ("filter=namespace::acme", Some("acme")),
            ("filter=namespace%3A%3Aacme%7Climit%3A%3A10", Some("acme")),
            ("filter=limit::10|namespace::acme", Some("acme")),
            ("filter=namespace::a::b", Some("a::b")),
            ("filter=limit::10&namespace=acme", None),
            ("filter=namespace::&namespace=acme", None),
            ("filter=&namespace=acme", Some("acme")),
            ("namespace=", None),
            ("filter=center::self", None),
            ("other=acme", None),
        ];
        for (text, expected) in cases {
            assert_eq!(asked(text).get("namespace"), expected, "{text}");
        }
        for text in ["filter=namespace", "filter=namespace:acme", "filter=::acme", "filter=a::b|c"] {
            let refused = Asked::parse(&Query::parse(text), PLAIN).expect_err(text);
            assert_eq!(refused.kind(), Kind::FilterInvalid, "{text}");
        }
    }

    #[test]
    fn a_page_has_limits() {
        let page = |offset, limit| Ok(Paging { offset, limit });
        let cases = [
            ("", page(0, 100)),
            ("limit=10&offset=20", page(20, 10)),
            ("limit=1000", page(0, 1000)),
            ("filter=limit::10|offset::5", page(5, 10)),
            ("limit=0", Err(Kind::PageInvalid)),
            ("limit=1001", Err(Kind::PageInvalid)),
            ("limit=x", Err(Kind::PageInvalid)),
            ("offset=-1", Err(Kind::PageInvalid)),
            ("offset=99999999999", Err(Kind::PageInvalid)),
        ];
        for (text, expected) in cases {
            assert_eq!(asked(text).paging().map_err(|failure| failure.kind()), expected, "{text}");
        }
    }

    #[test]
    fn an_order_is_one_of_those_known() {
        let known = [("name", 'n'), ("updated_at", 'u'), ("updated_time", 'u')];
        let cases = [
            ("", Ok(None)),
            ("order_type=asc", Ok(None)),
            ("order_column=name&order_type=asc", Ok(Some(('n', Direction::Ascending)))),
            ("order_column=updated_time&order_type=DESC", Ok(Some(('u', Direction::Descending)))),
            ("order_column=name", Ok(Some(('n', Direction::Descending)))),
            ("order_column=num_images", Err(Kind::OrderInvalid)),
            ("order_column=name&order_type=up", Err(Kind::QueryInvalid)),
        ];
        for (text, expected) in cases {
            assert_eq!(asked(text).order(&known).map_err(|failure| failure.kind()), expected, "{text}");
        }
    }

    #[test]
    fn a_flag_is_true_or_false() {
        for (text, expected) in
            [("", Ok(None)), ("public=true", Ok(Some(true))), ("public=False", Ok(Some(false)))]
        {
            assert_eq!(asked(text).flag("public").map_err(|failure| failure.kind()), expected, "{text}");
        }
        assert!(asked("public=1").flag("public").is_err());
    }

    proptest! {
        #[test]
        fn what_is_put_into_a_filter_comes_out(
            pairs in proptest::collection::vec(("[a-z_]{1,10}", "[^|]{0,20}"), 1..6),
        ) {
            let text: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}::{value}")).collect();
            let text = format!("filter={}", utf8_percent_encode(&text.join("|"), NON_ALPHANUMERIC));
            let read = asked(&text);
            for (key, _) in &pairs {
                let first = pairs.iter().find(|(name, value)| name == key && !value.is_empty());
                prop_assert_eq!(read.get(key), first.map(|(_, value)| value.as_str()));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(filter=)?((limit|offset|a|order_type)(::|=|:)?.{0,6}[|&]?){0,5}") {
            if let Ok(asked) = Asked::parse(&Query::parse(&text), PLAIN) {
                let _ = (asked.paging(), asked.order(&[("name", ())]), asked.flag("a"));
            }
        }
    }
}
