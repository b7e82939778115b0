//! Attributes and favourites.

use super::*;
use proptest::prelude::*;

async fn acme() -> World {
    let world = World::new().await;
    world.organisation("acme").await;
    world.repository("acme/web").await;
    world
}

async fn describe(world: &World, description: &str) -> Result<(), Error> {
    let permit = world.permit(ADMIN, Action::UpdateRepository, repo("acme/web"));
    world.organisations.update(&permit, described(description)).await
}

fn shown(world: &World) -> Attributes {
    let permit = world.permit(ADMIN, Action::ShowRepository, repo("acme/web"));
    world.organisations.attributes(&permit).expect("there")
}

#[tokio::test]
async fn attributes_change_one_by_one() {
    let world = acme().await;
    let creator = shown(&world).creator.map(|creator| creator.id);
    assert_eq!(creator, Some(ADMIN));
    assert!(!world.may(STRANGER, Action::Pull, repo("acme/web")), "private at first");
    let update = world.permit(ADMIN, Action::UpdateRepository, repo("acme/web"));
    let change = async |change: Changed| world.organisations.update(&update, change).await.expect("changed");
    change(Changed { public: Some(true), ..Changed::default() }).await;
    assert!(world.may(STRANGER, Action::Pull, repo("acme/web")));
    change(Changed { category: Some(Category::Database), ..Changed::default() }).await;
    world.clock.set(NOW + 7);
    change(described("what it is")).await;
    let now = shown(&world);
    assert!(now.public);
    assert_eq!((now.category, now.description.as_str()), (Category::Database, "what it is"));
    assert_eq!((now.updated_at, now.creator.map(|creator| creator.id)), (NOW + 7, Some(ADMIN)));
    change(Changed { public: Some(false), ..Changed::default() }).await;
    assert!(!world.may(STRANGER, Action::Pull, repo("acme/web")));
}

#[tokio::test]
async fn a_description_of_30000_characters_comes_back_whole_and_a_shorter_one_leaves_nothing() {
    let world = acme().await;
    // One, three and four bytes a character, so that no part ends at its limit by chance.
    let long: String = "a漢\u{10ffff}".chars().cycle().take(30_000).collect();
    describe(&world, &long).await.expect("changed");
    assert_eq!(shown(&world).description, long);
    assert!(world.rows::<TextKey>() > 20);
    let widest = "\u{10ffff}".repeat(30_000);
    describe(&world, &widest).await.expect("changed");
    assert_eq!(shown(&world).description, widest);
    let refused = describe(&world, &"a".repeat(30_001)).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "description", .. })));
    assert_eq!(shown(&world).description, widest);
    for (text, parts) in
        [("b".repeat(3073), 2), ("b".repeat(3072), 1), ("short".to_owned(), 1), (String::new(), 0)]
    {
        describe(&world, &text).await.expect("changed");
        assert_eq!(shown(&world).description, text);
        assert_eq!(world.rows::<TextKey>(), parts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_text_comes_back_whatever_was_there_before(texts in prop::collection::vec("\\PC{0,4000}", 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let world = acme().await;
            for text in texts {
                describe(&world, &text).await.expect("changed");
                assert_eq!(shown(&world).description, text);
            }
        });
    }
}

