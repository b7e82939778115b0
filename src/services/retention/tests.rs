//! The plan against a plain one that sorts everything. Runs are tested where there are repositories:
//! `wiring::tests::retention`.

use proptest::prelude::*;

use super::plan::Plan;
use super::rules::{Keep, Policy, Selector};
use crate::services::patterns::Pattern;

const DAY: u64 = 86_400_000;
const NOW: u64 = 20_000 * DAY;

/// Which go, by the plan.
fn planned(policy: &Policy, versions: &[(String, u64)]) -> Vec<String> {
    let mut plan = Plan::new(policy, NOW);
    versions.iter().for_each(|(tag, at)| plan.see(tag, *at));
    let (cut, kept) = plan.finish();
    let goes = |(tag, at): &&(String, u64)| cut.takes(tag, *at) && !policy.is_exempt(tag);
    let going: Vec<String> = versions.iter().filter(goes).map(|(tag, _)| tag.clone()).collect();
    assert!(kept.iter().all(|tag| !going.contains(tag)));
    going
}

/// Which go, by the words of the rules.
fn oracle(policy: &Policy, versions: &[(String, u64)]) -> Vec<String> {
    let mut counted: Vec<(u64, String)> = versions
        .iter()
        .filter(|(tag, _)| !policy.is_exempt(tag))
        .map(|(tag, at)| (*at, tag.clone()))
        .collect();
    counted.sort();
    counted.reverse();
    let going: Vec<String> = match policy.keep {
        Keep::Days(days) => {
            counted.into_iter().filter(|(at, _)| NOW - at > days * DAY).map(|(_, tag)| tag).collect()
        }
        Keep::Versions(keep) => counted.into_iter().skip(keep as usize).map(|(_, tag)| tag).collect(),
    };
    versions.iter().map(|(tag, _)| tag.clone()).filter(|tag| going.contains(tag)).collect()
}

fn exempt() -> impl Strategy<Value = Vec<Selector>> {
    let pattern = prop_oneof![Just("^v2.*$"), Just("(.*a.*|.*s.*)"), Just("v1|"), Just("v[0-3]")];
    let matching = pattern.prop_map(|text| Selector::Matching(Pattern::read(text).expect("a pattern")));
    let selector = prop_oneof!["v[0-9]{1,2}".prop_map(Selector::Tag), matching];
    proptest::collection::vec(selector, 0..3)
}

proptest! {
    #[test]
    fn the_plan_is_what_the_rules_say(
        versions in proptest::collection::btree_map("v[0-9]{1,2}|latest|base", 0u64..12 * DAY, 0..40),
        is_coarse in any::<bool>(),
        keep in prop_oneof![(1u64..12).prop_map(Keep::Days), (1u64..12).prop_map(Keep::Versions)],
        exempt in exempt(),
    ) {
        // Many at the same moment, or each at its own.
        let age = |age: u64| if is_coarse { age - age % DAY } else { age };
        let versions: Vec<(String, u64)> = versions.into_iter().map(|(tag, old)| (tag, NOW - age(old))).collect();
        let policy = Policy { keep, exempt };
        prop_assert_eq!(planned(&policy, &versions), oracle(&policy, &versions));
    }
}

#[test]
fn the_examples_of_the_documents_do_what_they_say() {
    let of = |keep, pattern: &str| Policy {
        keep,
        exempt: vec![Selector::Matching(Pattern::read(pattern).expect("a pattern"))],
    };
    let versions: Vec<(String, u64)> = [("v1.1", 5), ("v1.2", 4), ("v1.3", 2), ("v2.1", 9), ("v2.2", 1)]
        .map(|(tag, days)| (tag.to_owned(), NOW - days * DAY))
        .to_vec();
    let cases = [
        ("older than 3 days, but v2", of(Keep::Days(3), "^v2.*$"), vec!["v1.1", "v1.2"]),
        ("all but the newest, but v2", of(Keep::Versions(1), "^v2.*$"), vec!["v1.1", "v1.2"]),
        ("what is exactly as old stays", of(Keep::Days(4), "^v2.*$"), vec!["v1.1"]),
        ("a pattern is for whole tags", of(Keep::Days(3), "v2"), vec!["v1.1", "v1.2", "v2.1"]),
    ];
    for (name, policy, expected) in cases {
        assert_eq!(planned(&policy, &versions), expected, "{name}");
        assert_eq!(oracle(&policy, &versions), expected, "{name}");
    }
}

#[test]
fn of_versions_of_one_moment_the_later_tag_is_the_newer() {
    let versions = ["a", "c", "b"].map(|tag| (tag.to_owned(), NOW));
    let policy = Policy { keep: Keep::Versions(2), exempt: Vec::new() };
    assert_eq!(planned(&policy, &versions), ["a"]);
}

#[test]
fn a_rule_of_the_log_fits_its_row_and_is_json() {
    let pattern = Selector::Matching(Pattern::read(&"\"".repeat(900)).expect("a pattern"));
    let policy = Policy { keep: Keep::Days(3), exempt: vec![pattern.clone(), pattern.clone(), pattern] };
    let rule = policy.short_rule();
    assert!(rule.len() <= pierhead_storage_format::retention::RULE);
    let rule: serde_json::Value = serde_json::from_str(&rule).expect("JSON");
    assert_eq!(rule["params"]["days"], "3");
    assert_eq!(rule["tag_selectors"].as_array().map(Vec::len), Some(1), "as many as fit");
}
