//! Pages of the list of repositories: put together they are the list, in every order.

use pierhead_storage_format::identity::records::{Category, Role};

use super::house::House;
use crate::services::access::{Action, Actor, Permit, Resource};
use crate::services::images::{OrderBy, RepositoryFacts, Wanted};
use crate::services::organisations::Changed;

const ORDERS: [OrderBy; 6] = [
    OrderBy::Organisation,
    OrderBy::Name,
    OrderBy::UpdatedAt,
    OrderBy::Versions,
    OrderBy::Public,
    OrderBy::Number,
];

async fn furnish(house: &House) {
    for organisation in ["acme-b", "b", "acmes"] {
        house.organisation(organisation).await;
    }
    let names = ["acme/z", "acme/a/b", "acme-b/a", "acme-b/z-9", "b/a", "b/m", "acmes/a-1", "acme/a"];
    for (n, name) in names.into_iter().enumerate() {
        house.after(100 - n as u64);
        let resource = Resource::Repository(name.parse().expect("a name"));
        let permit = house.permit(Action::CreateRepository, resource);
        let category = Some(if n % 2 == 0 { Category::Linux } else { Category::Other });
        let attributes = Changed { public: Some(n % 3 == 0), category, ..Changed::default() };
        house.people.organisations.create_repository(&permit, attributes).await.expect("made");
    }
}

fn permit(house: &House, actor: &Actor) -> Permit {
    house
        .people
        .access
        .authorise(actor, Action::ListRepositories, Resource::Registry)
        .expect("anybody may ask")
}

async fn listed(house: &House, permit: &Permit, wanted: Wanted) -> (Vec<RepositoryFacts>, usize) {
    let page = house.images.catalogue(permit, &wanted).await.expect("a page");
    (page.items, page.total)
}

fn names(items: &[RepositoryFacts]) -> Vec<&str> {
    items.iter().map(|facts| facts.name.as_str()).collect()
}

#[tokio::test]
async fn pages_of_any_size_put_together_are_the_list_in_its_order() {
    let house = House::open().await;
    furnish(&house).await;
    let permit = permit(&house, &Actor::LocalAdministrator);
    for order in ORDERS.into_iter().flat_map(|order| [(order, false), (order, true)]) {
        let whole = Wanted { order, limit: 100, ..Wanted::default() };
        let (all, total) = listed(&house, &permit, whole.clone()).await;
        assert_eq!((all.len(), total), (8, 8), "{order:?}");
        let sorted = all.windows(2).all(|pair| {
            let [a, b] = pair else { return true };
            let (a, b) = if order.1 { (b, a) } else { (a, b) };
            let rest =
                |facts: &RepositoryFacts| facts.name.as_str().split_once('/').map(|(_, r)| r.to_owned());
            match order.0 {
                OrderBy::Organisation => (a.name.organisation(), rest(a)) <= (b.name.organisation(), rest(b)),
                OrderBy::Name => rest(a) <= rest(b),
                OrderBy::UpdatedAt => a.updated_at <= b.updated_at,
                OrderBy::Versions => a.versions <= b.versions,
                OrderBy::Public => a.public <= b.public,
                OrderBy::Number => a.id <= b.id,
            }
        });
        assert!(sorted, "{order:?}: {:?}", names(&all));
        for limit in [1, 3, 8] {
            let mut together = Vec::new();
            for offset in (0..=9).step_by(limit) {
                let (page, total) = listed(&house, &permit, Wanted { offset, limit, ..whole.clone() }).await;
                assert_eq!(total, 8);
                together.extend(page);
            }
            assert_eq!(names(&together), names(&all), "{order:?} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_list_that_goes_on_after_a_number_skips_nothing_though_what_was_told_goes() {
    let house = House::open().await;
    furnish(&house).await;
    let permit = permit(&house, &Actor::LocalAdministrator);
    let page = |after| Wanted { order: (OrderBy::Number, false), after, limit: 3, ..Wanted::default() };
    let (first, total) = listed(&house, &permit, page(0)).await;
    assert_eq!((first.len(), total), (3, 8));
    let last = first.last().map_or(0, |facts| facts.id);
    let gone = house.permit(Action::DeleteRepository, Resource::Repository(first[0].name.clone()));
    house.images.delete_repository(&gone).await.expect("removed");
    let (second, total) = listed(&house, &permit, page(last)).await;
    assert_eq!((second.len(), total), (3, 5), "of those after it");
    let (third, total) = listed(&house, &permit, page(second[2].id)).await;
    assert_eq!((third.len(), total), (2, 2));
    let all: Vec<u64> = [first, second, third].iter().flatten().map(|facts| facts.id).collect();
    assert!(all.is_sorted() && all.len() == 8, "{all:?}");
}

#[tokio::test]
async fn what_is_wanted_is_listed_to_those_whose_business_it_is() {
    let house = House::open().await;
    furnish(&house).await;
    let reader = Actor::User(house.user("reader", &[Role::SwrReadOnlyAccess]).await);
    let robot = Actor::User(house.user("robot", &[]).await);
    let text = |text: &str| Some(text.to_owned());
    let of = |organisation: &str| Wanted { organisation: text(organisation), ..Wanted::default() };
    let public = || vec!["acme/z", "acme-b/z-9", "acmes/a-1"];
    let cases = [
        (&reader, of("acme-"), vec!["acme-b/a", "acme-b/z-9"]),
        (&reader, of("acme"), vec!["acme/a", "acme/a/b", "acme/z", "acme-b/a", "acme-b/z-9", "acmes/a-1"]),
        (&reader, Wanted { name: text("/b"), ..Wanted::default() }, vec!["acme/a/b"]),
        (&reader, Wanted { name: text("m"), ..Wanted::default() }, vec!["b/m"]),
        (&reader, Wanted { public: Some(true), ..Wanted::default() }, public()),
        (&reader, Wanted { category: Some(Category::Linux), ..of("b") }, vec!["acme-b/a", "b/a"]),
        (&robot, Wanted::default(), public()),
        (&Actor::Anonymous, Wanted::default(), Vec::new()),
    ];
    for (actor, wanted, expected) in cases {
        if *actor == Actor::Anonymous {
            let asked = house.people.access.authorise(actor, Action::ListRepositories, Resource::Registry);
            assert!(asked.is_err(), "nobody in particular has no list");
            continue;
        }
        let wanted = Wanted { limit: 100, ..wanted };
        let (items, total) = listed(&house, &permit(&house, actor), wanted.clone()).await;
        let mut found = names(&items);
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!((found, total), (expected.clone(), expected.len()), "{wanted:?}");
    }
}
