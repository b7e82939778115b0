//! What a synchronisation may say: where to, and what of.

use crate::services::error::Error;
use crate::services::names::{OrganisationName, Tag};

/// Characters of a region's name.
const MAX_REGION: usize = 64;
/// Versions that one request copies.
const MAX_TAGS: usize = 1000;

/// Where images go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The region.
    pub region: String,
    /// The organisation there.
    pub organisation: OrganisationName,
}

impl Target {
    /// Reads one; else what is wrong with it.
    pub fn read(region: &str, organisation: &str) -> Result<Self, Error> {
        if !is_region(region) {
            let why =
                "it has 1 to 64 letters, digits, -, _ and ., and starts with a letter or a digit".to_owned();
            return Err(Error::Invalid { field: "remoteRegionId", why });
        }
        let named = organisation.parse();
        let organisation = named.map_err(|_| Error::Invalid {
            field: "remoteNamespace",
            why: format!("{organisation:?} is no name of an organization"),
        })?;
        Ok(Self { region: region.to_owned(), organisation })
    }
}

/// The versions to be copied.
pub fn tags(names: &[String]) -> Result<Vec<Tag>, Error> {
    let wrong = |why: String| Error::Invalid { field: "imageTag", why };
    if names.is_empty() || names.len() > MAX_TAGS {
        return Err(wrong(format!("it names 1 to {MAX_TAGS} versions")));
    }
    let tag = |name: &String| name.parse().map_err(|_| wrong(format!("{name:?} is no version")));
    names.iter().map(tag).collect()
}

fn is_region(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    text.len() <= MAX_REGION
        && text.starts_with(is_word)
        && text.chars().all(|c| is_word(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_region_and_an_organisation() {
        let long = "r".repeat(65);
        let cases = [
            ("cn-north-4", "acme", None),
            ("eu_west.1", "acme", None),
            ("", "acme", Some("remoteRegionId")),
            ("-north", "acme", Some("remoteRegionId")),
            ("north 4", "acme", Some("remoteRegionId")),
            ("../north", "acme", Some("remoteRegionId")),
            (&long, "acme", Some("remoteRegionId")),
            ("cn-north-4", "", Some("remoteNamespace")),
            ("cn-north-4", "Acme", Some("remoteNamespace")),
            ("cn-north-4", "a/b", Some("remoteNamespace")),
        ];
        for (region, organisation, expected) in cases {
            let field = match Target::read(region, organisation) {
                Ok(_) => None,
                Err(Error::Invalid { field, .. }) => Some(field),
                Err(_) => Some("another error"),
            };
            assert_eq!(field, expected, "{region} {organisation}");
        }
    }

    #[test]
    fn versions_are_named_one_at_least() {
        let of = |names: &[&str]| tags(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["v1", "v2"]).map(|tags| tags.len()).ok(), Some(2));
        assert!(of(&[]).is_err() && of(&["v 1"]).is_err() && of(&[""]).is_err());
        assert!(of(&vec!["v"; MAX_TAGS + 1]).is_err());
    }
}
