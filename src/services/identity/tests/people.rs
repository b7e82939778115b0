//! Accounts, users, groups, policies: unique names, first things first, nothing left behind.

use pierhead_storage_format::identity::records::{
    FavouriteRecord, GrantRecord, Level, NamedRecord, Role, UserRecord,
};
use pierhead_storage_format::records::{CounterRecord, Present};
use pierhead_storage_format::usage::AccountDayRecord;

use super::*;
use crate::services::error::Thing;
use crate::services::identity::{GroupChange, UserChange};
use crate::services::names::LIBRARY;
use crate::services::organisations::{Changed, On, ShareTerms};

#[tokio::test]
async fn the_first_account_is_made_once_with_its_administrator_and_library() {
    let world = World::empty(cheap());
    world.initialise("main").await.expect("the first");
    for name in ["main", "other"] {
        let again = world.initialise(name).await.expect_err("there is one");
        assert!(matches!(&again, Error::Exists(Thing::Account(there)) if there == "main"), "{again}");
    }
    let accounts = world.identity.accounts(&world.registry(Action::ListAccounts)).expect("listed");
    assert_eq!(accounts.len(), 1);
    assert!(accounts[0].operator && accounts[0].enabled);
    let owner = world.access.directory().organisation(LIBRARY).expect("library").owner;
    assert_eq!(owner, Some(world.main()));
    let users = world.identity.users(&world.of(world.main(), Action::ListUsers)).expect("listed");
    assert_eq!(users[0].roles, [Role::TenantAdministrator]);
    assert!(world.is_let_in("admin", PASSWORD).await && world.is_let_in("main/admin", PASSWORD).await);
}

#[tokio::test]
async fn names_are_unique_where_they_have_to_be() {
    let world = World::new().await;
    let (main, beta) = (world.main(), world.account("beta").await.expect("made"));
    let taken = |outcome: Result<Id, Error>| matches!(outcome, Err(Error::Exists(_)));
    assert!(taken(world.account("beta").await) && taken(world.account("main").await));
    for account in [main, beta] {
        world.user(account, "ann").await.expect("the first of her account");
        assert!(taken(world.user(account, "ann").await));
        world.group(account, "all").await.expect("the first");
        assert!(taken(world.group(account, "all").await));
        world.policy(account, "none").await.expect("the first");
        assert!(taken(world.policy(account, "none").await));
    }
    world.user(beta, "bob").await.expect("the first");
    assert!(world.is_let_in("ann", PASSWORD).await, "a name alone is one of the operator's account");
    assert!(!world.is_let_in("bob", PASSWORD).await, "and never another tenant's");
    assert!(world.is_let_in("beta/ann", PASSWORD).await && world.is_let_in("ann@main", PASSWORD).await);
}

#[tokio::test]
async fn names_and_passwords_that_break_a_rule_are_refused_and_leave_nothing() {
    let world = World::new().await;
    let before = world.rows();
    let long = "a".repeat(65);
    for name in ["", "1a", "-a", "a b", "a/b", "a@b", "ä", "bearertoken", "AKAKAKAKAKAKAKAKAKAK", &long] {
        assert!(matches!(world.user(world.main(), name).await, Err(Error::Invalid { .. })), "{name:?}");
        assert!(matches!(world.account(name).await, Err(Error::Invalid { .. })), "{name:?}");
        assert!(matches!(world.group(world.main(), name).await, Err(Error::Invalid { .. })), "{name:?}");
    }
    for password in ["short", "annannan\u{7}", "aaaaaaaaaaaa", "ann-the-user"] {
        let new = NewUser { password: Some(Secret::from(password.to_owned())), ..user("ann-the-user") };
        let made = world.identity.create_user(&world.of(world.main(), Action::ManageUsers), new).await;
        assert!(matches!(made, Err(Error::Invalid { field: "password", .. })), "{password:?}");
    }
    assert_eq!(world.rows(), before);
}

