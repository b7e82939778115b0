//! What lies between a permit and its change: rights that went, and organisations that are others now.

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::Table;
use tokio::join;

use super::*;
use crate::services::access::Refusal;
use crate::stores::meta::Follow;

/// A world in which DEV may do everything in `acme` by a grant, with permits for all of it; then the grant goes.
struct Late {
    world: World,
    permits: Vec<Permit>,
}

impl Late {
    async fn new() -> Self {
        let world = World::new().await;
        world.organisation("acme").await;
        world.repository("acme/web").await;
        world.account(Id::from_bytes([3; 16]), "third").await;
        world.share("acme/web", OTHER, for_ever()).await.expect("shared");
        world.grant("acme", vec![(DEV, Level::Manage)]).await.expect("granted");
        world.grant("acme", vec![(ANN, Level::Read)]).await.expect("granted");
        let actions = Action::ALL.iter().map(|action| (*action, action.name()));
        let resource =
            |name: &str| if name.starts_with("swr:namespace") { org("acme") } else { repo("acme/web") };
        let permits = actions
            .filter_map(|(action, name)| {
                let resource =
                    if action == Action::CreateRepository { repo("acme/new") } else { resource(name) };
                world.access.authorise(&Actor::User(DEV), action, resource).ok()
            })
            .collect();
        Self { world, permits }
    }

    fn permit(&self, action: Action) -> &Permit {
        self.permits.iter().find(|permit| permit.resource(action).is_some()).expect("he could")
    }

    /// What comes of every change with the permits from before.
    async fn changes(&self) -> Vec<(&'static str, Result<(), Error>)> {
        let (all, p) = (&self.world.organisations, |action| self.permit(action));
        let third = Id::from_bytes([3; 16]);
        let grant = || vec![(STRANGER, Level::Read)];
        vec![
            ("grant", all.grant(p(Action::CreateOrganisationGrant), On::Organisation, grant()).await),
            (
                "regrant",
                all.regrant(p(Action::UpdateOrganisationGrant), On::Organisation, vec![(ANN, Level::Edit)])
                    .await,
            ),
            ("revoke", all.revoke(p(Action::DeleteOrganisationGrant), On::Organisation, vec![ANN]).await),
            ("share", all.share(p(Action::CreateShare), third, for_ever()).await),
            ("reshare", all.reshare(p(Action::UpdateShare), OTHER, for_ever()).await),
            ("unshare", all.unshare(p(Action::DeleteShare), OTHER).await),
            ("update", all.update(p(Action::UpdateRepository), described("his")).await),
            ("create", all.create_repository(p(Action::CreateRepository), Changed::default()).await),
            ("mark", all.mark(p(Action::MarkFavourite), true).await),
            ("delete", all.delete(p(Action::DeleteOrganisation)).await),
        ]
    }
}

#[tokio::test]
async fn no_change_is_made_with_a_permit_whose_right_was_taken_away_since() {
    let late = Late::new().await;
    let world = &late.world;
    let revoke = world.permit(ADMIN, Action::DeleteOrganisationGrant, org("acme"));
    world.organisations.revoke(&revoke, On::Organisation, vec![DEV]).await.expect("taken away");
    let before = (world.rows::<GrantKey>(), world.rows::<ShareKey>(), world.rows::<FavouriteKey>());
    for (what, outcome) in late.changes().await {
        assert!(matches!(outcome, Err(Error::Refused(Refusal::Denied))), "{what}: {outcome:?}");
    }
    assert_eq!((world.rows::<GrantKey>(), world.rows::<ShareKey>(), world.rows::<FavouriteKey>()), before);
}

#[tokio::test]
async fn no_change_is_made_in_an_organisation_that_took_the_name_since_not_even_by_the_hosts_administrator() {
    let world = World::new().await;
    world.organisation("acme").await;
    let host = |action, resource| {
        world.access.authorise(&Actor::LocalAdministrator, action, resource).expect("he may everything")
    };
    let permit = host(Action::CreateOrganisationGrant, org("acme"));
    world.remove("acme").await;
    let gone = world.organisations.grant(&permit, On::Organisation, vec![(STRANGER, Level::Manage)]).await;
    assert!(matches!(gone, Err(Error::Missing(Thing::Organisation(_)))), "{gone:?}");
    let theirs = world.permit(STRANGER, Action::CreateOrganisation, org("acme"));
    world.organisations.create(&theirs, None).await.expect("made");
    let late = world.organisations.grant(&permit, On::Organisation, vec![(STRANGER, Level::Read)]).await;
    assert!(matches!(late, Err(Error::Refused(Refusal::Denied))), "{late:?}");
    let deletion = host(Action::DeleteOrganisation, org("acme"));
    world.organisations.delete(&deletion).await.expect("a permit for this one");
}

