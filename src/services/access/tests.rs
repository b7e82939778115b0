//! The rules as a whole: the reviewed matrix, and what no single room shows.

use std::sync::Arc;

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{
    AccountKey, GrantKey, GroupKey, GroupMemberKey, PolicyKey, RepositorySettingsKey, ShareKey, TextKey,
    TextOwner, UserKey,
};
use pierhead_storage_format::identity::records::{
    AccountRecord, GrantRecord, GroupRecord, Level, PolicyRecord, RepositorySettingsRecord, Role,
    ShareRecord, TextRecord, UserRecord,
};
use pierhead_storage_format::keys::{OrganisationKey, TableKey};
use pierhead_storage_format::records::{OrganisationRecord, Present};
use proptest::prelude::*;

use super::*;
use crate::seams::TestClock;

const NOW: u64 = 1_000_000;
const OWN: Id = Id::from_bytes([1; 16]);
const OTHER: Id = Id::from_bytes([2; 16]);
const OPERATOR: Id = Id::from_bytes([3; 16]);

/// Two accounts and the operator's; `acme` is OWN's, `other` OTHER's.
struct World(Directory);

impl World {
    fn new() -> Self {
        let mut world = Self(Directory::default());
        for (id, name) in [(OWN, "own"), (OTHER, "other"), (OPERATOR, "operator")] {
            let operator = id == OPERATOR;
            let name = name.to_owned();
            let record = AccountRecord { name, project: id, created_at: 0, operator, enabled: true };
            world.put(&AccountKey { id }, &record);
        }
        for (number, name, owner) in [(1, "acme", OWN), (2, "other", OTHER), (3, "library", OPERATOR)] {
            let record = OrganisationRecord { number, created_at: 0, owner: Some(owner), creator: None };
            world.put(&OrganisationKey { name: name.to_owned() }, &record);
        }
        let public = RepositorySettingsRecord { public: true, ..RepositorySettingsRecord::default() };
        world.put(&RepositorySettingsKey { name: "other/public".to_owned() }, &public);
        for (name, until) in [("other/shared", None), ("other/ended", Some(NOW))] {
            let name = name.to_owned();
            let (description, creator) = (String::new(), OTHER);
            let share =
                ShareRecord { organisation: 2, until, description, creator, created_at: 0, updated_at: 0 };
            world.put(&ShareKey { account: OWN, name }, &share);
        }
        world
    }

    fn put<K: TableKey>(&mut self, key: &K, record: &K::Record) {
        let value = record.encode().expect("small");
        self.0.apply(K::TABLE, &key.encode(), Some(&value)).expect("a good row");
    }

    fn delete<K: TableKey>(&mut self, key: &K) {
        self.0.apply(K::TABLE, &key.encode(), None).expect("a good key");
    }

    fn user(&mut self, account: Id, roles: &[Role], policies: &[Id]) -> Id {
        let number = u8::try_from(self.0.users_of(account).count()).expect("few");
        let mut id = [100 + number; 16];
        id[0] = account.as_bytes()[0];
        let id = Id::from_bytes(id);
        let record = UserRecord {
            account,
            name: format!("user-{id}"),
            description: String::new(),
            password: None,
            password_at: 0,
            programmatic: true,
            console: true,
            enabled: true,
            roles: roles.to_vec(),
            policies: policies.to_vec(),
            created_at: 0,
        };
        self.put(&UserKey { id }, &record);
        id
    }

    fn policy(&mut self, number: u8, document: &str) -> Id {
        let id = Id::from_bytes([number; 16]);
        let (name, description) = (number.to_string(), String::new());
        self.put(
            &PolicyKey { id },
            &PolicyRecord { account: OWN, name, description, created_at: 0, updated_at: 0 },
        );
        self.put(
            &TextKey { owner: TextOwner::Policy(id), part: 0 },
            &TextRecord { part: document.to_owned() },
        );
        id
    }

    fn grant(&mut self, user: Id, name: &str, level: Level) {
        self.put(
            &GrantKey { user, name: name.to_owned() },
            &GrantRecord { organisation: if name.starts_with("acme") { 1 } else { 2 }, level, granted_at: 0 },
        );
    }

    fn access(self) -> Access {
        let clock = TestClock::default();
        clock.set(NOW);
        Access::new(Rules::Closed(Options::default()), Arc::new(clock), self.0)
    }
}

