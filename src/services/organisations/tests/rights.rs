//! Grants and shares.

use super::*;

async fn acme() -> World {
    let world = World::new().await;
    world.organisation("acme").await;
    world.repository("acme/web").await;
    world
}

#[tokio::test]
async fn grants_are_made_changed_and_taken_away_and_count_at_once() {
    let world = acme().await;
    for (on, name, create, update, delete, show) in [
        (
            On::Organisation,
            org("acme"),
            Action::CreateOrganisationGrant,
            Action::UpdateOrganisationGrant,
            Action::DeleteOrganisationGrant,
            Action::ShowOrganisationGrants,
        ),
        (
            On::Repository,
            repo("acme/web"),
            Action::CreateRepositoryGrant,
            Action::UpdateRepositoryGrant,
            Action::DeleteRepositoryGrant,
            Action::ShowRepositoryGrants,
        ),
    ] {
        let permit = |action| world.permit(ADMIN, action, name.clone());
        let (read, edit) = (vec![(ANN, Level::Read), (DEV, Level::Read)], vec![(ANN, Level::Edit)]);
        world.organisations.grant(&permit(create), on, read).await.expect("granted");
        assert!(world.may(ANN, Action::Pull, repo("acme/web")), "{on:?}");
        assert!(!world.may(ANN, Action::Push, repo("acme/web")), "{on:?}");
        world.organisations.regrant(&permit(update), on, edit).await.expect("changed");
        assert!(world.may(ANN, Action::Push, repo("acme/web")), "{on:?}");
        let granted = world.organisations.grants(&permit(show), on).expect("read");
        let levels: Vec<(Id, Level)> = granted.iter().map(|granted| (granted.user, granted.level)).collect();
        assert!(levels.contains(&(ANN, Level::Edit)) && levels.contains(&(DEV, Level::Read)), "{on:?}");
        world.organisations.revoke(&permit(delete), on, vec![ANN, DEV, ANN]).await.expect("taken away");
        assert!(!world.may(ANN, Action::Pull, repo("acme/web")), "{on:?}");
    }
}

