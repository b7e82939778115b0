//! Making, removing, numbering.

use super::*;

#[tokio::test]
async fn who_makes_an_organisation_manages_it_and_his_account_owns_it() {
    let world = World::new().await;
    let permit = world.permit(DEV, Action::CreateOrganisation, org("acme"));
    world.organisations.create(&permit, Some(OTHER)).await.expect("made");
    let shown = world.organisations.show(&world.permit(DEV, Action::ShowOrganisation, org("acme")));
    let shown = shown.expect("there");
    assert_eq!((shown.number, shown.created_at, shown.owner), (1, NOW, Some(OWN)));
    assert_eq!(shown.creator.map(|creator| creator.id), Some(DEV));
    assert_eq!(shown.level, Some(Level::Manage));
    assert_eq!((world.owned(OWN), world.owned(OTHER)), (1, 0));
    assert!(!world.may(ANN, Action::ShowOrganisation, org("acme")), "nobody else got a right");
}

#[tokio::test]
async fn an_organisation_is_refused_when_the_name_is_taken_or_reserved_or_the_limit_is_reached() {
    let world = World::new().await;
    let create = async |user: Id, name: &str| {
        let permit = world.permit(user, Action::CreateOrganisation, org(name));
        world.organisations.create(&permit, None).await
    };
    create(ADMIN, "acme").await.expect("made");
    assert!(
        matches!(create(ADMIN, "acme").await, Err(Error::Exists(Thing::Organisation(name))) if name == "acme")
    );
    assert!(matches!(create(STRANGER, "acme").await, Err(Error::Exists(_))), "names are one for all");
    assert!(matches!(create(ADMIN, LIBRARY).await, Err(Error::Exists(_))));
    create(DEV, "two").await.expect("made");
    assert!(matches!(create(ADMIN, "three").await, Err(Error::Limit { limit: 2, .. })));
    assert_eq!(world.owned(OWN), 2, "a refused one is not counted");
    create(STRANGER, "three").await.expect("another account has its own limit");
    world.remove("acme").await;
    create(ADMIN, "four").await.expect("one that went makes room");
}

#[tokio::test]
async fn the_hosts_administrator_names_the_account_an_organisation_is_for() {
    let world = World::new().await;
    let actor = Actor::LocalAdministrator;
    let permit = world.access.authorise(&actor, Action::CreateOrganisation, org("acme")).expect("he may");
    let unnamed = world.organisations.create(&permit, None).await;
    assert!(matches!(unnamed, Err(Error::Invalid { field: "account", .. })));
    let unknown = world.organisations.create(&permit, Some(Id::from_bytes([9; 16]))).await;
    assert!(matches!(unknown, Err(Error::Missing(Thing::Account(_)))));
    world.organisations.create(&permit, Some(OTHER)).await.expect("made");
    assert_eq!(world.rows::<GrantKey>(), 0);
    assert!(world.may(STRANGER, Action::DeleteOrganisation, org("acme")));
}

#[tokio::test]
async fn an_organisation_with_repositories_and_library_are_not_removed() {
    let world = World::new().await;
    world.organisation("acme").await;
    world.organisation("acme-two").await;
    world.repository("acme/web").await;
    let permit = world.permit(ADMIN, Action::DeleteOrganisation, org("acme"));
    assert!(matches!(world.organisations.delete(&permit).await, Err(Error::InUse(..))));
    assert_eq!(world.owned(OWN), 2);
    world.remove("acme-two").await;
    let actor = Actor::LocalAdministrator;
    let delete =
        |name| world.access.authorise(&actor, Action::DeleteOrganisation, org(name)).expect("he may");
    assert!(matches!(world.organisations.delete(&delete(LIBRARY)).await, Err(Error::InUse(..))));
    let missing = world.organisations.delete(&delete("absent")).await;
    assert!(matches!(missing, Err(Error::Missing(Thing::Organisation(_)))));
}

#[tokio::test]
async fn removing_an_organisation_clears_its_rights_and_leaves_those_of_others() {
    let world = World::new().await;
    world.organisation("acme").await;
    world.organisation("acme-two").await;
    world.grant("acme", vec![(DEV, Level::Read), (ANN, Level::Edit)]).await.expect("granted");
    world.grant("acme-two", vec![(ANN, Level::Edit)]).await.expect("granted");
    let record = GrantRecord { organisation: 1, level: Level::Edit, granted_at: 0 };
    world.put(GrantKey { user: ANN, name: "acme/gone".to_owned() }, record).await;
    world.put(ShareKey { account: OTHER, name: "acme/gone".to_owned() }, share_in(1)).await;
    world.remove("acme").await;
    assert_eq!(world.rows::<ShareKey>(), 0);
    assert_eq!(world.rows::<GrantKey>(), 2, "the creator's and ANN's on acme-two");
    assert!(world.may(ANN, Action::Push, repo("acme-two/web")));
}

fn share_in(organisation: u64) -> ShareRecord {
    let (until, description) = (None, String::new());
    ShareRecord { organisation, until, description, creator: ADMIN, created_at: 0, updated_at: 0 }
}

