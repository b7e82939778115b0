//! Policies: spellings, refusals, and what holds for every document.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn repo(name: &str) -> Resource {
    Resource::Repository(name.parse().expect("a name"))
}

fn organisation(name: &str) -> Resource {
    Resource::Organisation(name.parse().expect("a name"))
}

fn account() -> Resource {
    Resource::Account(pierhead_storage_format::identity::Id::from_bytes([1; 16]))
}

fn policy(effect: &str, action: &str, resource: &str) -> Policy {
    let statement = json!({"Effect": effect, "Action": [action], "Resource": [resource]});
    Policy::parse(&json!({"Version": "1.1", "Statement": [statement]}).to_string()).expect(resource)
}

#[test]
fn a_deny_matches_however_its_resource_is_spelled() {
    let same = [
        "SWR:*:repo:acme/*",
        "swr:*:repo:acme/*",
        "SWR:/*:repo:acme/*",
        "SWR:*:repo:acme",
        "SWR:*:repo:acme/",
        "SWR:*:repo:ACME/*",
        "swr:*:*:repo:acme/*",
        "SWR::repo:acme",
        "SWR:*:*:acme/*",
        "*:*:repo:acme/w*",
        "SWR:*:repo:acme$web",
        "SWR:*:repo:*/web",
        "*",
    ];
    for resource in same {
        for action in
            ["swr:repo:deleteRepo", "SWR:REPO:DELETEREPO", "swr:repo:*", "swr:*:delete*", "*:*:*", "*"]
        {
            let verdict =
                policy("Deny", action, resource).verdict(Action::DeleteRepository, &repo("acme/web"));
            assert!(verdict.denied && !verdict.allowed, "{action} {resource}");
        }
    }
}

#[test]
fn a_deny_covers_an_organisation_and_everything_however_it_is_spelled() {
    let cases = [
        ("SWR:*:namespace:acme", organisation("acme")),
        ("SWR:*:namespace:acme/*", organisation("acme")),
        ("SWR:*:namespace:ACME$*", organisation("acme")),
        ("SWR:*:*:acme/*", organisation("acme")),
        ("SWR:*:*:acme/*", repo("acme/web")),
        ("SWR:*:*:*", organisation("acme")),
        ("SWR:*:*:*", repo("acme/web")),
        ("SWR:*:*:*", account()),
        ("*:*:*:**", account()),
        ("SWR:/*:*:*:*", Resource::Registry),
        ("*", Resource::Registry),
    ];
    for (pattern, resource) in cases {
        let verdict = policy("Deny", "*", pattern).verdict(Action::DeleteOrganisation, &resource);
        assert!(verdict.denied, "{pattern} {resource:?}");
    }
}

#[test]
fn a_statement_says_nothing_of_what_it_does_not_name() {
    let cases = [
        ("another organisation", "SWR:*:repo:acme/*", repo("acme2/web")),
        ("a longer name", "SWR:*:repo:acme/web", repo("acme/web2")),
        ("below a repository", "SWR:*:repo:acme/web", repo("acme/web/more")),
        ("the organisation itself", "SWR:*:repo:acme/*", organisation("acme")),
        ("repositories", "SWR:*:namespace:acme", repo("acme/web")),
        ("an account", "SWR:*:*:acme/*", account()),
        ("an account by a kind", "SWR:*:namespace:*", account()),
        ("the registry", "SWR:*:*:*/*", Resource::Registry),
        ("another organisation with a longer name", "SWR:*:namespace:acme/*", organisation("acme2")),
        ("an organisation by a repository in it", "SWR:*:*:acme/web", organisation("acme")),
    ];
    for (name, pattern, resource) in cases {
        let verdict = policy("Deny", "*:*:*", pattern).verdict(Action::Pull, &resource);
        assert_eq!(verdict, Verdict::default(), "{name}");
    }
    let verdict =
        policy("Deny", "swr:repo:deleteRepo", "*").verdict(Action::DeleteVersion, &repo("acme/web"));
    assert_eq!(verdict, Verdict::default(), "an action whose name only begins so");
}

