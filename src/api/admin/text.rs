//! The forms of text in paths, bodies and answers, for the API's document. They hold no rule: those are
//! in `services`, and the tests here compare. A field says `#[schemars(with = "Name")]`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::words::{Spelled, Word};

macro_rules! texts {
    ($($(#[doc = $says:literal])* $form:ident { $($key:literal: $value:expr),* };)*) => {
        $(
            $(#[doc = $says])*
            pub struct $form;

            impl JsonSchema for $form {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($form).into()
                }

                fn inline_schema() -> bool {
                    true
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({"type": "string", "description": concat!($($says),*).trim(), $($key: $value),*})
                }
            }
        )*
    };
}

/// Lower-case letters and digits, with single `.`, `_`, `__` or runs of `-` between.
macro_rules! part {
    () => {
        r"[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*"
    };
}

texts! {
    /// 32 lower-case hex digits.
    IdText { "pattern": "^[0-9a-f]{32}$" };
    /// A letter, then letters, digits, `.`, `_` and `-`; not in the form of an access key.
    Name { "pattern": NAME, "maxLength": 64 };
    /// A name, or an id.
    NameOrId { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "maxLength": 64 };
    /// At most 255 characters, none of them control characters.
    Description { "pattern": "^[^\u{0}-\u{1f}\u{7f}-\u{9f}]*$", "maxLength": 255 };
    /// At least 8 characters and at most 128 bytes; not the user's name.
    Password { "pattern": "^[^\u{0}-\u{1f}\u{7f}-\u{9f}]*$", "minLength": 8, "maxLength": 128, "format": "password" };
    /// The AK of an access key.
    AccessKey { "pattern": "^[A-Z0-9]{16,32}$" };
    /// A tag: a letter, digit or `_`, then at most 127 more, `.` and `-` among them.
    TagName { "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$" };
    /// An algorithm and its hash in lower-case hex.
    ManifestDigest { "pattern": "^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$" };
    /// The name of a job: lower-case words joined by `-`.
    JobName { "pattern": "^[a-z][a-z-]*$", "maxLength": 64 };
    /// RFC 3339.
    Time { "format": "date-time" };
    /// An organisation's name: components of lower-case letters and digits with single `.`, `_`, `__` or runs of `-` between, a letter first.
    Organisation { "pattern": ORGANISATION, "maxLength": 64 };
    /// A repository's whole name, `organisation/name`; in a path its slashes are written `%2F`.
    Repository { "pattern": REPOSITORY, "maxLength": 193 };
}

const NAME: &str = "^[A-Za-z][A-Za-z0-9._-]*$";
const ORGANISATION: &str = r"^[a-z][a-z0-9]*(?:(?:[.]|_|__|-+)[a-z0-9]+)*$";
const REPOSITORY: &str =
    concat!(r"^(?:[a-z][a-z0-9]*(?:(?:[.]|_|__|-+)[a-z0-9]+)*/)?", part!(), "(?:/", part!(), ")*$");

/// A policy's document, version 1.1.
pub struct Document;

impl JsonSchema for Document {
    fn schema_name() -> Cow<'static, str> {
        "PolicyDocument".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let texts = |says: &str, pattern: &str| {
            let items = json_schema!({"type": "string", "pattern": pattern});
            json_schema!({"type": "array", "description": says, "items": items, "minItems": 1, "maxItems": 200})
        };
        let statement = json_schema!({
            "type": "object",
            "required": ["Effect", "Action"],
            "additionalProperties": false,
            "properties": {
                "Effect": {"type": "string", "description": "A Deny beats every Allow.", "enum": ["Allow", "Deny"]},
                "Action": texts("Actions, `*` standing for any part.", "^[^\\s]+$"),
                "Resource": texts("Resources, such as `SWR:*:repo:acme/*`; all where none is named.", "^[^\\s]+$"),
            },
        });
        json_schema!({
            "type": "object",
            "description": "A policy's document, at most 6,144 bytes.",
            "required": ["Version", "Statement"],
            "additionalProperties": false,
            "examples": [{"Version": "1.1", "Statement": [{"Effect": "Allow", "Action": ["swr:repo:download"]}]}],
            "properties": {
                "Version": {"type": "string", "description": "Of the language.", "enum": ["1.1"]},
                "Statement": {"type": "array", "description": "What it says.", "items": statement, "minItems": 1, "maxItems": 32},
            },
        })
    }
}

/// A word; where it is sent, the short ones as well, and the case does not matter.
impl<T: Spelled> JsonSchema for Word<T> {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let short = if generator.contract().is_deserialize() { T::SHORT } else { &[] };
        let words: Vec<&str> = T::WORDS.iter().chain(short).map(|(_, word)| *word).collect();
        json_schema!({"type": "string", "enum": words})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;
    use crate::services::names::{OrganisationName, RepositoryName};

    fn of(pattern: &str) -> impl Strategy<Value = String> {
        string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).expect("a pattern")
    }

    proptest! {
        #[test]
        fn what_fits_a_pattern_is_a_name(organisation in of(ORGANISATION), repository in of(REPOSITORY)) {
            let (short, reserved) = (organisation.len() <= 64, organisation == "manage");
            prop_assert_eq!(organisation.parse::<OrganisationName>().is_ok(), short && !reserved, "{}", organisation);
            let (first, rest) = repository.split_once('/').unwrap_or(("library", &repository));
            let is_one = first.parse::<OrganisationName>().is_ok() && rest.len() <= 128;
            prop_assert_eq!(repository.parse::<RepositoryName>().is_ok(), is_one, "{}", repository);
        }
    }
}