fn may(access: &Access, user: Id, action: Action, resource: &Resource) -> bool {
    access.authorise(&Actor::User(user), action, resource.clone()).is_ok()
}

fn repo(name: &str) -> Resource {
    Resource::Repository(name.parse().expect("a name"))
}

fn organisation(name: &str) -> Resource {
    Resource::Organisation(name.parse().expect("a name"))
}

fn resources() -> Vec<(&'static str, Resource)> {
    vec![
        ("registry", Resource::Registry),
        ("own-account", Resource::Account(OWN)),
        ("other-account", Resource::Account(OTHER)),
        ("acme", organisation("acme")),
        ("other", organisation("other")),
        ("absent", organisation("absent")),
        ("acme/web", repo("acme/web")),
        ("acme/db", repo("acme/db")),
        ("other/private", repo("other/private")),
        ("other/public", repo("other/public")),
        ("other/shared", repo("other/shared")),
        ("other/ended", repo("other/ended")),
    ]
}

/// Who is asked about in the matrix.
fn actors(world: &mut World) -> Vec<(String, Actor)> {
    let mut actors: Vec<(String, Actor)> = vec![
        ("anonymous".to_owned(), Actor::Anonymous),
        ("local-administrator".to_owned(), Actor::LocalAdministrator),
    ];
    actors.push(("system".to_owned(), Actor::System("sweep")));
    let roles = [
        Role::TenantAdministrator,
        Role::SwrAdministrator,
        Role::SwrFullAccess,
        Role::SwrDeveloper,
        Role::SwrOperateAccess,
        Role::ServiceStageDeveloper,
        Role::SwrReadOnlyAccess,
        Role::TenantGuest,
    ];
    for role in roles {
        actors.push((format!("{role:?}"), Actor::User(world.user(OWN, &[role], &[]))));
    }
    actors.push(("no-role".to_owned(), Actor::User(world.user(OWN, &[], &[]))));
    for (on, level) in [("acme", Level::Read), ("acme", Level::Edit), ("acme", Level::Manage)] {
        let user = world.user(OWN, &[], &[]);
        world.grant(user, on, level);
        actors.push((format!("granted-{level:?}-on-organisation"), Actor::User(user)));
    }
    for level in [Level::Read, Level::Edit, Level::Manage] {
        let user = world.user(OWN, &[], &[]);
        world.grant(user, "acme/web", level);
        actors.push((format!("granted-{level:?}-on-acme/web"), Actor::User(user)));
    }
    actors.push((
        "operator-administrator".to_owned(),
        Actor::User(world.user(OPERATOR, &[Role::TenantAdministrator], &[])),
    ));
    actors
}