#[tokio::test]
async fn a_new_repository_takes_nothing_from_an_earlier_one_of_its_name() {
    let world = acme().await;
    let left = RepositorySettingsRecord { public: true, ..RepositorySettingsRecord::default() };
    let name = || "acme/old".to_owned();
    world.put(RepositorySettingsKey { name: name() }, left).await;
    let grant = GrantRecord { organisation: 1, level: Level::Manage, granted_at: 0 };
    world.put(GrantKey { user: ANN, name: name() }, grant).await;
    let (until, description) = (None, String::new());
    let share =
        ShareRecord { organisation: 1, until, description, creator: ADMIN, created_at: 0, updated_at: 0 };
    world.put(ShareKey { account: OTHER, name: name() }, share).await;
    world.put(FavouriteKey { user: ADMIN, name: name() }, FavouriteRecord { marked_at: NOW - 1 }).await;
    world.repository("acme/old").await;
    assert!(!world.may(ANN, Action::Pull, repo("acme/old")), "nor anybody's");
    assert_eq!((world.rows::<GrantKey>(), world.rows::<ShareKey>()), (3, 0), "the creator's");
    let list = world.permit(ADMIN, Action::ListRepositories, Resource::Registry);
    assert_eq!(world.organisations.favourites(&list).expect("read"), [""; 0], "nor marked");
    let mark = world.permit(ADMIN, Action::MarkFavourite, repo("acme/old"));
    world.clock.set(NOW - 5);
    world.organisations.mark(&mark, true).await.expect("marked, though the clock went back");
    assert_eq!(world.organisations.favourites(&list).expect("read"), ["acme/old"]);
    assert!(!world.may(STRANGER, Action::Pull, repo("acme/old")), "a new repository is private");
    let again = world.permit(ADMIN, Action::CreateRepository, repo("acme/old"));
    let again = world.organisations.create_repository(&again, Changed::default()).await;
    assert!(matches!(again, Err(Error::Exists(Thing::Repository(_)))));
    let actor = Actor::LocalAdministrator;
    let nowhere =
        world.access.authorise(&actor, Action::CreateRepository, repo("absent/web")).expect("he may");
    let nowhere = world.organisations.create_repository(&nowhere, Changed::default()).await;
    assert!(matches!(nowhere, Err(Error::Missing(Thing::Organisation(_)))));
}

#[tokio::test]
async fn the_text_of_one_owner_is_not_that_of_another() {
    let world = acme().await;
    world.repository("acme/db").await;
    describe(&world, "of web").await.expect("changed");
    let permit = world.permit(ADMIN, Action::ShowRepository, repo("acme/db"));
    assert_eq!(world.organisations.attributes(&permit).expect("there").description, "");
    assert_eq!(super::super::attributes::text(&world.meta, TextOwner::Policy(OWN)).expect("read"), "");
}

#[tokio::test]
async fn favourites_are_ones_own_and_only_what_is_there_and_may_be_seen() {
    let world = acme().await;
    world.repository("acme/db").await;
    world.grant("acme", vec![(ANN, Level::Read)]).await.expect("granted");
    let mark = async |user: Id, name: &str, marked: bool| {
        let permit = world.permit(user, Action::MarkFavourite, repo(name));
        world.organisations.mark(&permit, marked).await
    };
    let marked = |user: Id| {
        let permit = world.permit(user, Action::ListRepositories, Resource::Registry);
        world.organisations.favourites(&permit).expect("read")
    };
    mark(ANN, "acme/web", true).await.expect("marked");
    mark(ANN, "acme/db", true).await.expect("marked");
    mark(ANN, "acme/db", true).await.expect("twice is once");
    assert_eq!(marked(ANN), ["acme/db", "acme/web"]);
    assert_eq!(marked(ADMIN), [""; 0]);
    assert!(matches!(mark(ANN, "acme/absent", true).await, Err(Error::Missing(Thing::Repository(_)))));
    mark(ANN, "acme/web", false).await.expect("no longer");
    mark(ANN, "acme/absent", false).await.expect("of one that went too");
    assert_eq!(marked(ANN), ["acme/db"]);
    let gone: Result<(), MetaError> =
        world.meta.commit(|tx| tx.delete(&RepositoryKey { name: "acme/db".to_owned() })).await;
    gone.expect("committed");
    assert_eq!(marked(ANN), [""; 0], "not there any more");
    mark(ANN, "acme/web", true).await.expect("marked");
    let delete = world.permit(ADMIN, Action::DeleteOrganisationGrant, org("acme"));
    world.organisations.revoke(&delete, On::Organisation, vec![ANN]).await.expect("taken away");
    assert_eq!(marked(ANN), [""; 0], "no longer to be seen");
    assert_eq!(world.rows::<FavouriteKey>(), 2);
}