#[tokio::test]
async fn grants_are_given_to_all_or_to_none() {
    let world = acme().await;
    let nobody = Id::from_bytes([99; 16]);
    type Case = (&'static str, Vec<(Id, Level)>, fn(&Error) -> bool);
    let cases: [Case; 3] = [
        ("to oneself", vec![(ANN, Level::Read), (ADMIN, Level::Read)], |e| {
            matches!(e, Error::Invalid { .. })
        }),
        ("to a user of another account", vec![(ANN, Level::Read), (STRANGER, Level::Read)], |e| {
            matches!(e, Error::Missing(Thing::User(_)))
        }),
        ("to nobody", vec![(ANN, Level::Read), (nobody, Level::Read)], |e| {
            matches!(e, Error::Missing(Thing::User(_)))
        }),
    ];
    for (name, grants, is_refused) in cases {
        for on in ["acme", "acme/web"] {
            let refused = world.grant(on, grants.clone()).await.expect_err(name);
            assert!(is_refused(&refused), "{name}: {refused}");
            assert!(!world.may(ANN, Action::Pull, repo("acme/web")), "{name}: nobody got anything");
        }
    }
    world.grant("acme", vec![(ANN, Level::Read)]).await.expect("granted");
    let again = world.grant("acme", vec![(DEV, Level::Read), (ANN, Level::Manage)]).await;
    assert!(matches!(again, Err(Error::Exists(Thing::Grant(_)))));
    assert!(!world.may(DEV, Action::Pull, repo("acme/web")), "all or none");
    let update = world.permit(ADMIN, Action::UpdateOrganisationGrant, org("acme"));
    let change = vec![(ANN, Level::Manage), (DEV, Level::Read)];
    let changed = world.organisations.regrant(&update, On::Organisation, change).await;
    assert!(matches!(changed, Err(Error::Missing(Thing::Grant(_)))));
    assert!(!world.may(ANN, Action::Push, repo("acme/web")), "all or none");
    let delete = world.permit(ADMIN, Action::DeleteOrganisationGrant, org("acme"));
    let taken = world.organisations.revoke(&delete, On::Organisation, vec![ANN, DEV]).await;
    assert!(matches!(taken, Err(Error::Missing(Thing::Grant(_)))));
    assert!(world.may(ANN, Action::Pull, repo("acme/web")), "all or none");
    let own = world.organisations.revoke(&delete, On::Organisation, vec![ADMIN]).await;
    assert!(matches!(own, Err(Error::Invalid { .. })), "nobody changes his own");
    let absent = world.grant("acme/absent", vec![(ANN, Level::Read)]).await;
    assert!(matches!(absent, Err(Error::Missing(Thing::Repository(_)))));
}

#[tokio::test]
async fn a_permit_for_another_action_or_thing_is_our_fault_and_does_nothing() {
    let world = acme().await;
    let wrong = world.permit(ADMIN, Action::CreateOrganisationGrant, org("acme"));
    let granted = world.organisations.grant(&wrong, On::Repository, vec![(ANN, Level::Read)]).await;
    assert!(matches!(granted, Err(Error::Bug(_))));
    assert!(matches!(world.organisations.create(&wrong, None).await, Err(Error::Bug(_))));
}

#[tokio::test]
async fn a_share_lets_another_account_pull_until_its_deadline() {
    let world = acme().await;
    let pulls = || world.may(STRANGER, Action::Pull, repo("acme/web"));
    assert!(!pulls());
    let terms = ShareTerms { until: Some(NOW + 10), description: "for tests".to_owned() };
    world.share("acme/web", OTHER, terms.clone()).await.expect("shared");
    assert!(pulls());
    assert!(!world.may(STRANGER, Action::Push, repo("acme/web")));
    let list = || {
        let permit = world.permit(STRANGER, Action::ListRepositories, Resource::Registry);
        world.organisations.shared_with(&permit).expect("read")
    };
    let shares = list();
    let share = shares.first().expect("one");
    assert_eq!((share.repository.as_str(), share.account_name.as_str()), ("acme/web", "other"));
    assert_eq!((&share.terms, share.valid, share.creator.0), (&terms, true, ADMIN));
    world.clock.set(NOW + 10);
    assert!(!pulls(), "ended");
    assert!(list().first().is_some_and(|share| !share.valid), "still listed, as ended");
    let update = world.permit(ADMIN, Action::UpdateShare, repo("acme/web"));
    world.organisations.reshare(&update, OTHER, for_ever()).await.expect("changed");
    assert!(pulls());
    let show = world.permit(ADMIN, Action::ShowShare, repo("acme/web"));
    let shown = world.organisations.show_share(&show, OTHER).expect("read").expect("there");
    assert_eq!((shown.terms, shown.created_at, shown.updated_at), (for_ever(), NOW, NOW + 10));
    let delete = world.permit(ADMIN, Action::DeleteShare, repo("acme/web"));
    world.organisations.unshare(&delete, OTHER).await.expect("ended");
    assert!(!pulls());
    assert!(matches!(
        world.organisations.unshare(&delete, OTHER).await,
        Err(Error::Missing(Thing::Share(_)))
    ));
}

#[tokio::test]
async fn a_share_is_refused_where_it_makes_no_sense() {
    let world = acme().await;
    world.repository("acme/public").await;
    let publish = world.permit(ADMIN, Action::UpdateRepository, repo("acme/public"));
    let public = Changed { public: Some(true), ..Changed::default() };
    world.organisations.update(&publish, public).await.expect("changed");
    let described = |count: usize| ShareTerms { until: None, description: "\u{10ffff}".repeat(count) };
    let past = ShareTerms { until: Some(NOW), description: String::new() };
    let nobody = Id::from_bytes([9; 16]);
    type Refused = fn(&Error) -> bool;
    let cases: [(&str, &str, Id, ShareTerms, Refused); 6] = [
        ("a public one", "acme/public", OTHER, for_ever(), |e| {
            matches!(e, Error::Invalid { field: "repository", .. })
        }),
        ("with the owner", "acme/web", OWN, for_ever(), |e| {
            matches!(e, Error::Invalid { field: "access_domain", .. })
        }),
        ("until now", "acme/web", OTHER, past, |e| matches!(e, Error::Invalid { field: "deadline", .. })),
        ("described too long", "acme/web", OTHER, described(1001), |e| {
            matches!(e, Error::Invalid { field: "description", .. })
        }),
        ("with no account", "acme/web", nobody, for_ever(), |e| {
            matches!(e, Error::Missing(Thing::Account(_)))
        }),
        ("of no repository", "acme/absent", OTHER, for_ever(), |e| {
            matches!(e, Error::Missing(Thing::Repository(_)))
        }),
    ];
    for (name, repository, account, terms, is_refused) in cases {
        let refused = world.share(repository, account, terms).await.expect_err(name);
        assert!(is_refused(&refused), "{name}: {refused}");
    }
    assert_eq!(world.rows::<ShareKey>(), 0);
    world.share("acme/web", OTHER, described(1000)).await.expect("the longest description fits a record");
    assert!(matches!(world.share("acme/web", OTHER, for_ever()).await, Err(Error::Exists(Thing::Share(_)))));
}

#[tokio::test]
async fn a_repository_is_shared_with_as_many_accounts_as_the_limit_says_though_all_ask_at_once() {
    let world = acme().await;
    let accounts: Vec<Id> = (50..55).map(|n| Id::from_bytes([n; 16])).collect();
    for id in &accounts {
        world.account(*id, &format!("account-{id}")).await;
    }
    let mut asked = tokio::task::JoinSet::new();
    for id in accounts {
        let permit = world.permit(ADMIN, Action::CreateShare, repo("acme/web"));
        let organisations = world.organisations.clone();
        asked.spawn(async move { organisations.share(&permit, id, for_ever()).await });
    }
    let answers = asked.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    let limited = |answer: &&Result<(), Error>| matches!(answer, Err(Error::Limit { limit: 2, .. }));
    assert_eq!(answers.iter().filter(limited).count(), 3);
    assert_eq!(world.rows::<ShareKey>(), 2);
}
