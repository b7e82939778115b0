//! The query of a request as a typed value, by serde: a handler declares a struct, with
//! `deny_unknown_fields`, and gets it or an explanation. Values are decoded once; a `+` stands for itself.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{Error, MapDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Items of a page at most, and if nothing is said.
const MOST: usize = 1000;
const USUAL: usize = 100;

/// How many items a page may have: `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct Limit(pub usize);

impl Default for Limit {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL})
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(limit: usize) -> Result<Self, String> {
        if (1..=MOST).contains(&limit) { Ok(Self(limit)) } else { Err(format!("limit is from 1 to {MOST}")) }
    }
}

/// Reads the part after the `?`; the error is for the client.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut pairs = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((decoded(name)?, Text(decoded(value)?)));
    }
    T::deserialize(MapDeserializer::<_, Error>::new(pairs.into_iter())).map_err(|error| error.to_string())
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| "it is not UTF-8".to_owned())
}

/// For fields of types with a spelling of their own: `deserialize_with = "parsed"` beside `default`.
pub fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(|why| D::Error::custom(format!("`{text}`: {why}")))).transpose()
}

/// One value. What it is depends on what is wanted.
struct Text(String);

impl IntoDeserializer<'_> for Text {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let number: $type =
                self.0.parse().map_err(|_| Error::custom(format!("`{}` is no number that fits", self.0)))?;
            visitor.$visit(number)
        })*
    };
}

impl<'de> Deserializer<'de> for Text {
    type Error = Error;

    numbers! {
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i64 visit_i64 i64;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => Err(Error::custom(format!("`{other}` is neither true nor false"))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text: serde::de::value::StringDeserializer<Error> = self.0.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;
    use crate::services::names::RepositoryName;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Order {
        #[default]
        Up,
        Down,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Example {
        limit: Limit,
        after: Option<String>,
        age: Option<u64>,
        all: bool,
        order: Order,
        #[serde(deserialize_with = "parsed")]
        repository: Option<RepositoryName>,
    }

    #[test]
    fn a_query_is_read_as_its_type_says() {
        let read: Example =
            parse("limit=7&after=a%26b&age=5&all=true&order=down&repository=acme%2Fweb").expect("a query");
        let expected = Example {
            limit: Limit(7),
            after: Some("a&b".to_owned()),
            age: Some(5),
            all: true,
            order: Order::Down,
            repository: Some("acme/web".parse().expect("a name")),
        };
        assert_eq!(read, expected);
        assert_eq!(parse(""), Ok(Example::default()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("frob=1", "unknown field `frob`"),
            ("limit=0", "from 1 to 1000"),
            ("limit=x", "`x` is no number"),
            ("limit=1&limit=2", "duplicate field `limit`"),
            ("all=yes", "neither true nor false"),
            ("order=sideways", "unknown variant `sideways`"),
            ("repository=A/B", "`A/B`"),
            ("after=%ff", "UTF-8"),
        ];
        for (text, words) in cases {
            let error = parse::<Example>(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(after in ".{0,40}", limit in 1usize..=1000) {
            let text = format!("after={}&limit={limit}", utf8_percent_encode(&after, NON_ALPHANUMERIC));
            let read: Example = parse(&text).expect("a query");
            prop_assert_eq!((read.after, read.limit), (Some(after), Limit(limit)));
        }

        #[test]
        fn no_text_makes_the_query_parser_panic(text in "((limit|after|all|order|x)?=?.{0,6}&?){0,5}") {
            let _ = parse::<Example>(&text);
        }
    }
}