#[tokio::test]
async fn a_policy_is_attached_in_its_account_only_and_stays_while_it_is() {
    let world = World::new().await;
    let (main, beta) = (world.main(), world.account("beta").await.expect("made"));
    let (ann, all) =
        (world.user(main, "ann").await.expect("made"), world.group(main, "all").await.expect("made"));
    let (own, foreign) =
        (world.policy(main, "own").await.expect("ok"), world.policy(beta, "other").await.expect("ok"));
    let identity = &world.identity;
    let attach = |policies: Vec<Id>| UserChange { policies: Some(policies), ..UserChange::default() };
    let users = world.of(main, Action::ManageUsers);
    let refused = identity.update_user(&users, ann, attach(vec![own, foreign])).await;
    assert!(matches!(refused, Err(Error::Missing(Thing::Policy(_)))));
    identity.update_user(&users, ann, attach(vec![own])).await.expect("attached");
    let policies = world.of(main, Action::ManagePolicies);
    assert!(matches!(identity.delete_policy(&policies, own).await, Err(Error::InUse(..))));
    identity.update_user(&users, ann, attach(vec![])).await.expect("taken away");
    let groups = world.of(main, Action::ManageGroups);
    let change = GroupChange { policies: Some(vec![own]), ..GroupChange::default() };
    identity.update_group(&groups, all, change).await.expect("attached");
    assert!(matches!(identity.delete_policy(&policies, own).await, Err(Error::InUse(..))));
    identity.delete_group(&groups, all).await.expect("removed");
    identity.delete_policy(&policies, own).await.expect("nobody has it");
    let of_another = identity.delete_policy(&policies, foreign).await;
    assert!(matches!(of_another, Err(Error::Missing(_))));
}

#[tokio::test]
async fn nobody_changes_users_groups_and_keys_of_another_account() {
    let world = World::new().await;
    let beta = world.account("beta").await.expect("made");
    let (ann, all) =
        (world.user(beta, "ann").await.expect("ok"), world.group(beta, "all").await.expect("ok"));
    let key =
        world.identity.create_key(&world.of(beta, Action::ManageKeys), ann, String::new()).await.expect("ok");
    let before = world.rows();
    let (identity, main) = (&world.identity, world.main());
    let (users, keys) = (world.of(main, Action::ManageUsers), world.of(main, Action::ManageKeys));
    let groups = world.of(main, Action::ManageGroups);
    let missing =
        |outcome: Result<(), Error>| assert!(matches!(outcome, Err(Error::Missing(_))), "{outcome:?}");
    missing(identity.update_user(&users, ann, UserChange::default()).await);
    missing(identity.delete_user(&users, ann).await);
    missing(identity.create_key(&keys, ann, String::new()).await.map(drop));
    missing(identity.create_login(&keys, ann, None).await.map(drop));
    missing(identity.enable_key(&keys, key.key.clone(), false).await);
    missing(identity.delete_key(&keys, key.key).await);
    missing(identity.update_group(&groups, all, GroupChange::default()).await);
    missing(identity.set_members(&groups, all, vec![], true).await);
    missing(identity.delete_group(&groups, all).await);
    let own = world.group(main, "own").await.expect("made");
    missing(identity.set_members(&groups, own, vec![ann], true).await);
    identity.delete_group(&groups, own).await.expect("removed");
    assert_eq!(world.rows(), before);
}

/// Gives a user all that users can have.
async fn furnish(world: &World, account: Id, user: Id, organisation: &str) {
    let identity = &world.identity;
    let keys = world.of(account, Action::ManageKeys);
    let made = identity.create_key(&keys, user, String::new()).await.expect("a key");
    identity.create_key(&keys, user, String::new()).await.expect("another");
    identity.create_login(&keys, user, None).await.expect("a login");
    let login = crate::services::signin::access_key::login_key(&made.key, &made.secret);
    identity.sign_in(&format!("x@{}", made.key), &login).await.expect("signed in");
    identity.write_uses().await.expect("written");
    let grant = Resource::Organisation(organisation.parse().expect("a name"));
    let permit = world.permit(Action::CreateOrganisationGrant, grant);
    world.organisations.grant(&permit, On::Organisation, vec![(user, Level::Edit)]).await.expect("granted");
    let repository: Resource = Resource::Repository(format!("{organisation}/web").parse().expect("a name"));
    let marked = world.access.authorise(&Actor::User(user), Action::MarkFavourite, repository).expect("may");
    world.organisations.mark(&marked, true).await.expect("marked");
}

