//! Names as types: once parsed here, nothing further in takes a bare string for one.
//!
//! Grammar: OCI distribution-spec, "Pulling manifests" (repository and tag names), narrowed by the
//! product's limits: an organisation is 1-64 characters and starts with a letter, the rest of a
//! repository name is 1-128. A name of one component means `library/<name>`.

use std::fmt;
use std::str::FromStr;

use pierhead_storage_format::Digest;

/// The organisation that names of one component belong to.
pub const LIBRARY: &str = "library";

/// Organisations that cannot exist, because paths under `/v2/` are taken: the management API's.
const RESERVED: [&str; 1] = ["manage"];

const MAX_ORGANISATION: usize = 64;
const MAX_REST: usize = 128;
const MAX_TAG: usize = 128;
const MAX_MEDIA_TYPE: usize = 255;

/// A text that is no name of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not an organisation's name.
    #[error("not an organisation name")]
    Organisation,
    /// Not a repository name.
    #[error("not a repository name")]
    Repository,
    /// Not a tag.
    #[error("not a tag")]
    Tag,
    /// Neither a tag nor a digest.
    #[error("neither a tag nor a digest")]
    Reference,
    /// Not a media type.
    #[error("not a media type")]
    MediaType,
}

/// Components of lower-case letters and digits, with single `.`, `_`, `__` or runs of `-` between.
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.copied().is_some_and(alphanumeric);
    if !ends(bytes.first()) || !ends(bytes.last()) {
        return false;
    }
    bytes.split(|&b| alphanumeric(b)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-')
    })
}

/// An organisation's name: 1-64 characters, a component that starts with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrganisationName(String);

impl OrganisationName {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrganisationName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_organisation(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Organisation) }
    }
}

impl fmt::Display for OrganisationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_organisation(text: &str) -> bool {
    let lettered = text.starts_with(|c: char| c.is_ascii_lowercase());
    lettered && text.len() <= MAX_ORGANISATION && !RESERVED.contains(&text) && is_component(text)
}

/// A whole repository name: organisation, slash, and at least one more component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName {
    whole: String,
    organisation: usize,
}

impl RepositoryName {
    /// The organisation's name.
    pub fn organisation(&self) -> &str {
        &self.whole[..self.organisation]
    }

    /// `organisation/rest`.
    pub fn as_str(&self) -> &str {
        &self.whole
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (organisation, rest) = text.split_once('/').unwrap_or((LIBRARY, text));
        let fits = rest.len() <= MAX_REST;
        if !(fits && is_organisation(organisation) && rest.split('/').all(is_component)) {
            return Err(NameError::Repository);
        }
        Ok(Self { whole: format!("{organisation}/{rest}"), organisation: organisation.len() })
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole)
    }
}

/// A tag: a letter, digit or `_`, then up to 127 more of those, `.` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let starts = text.bytes().next().is_some_and(word);
        let goes_on = text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if starts && goes_on && text.len() <= MAX_TAG {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Tag)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a request names a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// By a name that can move.
    Tag(Tag),
    /// By content.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') {
            return text.parse().map(Self::Digest).map_err(|_| NameError::Reference);
        }
        text.parse().map(Self::Tag).map_err(|_| NameError::Reference)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A media type without its parameters, as RFC 6838 §4.2 restricts the names; at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaType(String);

impl MediaType {
    /// `type/subtype`, as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MediaType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let essence = text.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
        let restricted = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        match essence.split_once('/') {
            Some((kind, subtype))
                if essence.len() <= MAX_MEDIA_TYPE && restricted(kind) && restricted(subtype) =>
            {
                Ok(Self(essence.to_owned()))
            }
            _ => Err(NameError::MediaType),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repository_name_follows_the_grammar_and_the_limits() {
        let long_rest = format!("a/{}", "b".repeat(129));
        let long_organisation = format!("{}/b", "a".repeat(65));
        let cases = [
            ("one component is in library", "nginx", Some("library/nginx")),
            ("two components", "acme/web", Some("acme/web")),
            ("many components", "acme/a/b/c", Some("acme/a/b/c")),
            ("separators", "a.b_c__d---e/x.y", Some("a.b_c__d---e/x.y")),
            ("digits after the first letter", "a1/2b", Some("a1/2b")),
            ("organisation starts with a digit", "1a/b", None),
            ("upper case", "Acme/web", None),
            ("two dots", "acme/a..b", None),
            ("three underscores", "acme/a___b", None),
            ("dot and hyphen", "acme/a.-b", None),
            ("ends with a separator", "acme/web-", None),
            ("empty component", "acme//web", None),
            ("trailing slash", "acme/", None),
            ("empty", "", None),
            ("not ASCII", "acme/wéb", None),
            ("the management API's path", "manage/namespaces", None),
            ("rest too long", &long_rest, None),
            ("organisation too long", &long_organisation, None),
        ];
        for (name, text, expected) in cases {
            let parsed = text.parse::<RepositoryName>();
            assert_eq!(parsed.as_ref().map(RepositoryName::as_str).ok(), expected, "{name}");
        }
    }

    #[test]
    fn a_reference_is_a_tag_or_a_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
        assert!(matches!("v1.0-rc_1".parse(), Ok(Reference::Tag(_))));
        let long = "a".repeat(129);
        for bad in ["", ".a", "-a", "a b", "a:b", "sha256:abc", "a/b", "é", &long] {
            assert_eq!(bad.parse::<Reference>(), Err(NameError::Reference), "{bad:?}");
        }
    }

    #[test]
    fn a_media_type_loses_its_parameters_and_nothing_else() {
        let parsed = "application/vnd.oci.image.manifest.v1+json; charset=utf-8".parse::<MediaType>();
        assert_eq!(parsed.as_ref().map(MediaType::as_str), Ok("application/vnd.oci.image.manifest.v1+json"));
        for bad in ["", "text", "text/", "/plain", "a b/c", "a/b\r\n", "a/é"] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_name_parser_panic_and_parsed_names_print_as_parsed(text in ".{0,300}") {
            if let Ok(name) = text.parse::<RepositoryName>() {
                prop_assert_eq!(name.as_str().parse::<RepositoryName>(), Ok(name));
            }
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text.clone());
            }
            let _ = text.parse::<MediaType>();
        }
    }
}
