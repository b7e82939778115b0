//! How roles, levels and categories are spelled here: SWR's words. What is sent may have short forms.

use std::fmt;
use std::str::FromStr;

use pierhead_storage_format::identity::records::{Category, Level, Role};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Something that has one word, and others that are understood.
pub trait Spelled: Copy + PartialEq + 'static {
    /// What it is, for refusals.
    const WHAT: &'static str;
    /// Each with its word.
    const WORDS: &'static [(Self, &'static str)];
    /// Other words for some.
    const SHORT: &'static [(Self, &'static str)];
}

/// It, as JSON has it: its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<T>(pub T);

impl<T: Spelled> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = T::WORDS.iter().find(|(value, _)| *value == self.0);
        f.write_str(word.map_or("unknown", |(_, word)| word))
    }
}

impl<T: Spelled> FromStr for Word<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = T::WORDS.iter().chain(T::SHORT);
        let found = all.find(|(_, word)| word.eq_ignore_ascii_case(text));
        found.map(|(value, _)| Self(*value)).ok_or_else(|| {
            let words: Vec<&str> = T::SHORT.iter().chain(T::WORDS).map(|(_, word)| *word).collect();
            format!("{} is one of: {}", T::WHAT, words.join(", "))
        })
    }
}

impl<T: Spelled> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: Spelled> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Spelled for Role {
    const WHAT: &'static str = "a role";
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::TenantAdministrator, "Tenant Administrator"),
        (Self::SwrAdministrator, "SWR Administrator"),
        (Self::SwrFullAccess, "SWR FullAccess"),
        (Self::SwrDeveloper, "SWR Developer"),
        (Self::SwrOperateAccess, "SWR OperateAccess"),
        (Self::ServiceStageDeveloper, "ServiceStage Developer"),
        (Self::SwrReadOnlyAccess, "SWR ReadOnlyAccess"),
        (Self::TenantGuest, "Tenant Guest"),
    ];
    const SHORT: &'static [(Self, &'static str)] = &[
        (Self::TenantAdministrator, "administrator"),
        (Self::SwrDeveloper, "developer"),
        (Self::SwrReadOnlyAccess, "read-only"),
    ];
}

impl Spelled for Level {
    const WHAT: &'static str = "a level";
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Read, "read"), (Self::Edit, "edit"), (Self::Manage, "manage")];
    const SHORT: &'static [(Self, &'static str)] = &[];
}

impl Spelled for Category {
    const WHAT: &'static str = "a category";
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::AppServer, "app_server"),
        (Self::Linux, "linux"),
        (Self::FrameworkApp, "framework_app"),
        (Self::Database, "database"),
        (Self::Lang, "lang"),
        (Self::Other, "other"),
        (Self::Windows, "windows"),
        (Self::Arm, "arm"),
    ];
    const SHORT: &'static [(Self, &'static str)] = &[];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_word_reads_back<T: Spelled + fmt::Debug>() {
        for (value, word) in T::WORDS {
            assert_eq!(Word(*value).to_string(), *word);
            assert_eq!(word.to_uppercase().parse(), Ok(Word(*value)), "{word}");
        }
        for (value, word) in T::SHORT {
            assert_eq!(word.parse(), Ok(Word(*value)), "{word}");
        }
        let refused = "no such word".parse::<Word<T>>().expect_err("no word");
        assert!(refused.contains(T::WORDS[0].1), "{refused}");
    }

    #[test]
    fn what_is_spelled_reads_back_and_what_is_not_is_told_the_words() {
        every_word_reads_back::<Role>();
        every_word_reads_back::<Level>();
        every_word_reads_back::<Category>();
    }
}