async fn organisation(world: &World, owner: Id, name: &str) {
    let resource = Resource::Organisation(name.parse().expect("a name"));
    let permit = world.permit(Action::CreateOrganisation, resource);
    world.organisations.create(&permit, Some(owner)).await.expect("made");
    let repository = Resource::Repository(format!("{name}/web").parse().expect("a name"));
    let permit = world.permit(Action::CreateRepository, repository);
    world.organisations.create_repository(&permit, Changed::default()).await.expect("made");
}

#[tokio::test]
async fn a_user_who_goes_leaves_no_row() {
    let world = World::new().await;
    let main = world.main();
    organisation(&world, main, "acme").await;
    let all = world.group(main, "all").await.expect("made");
    let before = world.rows();
    let ann = world.user(main, "ann").await.expect("made");
    furnish(&world, main, ann, "acme").await;
    let groups = world.of(main, Action::ManageGroups);
    world.identity.set_members(&groups, all, vec![ann], true).await.expect("in");
    assert!(world.rows().len() > before.len() + 8);
    world.identity.delete_user(&world.of(main, Action::ManageUsers), ann).await.expect("removed");
    assert_eq!(world.rows(), before);
    let again = world.user(main, "ann").await.expect("the name is free");
    assert!(world.access.directory().grants_of(again).next().is_none());
}

#[tokio::test]
async fn an_account_that_goes_leaves_no_row_and_one_with_organisations_stays() {
    let world = World::new().await;
    let main = world.main();
    organisation(&world, main, "acme").await;
    let before = world.rows();
    let beta = world.account("beta").await.expect("made");
    let ann = world.user(beta, "ann").await.expect("made");
    let all = world.group(beta, "all").await.expect("made");
    let policy = world.policy(beta, "none").await.expect("made");
    let groups = world.of(beta, Action::ManageGroups);
    world.identity.set_members(&groups, all, vec![ann], true).await.expect("in");
    let change = GroupChange { policies: Some(vec![policy]), ..GroupChange::default() };
    world.identity.update_group(&groups, all, change).await.expect("attached");
    let keys = world.of(beta, Action::ManageKeys);
    world.identity.create_key(&keys, ann, String::new()).await.expect("a key");
    world.identity.create_login(&keys, ann, None).await.expect("a login");
    let permit = world.permit(Action::CreateShare, Resource::Repository("acme/web".parse().expect("a name")));
    let terms = ShareTerms { until: None, description: String::new() };
    world.organisations.share(&permit, beta, terms).await.expect("shared");

    let day = AccountDayKey { account: beta, day: 1 };
    let kept: Result<(), Error> =
        world.meta.commit(move |tx| Ok(tx.put(&day, &AccountDayRecord::default())?)).await;
    kept.expect("a day of it");

    let accounts = world.registry(Action::ManageAccounts);
    let created = Resource::Organisation("theirs".parse().expect("a name"));
    let owned = world.permit(Action::CreateOrganisation, created.clone());
    world.organisations.create(&owned, Some(beta)).await.expect("made");
    let refused = world.identity.delete_account(&accounts, beta).await;
    assert!(matches!(refused, Err(Error::InUse(Thing::Account(name), _)) if name == "beta"));
    assert!(world.is_let_in("beta/ann", PASSWORD).await, "nothing of it was begun");
    world.organisations.delete(&world.permit(Action::DeleteOrganisation, created)).await.expect("removed");
    world.identity.delete_account(&accounts, beta).await.expect("removed");
    assert_eq!(world.rows(), before);
    assert!(!world.is_let_in("beta/ann", PASSWORD).await);

    for outcome in [
        world.identity.delete_account(&accounts, main).await,
        world.identity.enable_account(&accounts, main, false).await,
    ] {
        assert!(matches!(outcome, Err(Error::InUse(..))), "the operator's stays: {outcome:?}");
    }
}