/// As after a stop between the removal of an organisation and that of its rights.
#[tokio::test]
async fn rights_left_of_an_organisation_give_nothing_in_a_later_one_of_its_name() {
    let world = World::new().await;
    world.organisation("acme").await;
    world.remove("acme").await;
    let old = |level| GrantRecord { organisation: 1, level, granted_at: 0 };
    world.put(GrantKey { user: ANN, name: "acme".to_owned() }, old(Level::Manage)).await;
    world.put(GrantKey { user: ANN, name: "acme/web".to_owned() }, old(Level::Manage)).await;
    world.put(ShareKey { account: OTHER, name: "acme/web".to_owned() }, share_in(1)).await;
    world.organisation("acme").await;
    world.repository("acme/web").await;
    assert!(!world.may(ANN, Action::ShowOrganisation, org("acme")));
    assert!(!world.may(ANN, Action::Pull, repo("acme/web")));
    assert!(!world.may(STRANGER, Action::Pull, repo("acme/web")));
    let organisations = &world.organisations;
    let shares = organisations.shares(&world.permit(ADMIN, Action::ListShares, repo("acme/web")));
    assert_eq!(shares.expect("read"), []);
    let reshare = world.permit(ADMIN, Action::UpdateShare, repo("acme/web"));
    assert!(matches!(organisations.reshare(&reshare, OTHER, for_ever()).await, Err(Error::Missing(_))));
    let revoke = world.permit(ADMIN, Action::DeleteOrganisationGrant, org("acme"));
    let revoked = organisations.revoke(&revoke, On::Organisation, vec![ANN]).await;
    assert!(matches!(revoked, Err(Error::Missing(Thing::Grant(_)))));
    world.grant("acme", vec![(ANN, Level::Read)]).await.expect("the old grant is in nobody's way");
    world.share("acme/web", OTHER, for_ever()).await.expect("nor is the old share");
}

#[tokio::test]
async fn rights_left_of_organisations_that_went_are_removed_at_the_next_start_and_no_others() {
    let world = World::new().await;
    world.organisation("acme").await;
    world.remove("acme").await;
    world.organisation("acme").await;
    world.repository("acme/web").await;
    world.grant("acme", vec![(ANN, Level::Read)]).await.expect("granted");
    world.share("acme/web", OTHER, for_ever()).await.expect("shared");
    let before = (world.rows::<GrantKey>(), world.rows::<ShareKey>());
    let put: Result<(), MetaError> = world
        .meta
        .commit(|tx| {
            for n in 0..1200u32 {
                let name = format!("{}/web{n}", if n % 2 == 0 { "acme" } else { "absent" });
                let old = GrantRecord { organisation: 1, level: Level::Manage, granted_at: 0 };
                tx.put(&GrantKey { user: DEV, name: name.clone() }, &old)?;
                tx.put(&ShareKey { account: OTHER, name }, &share_in(1))?;
            }
            Ok(())
        })
        .await;
    put.expect("committed");
    assert_eq!(world.organisations.forget_old_rights().await.expect("removed"), 2400);
    assert_eq!((world.rows::<GrantKey>(), world.rows::<ShareKey>()), before);
    assert!(world.may(ANN, Action::Pull, repo("acme/web")));
    assert!(world.may(STRANGER, Action::Pull, repo("acme/web")));
    assert_eq!(world.organisations.forget_old_rights().await.expect("removed"), 0);
}

/// As if the name was taken again before the rights were cleared.
#[tokio::test]
async fn clearing_up_after_an_organisation_leaves_the_rights_in_a_later_one_of_its_name() {
    let world = World::new().await;
    world.organisation("acme").await;
    world.grant("acme", vec![(ANN, Level::Read)]).await.expect("granted");
    world.organisations.forget("acme", 0).await.expect("cleared");
    assert!(world.may(ANN, Action::Pull, repo("acme/web")));
    world.organisations.forget("acme", 1).await.expect("cleared");
    assert!(!world.may(ANN, Action::Pull, repo("acme/web")));
}

#[tokio::test]
async fn a_list_has_what_one_may_look_at_and_on_demand_what_one_may_look_into() {
    let world = World::new().await;
    world.organisation("acme").await;
    world.organisation("tools").await;
    world.repository("acme/web").await;
    world.grant("acme/web", vec![(ANN, Level::Read)]).await.expect("granted");
    let names = |user, visible| {
        let permit = world.permit(user, Action::ListOrganisations, Resource::Registry);
        let listed = world.organisations.list(&permit, visible).expect("read");
        listed.into_iter().map(|o| (o.name.to_string(), o.level)).collect::<Vec<_>>()
    };
    let manage = Some(Level::Manage);
    let all = vec![("acme".to_owned(), manage), ("tools".to_owned(), manage)];
    assert_eq!(names(ADMIN, false), all);
    assert_eq!(names(ANN, false), []);
    assert_eq!(names(ANN, true), [("acme".to_owned(), None)]);
    assert_eq!(names(STRANGER, true), []);
}

#[tokio::test]
async fn old_organisations_are_numbered_once_in_bounded_batches() {
    let world = World::new().await;
    world.organisation("acme").await;
    for batch in 0..4u32 {
        let made: Result<(), MetaError> = world
            .meta
            .commit(move |tx| {
                for n in 0..300u32 {
                    let key = OrganisationKey { name: format!("old{}", batch * 300 + n) };
                    let record = OrganisationRecord { number: 0, created_at: 5, owner: None, creator: None };
                    tx.put(&key, &record)?;
                }
                Ok(())
            })
            .await;
        made.expect("committed");
    }
    assert_eq!(world.organisations.number_old_ones().await.expect("numbered"), 1200);
    let all = world.meta.page::<OrganisationKey>(&[], None, 5000).expect("read");
    let mut numbers: Vec<u64> = all.iter().map(|(_, record)| record.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=1201).collect::<Vec<_>>());
    let old = all.iter().find(|(key, _)| key.name == "old7").map(|(_, record)| record.created_at);
    assert_eq!(old, Some(5), "nothing else changes");
    assert_eq!(world.organisations.number_old_ones().await.expect("read"), 0);
    world.organisation("new").await;
    let key = OrganisationKey { name: "new".to_owned() };
    assert_eq!(world.meta.get(&key).expect("read").map(|record| record.number), Some(1202));
}