impl World {
    /// Keeps the writer from doing anything before `go` is dropped, so that what is asked for
    /// meanwhile comes into one group of changes.
    async fn hold(&self, go: std::sync::mpsc::Receiver<()>) {
        let held: Result<(), MetaError> = self
            .meta
            .commit(move |_| {
                let _ = go.recv();
                Ok(())
            })
            .await;
        held.expect("held");
    }
}

#[tokio::test]
async fn an_organisation_replaced_in_the_same_group_of_changes_is_not_taken_for_the_old_one() {
    let world = World::new().await;
    world.organisation("acme").await;
    let (all, (go, wait)) = (&world.organisations, std::sync::mpsc::channel());
    let delete = world.permit(ADMIN, Action::DeleteOrganisation, org("acme"));
    let theirs = world.permit(STRANGER, Action::CreateOrganisation, org("acme"));
    let late = world.permit(ADMIN, Action::CreateRepository, repo("acme/web"));
    let (_, deleted, made, late, ()) = join!(
        world.hold(wait),
        all.delete(&delete),
        all.create(&theirs, None),
        all.create_repository(&late, Changed::default()),
        async { drop(go) },
    );
    deleted.expect("removed");
    made.expect("made");
    assert!(matches!(late, Err(Error::Refused(Refusal::Denied))), "{late:?}");
    assert_eq!(world.rows::<RepositoryKey>(), 0);
}

#[tokio::test]
async fn what_comes_with_the_organisation_it_goes_to_waits_for_it_and_is_done() {
    let world = World::new().await;
    let (all, (go, wait)) = (&world.organisations, std::sync::mpsc::channel());
    let create = world.permit(ADMIN, Action::CreateOrganisation, org("acme"));
    let host = Actor::LocalAdministrator;
    let inside = world.access.authorise(&host, Action::CreateRepository, repo("acme/web")).expect("he may");
    let (_, made, inside, ()) = join!(
        world.hold(wait),
        all.create(&create, None),
        all.create_repository(&inside, Changed::default()),
        async { drop(go) },
    );
    made.expect("made");
    inside.expect("made in it");
}

#[tokio::test]
async fn a_user_who_goes_in_the_same_group_of_changes_gets_nothing_any_more() {
    let world = World::new().await;
    world.organisation("acme").await;
    world.repository("acme/web").await;
    let (all, (go, wait)) = (&world.organisations, std::sync::mpsc::channel());
    let mark = world.permit(ADMIN, Action::MarkFavourite, repo("acme/web"));
    let gone = world.meta.commit(|tx| tx.delete(&UserKey { id: ADMIN }));
    let (_, gone, marked, ()) = join!(world.hold(wait), gone, all.mark(&mark, true), async { drop(go) });
    let gone: Result<(), MetaError> = gone;
    gone.expect("removed");
    assert!(matches!(marked, Err(Error::Refused(Refusal::Denied))), "{marked:?}");
    assert_eq!(world.rows::<FavouriteKey>(), 0);
}

#[tokio::test]
async fn shares_asked_for_at_once_or_by_somebody_who_leaves_do_not_pass_the_limit() {
    let world = World::new().await;
    world.organisation("acme").await;
    world.repository("acme/web").await;
    let accounts: Vec<Id> = (20..25).map(|n| Id::from_bytes([n; 16])).collect();
    for (id, n) in accounts.iter().zip(0..) {
        world.account(*id, &format!("account{n}")).await;
    }
    tokio::select! {
        biased;
        _ = world.share("acme/web", accounts[0], for_ever()) => {}
        () = async {} => {} // who asked has left
    }
    let share = |n: usize| world.share("acme/web", accounts[n], for_ever());
    let made = join!(share(1), share(2), share(3), share(4));
    let made = [made.0, made.1, made.2, made.3].iter().filter(|made| made.is_ok()).count();
    assert_eq!((made, world.rows::<ShareKey>()), (1, 2), "the limit is 2, and the first went to its end");
}

#[tokio::test]
async fn once_who_there_is_cannot_be_read_nobody_is_let_in_whatever_changes() {
    let world = World::new().await;
    world.organisation("acme").await;
    assert!(world.may(ADMIN, Action::Push, repo("acme/web")));
    world.meta.close();
    world.access.rebuilt(&world.meta);
    assert!(!world.may(ADMIN, Action::Push, repo("acme/web")));
    let row = |key: Vec<u8>, value: Result<Vec<u8>, _>| (key, value.expect("small"));
    let name = "own".to_owned();
    let account = AccountRecord { name, project: OWN, created_at: 0, operator: false, enabled: true };
    let (account, admin) = (
        row(AccountKey { id: OWN }.encode(), account.encode()),
        row(UserKey { id: ADMIN }.encode(), user(OWN, ADMIN, vec![Role::TenantAdministrator]).encode()),
    );
    world
        .access
        .changed(&[(Table::Account, &account.0, Some(&account.1)), (Table::User, &admin.0, Some(&admin.1))]);
    assert!(!world.may(ADMIN, Action::Ping, Resource::Registry), "part of it may lack what denies");
}