#[tokio::test]
async fn a_name_asked_for_twice_at_once_is_given_once() {
    let world = World::new().await;
    let main = world.main();
    fn one<T>((a, b): (Result<T, Error>, Result<T, Error>)) -> bool {
        matches!((a, b), (Ok(_), Err(Error::Exists(_))) | (Err(Error::Exists(_)), Ok(_)))
    }
    assert!(one(tokio::join!(world.group(main, "all"), world.group(main, "all"))));
    assert!(one(tokio::join!(world.policy(main, "none"), world.policy(main, "none"))));
    assert!(one(tokio::join!(world.user(main, "ann"), world.user(main, "ann"))));
    assert!(one(tokio::join!(world.account("beta"), world.account("beta"))));
    let groups = world.of(main, Action::ManageGroups);
    let all = world.identity.find_group(main, "all").expect("there");
    world.identity.delete_group(&groups, all).await.expect("removed");
    world.group(main, "all").await.expect("the name is free again");
}

#[tokio::test]
async fn a_name_alone_is_of_the_operators_account_and_never_of_another_tenants_user() {
    let world = World::new().await;
    let (main, beta) = (world.main(), world.account("beta").await.expect("made"));
    let ann = world.user(main, "ann").await.expect("made");
    world.user(beta, "ann").await.expect("made");
    world.user(beta, "bob").await.expect("made");
    assert_eq!(world.sign_in("ann", PASSWORD).await.ok(), Some(ann), "though another tenant has one, too");
    assert!(!world.is_let_in("bob", PASSWORD).await, "though nobody else has the name");
    assert!(world.is_let_in("beta/bob", PASSWORD).await);
    world.identity.delete_user(&world.of(main, Action::ManageUsers), ann).await.expect("removed");
    assert!(!world.is_let_in("ann", PASSWORD).await, "nor does he take over a name that is free");
}

/// Users with a group, a grant and a mark each, made as rows: no password is hashed for them.
async fn crowd(world: &World, account: Id, group: Id, users: std::ops::Range<u32>) {
    let numbers: Vec<u32> = users.collect();
    for batch in numbers.chunks(1000).map(<[_]>::to_vec) {
        let made: Result<(), Error> = world
            .meta
            .commit(move |tx| {
                for n in batch {
                    let mut id = [9; 16];
                    id[..4].copy_from_slice(&n.to_be_bytes());
                    let (id, name) = (Id::from_bytes(id), format!("user{n}"));
                    tx.put(&UserNameKey { account, name: name.clone() }, &NamedRecord { id })?;
                    tx.put(&UserKey { id }, &row(account, name))?;
                    tx.put(&GroupMemberKey { group, user: id }, &Present {})?;
                    let grant = GrantRecord { organisation: 1, level: Level::Read, granted_at: 0 };
                    tx.put(&GrantKey { user: id, name: "acme".to_owned() }, &grant)?;
                    let mark = FavouriteKey { user: id, name: "acme/web".to_owned() };
                    tx.put(&mark, &FavouriteRecord { marked_at: 0 })?;
                }
                Ok(())
            })
            .await;
        made.expect("committed");
    }
}

fn row(account: Id, name: String) -> UserRecord {
    UserRecord {
        account,
        name,
        description: "d".repeat(255),
        password: None,
        password_at: 0,
        programmatic: true,
        console: true,
        enabled: true,
        roles: vec![],
        policies: vec![],
        created_at: 0,
    }
}

#[tokio::test]
async fn an_account_or_group_of_ten_thousand_users_goes_in_many_small_changes_and_leaves_no_row() {
    let world = World::new().await;
    let before = world.rows();
    let beta = world.account("beta").await.expect("made");
    let all = world.group(beta, "all").await.expect("made");
    let some = world.group(beta, "some").await.expect("made");
    crowd(&world, beta, all, 0..10_000).await;
    crowd(&world, beta, some, 0..3_000).await;
    let changes = || world.meta.status().change_sets;
    let at_first = changes();
    world.identity.delete_group(&world.of(beta, Action::ManageGroups), some).await.expect("removed");
    assert!((7..20).contains(&(changes() - at_first)), "{}", changes() - at_first);
    let at_first = changes();
    world.identity.delete_account(&world.registry(Action::ManageAccounts), beta).await.expect("removed");
    assert!((80..400).contains(&(changes() - at_first)), "{}", changes() - at_first);
    assert_eq!(world.rows(), before);
}