#[test]
fn what_is_not_understood_is_refused_and_never_half_read() {
    let statement = |text: &str| format!(r#"{{"Version":"1.1","Statement":[{text}]}}"#);
    let cases = [
        ("not json", "{".to_owned()),
        (
            "another version",
            r#"{"Version":"1.0","Statement":[{"Effect":"Allow","Action":["*"]}]}"#.to_owned(),
        ),
        ("no statement", statement("")),
        ("a statement that is a list", statement(r#"["Allow",["*"],null]"#)),
        ("a list", r#"["1.1",[{"Effect":"Allow","Action":["*"]}]]"#.to_owned()),
        ("a condition", statement(r#"{"Effect":"Allow","Action":["*"],"Condition":{}}"#)),
        ("not-action", statement(r#"{"Effect":"Allow","NotAction":["*"]}"#)),
        ("no action", statement(r#"{"Effect":"Allow","Action":[]}"#)),
        ("no resource in the list", statement(r#"{"Effect":"Allow","Action":["*"],"Resource":[]}"#)),
        ("an unknown effect", statement(r#"{"Effect":"allow","Action":["*"]}"#)),
        ("an action of two parts", statement(r#"{"Effect":"Deny","Action":["swr:repo"]}"#)),
        (
            "a resource of another service",
            statement(r#"{"Effect":"Deny","Action":["*"],"Resource":["OBS:*:repo:a"]}"#),
        ),
        (
            "a resource without a path",
            statement(r#"{"Effect":"Deny","Action":["*"],"Resource":["SWR:*:repo:"]}"#),
        ),
        (
            "a resource of an unknown kind",
            statement(r#"{"Effect":"Deny","Action":["*"],"Resource":["SWR:*:image:a"]}"#),
        ),
        ("a region", statement(r#"{"Effect":"Deny","Action":["*"],"Resource":["SWR:cn-north-4:repo:a"]}"#)),
        (
            "too long",
            statement(&format!(
                r#"{{"Effect":"Deny","Action":["*"],"Resource":["SWR:*:repo:{}"]}}"#,
                "a".repeat(7000)
            )),
        ),
    ];
    for (name, text) in cases {
        assert!(Policy::parse(&text).is_err(), "{name}");
    }
}

fn statement() -> impl Strategy<Value = (bool, String, String)> {
    let action = prop_oneof![
        Just("*".to_owned()),
        Just("swr:*:*".to_owned()),
        Just("swr:repo:*".to_owned()),
        prop::sample::select(Action::ALL).prop_map(|action| action.name().to_owned()),
    ];
    let resource = prop_oneof![
        Just("*".to_owned()),
        "SWR:\\*:(repo|namespace|\\*):[ab*]{1,2}(/[ab*]{1,2})?".prop_map(|text| text),
    ];
    (any::<bool>(), action, resource)
}

fn document(statements: &[(bool, String, String)]) -> Policy {
    let statements: Vec<_> = statements
        .iter()
        .map(|(allow, action, resource)| {
            let effect = if *allow { "Allow" } else { "Deny" };
            json!({"Effect": effect, "Action": [action], "Resource": [resource]})
        })
        .collect();
    Policy::parse(&json!({"Version": "1.1", "Statement": statements}).to_string()).expect("valid")
}

fn question() -> impl Strategy<Value = (Action, Resource)> {
    let resource = prop_oneof![
        "[ab]{1,2}".prop_map(|name| organisation(&name)),
        "[ab]{1,2}/[ab]{1,2}".prop_map(|name| repo(&name)),
    ];
    (prop::sample::select(Action::ALL), resource)
}

proptest! {
    #[test]
    fn the_order_of_statements_says_nothing(
        mut statements in prop::collection::vec(statement(), 1..8), (action, resource) in question(),
    ) {
        let verdict = document(&statements).verdict(action, &resource);
        statements.reverse();
        prop_assert_eq!(document(&statements).verdict(action, &resource), verdict);
    }

    #[test]
    fn a_deny_stays_whatever_is_added(
        statements in prop::collection::vec(statement(), 1..8),
        more in prop::collection::vec(statement(), 1..8),
        (action, resource) in question(),
    ) {
        let before = document(&statements).verdict(action, &resource);
        let all: Vec<_> = statements.iter().chain(&more).cloned().collect();
        let after = document(&all).verdict(action, &resource);
        prop_assert!(!before.denied || after.denied);
    }

    #[test]
    fn an_allow_that_is_added_takes_nothing_away(
        statements in prop::collection::vec(statement(), 1..8), added in statement(), (action, resource) in question(),
    ) {
        let before = document(&statements).verdict(action, &resource);
        let all: Vec<_> = statements.iter().cloned().chain([(true, added.1, added.2)]).collect();
        let after = document(&all).verdict(action, &resource);
        prop_assert_eq!(after.denied, before.denied);
        prop_assert!(!before.allowed || after.allowed);
    }

    #[test]
    fn a_pattern_matches_what_a_naive_matcher_matches(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
        fn naive(pattern: &[u8], text: &[u8]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some((b'*', rest)) => (0..=text.len()).any(|at| naive(rest, &text[at..])),
                Some((byte, rest)) => text.first() == Some(byte) && naive(rest, &text[1..]),
            }
        }
        prop_assert_eq!(Pattern::new(&pattern).matches(&text), naive(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,300}", resource in "\\PC{0,40}") {
        let _ = Policy::parse(&text);
        let statement = json!({"Effect": "Deny", "Action": ["*"], "Resource": [resource]});
        let _ = Policy::parse(&json!({"Version": "1.1", "Statement": [statement]}).to_string());
    }
}
