//! How levels and categories are written here, and what else is understood.

use pierhead_storage_format::identity::records::{Category, Level};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::errors::{Failure, Kind};

/// Each kind with its word, which is written; the Go SDK's word for the last one is understood too.
const CATEGORIES: [(Category, &str); 9] = [
    (Category::AppServer, "app_server"),
    (Category::Linux, "linux"),
    (Category::FrameworkApp, "framework_app"),
    (Category::Database, "database"),
    (Category::Lang, "lang"),
    (Category::Other, "other"),
    (Category::Windows, "windows"),
    (Category::Arm, "arm"),
    (Category::Arm, "arms"),
];

/// The word of a kind.
pub fn word(category: Category) -> &'static str {
    CATEGORIES.iter().find(|(known, _)| *known == category).map_or("other", |(_, word)| word)
}

/// The kind of a word; none says nothing.
pub fn category(text: Option<&str>) -> Result<Option<Category>, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let known = CATEGORIES.iter().find(|(_, word)| *word == text).map(|(category, _)| *category);
    let words = || CATEGORIES[..8].iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", ");
    known.map(Some).ok_or_else(|| Failure::about(Kind::Invalid, format!("category is one of {}", words())))
}

/// How much somebody may do: 1 reads, 3 edits, 7 manages. A number in quotation marks is one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth(pub Level);

impl Auth {
    /// The number.
    pub const fn number(self) -> u8 {
        match self.0 {
            Level::Read => 1,
            Level::Edit => 3,
            Level::Manage => 7,
        }
    }
}

impl Serialize for Auth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelt {
            Number(u64),
            Text(String),
        }
        let number = match Spelt::deserialize(deserializer)? {
            Spelt::Number(number) => number,
            Spelt::Text(text) => text.parse().unwrap_or_default(),
        };
        let level = [Level::Read, Level::Edit, Level::Manage].into_iter();
        let mut levels = level.map(Auth).filter(|auth| u64::from(auth.number()) == number);
        levels.next().ok_or_else(|| {
            D::Error::invalid_value(Unexpected::Unsigned(number), &"auth of 7 (manage), 3 (edit) or 1 (read)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_reads_back_and_two_spellings_of_arm_are_one() {
        for (kind, text) in CATEGORIES {
            assert_eq!(category(Some(text)).ok().flatten(), Some(kind), "{text}");
        }
        assert_eq!(word(Category::Arm), "arm");
        assert_eq!((category(None).ok(), category(Some("")).ok()), (Some(None), Some(None)));
        assert_eq!(category(Some("Linux")).map_err(|failure| failure.kind()), Err(Kind::Invalid));
    }

    #[test]
    fn a_level_is_a_number_quoted_or_not() {
        let cases = [
            ("7", Some(Level::Manage)),
            ("3", Some(Level::Edit)),
            ("\"1\"", Some(Level::Read)),
            ("2", None),
            ("\"x\"", None),
            ("null", None),
            ("-1", None),
        ];
        for (text, expected) in cases {
            let read = serde_json::from_str::<Auth>(text).ok();
            assert_eq!(read.map(|Auth(level)| level), expected, "{text}");
        }
        assert_eq!(serde_json::to_string(&Auth(Level::Manage)).ok().as_deref(), Some("7"));
    }
}
