//! The generated part of `docs/permissions.md`: every action, what it needs, and what a policy names
//! to reach it. `PIERHEAD_WRITE_GOLDEN=1 cargo test permissions_page` writes it.

use pierhead_storage_format::identity::records::Level;

use super::action::{Action, Effect, Need};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/permissions.md");
const BEGIN: &str = "<!-- actions: begin, written by a test -->\n";
const END: &str = "<!-- actions: end -->";

const fn level(level: Level) -> &'static str {
    match level {
        Level::Read => "read",
        Level::Edit => "edit",
        Level::Manage => "manage",
    }
}

fn needs(action: Action) -> String {
    let needs = match action.need() {
        Need::SignedIn => "to be signed in".to_owned(),
        Need::Level(needed) => level(needed).to_owned(),
        Need::OrganisationLevel(needed) => format!("{} on the organisation", level(needed)),
        Need::Developer => "developer (a setting), or administrator".to_owned(),
        Need::Administrator => "administrator".to_owned(),
        Need::TenantAdministrator => "tenant administrator".to_owned(),
        Need::Operator => "tenant administrator of the operator's account".to_owned(),
        Need::Host => "the host's own administrator".to_owned(),
    };
    if !action.is_open_to_others() {
        return needs;
    }
    let public = if action.effect() == Effect::Read { "nothing" } else { "to be signed in" };
    format!("{needs} (of a public one: {public}; of a shared one: to be of that account)")
}

/// What it is done to, which is what a policy's resource is compared with.
fn on(action: Action) -> &'static str {
    let kind = action.name().split(':').nth(1).unwrap_or_default();
    match (action.need(), kind) {
        (Need::Host, _) => "the host",
        (Need::SignedIn, _) => "oneself",
        (Need::Operator, _) => "the appliance",
        (_, "repo") => "repository",
        (_, "namespace") => "organisation",
        _ => "account",
    }
}

fn table() -> String {
    let mut text = "| action | what | needs | on |\n| --- | --- | --- | --- |\n".to_owned();
    for action in Action::ALL {
        let what = action.says().trim().trim_end_matches('.');
        text.push_str(&format!("| `{}` | {what} | {} | {} |\n", action.name(), needs(*action), on(*action)));
    }
    text
}

#[test]
fn the_page_of_permissions_lists_every_action_as_the_table_has_it() {
    let page = std::fs::read_to_string(PAGE).expect("docs/permissions.md");
    let (before, rest) = page.split_once(BEGIN).expect("a begin mark");
    let (found, after) = rest.split_once(END).expect("an end mark");
    if std::env::var_os("PIERHEAD_WRITE_GOLDEN").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{}{END}{after}", table())).expect("written");
        return;
    }
    assert!(found == table(), "run with PIERHEAD_WRITE_GOLDEN=1, review the difference, run again");
}

#[test]
fn every_action_says_what_it_is_in_one_line() {
    for action in Action::ALL {
        let says = action.says().trim();
        assert!(says.ends_with('.') && !says.contains('|') && !says.contains('\n'), "{says:?}");
    }
}

/// The examples of the page are policies, and a Deny in any of the spellings it lists holds.
#[test]
fn every_policy_on_the_page_is_one() {
    let page = std::fs::read_to_string(PAGE).expect("docs/permissions.md");
    let examples: Vec<&str> =
        page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 3, "{}", examples.len());
    for example in examples {
        assert!(super::Policy::parse(example).is_ok(), "{example}");
    }
}

#[test]
fn every_spelling_of_a_resource_on_the_page_covers_what_it_says() {
    let page = std::fs::read_to_string(PAGE).expect("docs/permissions.md");
    let table = page.split_once("| resource | covers |\n").expect("a table of resources").1;
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let mut seen = 0;
    for row in rows {
        let (resource, covered) = row.split_once("` | ").expect("two cells");
        let document = format!(
            r#"{{"Version":"1.1","Statement":[{{"Effect":"Deny","Action":["*"],"Resource":["{resource}"]}}]}}"#
        );
        let policy = super::Policy::parse(&document).expect("a policy");
        let denies = |name: &str| {
            let name = name.parse().expect("a name");
            policy.verdict(Action::DeleteRepository, &super::Resource::Repository(name)).denied
        };
        let denies_organisation = policy
            .verdict(
                Action::DeleteOrganisation,
                &super::Resource::Organisation("acme".parse().expect("a name")),
            )
            .denied;
        let found =
            (denies("acme/web"), denies("acme/web/front"), denies("acme-two/web"), denies_organisation);
        let expected = match covered {
            "every repository of acme" => (true, true, false, false),
            "the repository acme/web" => (true, false, false, false),
            "every repository whose name in acme starts with web" => (true, true, false, false),
            "acme and every repository of it" => (true, true, false, true),
            "everything" => (true, true, true, true),
            "the organisation acme" => (false, false, false, true),
            "every repository" => (true, true, true, false),
            other => unreachable!("{other:?} is not a known row"),
        };
        assert_eq!(found, expected, "{resource}");
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}