#[tokio::test]
async fn a_removal_that_was_cut_short_is_finished_at_the_next_start() {
    let world = World::new().await;
    let main = world.main();
    organisation(&world, main, "acme").await;
    let group = world.group(main, "theirs").await.expect("made");
    let before = world.rows();
    let beta = world.account("beta").await.expect("made");
    let (all, policy) =
        (world.group(beta, "all").await.expect("made"), world.policy(beta, "none").await.expect("made"));
    crowd(&world, beta, all, 0..20).await;
    let permit = world.permit(Action::CreateShare, Resource::Repository("acme/web".parse().expect("a name")));
    let terms = ShareTerms { until: None, description: String::new() };
    world.organisations.share(&permit, beta, terms).await.expect("shared");
    // A user and a group of an account that stays, and one with nothing but a mark.
    let (ann, gone) =
        (world.user(main, "ann").await.expect("made"), world.group(main, "all").await.expect("ok"));
    furnish(&world, main, ann, "acme").await;
    let groups = world.of(main, Action::ManageGroups);
    world.identity.set_members(&groups, gone, vec![ann], true).await.expect("in");
    world.identity.set_members(&groups, group, vec![ann], true).await.expect("in");
    let stopped: Result<(), Error> = world
        .meta
        .commit(move |tx| {
            tx.delete(&AccountNameKey { name: "beta".to_owned() })?;
            tx.delete(&AccountKey { id: beta })?;
            tx.put(&crate::services::identity::removal::mention(beta), &CounterRecord { next: 1 })?;
            crate::services::identity::removal::remove_user(tx, ann)?;
            crate::services::identity::groups::remove(tx, gone)?;
            let mark = FavouriteKey { user: Id::from_bytes([77; 16]), name: "acme/web".to_owned() };
            Ok(tx.put(&mark, &FavouriteRecord { marked_at: 0 })?)
        })
        .await;
    stopped.expect("committed");
    assert!(world.access.directory().policy_name(policy).is_some(), "much is left");
    assert_eq!(
        world.identity.finish_removals().await.expect("finished"),
        4,
        "beta, ann, the group, the mark"
    );
    assert_eq!(world.rows(), before);
    assert_eq!(world.identity.finish_removals().await.expect("finished"), 0, "nothing is left to do");
}

#[tokio::test]
async fn nothing_of_a_removed_user_comes_after_him_from_a_permit_of_before() {
    let world = World::new().await;
    let main = world.main();
    let admin = world.identity.find_user(main, "admin").expect("there");
    let before =
        |action| world.access.authorise(&Actor::User(admin), action, Resource::Account(main)).expect("may");
    let (users, groups, policies, keys) = (
        before(Action::ManageUsers),
        before(Action::ManageGroups),
        before(Action::ManagePolicies),
        before(Action::ManageKeys),
    );
    let ann = world.user(main, "ann").await.expect("made");
    let all = world.group(main, "all").await.expect("made");
    let rows = || world.rows();
    let identity = &world.identity;
    let demoted = UserChange { roles: Some(vec![]), ..UserChange::default() };
    identity.update_user(&world.of(main, Action::ManageUsers), admin, demoted).await.expect("demoted");
    let at_first = rows();
    let new = NewGroup { name: "new".to_owned(), description: String::new(), roles: vec![] };
    let policy = NewPolicy { name: "new".to_owned(), description: String::new(), document: DENY.to_owned() };
    let promoted = UserChange { roles: Some(vec![Role::TenantAdministrator]), ..UserChange::default() };
    for (what, outcome) in [
        ("a user", identity.create_user(&users, user("new")).await.map(drop)),
        ("a change", identity.update_user(&users, admin, promoted).await),
        ("a removal", identity.delete_user(&users, ann).await),
        ("a group", identity.create_group(&groups, new).await.map(drop)),
        ("members", identity.set_members(&groups, all, vec![ann], true).await),
        ("a group's removal", identity.delete_group(&groups, all).await),
        ("a policy", identity.create_policy(&policies, policy).await.map(drop)),
        ("a key", identity.create_key(&keys, ann, String::new()).await.map(drop)),
        ("a login", identity.create_login(&keys, ann, None).await.map(drop)),
    ] {
        assert!(matches!(outcome, Err(Error::Refused(_))), "{what}: {outcome:?}");
    }
    assert_eq!(rows(), at_first);
}