#[test]
fn the_matrix_of_actors_actions_and_resources_is_the_reviewed_one() {
    let mut world = World::new();
    let actors = actors(&mut world);
    let closed = world.access();
    let lab = Access::without_accounts(Rules::Lab);
    let mut matrix = String::new();
    for (rules, access) in [("closed", &closed), ("lab", &lab)] {
        for (name, actor) in &actors {
            if rules == "lab" && matches!(actor, Actor::User(_)) {
                continue;
            }
            for &action in Action::ALL {
                let may = |resource: &Resource| access.authorise(actor, action, resource.clone()).is_ok();
                let on: Vec<&str> =
                    resources().iter().filter(|(_, r)| may(r)).map(|(name, _)| *name).collect();
                let on = match on.len() {
                    0 => "-".to_owned(),
                    n if n == resources().len() => "everything".to_owned(),
                    _ => on.join(" "),
                };
                matrix.push_str(&format!("{rules} {name} {}: {on}\n", action.name()));
            }
        }
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/services/access/matrix.golden.txt");
    if std::env::var_os("PIERHEAD_WRITE_GOLDEN").is_some() {
        std::fs::write(golden, &matrix).expect("written");
    }
    assert!(
        matrix == include_str!("matrix.golden.txt"),
        "who may do what has changed: run with PIERHEAD_WRITE_GOLDEN=1, review the difference, run again"
    );
}

#[test]
fn several_administrators_are_kept_apart_by_denies() {
    let mut world = World::new();
    for (number, name) in [(11, "nsb"), (12, "nsc")] {
        let record = OrganisationRecord { number, created_at: 0, owner: Some(OWN), creator: None };
        world.put(&OrganisationKey { name: name.to_owned() }, &record);
    }
    let names = ["acme", "nsb", "nsc"];
    let users: Vec<(Id, &str)> = names
        .iter()
        .zip(20..)
        .map(|(own, number)| {
            let others: Vec<String> =
                names.iter().filter(|n| *n != own).map(|n| format!("\"SWR:*:repo:{n}/*\"")).collect();
            let deny = format!(
                r#"{{"Version":"1.1","Statement":[{{"Effect":"Deny","Action":["swr:repo:deleteRepo","swr:repo:deleteRepoTag"],"Resource":[{}]}}]}}"#,
                others.join(",")
            );
            let policy = world.policy(number, &deny);
            (world.user(OWN, &[Role::TenantAdministrator], &[policy]), *own)
        })
        .collect();
    let access = world.access();
    for (user, own) in users {
        for name in names {
            let web = repo(&format!("{name}/web"));
            assert_eq!(may(&access, user, Action::DeleteVersion, &web), name == own, "{own} in {name}");
            assert_eq!(may(&access, user, Action::DeleteRepository, &web), name == own, "{own} in {name}");
            assert!(may(&access, user, Action::Push, &web), "{own} in {name}");
        }
    }
}

#[test]
fn what_policies_say_of_removing_versions_they_say_of_taking_tags_away() {
    let mut world = World::new();
    let statement = |effect: &str, action: &str| {
        format!(r#"{{"Version":"1.1","Statement":[{{"Effect":"{effect}","Action":["{action}"]}}]}}"#)
    };
    let mut with = |number, effect, action| {
        let policy = world.policy(number, &statement(effect, action));
        let user = world.user(OWN, &[], &[policy]);
        world.grant(user, "acme/web", Level::Edit);
        user
    };
    let denied = with(50, "Deny", "swr:repo:deleteRepoTag");
    let apart = with(51, "Deny", "pierhead:repo:untag");
    let pusher = with(52, "Deny", "swr:repo:deleteRepo");
    let policy = world.policy(53, &statement("Allow", "swr:repo:deleteRepoTag"));
    let allowed = world.user(OWN, &[], &[policy]);
    let policy = world.policy(54, &statement("Allow", "swr:repo:upload"));
    let robot = world.user(OWN, &[], &[policy]);
    let policy = world.policy(55, &statement("Deny", "swr:repo:upload"));
    let reader = world.user(OWN, &[], &[policy]);
    world.grant(reader, "acme/web", Level::Edit);
    let access = world.access();
    let web = repo("acme/web");
    let cases = [
        ("removing is denied", denied, false, false),
        ("taking away is denied", apart, false, false),
        ("another thing is denied", pusher, true, false),
        ("removing is allowed", allowed, true, true),
        ("pushing is allowed", robot, true, false),
        ("pushing is denied", reader, false, false),
    ];
    for (name, user, untag, delete) in cases {
        assert_eq!(may(&access, user, Action::Untag, &web), untag, "{name}");
        assert_eq!(may(&access, user, Action::DeleteVersion, &web), delete, "{name}");
    }
    assert!(may(&access, denied, Action::Push, &web));
}

#[test]
fn a_deny_of_a_group_beats_grants_roles_and_public_images() {
    let mut world = World::new();
    let deny = r#"{"Version":"1.1","Statement":[{"Effect":"Deny","Action":["swr:repo:download"],"Resource":["SWR:*:repo:other"]},{"Effect":"Deny","Action":["*"],"Resource":["SWR:*:repo:acme/web"]}]}"#;
    let policy = world.policy(50, deny);
    let user = world.user(OWN, &[Role::TenantAdministrator], &[]);
    world.grant(user, "acme/web", Level::Manage);
    let group = Id::from_bytes([60; 16]);
    let record = GroupRecord {
        account: OWN,
        name: "all".to_owned(),
        description: String::new(),
        roles: vec![Role::SwrAdministrator],
        policies: vec![policy],
        created_at: 0,
    };
    world.put(&GroupKey { id: group }, &record);
    world.put(&GroupMemberKey { group, user }, &Present {});
    let access = world.access();
    assert!(!may(&access, user, Action::Pull, &repo("other/public")));
    assert!(!may(&access, user, Action::Pull, &repo("other/shared")));
    assert!(!may(&access, user, Action::Pull, &repo("acme/web")));
    assert!(may(&access, user, Action::Pull, &repo("acme/db")));
}

#[test]
fn a_policy_that_cannot_be_read_denies_everything() {
    let mut world = World::new();
    let policy = world.policy(50, "damaged");
    let user = world.user(OWN, &[Role::TenantAdministrator], &[policy]);
    assert!(!may(&world.access(), user, Action::Pull, &repo("acme/web")), "a Deny may be in it");
}

#[test]
fn an_allow_reaches_no_further_than_the_account_and_never_to_the_host() {
    let mut world = World::new();
    let policy = world.policy(50, r#"{"Version":"1.1","Statement":[{"Effect":"Allow","Action":["*"]}]}"#);
    let user = world.user(OWN, &[], &[policy]);
    let access = world.access();
    assert!(may(&access, user, Action::DeleteRepository, &repo("acme/web")));
    assert!(may(&access, user, Action::CreateAutoSync, &repo("acme/web")));
    assert!(!may(&access, user, Action::ManageUsers, &Resource::Account(OWN)), "that is a role's");
    assert!(!may(&access, user, Action::ManageUsers, &Resource::Account(OTHER)));
    assert!(!may(&access, user, Action::Pull, &repo("other/private")));
    assert!(!may(&access, user, Action::DeleteRepository, &repo("other/public")));
    assert!(!may(&access, user, Action::ManageAccounts, &Resource::Registry));
    assert!(!may(&access, user, Action::MaintainStore, &Resource::Registry));
}

/// A policy of statements: effect, action, resource.
fn document(statements: &[(bool, String, String)]) -> String {
    let statements: Vec<_> = statements
        .iter()
        .map(|(allow, action, resource)| {
            let effect = if *allow { "Allow" } else { "Deny" };
            serde_json::json!({"Effect": effect, "Action": [action], "Resource": [resource]})
        })
        .collect();
    serde_json::json!({"Version": "1.1", "Statement": statements}).to_string()
}

fn statement() -> impl Strategy<Value = (bool, String, String)> {
    let names = prop::sample::select(Action::ALL).prop_map(|action| action.name().to_owned());
    let patterns = vec!["*", "*:*:*", "iam:*:*", "iam:*:manage*", "pierhead:*:*", "swr:*:*"];
    let action = prop_oneof![names, prop::sample::select(patterns).prop_map(str::to_owned)];
    let resources = vec!["*", "SWR:*:*:*", "SWR:*:repo:*", "SWR:*:namespace:*", "SWR:*:*:acme/*"];
    (any::<bool>(), action, prop::sample::select(resources).prop_map(str::to_owned))
}

const fn is_a_roles_alone(action: Action) -> bool {
    matches!(action.need(), Need::TenantAdministrator | Need::Operator | Need::Host)
}

proptest! {
    #[test]
    fn no_policy_gives_what_only_a_role_does_and_a_deny_takes_it_away(
        statements in prop::collection::vec(statement(), 1..6), by_group in any::<bool>(), operator in any::<bool>(),
    ) {
        let account = if operator { OPERATOR } else { OWN };
        let with = |role: Option<Role>| {
            let mut world = World::new();
            let policy = world.policy(50, &document(&statements));
            let (own, of_group) = if by_group { (vec![], vec![policy]) } else { (vec![policy], vec![]) };
            let user = world.user(account, role.as_slice(), &own);
            let group = Id::from_bytes([60; 16]);
            let (name, description, roles) = ("all".to_owned(), String::new(), vec![]);
            let record = GroupRecord { account, name, description, roles, policies: of_group, created_at: 0 };
            world.put(&GroupKey { id: group }, &record);
            world.put(&GroupMemberKey { group, user }, &Present {});
            (world.access(), user)
        };
        let read = Policy::parse(&document(&statements)).expect("valid");
        let (tenant, administrator) = with(Some(Role::TenantAdministrator));
        for role in [None, Some(Role::SwrAdministrator), Some(Role::SwrDeveloper), Some(Role::TenantGuest)] {
            let (access, user) = with(role);
            for &action in Action::ALL.iter().filter(|action| is_a_roles_alone(**action)) {
                for (name, resource) in resources() {
                    prop_assert!(!may(&access, user, action, &resource), "{role:?} {} {name}", action.name());
                    let denied = read.verdict(action, &resource).denied;
                    prop_assert!(!denied || !may(&tenant, administrator, action, &resource), "{}", action.name());
                }
            }
        }
        let own = Resource::Account(account);
        let denied = read.verdict(Action::ManageUsers, &own).denied;
        prop_assert_eq!(may(&tenant, administrator, Action::ManageUsers, &own), !denied);
    }
}

#[test]
fn who_is_disabled_or_gone_or_in_a_disabled_account_may_do_nothing() {
    let mut world = World::new();
    let user = world.user(OWN, &[Role::TenantAdministrator], &[]);
    let record = world.0.user(user).expect("there").as_ref().clone();
    let account = world.0.account(OWN).expect("there").as_ref().clone();
    let allowed = |world: &World| {
        let access = World(world.0.clone()).access();
        may(&access, user, Action::Pull, &repo("acme/web"))
    };
    assert!(allowed(&world));
    world.put(&UserKey { id: user }, &UserRecord { enabled: false, ..record.clone() });
    assert!(!allowed(&world), "disabled");
    world.put(&UserKey { id: user }, &record);
    world.put(&AccountKey { id: OWN }, &AccountRecord { enabled: false, ..account.clone() });
    assert!(!allowed(&world), "in a disabled account");
    world.put(&AccountKey { id: OWN }, &account);
    assert!(allowed(&world));
    world.delete(&UserKey { id: user });
    assert!(!allowed(&world), "gone");
}

#[test]
fn rights_in_an_organisation_that_went_say_nothing_in_a_later_one_of_its_name() {
    let mut world = World::new();
    let user = world.user(OWN, &[], &[]);
    world.grant(user, "acme", Level::Manage);
    world.grant(user, "acme/web", Level::Manage);
    let later = OrganisationRecord { number: 9, created_at: 0, owner: Some(OTHER), creator: None };
    world.put(&OrganisationKey { name: "acme".to_owned() }, &later);
    let later = OrganisationRecord { number: 10, created_at: 0, owner: Some(OPERATOR), creator: None };
    world.put(&OrganisationKey { name: "other".to_owned() }, &later);
    let access = world.access();
    assert!(!may(&access, user, Action::Pull, &repo("acme/web")));
    assert!(!may(&access, user, Action::DeleteOrganisation, &organisation("acme")));
    assert!(!may(&access, user, Action::Pull, &repo("other/shared")));
}

#[test]
fn a_token_narrows_what_its_bearer_may_do_and_never_widens_it() {
    let mut world = World::new();
    let user = world.user(OWN, &[], &[]);
    world.grant(user, "acme", Level::Read);
    let access = world.access();
    let scopes = Scopes::new(vec![("acme/web".to_owned(), vec![Action::Pull, Action::Push])]);
    let token = Caller { actor: Actor::User(user), scopes: Some(scopes.clone()), expired: false };
    let asked = |caller: &Caller, action, name| access.admit(caller, action, repo(name)).err();
    assert_eq!(asked(&token, Action::Pull, "acme/web"), None);
    assert_eq!(
        asked(&token, Action::Push, "acme/web"),
        Some(Refusal::Denied),
        "the right was taken away since"
    );
    assert_eq!(asked(&token, Action::Pull, "acme/db"), Some(Refusal::Scope));
    let ended = Caller { expired: true, ..token };
    assert_eq!(asked(&ended, Action::Pull, "acme/web"), Some(Refusal::Expired));
    let anonymous = Caller { actor: Actor::Anonymous, scopes: Some(scopes), expired: false };
    assert_eq!(asked(&anonymous, Action::Pull, "acme/web"), Some(Refusal::Unauthenticated));
}

#[test]
fn a_permit_is_for_its_own_action_only() {
    let access = Access::without_accounts(Rules::Lab);
    let name: RepositoryName = "acme/web".parse().expect("a name");
    let permit = access
        .authorise(&Actor::Anonymous, Action::Pull, Resource::Repository(name.clone()))
        .expect("a lab lets anybody pull");
    assert_eq!(permit.repository(Action::Pull), Some(&name));
    assert_eq!(permit.repository(Action::Push), None);
    assert!(!permit.covers_registry(Action::Pull));
}
