//! What a retention policy may say: which versions stay, and which are never removed.

use crate::services::error::Error;
use crate::services::patterns::Pattern;

/// Days that versions can be kept.
const DAYS: std::ops::RangeInclusive<u64> = 1..=365;
/// Versions that can be kept.
const VERSIONS: std::ops::RangeInclusive<u64> = 1..=1000;
/// Rules of one policy, which is about one repository: the API takes a list, and one in it.
const MAX_RULES: usize = 1;
/// What is exempt, by one rule.
const MAX_SELECTORS: usize = 100;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Versions stay for this.
    pub keep: Keep,
    /// Versions that are never removed, and do not count.
    pub exempt: Vec<Selector>,
}

/// How long versions stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those pushed within as many days.
    Days(u64),
    /// The last so many.
    Versions(u64),
}

/// What is exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// A tag.
    Tag(String),
    /// Tags that match.
    Matching(Pattern),
}

/// A policy as somebody wrote it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// How its rules go together.
    pub algorithm: String,
    /// Its rules.
    pub rules: Vec<DraftRule>,
}

/// A rule of it.
#[derive(Clone, Debug, Default)]
pub struct DraftRule {
    /// `date_rule` or `tag_rule`.
    pub template: String,
    /// `days`, if it was given.
    pub days: Option<String>,
    /// `num`, if it was given.
    pub num: Option<String>,
    /// What is exempt: kind and pattern.
    pub selectors: Vec<(String, String)>,
}

impl Draft {
    /// The policy it is; else what is wrong with it.
    pub fn read(self) -> Result<Policy, Error> {
        if self.algorithm != "or" {
            return Err(wrong("algorithm", "it is or".to_owned()));
        }
        if self.rules.is_empty() || self.rules.len() > MAX_RULES {
            return Err(wrong("rules", "there is one".to_owned()));
        }
        let mut rules = self.rules.into_iter().map(DraftRule::read);
        rules.next().unwrap_or_else(|| Err(wrong("rules", "there is one".to_owned())))
    }
}

impl DraftRule {
    fn read(self) -> Result<Policy, Error> {
        let keep = match (self.template.as_str(), &self.days, &self.num) {
            ("date_rule", Some(days), None) => Keep::Days(within("days", days, &DAYS)?),
            ("tag_rule", None, Some(num)) => Keep::Versions(within("num", num, &VERSIONS)?),
            ("date_rule", ..) => return Err(wrong("params", "a date_rule has days, and not num".to_owned())),
            ("tag_rule", ..) => return Err(wrong("params", "a tag_rule has num, and not days".to_owned())),
            _ => return Err(wrong("template", "it is date_rule or tag_rule".to_owned())),
        };
        if self.selectors.len() > MAX_SELECTORS {
            return Err(wrong("tag_selectors", format!("there are at most {MAX_SELECTORS}")));
        }
        let exempt = self.selectors.iter().map(|(kind, pattern)| selector(kind, pattern));
        Ok(Policy { keep, exempt: exempt.collect::<Result<_, _>>()? })
    }
}

fn within(field: &'static str, text: &str, range: &std::ops::RangeInclusive<u64>) -> Result<u64, Error> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| wrong(field, format!("it is a number from {} to {}", range.start(), range.end())))
}

/// Clients that exempt nothing send a selector with nothing in it. A tag need not be there yet.
fn selector(kind: &str, pattern: &str) -> Result<Selector, Error> {
    match kind {
        "label" if pattern.len() <= 128 => Ok(Selector::Tag(pattern.to_owned())),
        "label" => Err(wrong("pattern", "a tag has at most 128 characters".to_owned())),
        "regexp" => Pattern::read(pattern).map(Selector::Matching).map_err(|why| wrong("pattern", why)),
        _ => Err(wrong("kind", "it is label or regexp".to_owned())),
    }
}

fn wrong(field: &'static str, why: String) -> Error {
    Error::Invalid { field, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(template: &str, days: Option<&str>, num: Option<&str>, selectors: &[(&str, &str)]) -> Draft {
        let selectors = selectors.iter().map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned()));
        let rule = DraftRule {
            template: template.to_owned(),
            days: days.map(str::to_owned),
            num: num.map(str::to_owned),
            selectors: selectors.collect(),
        };
        Draft { algorithm: "or".to_owned(), rules: vec![rule] }
    }

    fn field(draft: Draft) -> Result<Keep, &'static str> {
        draft.read().map(|policy| policy.keep).map_err(|error| match error {
            Error::Invalid { field, .. } => field,
            _ => "another error",
        })
    }

    #[test]
    fn a_policy_keeps_1_to_365_days_or_1_to_1000_versions() {
        let cases = [
            ("date_rule", Some("1"), None, Ok(Keep::Days(1))),
            ("date_rule", Some("365"), None, Ok(Keep::Days(365))),
            ("date_rule", Some("0"), None, Err("days")),
            ("date_rule", Some("366"), None, Err("days")),
            ("date_rule", Some("-1"), None, Err("days")),
            ("date_rule", Some("1.5"), None, Err("days")),
            ("date_rule", Some(""), None, Err("days")),
            ("date_rule", None, Some("7"), Err("params")),
            ("date_rule", Some("1"), Some("7"), Err("params")),
            ("tag_rule", None, Some("1000"), Ok(Keep::Versions(1000))),
            ("tag_rule", None, Some("1001"), Err("num")),
            ("tag_rule", None, Some("many"), Err("num")),
            ("tag_rule", Some("7"), None, Err("params")),
            ("tag_rule", None, None, Err("params")),
            ("", Some("7"), None, Err("template")),
        ];
        for (template, days, num, expected) in cases {
            assert_eq!(field(draft(template, days, num, &[])), expected, "{template} {days:?} {num:?}");
        }
    }

    #[test]
    fn what_is_exempt_is_a_tag_or_a_pattern_that_compiles() {
        let of = |kind, text| draft("tag_rule", None, Some("7"), &[(kind, text)]).read();
        assert_eq!(of("label", "v1").expect("read").exempt, [Selector::Tag("v1".to_owned())]);
        assert!(of("label", "").is_ok(), "as Terraform sends one that is left out");
        let read = of("regexp", "^v2.*$").expect("read");
        assert!(matches!(&read.exempt[..], [Selector::Matching(p)] if p.matches("v2.1") && !p.matches("v1")));
        let long = "t".repeat(129);
        for (kind, text) in [("regexp", "("), ("regexp", ""), ("Label", "v1"), ("", ""), ("label", &long)] {
            assert!(of(kind, text).is_err(), "{kind} {text}");
        }
        let many = vec![("label", "v1"); MAX_SELECTORS + 1];
        assert_eq!(field(draft("tag_rule", None, Some("7"), &many)), Err("tag_selectors"));
    }

    #[test]
    fn a_policy_has_one_rule_and_the_one_algorithm() {
        let rule = || draft("tag_rule", None, Some("7"), &[]).rules.remove(0);
        let of = |algorithm: &str, rules| field(Draft { algorithm: algorithm.to_owned(), rules });
        assert_eq!(of("or", vec![rule()]), Ok(Keep::Versions(7)));
        assert_eq!(of("or", vec![]), Err("rules"));
        assert_eq!(of("or", vec![rule(), rule()]), Err("rules"));
        assert_eq!(of("and", vec![rule()]), Err("algorithm"));
    }
}
